"""Search by meaning: ranked in SQL, by the index of users with many memories and exactly else."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.catalog.memos_tables import MEMORIES as DESCRIBED
from memos_assets.errors import AgentError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.memory.acting import act_as
from memos_assets.memory.service import ranked
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.prepared import SearchQuery, prepared
from memos_assets.memory.service.ranked import retrieve_memories
from memos_assets.memory.service.store import store_memory
from memos_assets.memory.service.therapeutic import memory_decay
from memos_assets.memory.service.values import MEMORIES, USER_SETTINGS, now
from memos_assets.postgres.connection import driver_of
from memos_assets.search.plans import plan_nodes
from memos_assets_tests.memory.service.conftest import MXBAI, USER

QUERY = np.eye(1, 1_024, dtype=np.float32)[0]


def towards(cosine: float, place: int = 1) -> np.ndarray:
    """A unit vector at a cosine to `QUERY`."""
    vector = np.zeros(1_024, np.float32)
    vector[0], vector[place] = cosine, math.sqrt(1 - cosine**2)
    return vector


def query(vector: np.ndarray = QUERY) -> SearchQuery:
    return SearchQuery("text", vector, MXBAI)


def add(session: Session, keys: KeyRing, name: str, cosine: float | None, **values: Any) -> None:
    """Store a memory, then set columns of its row."""
    user = values.pop("user_id", USER)
    act_as(session, user=user)
    memory = store_memory(session, user, prepared(keys, name))
    values = {"embedding_vector": None if cosine is None else towards(cosine), **values}
    session.execute(sa.update(MEMORIES).where(MEMORIES.c.id == memory.id).values(**values))
    act_as(session, user=USER)


@pytest.fixture(params=["exactly", "by the index"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each user has many memories, or few."""
    monkeypatch.setattr(ranked, "EXACT_UP_TO", 5_000 if request.param == "exactly" else -1)
    return str(request.param)


def names(session: Session, keys: KeyRing, **arguments: Any) -> list[str | None]:
    found = retrieve_memories(session, USER, query(), keys=keys, **arguments)
    return [one.memory.content for one in found]


def test_the_ranking_is_the_product_of_similarity_relevance_and_decay(
    session: Session, keys: KeyRing, way: str
) -> None:
    old = now() - timedelta(days=40)
    rows: Sequence[tuple[str, float, dict[str, Any]]] = [
        ("near", 0.95, {"therapeutic_relevance": 0.5}),
        ("relevant", 0.8, {"therapeutic_relevance": 0.9}),
        ("old", 0.99, {"therapeutic_relevance": 0.9, "created_at": old}),
        ("milestone", 0.99, {"created_at": old, "memory_type": "milestone"}),
        ("unweighed", 0.75, {"therapeutic_relevance": None}),
    ]
    for name, cosine, values in rows:
        add(session, keys, name, cosine, **values)
    # memOS returned nothing to a user without settings.
    assert session.scalar(sa.select(sa.func.count()).select_from(USER_SETTINGS)) == 0
    found = retrieve_memories(session, USER, query(), keys=keys)
    by_name = {one.memory.content: one for one in found}
    assert [one.memory.content for one in found] == [
        *("relevant", "near", "unweighed", "milestone", "old"),
    ], way
    for name, cosine, values in rows:
        one = by_name[name]
        weight = values.get("therapeutic_relevance", one.memory.therapeutic_relevance)
        assert one.similarity_score == pytest.approx(cosine, abs=1e-5)
        assert one.therapeutic_relevance == (0.5 if weight is None else weight)
        decay = memory_decay(
            one.memory.created_at,
            one.therapeutic_relevance,
            is_milestone=name == "milestone",
        )
        assert one.decay_factor == pytest.approx(decay, rel=1e-6)
        assert one.final_score == pytest.approx(
            one.similarity_score * one.therapeutic_relevance * one.decay_factor
        )
    assert names(session, keys, limit=2) == ["relevant", "near"]
    assert names(session, keys, min_similarity=0.97) == ["milestone", "old"]
    assert names(session, keys, memory_types=["milestone"]) == ["milestone"]
    assert names(session, keys, memory_types=["crisis"]) == []


def test_what_is_not_shown_is_not_found(session: Session, keys: KeyRing, way: str) -> None:
    moment = now()
    add(session, keys, "shown", 0.9)
    add(session, keys, "later", 0.9, expires_at=moment + timedelta(minutes=5))
    add(session, keys, "expired", 0.9, expires_at=moment - timedelta(seconds=1))
    add(session, keys, "deleted", 0.9, is_deleted=True)
    add(session, keys, "not agreed", 0.9, consent_given=False)
    add(session, keys, "waits", None)
    # memOS stores zeros where an embedding failed; their distance is NaN.
    add(session, keys, "zeros", None, embedding_vector=np.zeros(1_024, np.float32))
    add(session, keys, "of another", 1.0, user_id="u2")
    # In Kiritimati it is 14 hours later, in Honolulu 10 earlier.
    for zone in ("Pacific/Kiritimati", "Pacific/Honolulu"):
        session.execute(sa.text(f"set local timezone to '{zone}'"))
        assert sorted(map(str, names(session, keys))) == ["later", "shown"], (way, zone)
    session.execute(
        sa.insert(USER_SETTINGS).values(user_id=USER, memory_enabled=False, created_at=moment)
    )
    assert names(session, keys) == []


