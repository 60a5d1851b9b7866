"""The remediation plan's interface: pages, results, similar queries, cleaning up and statistics."""

import asyncio

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Cache, Computed, Namespace, Scope, SyncCache, counters
from memos_assets.cache.census import census
from memos_assets.cache.limits import enforce_limits
from memos_assets.cache.namespaces import JITTER
from memos_assets.cache.statistics import statistics
from memos_assets.memory.sessions import open_memory_sessions
from memos_assets.search.embed import DeterministicEmbedder, ThreadedEmbedder
from memos_assets.settings import Settings
from memos_assets_tests.cache.test_by_meaning import NEAR, Near

Sessions = sessionmaker[Session]


def test_pages_and_results_are_there_with_asyncio_and_without(
    sessions: Sessions, scope: Scope, shared_settings: Settings
) -> None:
    page = ("Title", "text", "html")
    sync = SyncCache(Near())
    assert sync.set_content(sessions, "http://a", *page, scope=scope).stored
    assert sync.set_query_result(sessions, NEAR[0][0], {"data": 1}, scope=scope).stored

    async def run() -> None:
        async with open_memory_sessions(shared_settings) as made:
            cache = Cache(ThreadedEmbedder(Near()))
            found = await cache.get_content(made, "http://a", scope=scope)
            assert found == sync.get_content(sessions, "http://a", scope=scope)
            assert found is not None
            assert (found["title"], found["content"], found["success"]) == ("Title", "text", True)
            assert await cache.get_content(made, "http://b", scope=scope) is None
            assert (await cache.set_content(made, "http://b", *page, scope=scope)).stored
            exact = await cache.get_query_result(made, NEAR[0][0], scope=scope)
            assert exact == {"data": 1, "from_cache": True}
            near = await cache.find_similar_query(made, NEAR[0][1], scope=scope)
            assert near == sync.find_similar_query(sessions, NEAR[0][1], scope=scope)
            assert near is not None
            assert near["matched_query"] == NEAR[0][0]
            assert near["similarity_score"] > 0.88
            stored = await cache.set_query_result(made, "x", Computed(1, acted=True), scope=scope)
            assert (stored.stored, stored.refused) == (False, "acted")
            await cache.flush(made)
            shown = (await cache.get_stats(made, scope=scope))["query_cache"]
            assert shown["hits"]["semantic"] >= 1
            assert shown["total_entries"] == 1

    asyncio.run(run())
    assert sync.get_content(sessions, "http://b", scope=scope) is not None


