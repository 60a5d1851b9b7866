"""Answers in their tables: read one, store one. Each function is one short transaction's work.

Lives are measured by the server's clock, so workers whose clocks differ agree on them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.cache.key import Key
from memos_assets.cache.storable import Storable
from memos_assets.postgres.owned_rows import USER_SETTING
from memos_assets.search.query_embedding import QueryEmbedding

#: Milliseconds. Less than PostgreSQL's ``deadlock_timeout``: of a writer and a caller who wait for
#: each other, it is the caller's answer that is not stored, and never the writer who fails.
LONGEST_LOCK_MS: Final = 500
#: Candidates that a search by HNSW keeps. With pgvector's 40 a query whose neighbour is there may
#: end among those of another topic, and is computed again.
LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer that is stored.

    Attributes:
        number: of its row.
        query: that it was computed for.
        text: its value as JSON.
        negative: nothing was found.
        age: seconds since it was stored.
        fresh: it lives.
        usable: it lives, or ended so shortly ago that it is served while one caller computes.
        seconds_left: of its life.
    """

    number: int
    query: str
    text: str = field(repr=False)
    negative: bool
    age: float
    fresh: bool
    usable: bool
    seconds_left: float = 0.0


#: In the driver's words: SQLAlchemy compiles nothing and looks up no types, on each hit.
_READ: Final = "select * from agent.cache_read(%s, %s)"


def read(session: Session, key: Key) -> Entry | None:
    """Return the answer of exactly this key, in one round trip; nothing is written."""
    values: tuple[Any, ...] = (key.digest, key.scope.user or "")
    row = session.connection().exec_driver_sql(_READ, values).one_or_none()
    return None if row is None else Entry(*row)


def act_for(
    session: Session, user: str | None, *, brief: bool = False, by_index: bool = False
) -> None:
    """Let the transaction see the rows of a user and those of all; None: only those of all.

    Args:
        session: in a transaction, or about to begin one.
        user: whose rows are seen.
        brief: the transaction waits for no lock of a writer for longer than `LONGEST_LOCK_MS`.
        by_index: it searches by HNSW, with a list of `LISTED`.
    """
    settings = [sa.func.set_config(USER_SETTING, user or "", sa.true())]
    if brief:
        settings.append(sa.func.set_config("lock_timeout", str(LONGEST_LOCK_MS), sa.true()))
    if by_index:
        settings.append(sa.func.set_config("hnsw.ef_search", str(LISTED), sa.true()))
    session.execute(sa.select(*settings))


@dataclass(frozen=True, slots=True)
class Vector:
    """The embedding of a query.

    Attributes:
        bucket: 32 bytes of scope, model and dimension.
        elements: float32, (dimension,), of length 1.
        model: that embedded.
    """

    bucket: bytes
    elements: npt.NDArray[np.float32]
    model: str


_STORE: Final = sa.text(
    """
    insert into agent.cache_entries as e (key, namespace, scope, tenant, user_id, query, value,
        bytes, negative, fence, stored_at, expires_at, stale_until)
    select :key, :namespace, :scope, :tenant, :user, :query, :value, :bytes, :negative, :fence,
        moment, moment + pg_catalog.make_interval(secs => :life),
        moment + pg_catalog.make_interval(secs => :usable)
    from pg_catalog.clock_timestamp() moment
    on conflict (key) do update set value = excluded.value, bytes = excluded.bytes,
        query = excluded.query, negative = excluded.negative, stored_at = excluded.stored_at,
        expires_at = excluded.expires_at, stale_until = excluded.stale_until,
        fence = greatest(e.fence, excluded.fence)
    where excluded.fence = 0 or e.fence < excluded.fence
    returning e.number
    """
)
_EMBED: Final = (
    "insert into agent.cache_embeddings (entry, bucket, user_id, embedding) values (%s, %s, %s, %s)"
    " on conflict (entry) do update set bucket = excluded.bucket, embedding = excluded.embedding"
    " where cache_embeddings.bucket <> excluded.bucket"
)
_UNCITE: Final = sa.text("delete from agent.cache_sources where entry = :entry")
_CITE: Final = sa.text(
    "insert into agent.cache_sources (memory_id, entry, user_id) "
    "select one, :entry, :user from pg_catalog.unnest(:cites) one"
).bindparams(sa.bindparam("cites", type_=sa.ARRAY(sa.Uuid())))


def store(
    session: Session,
    key: Key,
    value: Storable,
    life: float,
    grace: float,
    *,
    fence: int = 0,
    vector: Vector | None = None,
) -> int | None:
    """Store an answer, in place of the one that is there.

    An answer that cites a memory which has ended meanwhile is gone at once, by the trigger of
    ``agent.cache_sources``.

    Args:
        session: whose transaction acts for the key's user, see `act_for`.
        key: of the answer.
        value: of the answer.
        life: seconds.
        grace: seconds after it in which it is served while one caller computes anew.
        fence: of the lease it was computed under; 0: without a lease, which replaces any.
        vector: of its query.

    Returns:
        The number of its row; None: somebody with a later fence has stored one.
    """
    number: int | None = session.execute(
        _STORE,
        {
            "key": key.digest,
            "namespace": key.namespace,
            "scope": key.scope_digest,
            "tenant": key.scope.tenant,
            "user": key.scope.user,
            "query": key.query,
            "value": value.text,
            "bytes": len(value.text) + len(key.query.encode()),
            "negative": value.negative,
            "fence": fence,
            "life": life,
            "usable": life if value.negative else life + grace,
        },
    ).scalar_one_or_none()
    if number is None:
        return None
    if vector is not None:
        sent = QueryEmbedding(vector.elements, "halfvec").text
        values: tuple[Any, ...] = (number, vector.bucket, key.scope.user, sent)
        session.connection().exec_driver_sql(_EMBED, values)
    _cite(session, number, key.scope.user, value.cites)
    return number


def _cite(session: Session, entry: int, user: str | None, cites: Sequence[UUID]) -> None:
    session.execute(_UNCITE, {"entry": entry})
    if cites:
        session.execute(_CITE, {"entry": entry, "user": user, "cites": list(cites)})
