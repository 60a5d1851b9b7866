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
from memos_assets.proof.search.measurement import (
    IndexMeasurement,
    MeasuredQuery,
    SearchResult,
    tolerance,
)
from memos_assets.proof.search.queries import SEED, Query
from memos_assets.proof.search.recall import K, measure_table
from memos_assets.proof.search.source_neighbours import SMALL
from memos_assets.proof.search.source_rows import Key
from memos_assets.search.queries import SEARCH_SETTINGS

#: Least recall@10 that passes V16.
LEAST_RECALL = 0.99
#: The most rows and queries that evidence names.
_MOST_NAMED = 20


def recall_is_exact_enough(measurement: IndexMeasurement) -> Finding:
    """V16: recall@10 against ground truth is at least 0.99; rows of equal distance are equal."""
    expected = f"recall@{K} >= {LEAST_RECALL}"
    queries = [one for one in measurement.measured_queries if one.wanted]
    if not queries:
        return Finding(
            not measurement.ground_truth.rows,
            expected,
            "no rows",
            {"rows": measurement.rows, "pins": measurement.pins},
        )
    recall = _mean(queries)
    worst = min(queries, key=lambda one: one.recall)
    observed = f"{recall:.4f} over {len(queries)} queries on {measurement.ground_truth.rows:,} rows"
    if worst.recall < 1:
        observed += f"; the worst {worst.recall:.2f}: {_named_query(worst.query)}"
        observed += f", which missed {', '.join(_named(key) for key, _ in worst.missed[:3])}"
    return Finding(
        recall >= LEAST_RECALL,
        expected,
        observed,
        {
            "recall": round(recall, 6),
            "worst_recall": round(worst.recall, 6),
            "worst_query": _named_query(worst.query),
            "missed": [
                {"source": key[0], "key": "/".join(key[1:]), "distance": distance}
                for key, distance in worst.missed
            ],
            "rows": measurement.ground_truth.rows,
            "k": K,
            "seed": SEED,
            **latency(measurement),
            "by_filter": list(_by_filter(queries)),
            "queries": [
                {
                    "query": one.query.about,
                    "filter": one.query.filter_text,
                    "matching_rows": one.matching,
                    "recall": round(one.recall, 6),
                }
                for one in queries
            ],
            "settings": dict(SEARCH_SETTINGS),
            "strategy": measurement.index.strategy,
            "pins": dict(measurement.pins),
        },
    )


def latency(measurement: IndexMeasurement) -> dict[str, float]:
    """Return how long searches without a filter took, and exact scans, in milliseconds."""
    searches = [
        result.milliseconds
        for query, result in zip(measurement.queries, measurement.results, strict=True)
        if not query.filters
    ]
    found: dict[str, float] = {}
    for name, times in (("search", searches), ("scan", measurement.scans_ms)):
        if times:
            p50, p95 = np.percentile(times, [50, 95]).round(3).tolist()
            found |= {f"{name}_p50_ms": p50, f"{name}_p95_ms": p95}
    return found


def _mean(queries: Sequence[MeasuredQuery]) -> float:
    """Return the recall over all queries, weighted by their number of expected rows."""
    return sum(query.right for query in queries) / sum(query.wanted for query in queries)


def _by_filter(queries: Sequence[MeasuredQuery]) -> Iterator[dict[str, Any]]:
    groups: dict[str, list[MeasuredQuery]] = {}
    for one in queries:
        groups.setdefault(one.query.filter_text, []).append(one)
    for filter_text, group in groups.items():
        yield {
            "filter": filter_text,
            "matching_rows": max(query.matching for query in group),
            "queries": len(group),
            "recall": round(_mean(group), 6),
        }


