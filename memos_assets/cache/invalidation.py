"""Answers that end at once, in the transaction of the one who knows why.

Answers that cite a memory need nothing of this: a trigger of ``agent.memories`` ends them in the
transaction that supersedes, retracts, erases or restores it. Each call here works in the caller's
session, which commits; the next read of any process sees it. Answers that are computed at this
moment are not stored, since their leases end, too; and until the caller's transaction ends, nobody
stores what is evicted, see `leases.may_store`.
"""

from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.cache.key import SHARED, Scope, key_of

_EVICT: Final = sa.text(
    "select agent.cache_evict(:key, cast(:memory as uuid), :user, :namespace)"
).bindparams(
    sa.bindparam("key", type_=sa.LargeBinary()),
    sa.bindparam("user", type_=sa.Text()),
    sa.bindparam("namespace", type_=sa.Text()),
)


def invalidate(
    session: Session,
    *,
    namespace: str | None = None,
    query: str | None = None,
    scope: Scope = SHARED,
    user: str | None = None,
    memory: UUID | str | None = None,
) -> int:
    """Evict answers, of all users where none is named; without any argument none.

    Args:
        session: the caller's, who commits.
        namespace: of the answers.
        query: with ``namespace`` and ``scope``: the one answer of this key.
        scope: of that key.
        user: whose answers; those that all users share stay.
        memory: id of a memory that the answers cite.

    Returns:
        Entries that were evicted.

    Raises:
        ValueError: ``memory`` is not a UUID, or ``query`` comes without a namespace.
    """
    digest = None
    if query is not None:
        if namespace is None:
            raise ValueError("a query is of a namespace: name it, too")
        key = key_of(namespace, query, scope)
        if key is None:
            return 0
        digest = key.digest
    cited = None if memory is None else str(memory if isinstance(memory, UUID) else UUID(memory))
    values = {"key": digest, "memory": cited, "user": user, "namespace": namespace}
    evicted: int = session.execute(_EVICT, values).scalar_one()
    return evicted
