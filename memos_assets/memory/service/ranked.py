"""Search memories by meaning, ranked in SQL: similarity, relevance and decay in one statement.

A user of few memories is searched exactly, through the index on ``user_id``; one of many by the
HNSW index, whose nearest memories are candidates for the ranking. So the ranking of few is that of
all memories, and the ranking of many that of the nearest `CANDIDATES`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from memos_assets.catalog.memos_tables import MEMORIES as DESCRIBED
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.owner import need_user
from memos_assets.memory.service.prepared import SearchQuery
from memos_assets.memory.service.records import HAS_EMBEDDING, SHOWN, StoredMemory, listed
from memos_assets.memory.service.store import get_user_settings
from memos_assets.memory.service.therapeutic import RELEVANCE, decay_sql
from memos_assets.memory.service.values import MEMORIES, MemoryType, bounded, now, one_of
from memos_assets.postgres.channel import channel_of
from memos_assets.postgres.vector_names import VectorName, within
from memos_assets.search.queries import columns, nearest, placed, search_settings
from memos_assets.search.query_embedding import bound, query_embedding

#: Memories of a user up to which all are compared. Of 19,500 memories of three users, p50 on two
#: busy cores (2026-11-27): 2,500 took 45 ms exactly and 102 ms by the index, 5,000 103 and 95,
#: 12,000 170 and 70. Reading vectors outside of their rows takes most of it.
EXACT_UP_TO: Final = 5_000
#: Nearest memories that are ranked where the index proposes them; a few times as many as results.
CANDIDATES: Final = 100
_PER_RESULT = 4
#: The planner does not count the reading of vectors outside of their rows, and would read all of a
#: user's, and sort them.
_BY_INDEX: Final = {"enable_sort": "off"}
_MOST_RESULTS = 100
_INDEX = DESCRIBED.vector_indexes[0]
#: What is searched: what memOS shows, of the types that are asked for. Parameters are in brackets,
#: because a colon after one would not let SQLAlchemy see it.
_TABLE = replace(
    DESCRIBED.as_table,
    condition=f"{DESCRIBED.condition} and ((:types)::text[] is null "
    "or memory_type = any((:types)::text[]))",
)


@dataclass(frozen=True, slots=True)
class MemorySearchResult:
    """A memory that a search found; names are memOS's.

    ``final_score`` is the product of the three factors before it, each 0 to 1.
    """

    memory: StoredMemory
    similarity_score: float
    therapeutic_relevance: float
    decay_factor: float
    final_score: float


def retrieve_memories(
    session: Session,
    user_id: str,
    query: SearchQuery,
    *,
    memory_types: Sequence[str] | None = None,
    limit: int = 10,
    min_similarity: float = 0.7,
    keys: KeyRing | None = None,
    track: bool = True,
) -> list[MemorySearchResult]:
    """Return a user's memories that are similar to a query, the best first.

    Memories that are deleted, expired, without consent or without an embedding are left out. A user
    without settings has the defaults; one who turned memory off gets none.

    Args:
        session: the caller's, which acts for the user.
        user_id: whose memories.
        query: from `prepared.embedded_query`.
        memory_types: values of `MemoryType`; None: all.
        limit: at most so many, up to 100.
        min_similarity: least cosine, -1 to 1.
        keys: decrypt their content; None leaves it out. One that no key decrypts ``is_lost``.
        track: count the access of each result; false in a read-only transaction.

    Raises:
        AgentError: M746 an argument cannot be; M749 the session acts for somebody else.
    """
    need_user(session, user_id)
    bounded(limit, "limit", 1, _MOST_RESULTS)
    bounded(min_similarity, "min_similarity", -1, 1)
    types = None if memory_types is None else [_type(one) for one in memory_types]
    if not get_user_settings(session, user_id).memory_enabled:
        return []
    conn = session.connection()
    exact = rows_of(session, user_id) <= EXACT_UP_TO
    candidates = max(CANDIDATES, _PER_RESULT * limit)
    values = {
        "embedding": query_embedding(query.embedding, "vector"),
        "user_id": user_id,
        "types": types,
        "most_distance": 1 - min_similarity,
        "at": now(),
        "results": limit,
        **({} if exact else {"k": candidates, **_NO_FILTERS}),
    }
    statement = ranking(conn, exact=exact)
    with _settings_of_search(
        session, {} if exact else {**search_settings(candidates), **_BY_INDEX}
    ):
        rows = conn.execute(statement, bound(conn, values)).all()
    results = [
        MemorySearchResult(
            listed(row, keys), row.similarity, row.relevance, row.decay, row.final_score
        )
        for row in rows
    ]
    if track and results:
        _count_access(session, results)
    return results


#: Filters of `nearest` that memories are not searched by here.
_NO_FILTERS: Final[Mapping[str, None]] = dict.fromkeys(DESCRIBED.contained)


def rows_of(session: Session, user_id: str) -> int:
    """Count a user's rows, up to one more than are searched exactly."""
    some = sa.select(sa.literal(1)).where(MEMORIES.c.user_id == user_id).limit(EXACT_UP_TO + 1)
    return int(
        session.execute(sa.select(sa.func.count()).select_from(some.subquery())).scalar_one()
    )


