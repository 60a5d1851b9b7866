"""V51 to V56, each seen red, on a database."""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest
import sqlalchemy as sa

from memos_assets.cache import SyncCache, checks, leases, no_redis, replay
from memos_assets.cache.calibration import STRICT, LabelledPair, calibrate_with
from memos_assets.cache.gate import NamespaceRules
from memos_assets.cache.namespaces import Namespace
from memos_assets.cache.thresholds import InForce, in_force, labelled, put_in_force
from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.schema.agent_cache import cache_counts, cache_entries, cache_leases
from memos_assets.settings import Settings

_NO_RULES = NamespaceRules("answers", ())


@pytest.fixture
def context(owner: sa.Engine, shared_settings: Settings) -> Iterator[CheckContext]:
    """Judge the database of this module, with connections that are kept as in a run."""
    engine = create_engine(owner.url, shared_settings, application_name="tests")
    yield CheckContext(engine, MEMOS, shared_settings)
    engine.dispose()


@pytest.fixture
def nothing_left(owner: sa.Engine) -> Iterator[None]:
    """Look that a check leaves nothing behind, however it ends."""
    yield
    with owner.connect() as conn:
        for table in (cache_entries, cache_leases):
            rows = conn.execute(sa.select(table).where(table.c.tenant.like(f"{replay.TENANT}%")))
            assert rows.all() == []
        counted = sa.select(cache_counts).where(cache_counts.c.namespace == replay.NAMESPACE)
        assert conn.execute(counted).all() == []


def test_the_workload_is_the_same_every_time_and_a_few_texts_are_most_of_it() -> None:
    asks = replay.workload(replay.shipped())
    assert asks == replay.workload(replay.shipped())
    assert asks != replay.workload(replay.shipped(), seed=1)
    assert len(asks) == replay.ASKS
    counts = Counter(ask.text for ask in asks)
    assert counts.most_common(1)[0][1] > 20 * min(counts.values())
    texts = [text for ways in replay.shipped() for text in ways]
    assert len(set(texts)) == len(texts)
    assert all(text.isprintable() and len(ways) > 1 for ways in replay.shipped() for text in ways)


@pytest.mark.usefixtures("nothing_left")
def test_v51_semantic_cache_hit_rate_is_above_zero_fails_without_hits_and_with_wrong_ones(
    context: CheckContext,
) -> None:
    found = checks.hit_rate(context, None)
    assert found.passed
    # Without an embedder: what is asked again in the same words, and nothing else.
    assert found.evidence["hit_rate"] == round(found.evidence["repeats"] / replay.ASKS, 4) > 0.6
    assert found.evidence["wrong_rate"] == 0

    # Nothing is found: each answer ends before it is asked for again.
    asks = [replay.Ask("How?", 1)] * 3
    sessions = checks._sessions(context)
    done = replay.replay(sessions, SyncCache(namespaces={"replay": _short()}), asks)
    assert (done.repeats, done.hits, checks.judged_replay(done).passed) == (2, 0, False)

    wrong = replay.Replayed(100, 50, Counter(exact=60, computed=40), (("a", "b"),) * 4)
    assert wrong.wrong_rate == pytest.approx(4 / 60)
    red = checks.judged_replay(wrong)
    assert not red.passed
    assert red.evidence["wrong"][0] == {"asked": "a", "matched": "b"}


def _short() -> Namespace:
    return Namespace("replay", ttl=1e-6, grace=0.0)


def test_v52_wrong_hits_are_within_budget_fails_for_a_threshold_that_new_labels_refute(
    context: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checks.wrong_hits_within_budget(context, None).passed

    class Embedder:
        """Puts the numbers of a text on a circle: near numbers are near texts."""

        model = "circle"

        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            angles = [float(text.rpartition(" ")[2]) / 1_000 for text in texts]
            return np.array([[np.cos(one), np.sin(one)] for one in angles], np.float32)

    # Namespace without rules of numbers, so that the threshold alone decides.
    monkeypatch.setattr("memos_assets.cache.calibration.rules_for", lambda _: _NO_RULES)
    same = [LabelledPair(f"is it {n}", f"is it {n + 100}", same=True) for n in range(50)]
    other = [LabelledPair(f"is it {n}", f"is it {n + 600}", same=False) for n in range(200)]
    (good,) = calibrate_with(Embedder(), [*same, *other], ["answers"])
    assert good.calibrated
    assert good.threshold < STRICT
    with context.engine.begin() as conn:
        assert put_in_force(conn, [good]) == 1
        (kept,) = in_force(conn, "circle")
        assert (kept.threshold, kept.pairs) == (good.threshold, 250)
    # No embedder: as it was measured.
    unset = checks.wrong_hits_within_budget(context, None)
    assert unset.passed
    assert unset.evidence["note"] == "not measured again: M577"

    # People say that answers were wrong, at similarities that are served.
    near = [
        LabelledPair(f"is it {n}", f"is it {n + 150}", same=False, namespace="answers")
        for n in range(100)
    ]
    (now,) = calibrate_with(Embedder(), [*same, *other, *near], ["answers"])
    red = checks.judged_thresholds([kept], [now])
    assert not red.passed
    assert red.observed.startswith(f"answers (circle) at {kept.threshold}: up to 3")
    assert checks.judged_thresholds([kept], [good]).passed
    # Somebody wrote a threshold by hand.
    by_hand = InForce("answers", "circle", 0.8, 0.05, 0.3, 10)
    assert not checks.judged_thresholds([by_hand], []).passed

    with context.engine.begin() as conn:
        few = calibrate_with(Embedder(), same, ["answers"])
        assert put_in_force(conn, few) == 0
        assert in_force(conn) == []


def test_labels_are_those_of_the_file_of_feedback_and_of_shadow_observations(
    context: CheckContext, tmp_path: Any
) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"a": "x", "b": "y", "label": true}\n')
    with context.engine.begin() as conn:
        conn.exec_driver_sql(
            "insert into agent.cache_pairs (namespace, asked, matched, pair, wrong, origin) values "
            "('answers', 'q1', 'm1', '', true, 'feedback'), "
            "('answers', 'q2', 'm2', '', false, 'shadow'), "
            "('answers', 'same', 'same', '', true, 'feedback')"
        )
        settings = context.settings.model_copy(update={"cache_pairs": path})
        assert labelled(conn, settings) == [
            LabelledPair("x", "y", same=True),
            LabelledPair("m1", "q1", same=False, namespace="answers", source="feedback"),
            LabelledPair("m2", "q2", same=True, namespace="answers", source="shadow"),
        ]
        conn.rollback()


