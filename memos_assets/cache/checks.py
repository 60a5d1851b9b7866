"""V51 to V56: the cache answers, rightly, and once per miss; and nothing of it is Redis.

Two of them are lines of the remediation plan's checklist after phase 1: "Semantic cache hit rate >
0%" is V51, "No duplicate cache refresh" is V55. Its third one is V07.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import sleep
from typing import Any, Final
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import entries, no_redis, replay
from memos_assets.cache.calibration import BUDGET, STRICT, Calibration, calibrate_with
from memos_assets.cache.facade import SyncCache
from memos_assets.cache.key import Scope, key_of
from memos_assets.cache.namespaces import JITTER, NAMESPACES, Namespace, default_rng
from memos_assets.cache.storable import Storable, storable
from memos_assets.cache.thresholds import InForce, in_force, labelled
from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.errors import MemosAssetsError
from memos_assets.finding import Finding
from memos_assets.search.embed import configured_embedder
from memos_assets.settings import Settings

_SHOWN: Final = 10
#: Callers of one missing answer in V55; none shares anything with another but the database.
CALLERS: Final = 4
_COMPUTING_SECONDS: Final = 0.2
#: Lives that are drawn for each namespace, and the parts of the time in which they end.
_DRAWN: Final = 20_000
_PARTS: Final = 180
#: Answers of one second that are enough to see whether their ends are spread.
_ENOUGH: Final = 2_000
#: Entries past their life that are asked for.
_ASKED: Final = 1_000
_PROBED_LIFE: Final = 0.05


def _sessions(context: CheckContext) -> sessionmaker[Session]:
    # session-rule: S001 because a check has an engine, and the cache is given what makes sessions
    return sessionmaker(context.engine, expire_on_commit=False)


def hit_rate(context: CheckContext, _: None) -> Finding:
    """V51: questions that are asked again are answered from the cache."""
    sessions = _sessions(context)
    asks = replay.workload(replay.shipped())
    return judged_replay(replay.replay(sessions, _cache(context.settings), asks))


def _cache(settings: Settings) -> SyncCache:
    return SyncCache() if settings.embedder is None else SyncCache(configured_embedder(settings))


def judged_replay(done: replay.Replayed) -> Finding:
    """V51: every repeated question is a hit, and few hits are wrong."""
    passed = done.hits >= done.repeats > 0 and done.wrong_rate <= BUDGET
    return Finding(
        passed,
        f"at least {done.repeats:,} hits in {done.asks:,} asks, as many were asked before in the "
        f"same words; at most {BUDGET:.0%} of the hits wrong",
        f"{done.hits:,} hits ({done.hit_rate:.1%}), {done.wrong_rate:.1%} of them wrong",
        evidence={
            "asks": done.asks,
            "repeats": done.repeats,
            "hit_rate": round(done.hit_rate, 4),
            "wrong_rate": round(done.wrong_rate, 4),
            "origins": dict(sorted(done.origins.items())),
            # Questions of the project, of no user.
            "wrong": [{"asked": a, "matched": m} for a, m in done.wrong[:_SHOWN]],
        },
    )


def wrong_hits_within_budget(context: CheckContext, _: None) -> Finding:
    """V52: measured again, the thresholds in force serve no more wrong answers than they may."""
    with context.engine.connect() as conn:
        thresholds = in_force(conn)
        pairs = labelled(conn, context.settings) if thresholds else []
    if not thresholds:
        return Finding(
            passed=True,
            expected="false hits within the budget of each threshold in force",
            observed=f"none is in force; the strict default of {STRICT} holds",
        )
    calibrations: list[Calibration] = []
    note = ""
    try:
        embedder = configured_embedder(context.settings)
        mine = [one.namespace for one in thresholds if one.model == embedder.model]
        calibrations = calibrate_with(embedder, pairs, mine)
    except MemosAssetsError as error:
        note = f"not measured again: {error.code}"
    return judged_thresholds(thresholds, calibrations, note)


def judged_thresholds(
    thresholds: Sequence[InForce], calibrations: Sequence[Calibration], note: str = ""
) -> Finding:
    """V52: no threshold in force is over its budget, as stored and as measured again.

    Args:
        thresholds: in force.
        calibrations: measured now, of some of them.
        note: why others were not.
    """
    again = {(one.namespace, one.model): one for one in calibrations}
    rows: list[dict[str, Any]] = []
    over: list[str] = []
    for one in thresholds:
        bound, pairs = one.upper_bound, one.pairs
        now = again.get((one.namespace, one.model))
        if now is not None:
            # Below the curve nothing was measured.
            point = now.at(one.threshold)
            bound, pairs = (1.0 if point is None else point.upper), now.pairs
        red = bound > one.budget
        if red:
            over.append(f"{one.namespace} ({one.model}) at {one.threshold}: up to {bound:.1%}")
        rows.append(
            {
                "namespace": one.namespace,
                "model": one.model,
                "threshold": one.threshold,
                "false hits at most": round(bound, 4),
                "budget": one.budget,
                "pairs": pairs,
                "measured": "before" if now is None else "now",
                "within": not red,
            }
        )
    evidence: dict[str, Any] = {"thresholds": rows} | ({"note": note} if note else {})
    return Finding(
        not over,
        "false hits within the budget of each threshold in force",
        "; ".join(over[:_SHOWN]) or f"{len(rows):,} within their budget",
        evidence=evidence,
    )


_EXPIRED_SERVED: Final = sa.text(
    """
    with ended as (
        select key, user_id, stale_until from agent.cache_entries
        where stale_until <= pg_catalog.clock_timestamp() limit :most)
    select count(*), count(*) filter (where r.fresh or r.usable)
    from ended left join lateral agent.cache_read(key, coalesce(user_id, '')) r on true
    """
)


def nothing_expired_is_served(context: CheckContext, _: None) -> Finding:
    """V53: answers past their life are not served, neither those there are nor one stored here."""
    sessions = _sessions(context)
    key = key_of(replay.NAMESPACE, "how long does this live?", Scope(tenant=_tenant()))
    value = storable({"answer": 0})
    assert key is not None
    assert isinstance(value, Storable)
    with sessions() as session:
        # Rolled back: nobody else sees it.
        entries.act_for(session, None)
        entries.store(session, key, value, _PROBED_LIFE, 0.0)
        before = entries.read(session, key)
        sleep(_PROBED_LIFE * 1.2)
        after = entries.read(session, key)
    with sessions() as session:
        ended, served = session.execute(_EXPIRED_SERVED, {"most": _ASKED}).one()
    wrong = [
        *(["a new answer was not served"] if before is None or not before.fresh else []),
        *(
            ["an answer was served after its life"]
            if after and (after.fresh or after.usable)
            else []
        ),
        *([f"{served:,} of {ended:,} answers past their life were served"] if served else []),
    ]
    return Finding(
        not wrong,
        "no answer past its life and grace is served, and one within it is",
        "; ".join(wrong) or f"none of {ended:,} past their life, and of one stored for the check",
        evidence={"past their life": ended, "served": served},
    )


_ENDS: Final = sa.text(
    """
    select namespace, negative, floor(extract(epoch from stored_at))::bigint as stored,
        array_agg(extract(epoch from expires_at - stored_at)::float8) as lives,
        array_agg(extract(epoch from expires_at)::float8) as ends
    from agent.cache_entries
    group by 1, 2, 3 having count(*) >= :enough
    """
)


def expiries_are_spread(context: CheckContext, _: None) -> Finding:
    """V54: answers that were stored at one moment end at many."""
    shares = {
        name: peak(lives_of(one), one.ttl * 2 * JITTER) for name, one in sorted(NAMESPACES.items())
    }
    with context.engine.connect() as conn:
        stored = conn.execute(_ENDS, {"enough": _ENOUGH}).all()
    rows = [{"namespace": name, "of": "lives drawn", "peak": p} for name, p in shares.items()]
    for row in stored:
        window = 2 * JITTER * float(np.median(row.lives))
        found = peak(np.asarray(row.ends, np.float64), window)
        rows.append({"namespace": row.namespace, "of": f"{len(row.ends):,} stored", "peak": found})
    bad = [row for row in rows if float(str(row["peak"])) > 2]
    said = "; ".join(f"{row['namespace']} ({row['of']}): {row['peak']:.1f} times" for row in bad)
    return Finding(
        not bad,
        "no second in which answers end has more than twice the mean",
        said or f"at most {max(float(str(row['peak'])) for row in rows):.2f} times the mean",
        evidence={"peaks": rows},
    )


def lives_of(namespace: Namespace) -> npt.NDArray[np.float64]:
    """Return lives as they are given to answers now, float64 seconds."""
    drawn = (namespace.life(None, negative=False, rng=default_rng) for _ in range(_DRAWN))
    return np.fromiter(drawn, np.float64, _DRAWN)


def peak(ends: npt.NDArray[np.float64], window: float) -> float:
    """Return the most ends in one part of a window, as a multiple of the mean of its parts.

    A part is a second, longer where the window has more than `_PARTS` seconds, or where a second
    would have too few ends to tell a peak from chance.

    Args:
        ends: seconds, float64 (answers,).
        window: seconds over which they should be spread.
    """
    parts = max(2, min(math.ceil(window), _PARTS, len(ends) // 100))
    width = window / parts
    counts = np.bincount(((ends - ends.min()) // width).astype(np.int64))
    return round(float(counts.max() * parts / len(ends)), 2)


def one_computation_per_miss(context: CheckContext, _: None) -> Finding:
    """V55: callers of one missing answer, who share nothing but the database, compute it once."""
    sessions = _sessions(context)
    tenant = _tenant()
    ready = threading.Barrier(CALLERS)
    computed: list[int] = []

    def call(number: int) -> tuple[str, Any]:
        # A cache of its own has flights of its own, as a process has.
        mine = SyncCache()

        def compute() -> dict[str, int]:
            computed.append(number)
            sleep(_COMPUTING_SECONDS)
            return {"answer": number}

        ready.wait()
        found = mine.get_or_compute(
            sessions,
            namespace=replay.NAMESPACE,
            query="who computes this?",
            compute=compute,
            scope=Scope(tenant=tenant),
        )
        return found.origin, found.value

    try:
        with ThreadPoolExecutor(CALLERS) as pool:
            answers = list(pool.map(call, range(CALLERS)))
    finally:
        replay.forget(sessions, tenant)
    values = {str(value) for _, value in answers}
    return Finding(
        len(computed) == 1 and len(values) == 1,
        f"1 computation and 1 answer for {CALLERS} callers at once",
        f"{len(computed):,} computations, {len(values):,} different answers",
        evidence={"origins": sorted(origin for origin, _ in answers)},
    )


def nothing_uses_redis(_: CheckContext, __: None) -> Finding:
    """V56: no import, requirement, deployment or open port is Redis's."""
    found = no_redis.traces()
    return Finding(
        not found.found,
        "no import of a Redis client, and none of the ports "
        f"{', '.join(map(str, no_redis.PORTS))} open",
        "; ".join(found.found[:_SHOWN]) or "none",
        evidence={"files": found.files, "processes": found.processes, "found": list(found.found)},
    )


