"""What is claimed of search, judged: answers of PostgreSQL beside the truth of the files."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from memos_assets.catalog import VectorIndex
from memos_assets.finding import Finding
from memos_assets.proof.search.probes import SEED, Probe
from memos_assets.proof.search.source_neighbours import SMALL, Truth
from memos_assets.proof.search.source_rows import Key
from memos_assets.search.queries import SEARCH_SETTINGS

#: Neighbours that are asked for, and the share of the true ones that must be among them.
K, LEAST_RECALL = 10, 0.99
#: Rows and queries that evidence names.
_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What PostgreSQL returned for one query: keys and distances in its order."""

    hits: Sequence[tuple[Key, float]]
    milliseconds: float

    @property
    def keys(self) -> frozenset[Key]:
        """The rows."""
        return frozenset(key for key, _ in self.hits)


@dataclass(frozen=True)
class Asked:
    """Everything that is known of one index: queries, answers and truth.

    Attributes:
        index: the strategy of one dimension.
        probes: the queries; none where the files have no row of the dimension.
        answers: to each of them.
        scans_ms: how long exact scans took, in milliseconds.
        truth: what the files say.
        everything: the answer to a question for more rows than there are, of a small index.
        without: key -> reason, of returned rows that have no embedding in their file.
        source_reasons: reason -> rows without an embedding in the files, rejected ones left out.
        stored_reasons: the same in PostgreSQL.
        rows: embeddings of the dimension in PostgreSQL.
        zeros: those among them whose elements are all zero.
        pins: source -> digest of the copy that was read.
    """

    index: VectorIndex
    probes: Sequence[Probe]
    answers: Sequence[Answer]
    scans_ms: Sequence[float]
    truth: Truth
    everything: Answer | None
    without: Mapping[Key, str]
    source_reasons: Mapping[str, int]
    stored_reasons: Mapping[str, int]
    rows: int
    zeros: int
    pins: Mapping[str, str]

    @cached_property
    def queries(self) -> Sequence["Query"]:
        """Each query with its answer and its truth."""
        allowed = tolerance(self.index.dimension)
        return [
            Query(probe, answer, nearest, matching, distances, 2 * allowed)
            for probe, answer, nearest, matching, distances in zip(
                self.probes,
                self.answers,
                self.truth.nearest,
                self.truth.matching,
                self.truth.distances,
                strict=True,
            )
        ]


@dataclass(frozen=True, slots=True)
class Query:
    """One query: what came, what should have come, and what is taken for equally near."""

    probe: Probe
    answer: Answer
    nearest: Sequence[tuple[Key, float]]
    matching: int
    distances: Mapping[Key, float]
    epsilon: float

    @property
    def wanted(self) -> int:
        """Rows that should have come."""
        return len(self.nearest)

    @property
    def right(self) -> int:
        """Rows that came and are as near as the k-th true neighbour, or as good as that."""
        if not self.nearest:
            return 0
        furthest = self.nearest[-1][1] + self.epsilon
        near = sum(self.distances.get(key, math.inf) <= furthest for key in self.answer.keys)
        return min(near, self.wanted)

    @property
    def recall(self) -> float:
        """Share of the rows that should have come, 0 to 1; 1 where there is none."""
        return self.right / self.wanted if self.wanted else 1.0

    @property
    def missed(self) -> list[tuple[Key, float]]:
        """True neighbours that did not come, the nearest first; no more than were missed."""
        gone = [(key, d) for key, d in self.nearest if key not in self.answer.keys]
        return gone[: self.wanted - self.right]


def tolerance(dimension: int) -> float:
    """Return by how much a cosine distance of PostgreSQL may differ from the exact one.

    pgvector adds up one product and two squared lengths in float32. Rounding makes each wrong by
    about sqrt(n) * 2**-24 of itself (Higham and Mary 2019; at most n * 2**-24), so their quotient,
    a cosine, by twice that. Four times as much is allowed; nothing that a search returns is
    computed in less than float32, whatever its index holds: it is re-ranked by what is stored.
    """
    return 8 * math.sqrt(dimension) * 2.0**-24


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