def ranking(conn: sa.Connection, *, exact: bool) -> sa.Select[Any]:
    """Return the statement of a search.

    Args:
        conn: that sends it; it knows the schema of pgvector.
        exact: compare all memories of the user, not the candidates of the HNSW index.
    """
    channel = channel_of(conn.dialect)
    return _ranking(channel.vector_schema if channel is not None else None, exact)


@lru_cache(maxsize=8)
def _ranking(vector_schema: str | None, exact: bool) -> sa.Select[Any]:  # noqa: FBT001  a cache
    nearby = _all_of_user() if exact else _candidates()
    # Materialised: otherwise each distance is computed wherever it is named.
    near = (
        sa.text(within(nearby, vector_schema).as_string())
        .columns(
            sa.column("id", sa.Uuid()),
            sa.column("distance", sa.Double()),
            *(sa.column(name, MEMORIES.c[name].type) for name in _WEIGHED),
        )
        .cte("near")
        .prefix_with("materialized")
    )
    n = near.c
    relevance = sa.func.coalesce(n.therapeutic_relevance, RELEVANCE)
    decay = decay_sql(
        n.created_at,
        relevance,
        n.memory_type == MemoryType.MILESTONE.value,
        sa.bindparam("at", type_=sa.DateTime()),
    )
    weighed = (
        sa.select(
            n.id,
            (1.0 - n.distance).label("similarity"),
            relevance.label("relevance"),
            decay.label("decay"),
        )
        # A vector of zeros is at distance NaN, which is above every number.
        .where(n.distance <= sa.bindparam("most_distance", type_=sa.Double()))
        .subquery("weighed")
    )
    w = weighed.c
    score = (w.similarity * w.relevance * w.decay).label("final_score")
    best = (
        sa.select(*w, score)
        .order_by(score.desc(), w.id)
        .limit(sa.bindparam("results", type_=sa.Integer()))
        .subquery("best")
    )
    # Only results are read whole.
    values = (best.c.similarity, best.c.relevance, best.c.decay, best.c.final_score)
    return (
        sa.select(*SHOWN, HAS_EMBEDDING, *values)
        .join_from(best, MEMORIES, MEMORIES.c.id == best.c.id)
        .order_by(best.c.final_score.desc(), best.c.id)
    )


#: What the ranking weighs, beside the distance.
_WEIGHED: Final = ("created_at", "therapeutic_relevance", "memory_type")


def _all_of_user() -> sql.Composed:
    """Return the query of a user's memories with their distances, which needs no vector index."""
    return sql.SQL(
        "select id, {column} {cosine} {embedding}::{vector} as distance, {weighed} from {table} "
        "where user_id = {user} and {column} is not null and {condition}"
    ).format(
        column=sql.Identifier(_INDEX.column),
        cosine=VectorName("<=>"),
        embedding=_bind("embedding"),
        vector=VectorName("vector"),
        weighed=columns(_WEIGHED),
        table=placed(_TABLE),
        user=_bind("user_id"),
        condition=sql.SQL(_TABLE.condition),
    )


def _candidates() -> sql.Composed:
    """Return the query of a user's nearest memories by the HNSW index."""
    return sql.SQL(
        "select found.id, found.distance, {weighed} from ({nearest}) as found "
        "join {table} as memory on memory.id = found.id"
    ).format(
        nearest=nearest(_TABLE, _INDEX, filtered=True, bind=_bind),
        weighed=columns(_WEIGHED, "memory"),
        table=placed(_TABLE),
    )


def _bind(name: str) -> sql.Composable:
    return sql.SQL(f"(:{name})")


def _type(value: str) -> str:
    return one_of(MemoryType, value, "memory_types").value


@contextmanager
def _settings_of_search(session: Session, settings: Mapping[str, str]) -> Iterator[None]:
    """Put settings in force for one statement of the caller's transaction, and then back."""
    if not settings:
        yield
        return
    before = session.execute(
        sa.select(*(sa.func.current_setting(name, True) for name in settings))  # noqa: FBT003
    ).one()
    _set(session, settings)
    yield
    # Parameters of pgvector are unknown until its library is loaded; then they had their defaults,
    # which end with the transaction.
    _set(session, {n: v for n, v in zip(settings, before, strict=True) if v is not None})


def _set(session: Session, settings: Mapping[str, str]) -> None:
    session.execute(
        sa.select(*(sa.func.set_config(name, value, True) for name, value in settings.items()))  # noqa: FBT003
    )


def _count_access(session: Session, results: Sequence[MemorySearchResult]) -> None:
    """Note that memories were read; rows that another transaction holds are not waited for."""
    m = MEMORIES.c
    ids = sorted(result.memory.id for result in results)
    free = (
        sa.select(m.id).where(m.id.in_(ids)).order_by(m.id).with_for_update(skip_locked=True)
    ).cte("free")
    session.execute(
        sa.update(MEMORIES)
        .where(m.id == free.c.id)
        .values(access_count=sa.func.coalesce(m.access_count, 0) + 1, accessed_at=now())
    )