def distances_match(measurement: IndexMeasurement) -> Finding:
    """V17: every distance that a search returns equals the distance of the file's embeddings."""
    allowed = tolerance(measurement.index.dimension)
    seen = [
        (abs(distance - exact), measured.query, key, distance, exact)
        for measured in measurement.measured_queries
        for key, distance in measured.result.hits
        if (exact := measured.distances.get(key)) is not None
    ]
    # NaN is within no bound.
    wrong = [one for one in seen if not one[0] <= allowed]
    worst = max(seen, key=lambda one: math.inf if math.isnan(one[0]) else one[0], default=None)
    expected = f"all within {allowed:.1e}"
    if worst is None:
        return Finding(True, expected, "no rows", {"compared": 0, "pins": dict(measurement.pins)})  # noqa: FBT003
    error, query, key, distance, exact = worst
    observed = f"{len(seen)} compared, the worst differs by {error:.1e}"
    if wrong:
        observed = (
            f"{len(wrong)} of {len(seen)} differ by more; the worst by {error:.1e}: "
            f"{_named(key)} for the query {_named_query(query)}"
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
            "worst_query": _named_query(query),
            "distance": distance,
            "exact_distance": exact,
            "pins": dict(measurement.pins),
        },
    )


def zero_and_null_never_surface(measurement: IndexMeasurement) -> Finding:
    """V18: rows without an embedding in their file are never found, all others can be."""
    surfaced = list(_surfaced(measurement))
    faults = [f"{what}: {_named(key)}" for key, what in surfaced]
    if dict(measurement.source_reasons) != dict(measurement.stored_reasons):
        faults.append(
            f"without an embedding: {_counted(measurement.source_reasons)} in the files, "
            f"{_counted(measurement.stored_reasons)} in PostgreSQL"
        )
    embedded = measurement.ground_truth.rows
    if measurement.rows != embedded:
        faults.append(f"{embedded:,} embeddings in the files, {measurement.rows:,} in PostgreSQL")
    if measurement.zeros:
        faults.append(f"{measurement.zeros:,} zero vectors in PostgreSQL")
    lost = []
    if measurement.everything is not None:
        lost = sorted(measurement.ground_truth.keys - measurement.everything.keys)
        faults += [f"never found: {_named(key)}" for key in lost[:_MOST_NAMED]]
    everything = "" if measurement.everything is None else f", all of them found by k = {SMALL + 1}"
    return Finding(
        not faults,
        expected="0 rows without an embedding found",
        observed="; ".join(faults[:3])
        or f"0 among {_returned(measurement):,} returned; {_counted(measurement.source_reasons)} "
        f"in {'both' if measurement.source_reasons else 'either'}, "
        f"{measurement.rows:,} embedded{everything}",
        evidence={
            "surfaced": len(surfaced),
            "returned": _returned(measurement),
            "embedded_in_sqlite": embedded,
            "embedded_in_postgresql": measurement.rows,
            "zero_vectors_in_postgresql": measurement.zeros,
            "without_in_sqlite": dict(measurement.source_reasons),
            "without_in_postgresql": dict(measurement.stored_reasons),
            "asked_for_all": measurement.everything is not None,
            "never_found": len(lost),
            "faults": faults[:_MOST_NAMED],
            "pins": dict(measurement.pins),
        },
    )


def _results(measurement: IndexMeasurement) -> Iterator[SearchResult]:
    yield from measurement.results
    if measurement.everything is not None:
        yield measurement.everything


def _returned(measurement: IndexMeasurement) -> int:
    return sum(len(result.hits) for result in _results(measurement))


def _surfaced(measurement: IndexMeasurement) -> Iterator[tuple[Key, str]]:
    """Yield returned rows that are not in the ground truth, and why not."""
    known: set[Key] = set(measurement.ground_truth.keys).union(*measurement.ground_truth.distances)
    for key, count in Counter(key for r in _results(measurement) for key in r.keys).items():
        if key not in known:
            reason = measurement.without.get(key, "no such embedding in the files")
            yield key, f"found {count} times, {reason}"


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {rows}" for reason, rows in reasons.items()) or "none without"


def _named(key: Key) -> str:
    return "/".join(key)


def _named_query(query: Query) -> str:
    return query.about + (f" where {query.filter_text}" if query.filters else "")


def _subjects(catalog: Catalog) -> Iterator[Subject[tuple[TableSpec, str]]]:
    for kind in catalog.consolidated:
        for spec in kind.tables:
            for index in spec.vector_indexes:
                step = f"{kind.name}_recall_checks"
                yield Subject(catalog.names.index(index.name), (spec, index.name), step)


def _by_index(judge: Callable[[IndexMeasurement], Finding]) -> Judge[tuple[TableSpec, str]]:
    def judged(context: CheckContext, value: tuple[TableSpec, str]) -> Finding:
        spec, index = value
        return judge(context.read_once(measure_table, spec)[index])

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
