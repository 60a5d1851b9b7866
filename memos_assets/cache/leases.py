"""Leases: who computes an answer, so that others wait instead of computing it, too.

A lease is a row, not a lock: no transaction is open and no connection is taken while its holder
computes. A holder that gives no sign of life loses it after some seconds by the server's clock.
Each new holder has a higher fence, and publishes only while the row is its own.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.cache.key import Key


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease of a holder that lives.

    Attributes:
        key: of the answer.
        holder: a token of its own for each computation.
        fence: higher than that of each former holder.
        life: seconds that it lives without being renewed.
    """

    key: bytes
    holder: UUID
    fence: int
    life: float


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody else holds the lease.

    Attributes:
        refused: the last answer may not be stored, so there is nothing to wait for.
        seconds: at most until the lease is free, if its holder is dead.
    """

    refused: bool
    seconds: float


_TAKE: Final = sa.text(
    """
    with taken as (
        insert into agent.cache_leases as l (key, namespace, tenant, user_id, holder, expires_at)
        values (:key, :namespace, :tenant, :user, :holder,
            pg_catalog.clock_timestamp() + pg_catalog.make_interval(secs => :life))
        on conflict (key) do update set holder = excluded.holder, fence = default,
            refused = false, expires_at = excluded.expires_at
        where l.expires_at <= pg_catalog.clock_timestamp() or (l.refused and :anew)
        returning fence)
    select fence, null as refused, null as seconds from taken
    union all
    select null, refused, extract(epoch from expires_at - pg_catalog.clock_timestamp())
    from agent.cache_leases where key = :key and not exists (select from taken)
    """
)
_MINE: Final = "where key = :key and holder = :holder and fence = :fence"
_RENEW: Final = sa.text(
    "update agent.cache_leases set expires_at = pg_catalog.clock_timestamp() "
    f"+ pg_catalog.make_interval(secs => :life) {_MINE}"
)
_REFUSE: Final = sa.text(
    "update agent.cache_leases set refused = true, expires_at = pg_catalog.clock_timestamp() "
    f"+ pg_catalog.make_interval(secs => :life) {_MINE}"
)
_RELEASE: Final = sa.text(f"delete from agent.cache_leases {_MINE}")
_HOLD: Final = sa.text(f"select from agent.cache_leases {_MINE} for update")


_MAY_STORE: Final = sa.text("select agent.cache_may_store(:key, :user, :namespace)").bindparams(
    sa.bindparam("key", type_=sa.LargeBinary()),
    sa.bindparam("user", type_=sa.Text()),
    sa.bindparam("namespace", type_=sa.Text()),
)


def may_store(session: Session, key: Key) -> bool:
    """Whether no eviction of an answer waits for its commit, until this transaction ends.

    What is computed meanwhile is by what was there before, so it is not stored.
    """
    values = {"key": key.digest, "user": key.scope.user, "namespace": key.namespace}
    return bool(session.execute(_MAY_STORE, values).scalar_one())


def take(
    session: Session, key: Key, holder: UUID, life: float, *, waited: bool = False
) -> Lease | Busy:
    """Take the lease of an answer if nobody alive holds it, in one statement.

    Args:
        session: whose transaction acts for the key's user.
        key: of the answer.
        holder: a new token.
        life: seconds without a sign of life.
        waited: the caller has waited already: it does not take a lease whose last answer was
            refused, since all who waited would compute one after the other.

    Returns:
        The lease; or busy and refused, too, while the answer is being evicted.
    """
    if not may_store(session, key):
        return Busy(refused=True, seconds=0.0)
    row = session.execute(
        _TAKE,
        {
            "key": key.digest,
            "namespace": key.namespace,
            "tenant": key.scope.tenant,
            "user": key.scope.user,
            "holder": holder,
            "life": life,
            "anew": not waited,
        },
    ).one_or_none()
    if row is None:  # it was released between the two halves of the statement
        return Busy(refused=False, seconds=0.0)
    if row.fence is not None:
        return Lease(key.digest, holder, row.fence, life)
    return Busy(row.refused, max(0.0, float(row.seconds)))


def renew(session: Session, lease: Lease) -> bool:
    """Give a sign of life; false: somebody else has taken the lease."""
    return _changed(session, _RENEW, lease, life=lease.life)


def hold(session: Session, lease: Lease) -> bool:
    """Lock the lease for a publication in this transaction; false: it is somebody else's."""
    return session.execute(_HOLD, _values(lease)).first() is not None


def release(session: Session, lease: Lease) -> bool:
    """Free the lease for the next one."""
    return _changed(session, _RELEASE, lease)


def refuse(session: Session, lease: Lease, seconds: float) -> bool:
    """Note that the answer may not be stored: for a while nobody waits for the next one."""
    return _changed(session, _REFUSE, lease, life=seconds)


def _changed(session: Session, statement: sa.TextClause, lease: Lease, **more: float) -> bool:
    result = session.execute(statement, {**_values(lease), **more})
    assert isinstance(result, sa.CursorResult)
    return result.rowcount > 0


def _values(lease: Lease) -> dict[str, object]:
    return {"key": lease.key, "holder": lease.holder, "fence": lease.fence}