@pytest.mark.usefixtures("nothing_left")
def test_v53_nothing_expired_is_served_fails_when_the_function_forgets_the_clock(
    context: CheckContext,
) -> None:
    _store(context.engine, "answers", 3, "moment - interval '1 h'")
    found = checks.nothing_expired_is_served(context, None)
    assert (found.passed, found.evidence) == (True, {"past their life": 3, "served": 0})
    with context.engine.connect() as conn:
        written: str = conn.execute(
            sa.text("select pg_get_functiondef('agent.cache_read'::regproc)")
        ).scalar_one()
    assert written.count("stale_until > clock_timestamp()") == 1
    with context.engine.begin() as conn:
        conn.exec_driver_sql(written.replace("e.stale_until > clock_timestamp()", "true"))
    try:
        red = checks.nothing_expired_is_served(context, None)
    finally:
        with context.engine.begin() as conn:
            conn.exec_driver_sql(written)
        _empty(context.engine)
    assert not red.passed
    assert red.observed == (
        "an answer was served after its life; 3 of 3 answers past their life were served"
    )


def _store(engine: sa.Engine, namespace: str, count: int, ends: str) -> None:
    """Store answers of this second; `ends` is SQL of their number `n` and of `moment`."""
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "insert into agent.cache_entries (key, namespace, scope, query, value, bytes, negative,"
            " fence, stored_at, expires_at, stale_until) select convert_to("
            f"'{namespace}-' || n, 'UTF8'), '{namespace}', '', 'q', '1', 2, false, 0, moment, "
            f"{ends}, {ends} from generate_series(1, {count}) n, date_trunc('second', now()) moment"
        )


def _empty(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.delete(cache_entries))


def test_v54_expiries_are_spread_fails_for_lives_that_are_all_the_same(
    context: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread = "moment + make_interval(secs => 810 + 180 * n / 4000.0)"
    _store(context.engine, "spread", 4_000, spread)
    try:
        found = checks.expiries_are_spread(context, None)
        assert found.passed
        assert [row["of"] for row in found.evidence["peaks"]][-1] == "4,000 stored"
        _store(context.engine, "at-once", 2_000, "moment + interval '15 min'")
        red = checks.expiries_are_spread(context, None)
        assert not red.passed
        assert red.observed == "at-once (2,000 stored): 20.0 times"
    finally:
        _empty(context.engine)
    # Randomness that is none.
    monkeypatch.setattr(checks, "default_rng", lambda: 0.5)
    drawn = checks.expiries_are_spread(context, None)
    assert not drawn.passed
    assert "answers (lives drawn): 180.0 times" in drawn.observed


def test_a_peak_is_a_multiple_of_the_mean_and_not_of_chance() -> None:
    assert checks.peak(np.linspace(0, 99.99, 20_000), 100) == pytest.approx(1, abs=0.02)
    assert checks.peak(np.full(20_000, 7.0), 100) == 100
    # So few that most seconds have none.
    drawn = np.random.default_rng(0).uniform(0, 1_000, 3_000)
    assert checks.peak(drawn, 1_000) < 2


@pytest.mark.usefixtures("nothing_left")
def test_v55_no_duplicate_cache_refresh_fails_when_leases_hold_nobody_back(
    context: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = checks.one_computation_per_miss(context, None)
    assert found.passed, found
    assert found.evidence["origins"].count("computed") == 1

    # Each gets a lease.
    monkeypatch.setattr(
        leases, "take", lambda _, key, holder, life, **__: leases.Lease(key.digest, holder, 1, life)
    )
    red = checks.one_computation_per_miss(context, None)
    assert not red.passed
    assert red.observed.startswith(f"{checks.CALLERS} computations")


def test_v56_nothing_uses_redis_fails_while_a_port_of_it_is_open(
    context: CheckContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The sources are read in test_no_redis.
    monkeypatch.setattr(no_redis, "our_root", lambda: Path(__file__).parent)
    assert checks.nothing_uses_redis(context, None).passed
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setattr(no_redis, "PORTS", (port,))
        red = checks.nothing_uses_redis(context, None)
    assert not red.passed
    assert red.observed == f"process {psutil.Process().pid} has port {port} LISTEN"