def _tenant() -> str:
    return f"{replay.TENANT}{uuid4()}"


def _census(catalog: Catalog) -> Iterator[Subject[None]]:
    if catalog.application:
        yield Subject(catalog.names.cache("census"), None, "cache_checks")


def _calibration(catalog: Catalog) -> Iterator[Subject[None]]:
    if catalog.application:
        yield Subject(catalog.names.cache("calibration"), None, "cache_calibration_checks")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=51,
        name="v51_semantic_cache_hit_rate_is_above_zero",
        title="Questions of a replayed workload that were asked before are answered from the "
        "cache, and few wrongly.",
        fix="see the origins in the evidence: without any hit nothing is stored; where hits are "
        "wrong, calibrate (memos/cache/calibration)",
        where="`memos/cache/census`",
        reads="the answers to a workload of the project's own questions, some asked often, asked "
        "under a tenant of its own and removed afterwards",
        when_failed="The remediation plan's line *Semantic cache hit rate > 0%*. Answers are not "
        "stored, or not found, or found for other questions. The evidence names wrong pairs.",
        subjects=_census,
        judge=hit_rate,
        group="cache",
    ),
    Check(
        number=52,
        name="v52_wrong_hits_are_within_budget",
        title="Every threshold in force serves at most as many wrong answers as its budget allows.",
        fix="materialise memos/cache/calibration, which puts a measured threshold in force, or "
        "none",
        where="`memos/cache/calibration`",
        reads="`agent.cache_thresholds`; labelled pairs (`MEMOS_CACHE_PAIRS`, feedback, shadow "
        "observations), embedded and judged by the gate again; Wilson's upper bound",
        when_failed="Feedback or new pairs show that a threshold serves more wrong answers than "
        "it may. Runs with this check fail, and assets after the calibration wait.",
        subjects=_calibration,
        judge=wrong_hits_within_budget,
        group="cache",
        blocking=True,
    ),
    Check(
        number=53,
        name="v53_nothing_expired_is_served",
        title="No answer is served past its life and grace.",
        fix="compare the function agent.cache_read with its revision: memos-assets migrate",
        where="`memos/cache/census`",
        reads="every answer past its life, asked for by its key (1,000 at most); an answer that "
        "lives for 50 ms, asked for before and after, in a transaction that is rolled back",
        when_failed="Readers get answers that are no longer right. `agent.cache_read` decides "
        "by the server's clock; somebody changed it, or the clock was set back.",
        subjects=_census,
        judge=nothing_expired_is_served,
        group="cache",
    ),
    Check(
        number=54,
        name="v54_expiries_are_spread",
        title="Answers of one moment do not end at one moment: no second has more than twice the "
        "mean.",
        fix="give each answer a life of its own: Namespace.life, with a source of randomness",
        where="`memos/cache/census`",
        reads="lives drawn as answers get them; the ends of answers that were stored within one "
        "second, where these are 2,000 or more",
        when_failed="Many answers end at once, and are computed again at once. Somebody stores "
        "with lives that are all the same.",
        subjects=_census,
        judge=expiries_are_spread,
        group="cache",
    ),
    Check(
        number=55,
        name="v55_no_duplicate_cache_refresh",
        title="Callers of one missing answer, in processes of their own, have it computed once.",
        fix="see agent.cache_leases, and the section on leases in docs/caches.md",
        where="`memos/cache/census`",
        reads="how often an answer is computed that several callers ask for at once; they share "
        "nothing but the database",
        when_failed="The remediation plan's line *No duplicate cache refresh*. Leases do not "
        "hold callers back: each miss of a popular question costs as many computations as it has "
        "callers.",
        subjects=_census,
        judge=one_computation_per_miss,
        group="cache",
    ),
    Check(
        number=56,
        name="v56_nothing_uses_redis",
        title="Nothing of ours imports a Redis client, and none of its ports is opened.",
        fix="remove the import, the requirement or the service that is named; decision 016 says "
        "from which load on Redis is right",
        where="`memos/cache/census`",
        reads="Python sources, requirements and the deployment of this installation; connections "
        "of the run's processes",
        when_failed="The remediation plan's phase 6 is decided: PostgreSQL is the only server. "
        "What is named uses another one.",
        subjects=_census,
        judge=nothing_uses_redis,
        group="cache",
    ),
)