def test_a_page_that_could_not_be_read_is_remembered_shortly(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    cache = SyncCache(rng=lambda: 0.5)
    cache.set_content(
        sessions, "http://x", None, "", "error", success=False, error="404", scope=scope
    )
    found = cache.get_content(sessions, "http://x", scope=scope)
    assert found is not None
    assert (found["success"], found["error"]) == (False, "404")
    life = sa.text(
        "select extract(epoch from expires_at - stored_at) from agent.cache_entries "
        "where user_id = :u"
    )
    with owner.connect() as conn:
        assert conn.execute(life, {"u": scope.user}).scalar_one() == 30


def test_a_vector_without_its_text_finds_its_very_query_alone(
    sessions: Sessions, scope: Scope
) -> None:
    cache = SyncCache(Near())
    asked, reworded = NEAR[0]
    cache.set_query_result(sessions, asked, {"data": 1}, scope=scope)
    mine, near = Near().embed([asked, reworded])
    assert cache.find_similar_query(sessions, mine, scope=scope) is not None
    assert cache.find_similar_query(sessions, near, scope=scope) is None
    # Not even one that is all but the same: no rule has seen its words.
    close = mine + np.linspace(0.0, 0.003, len(mine))
    assert float(close @ mine / np.linalg.norm(close)) > 0.9999
    assert cache.find_similar_query(sessions, close, scope=scope) is None
    counted = cache.counters.take(now=True)
    assert counted is not None
    assert counted.outcomes["queries", "miss", "gate: no text"] == 2
    for nonsense in (np.zeros(8), [1.0, 2.0], np.full(8, np.nan), None):
        assert cache.find_similar_query(sessions, nonsense, scope=scope) is None
    assert cache.find_similar_query(sessions, NEAR[1][1], scope=scope) is None


def test_lives_differ_by_a_tenth_at_most_and_hits_do_not_extend_them(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    for query, drawn in (("low", 0.0), ("high", 0.999999)):
        SyncCache(rng=lambda drawn=drawn: drawn).set_query_result(
            sessions, query, 1, ttl_override=100, scope=scope
        )
    rows = sa.text(
        "select query, extract(epoch from expires_at - stored_at)::float8, expires_at "
        "from agent.cache_entries where user_id = :u order by 1 desc"
    )
    with owner.connect() as conn:
        before = conn.execute(rows, {"u": scope.user}).all()
        for _ in range(3):
            assert SyncCache().get_query_result(sessions, "low", scope=scope) is not None
        conn.rollback()
        assert conn.execute(rows, {"u": scope.user}).all() == before
    assert [row[0] for row in before] == ["low", "high"]
    assert [row[1] for row in before] == pytest.approx([100 * (1 - JITTER), 100 * (1 + JITTER)])
    refused = SyncCache().set_query_result(sessions, "never", 1, ttl_override=0, scope=scope)
    assert refused.stored is False


def test_what_is_past_its_life_is_not_served_and_goes_in_the_background(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    cache = SyncCache()
    ended = sa.text(
        "update agent.cache_entries set expires_at = now(), stale_until = now() "
        "where user_id = :u and query = 'ended'"
    )
    count = sa.text("select count(*) from agent.cache_entries where user_id = :u")
    for query in ("ended", "alive"):
        cache.set_query_result(sessions, query, 1, scope=scope)
    with owner.begin() as conn:
        conn.execute(ended, {"u": scope.user})
    assert cache.get_query_result(sessions, "ended", scope=scope) is None
    with owner.connect() as conn:
        statistics(conn)
        assert conn.execute(count, {"u": scope.user}).scalar_one() == 2
        conn.rollback()
    assert cache.cleanup_expired(sessions, scope=Scope(user="another")) == (0, 0)
    assert cache.cleanup_expired(sessions, scope=scope) == (0, 1)
    assert cache.get_query_result(sessions, "alive", scope=scope) is not None


def test_a_result_that_was_read_and_is_stored_again_keeps_the_life_that_it_was_given(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    read = {"data": 1, "from_cache": True}
    assert SyncCache().set_query_result(sessions, "q", Computed(read, ttl=5.0), scope=scope).stored
    stored = sa.text(
        "select value, expires_at < now() + interval '1 minute' from agent.cache_entries "
        "where user_id = :u"
    )
    with owner.connect() as conn:
        assert conn.execute(stored, {"u": scope.user}).one() == ('{"data": 1}', True)


def test_namespaces_keep_to_their_limits_by_use(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    space = f"small-{scope.user}"
    cache = SyncCache()
    for query in "abcdef":
        cache.get_or_compute(
            sessions, namespace=space, query=query, compute=lambda: "x" * 100, scope=scope
        )
    cache.get_or_compute(sessions, namespace=space, query="a", compute=list, scope=scope)
    cache.flush(sessions)

    def left() -> str:
        listed = sa.text("select query from agent.cache_entries where namespace = :n order by 1")
        with owner.connect() as conn:
            return "".join(conn.execute(listed, {"n": space}).scalars())

    for rows, size, kept in ((4, 10**6, "adef"), (100, 250, "af")):
        with owner.connect() as conn:
            done = enforce_limits(conn, {space: Namespace(space, rows=rows, bytes=size)})
        assert left() == kept
        assert done.evicted[space] == 2
    with owner.connect() as conn:
        stats = statistics(conn)[space]
    assert (stats.hits, stats.misses) == ({"exact": 1}, {"absent": 6})
    assert stats.hit_rate == pytest.approx(1 / 7)
    assert stats.uses == 1


def test_an_expired_answer_is_served_within_its_grace_while_another_computes(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    cache, origins = SyncCache(), []

    def inner() -> str:
        other = SyncCache().get_or_compute(
            sessions, namespace="answers", query="q", compute=lambda: "twice", scope=scope
        )
        origins.append((other.value, other.origin))
        return "new"

    cache.get_or_compute(
        sessions, namespace="answers", query="q", compute=lambda: "old", scope=scope
    )
    with owner.begin() as conn:
        conn.execute(
            sa.text("update agent.cache_entries set expires_at = now() where user_id = :u"),
            {"u": scope.user},
        )
    found = cache.get_or_compute(
        sessions, namespace="answers", query="q", compute=inner, scope=scope
    )
    assert (found.value, found.origin, found.reason) == ("new", "computed", "expired")
    assert origins == [("old", "stale")]


def test_lookups_write_their_counts_without_being_told_to(
    sessions: Sessions, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SyncCache(Near())
    cache.set_content(sessions, "http://a", "Title", "text", "html", scope=scope)
    cache.set_query_result(sessions, NEAR[0][0], 1, scope=scope)
    monkeypatch.setattr(counters, "_SECONDS", 0.0)
    cache.get_content(sessions, "http://a", scope=scope)
    cache.find_similar_query(sessions, NEAR[0][1], scope=scope)
    shown = cache.get_stats(sessions, scope=scope)
    assert [shown[name]["total_hits"] for name in ("content_cache", "query_cache")] == [1, 1]


def test_counts_are_written_after_so_many_entries() -> None:
    counted = counters.Counters()
    for number in range(1_000):
        assert counted.take() is None
        counted.use("one user", number)
    assert counted.take() is not None


def test_without_a_database_the_caller_has_its_value(scope: Scope) -> None:
    engine = sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
    cache = SyncCache(DeterministicEmbedder(8))
    for _ in range(2):
        found = cache.get_or_compute(
            sessionmaker(engine), namespace="answers", query="q", compute=lambda: 7, scope=scope
        )
        assert (found.value, found.origin, found.reason) == (7, "computed", "unavailable")
    assert cache.get_content(sessionmaker(engine), "http://a") is None
    assert cache.set_query_result(sessionmaker(engine), "q", 1).refused == "unavailable"


def test_a_similar_query_may_be_the_query_itself(sessions: Sessions, scope: Scope) -> None:
    cache = SyncCache(Near())
    cache.set_query_result(sessions, NEAR[0][0], {"data": 1}, scope=scope)
    found = cache.find_similar_query(sessions, f" {NEAR[0][0]}", scope=scope)
    assert found is not None
    assert (found["data"], found["matched_query"]) == (1, NEAR[0][0])
    assert found["similarity_score"] == pytest.approx(1)


def test_labelled_pairs_are_kept_within_limits_the_newest(owner: sa.Engine, scope: Scope) -> None:
    space = f"pairs-{scope.user}"
    add = sa.text(
        "insert into agent.cache_pairs (namespace, asked, matched, pair, wrong, origin) "
        "select :n, 'a' || i, 'b', pg_catalog.sha256(i::text::bytea), i % 2 = 0, 'feedback' "
        "from pg_catalog.generate_series(1, 20) i"
    )
    left = sa.text("select asked from agent.cache_pairs where namespace = :n order by number")
    with owner.connect() as conn:
        conn.execute(add, {"n": space})
        conn.commit()
        assert enforce_limits(conn, pairs=(2, 5)).pairs >= 13
        found = conn.execute(left, {"n": space}).scalars().all()
    assert found == ["a12", "a14", "a16", "a17", "a18", "a19", "a20"]


def test_an_outcome_that_nobody_knows_breaks_no_statistics(owner: sa.Engine, scope: Scope) -> None:
    space = f"outcomes-{scope.user}"
    add = sa.text(
        "insert into agent.cache_counts (namespace, hour, outcome, reason, count) values "
        "(:n, pg_catalog.now(), 'computed', '', 3), (:n, pg_catalog.now(), 'hit', 'exact', 2)"
    )
    with owner.begin() as conn:
        conn.execute(add, {"n": space})
        found = statistics(conn)[space]
        assert (found.hits, found.misses) == ({"exact": 2}, {})
        assert census(conn).asked[space].others == {"computed": 3}
