"""V16, V17 and V18: PostgreSQL's search results against ground truth from the source files.

The files of a table are read once for all three, and for all of its indexes.

They are blocking: where one fails, its run fails, and assets downstream of the index are skipped.
That is the report of the same run, which is then written by a run of its own, see `write_report`
in `defs.jobs`, and the swap of a shadow, which takes place only where no step failed.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.check import AnyCheck, Check, CheckContext, Judge, Subject
from memos_assets.finding import Finding
from memos_assets.proof.search.asked import Answer, Asked, Query, tolerance
from memos_assets.proof.search.probes import SEED, Probe
from memos_assets.proof.search.recall import K, ask_table
from memos_assets.proof.search.source_neighbours import SMALL
from memos_assets.proof.search.source_rows import Key
from memos_assets.search.queries import SEARCH_SETTINGS

#: Share of the true neighbours that must be among those that are found.
LEAST_RECALL = 0.99
#: Rows and queries that evidence names.
_MOST_NAMED = 20


def recall_is_exact_enough(asked: Asked) -> Finding:
    """V16: of the true 10 nearest rows, at least 99 of 100 are found, ties counting as right."""
    expected = f"recall@{K} >= {LEAST_RECALL}"
    queries = [query for query in asked.queries if query.wanted]
    if not queries:
        return Finding(
            not asked.truth.rows, expected, "no rows", {"rows": asked.rows, "pins": asked.pins}
        )
    recall = _mean(queries)
    worst = min(queries, key=lambda query: query.recall)
    observed = f"{recall:.4f} over {len(queries)} queries on {asked.truth.rows:,} rows"
    if worst.recall < 1:
        observed += f"; the worst {worst.recall:.2f}: {_named_query(worst.probe)}"
        observed += f", which missed {', '.join(_named(key) for key, _ in worst.missed[:3])}"
    return Finding(
        recall >= LEAST_RECALL,
        expected,
        observed,
        {
            "recall": round(recall, 6),
            "worst_recall": round(worst.recall, 6),
            "worst_query": _named_query(worst.probe),
            "missed": [
                {"source": key[0], "key": "/".join(key[1:]), "distance": distance}
                for key, distance in worst.missed
            ],
            "rows": asked.truth.rows,
            "k": K,
            "seed": SEED,
            **latency(asked),
            "by_filter": list(_by_filter(queries)),
            "queries": [
                {
                    "query": query.probe.about,
                    "filter": query.probe.narrowing,
                    "matching_rows": query.matching,
                    "recall": round(query.recall, 6),
                }
                for query in queries
            ],
            "settings": dict(SEARCH_SETTINGS),
            "strategy": asked.index.strategy,
            "pins": dict(asked.pins),
        },
    )


def latency(asked: Asked) -> dict[str, float]:
    """Return how long searches without a filter took, and exact scans, in milliseconds."""
    searches = [
        answer.milliseconds
        for probe, answer in zip(asked.probes, asked.answers, strict=True)
        if not probe.filters
    ]
    found: dict[str, float] = {}
    for name, times in (("search", searches), ("scan", asked.scans_ms)):
        if times:
            p50, p95 = np.percentile(times, [50, 95]).round(3).tolist()
            found |= {f"{name}_p50_ms": p50, f"{name}_p95_ms": p95}
    return found


def _mean(queries: Sequence[Query]) -> float:
    """Return the share of all rows that should have come."""
    return sum(query.right for query in queries) / sum(query.wanted for query in queries)


def _by_filter(queries: Sequence[Query]) -> Iterator[dict[str, Any]]:
    groups: dict[str, list[Query]] = {}
    for query in queries:
        groups.setdefault(query.probe.narrowing, []).append(query)
    for narrowing, group in groups.items():
        yield {
            "filter": narrowing,
            "matching_rows": max(query.matching for query in group),
            "queries": len(group),
            "recall": round(_mean(group), 6),
        }


def distances_match(asked: Asked) -> Finding:
    """V17: every distance that a search returns is that of the file's own embeddings."""
    allowed = tolerance(asked.index.dimension)
    seen = [
        (abs(distance - exact), query.probe, key, distance, exact)
        for query in asked.queries
        for key, distance in query.answer.hits
        if (exact := query.distances.get(key)) is not None
    ]
    # NaN is within no bound.
    wrong = [one for one in seen if not one[0] <= allowed]
    worst = max(seen, key=lambda one: math.inf if math.isnan(one[0]) else one[0], default=None)
    expected = f"all within {allowed:.1e}"
    if worst is None:
        return Finding(True, expected, "no rows", {"compared": 0, "pins": dict(asked.pins)})  # noqa: FBT003
    error, probe, key, distance, exact = worst
    observed = f"{len(seen)} compared, the worst differs by {error:.1e}"
    if wrong:
        observed = (
            f"{len(wrong)} of {len(seen)} differ by more; the worst by {error:.1e}: "
            f"{_named(key)} for the query {_named_query(probe)}"
        )
    return Finding(
        not wrong,
        expected,
        observed,
        {
            "compared": len(seen),
            "differing": len(wrong),
            "tolerance": allowed,
            "worst_difference": error,
            "worst_row": _named(key),
            "worst_query": _named_query(probe),
            "distance": distance,
            "exact_distance": exact,
            "pins": dict(asked.pins),
        },
    )