def test_an_access_is_counted_and_nobody_waits_for_it(
    session: Session, keys: KeyRing, engine: sa.Engine
) -> None:
    add(session, keys, "one", 0.9, access_count=None)
    add(session, keys, "two", 0.8)
    session.commit()
    act_as(session, user=USER)
    counts = sa.select(MEMORIES.c.access_count).order_by(MEMORIES.c.created_at)
    # Another transaction has one of the rows, and must not stop the search.
    with engine.begin() as other:
        other.execute(
            sa.text("update public.memories set quality_score = 1 where access_count is null")
        )
        session.execute(sa.text("set local lock_timeout to '2s'"))
        assert len(retrieve_memories(session, USER, query())) == 2
    assert session.execute(counts).scalars().all() == [None, 1]
    retrieve_memories(session, USER, query())
    retrieve_memories(session, USER, query(), track=False)
    assert session.execute(counts).scalars().all() == [1, 2]
    session.commit()
    act_as(session, user=USER)
    session.execute(sa.text("set transaction read only"))
    assert len(retrieve_memories(session, USER, query(), track=False)) == 2


def test_arguments_that_cannot_be_are_refused(session: Session) -> None:
    for wrong in (
        {"limit": 0},
        {"limit": 101},
        {"min_similarity": 1.1},
        {"min_similarity": float("nan")},
        {"memory_types": ["nonsense"]},
    ):
        arguments: dict[str, Any] = wrong
        with pytest.raises(AgentError, match=r"^M746 "):
            retrieve_memories(session, USER, query(), **arguments)


def test_users_of_many_memories_are_searched_by_the_index_and_the_settings_go_back(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as conn:
        conn.execute(
            sa.text(
                "insert into public.memories (id, user_id, content_hash, encrypted_content, "
                "memory_type, privacy_level, embedding_vector, created_at, consent_given) "
                "select gen_random_uuid(), case when n % 3 = 0 then 'u1' else 'u2' end, 'h', '', "
                "'conversational', 'balanced', (select array_agg(sin(n * 7919 + i * i * 0.37)) "
                "from generate_series(1, 1024) i)::real[]::public.vector, "
                "now() at time zone 'utc', true from generate_series(1, 1200) n"
            )
        )
        conn.execute(sa.text("analyze public.memories"))
    (index,) = [one for one in search_indexes(DESCRIBED.as_table) if one.graph is not None]
    ensure_index(engine, index, maintenance_work_mem_mb=64)
    with Session(engine) as session:
        act_as(session, user=USER)
        vector = np.random.default_rng(7).standard_normal(1_024).astype(np.float32)
        some = query(vector / np.linalg.norm(vector))
        arguments: dict[str, Any] = {"min_similarity": -1, "limit": 5, "track": False}
        with plans(session) as planned:
            exact = retrieve_memories(session, USER, some, **arguments)
            monkeypatch.setattr(ranked, "EXACT_UP_TO", 100)
            before = shown(session)
            indexed = retrieve_memories(session, USER, some, **arguments)
        assert shown(session) == before
        assert index.name not in planned[0]
        assert "ix_memories_user_id" in planned[0] or "idx_memories_user_created" in planned[0]
        assert index.name in planned[1]
        assert [one.memory.id for one in indexed] == [one.memory.id for one in exact]
        assert {one.memory.user_id for one in indexed} == {USER}


def shown(session: Session) -> str:
    names = ("enable_seqscan", "enable_sort", "hnsw.ef_search", "jit", "hnsw.iterative_scan")
    return str(session.execute(sa.select(*(sa.func.current_setting(n) for n in names))).one())


@contextmanager
def plans(session: Session) -> Iterator[list[set[str]]]:
    """Gather, for each search of a block, the indexes that PostgreSQL plans it with."""
    seen: list[set[str]] = []
    conn = session.connection()

    def explain(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "final_score" in statement:
            driver = driver_of(conn)
            row = driver.execute(f"explain (format json) {statement}", parameters).fetchone()
            assert row is not None
            nodes = plan_nodes(row[0][0]["Plan"])
            seen.append({node["Index Name"] for node in nodes if "Index Name" in node})

    sa.event.listen(conn, "before_cursor_execute", explain)
    yield seen
    sa.event.remove(conn, "before_cursor_execute", explain)