def zero_and_null_never_surface(asked: Asked) -> Finding:
    """V18: what has no embedding in its file is never found, and everything else can be."""
    surfaced = list(_surfaced(asked))
    faults = [f"{what}: {_named(key)}" for key, what in surfaced]
    if dict(asked.source_reasons) != dict(asked.stored_reasons):
        faults.append(
            f"without an embedding: {_counted(asked.source_reasons)} in the files, "
            f"{_counted(asked.stored_reasons)} in PostgreSQL"
        )
    if asked.rows != asked.truth.rows:
        faults.append(f"{asked.truth.rows:,} embeddings in the files, {asked.rows:,} in PostgreSQL")
    if asked.zeros:
        faults.append(f"{asked.zeros:,} zero vectors in PostgreSQL")
    lost = []
    if asked.everything is not None:
        lost = sorted(asked.truth.keys - asked.everything.keys)
        faults += [f"never found: {_named(key)}" for key in lost[:_MOST_NAMED]]
    everything = "" if asked.everything is None else f", all of them found by k = {SMALL + 1}"
    return Finding(
        not faults,
        expected="0 rows without an embedding found",
        observed="; ".join(faults[:3])
        or f"0 among {_returned(asked):,} returned; {_counted(asked.source_reasons)} in "
        f"{'both' if asked.source_reasons else 'either'}, {asked.rows:,} embedded{everything}",
        evidence={
            "surfaced": len(surfaced),
            "returned": _returned(asked),
            "embedded_in_sqlite": asked.truth.rows,
            "embedded_in_postgresql": asked.rows,
            "zero_vectors_in_postgresql": asked.zeros,
            "without_in_sqlite": dict(asked.source_reasons),
            "without_in_postgresql": dict(asked.stored_reasons),
            "asked_for_all": asked.everything is not None,
            "never_found": len(lost),
            "faults": faults[:_MOST_NAMED],
            "pins": dict(asked.pins),
        },
    )


def _answers(asked: Asked) -> Iterator[Answer]:
    yield from asked.answers
    if asked.everything is not None:
        yield asked.everything


def _returned(asked: Asked) -> int:
    return sum(len(answer.hits) for answer in _answers(asked))


def _surfaced(asked: Asked) -> Iterator[tuple[Key, str]]:
    """Yield returned rows that should not have been, and why."""
    known: set[Key] = set(asked.truth.keys).union(*asked.truth.distances)
    for key, count in Counter(key for a in _answers(asked) for key in a.keys).items():
        if key not in known:
            reason = asked.without.get(key, "no such embedding in the files")
            yield key, f"found {count} times, {reason}"


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {rows}" for reason, rows in reasons.items()) or "none without"


def _named(key: Key) -> str:
    return "/".join(key)


def _named_query(probe: Probe) -> str:
    return probe.about + (f" where {probe.narrowing}" if probe.filters else "")


def _subjects(catalog: Catalog) -> Iterator[Subject[tuple[TableSpec, str]]]:
    for kind in catalog.consolidated:
        for spec in kind.tables:
            for index in spec.vector_indexes:
                step = f"{kind.name}_recall_checks"
                yield Subject(catalog.names.index(index.name), (spec, index.name), step)


def _by_index(judge: Callable[[Asked], Finding]) -> Judge[tuple[TableSpec, str]]:
    def judged(context: CheckContext, value: tuple[TableSpec, str]) -> Finding:
        spec, index = value
        return judge(context.read_once(ask_table, spec)[index])

    return judged


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=16,
        name="v16_recall_is_exact_enough",
        title="Search finds at least 99 of 100 of the 10 nearest rows that the files hold.",
        fix="drop the index and materialise its asset again; if it stays, raise ef_construction in "
        "memos_assets/catalog",
        where="each HNSW index of a consolidated table",
        reads="searches with seeded queries, against the exact neighbours among the rows of the "
        "pinned files: recall@10 of at least 0.99",
        when_failed="The worst query and the rows that it missed are named: drop the index and "
        "materialise its asset. If it stays, raise `ef_construction` in the catalog.",
        subjects=_subjects,
        judge=_by_index(recall_is_exact_enough),
        blocking=True,
    ),
    Check(
        number=17,
        name="v17_distances_match_the_source",
        title="Every distance that search returns is that of the file's own embedding, to "
        "rounding.",
        fix="load the named row again: memos-assets consolidate --reload",
        where="each HNSW index of a consolidated table",
        reads="every distance that those searches return, against the files' own embeddings",
        when_failed="The worst row is named: `memos-assets consolidate --reload`.",
        subjects=_subjects,
        judge=_by_index(distances_match),
        blocking=True,
    ),
    Check(
        number=18,
        name="v18_zero_and_null_never_surface",
        title="Rows without an embedding never surface in a search, and both sides count the same.",
        fix="load again: memos-assets consolidate --reload",
        where="each HNSW index of a consolidated table",
        reads="every row that those searches return; rows without an embedding by reason, and "
        "embeddings, on both sides; all rows of a small index, asked for at once",
        when_failed="A row without an embedding was found, or one with an embedding cannot be: "
        "`memos-assets consolidate --reload`, then build the index again.",
        subjects=_subjects,
        judge=_by_index(zero_and_null_never_surface),
        blocking=True,
    ),
)
