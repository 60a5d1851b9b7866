"""The measurement of one index: queries, PostgreSQL's results, and ground truth from the files."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from memos_assets.catalog import VectorIndex
from memos_assets.proof.search.queries import Query
from memos_assets.proof.search.source_neighbours import GroundTruth
from memos_assets.proof.search.source_rows import Key


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Keys and distances that PostgreSQL returned for one query, in its order."""

    hits: Sequence[tuple[Key, float]]
    milliseconds: float

    @property
    def keys(self) -> frozenset[Key]:
        """Keys of the returned rows."""
        return frozenset(key for key, _ in self.hits)


@dataclass(frozen=True)
class IndexMeasurement:
    """The measurement of one index: queries, results and ground truth.

    Attributes:
        index: the strategy of one dimension.
        queries: the queries; none where the files have no row of the dimension.
        results: of each query.
        scans_ms: how long exact scans took, in milliseconds.
        ground_truth: exact neighbours, computed from the files.
        everything: the result of a search for more rows than a small index has.
        without: key -> reason, of returned rows that have no embedding in their file.
        source_reasons: reason -> rows without an embedding in the files, without rejects.
        stored_reasons: the same in PostgreSQL.
        rows: embeddings of the dimension in PostgreSQL.
        zeros: those among them whose elements are all zero.
        pins: source -> digest of the copy that was read.
    """

    index: VectorIndex
    queries: Sequence[Query]
    results: Sequence[SearchResult]
    scans_ms: Sequence[float]
    ground_truth: GroundTruth
    everything: SearchResult | None
    without: Mapping[Key, str]
    source_reasons: Mapping[str, int]
    stored_reasons: Mapping[str, int]
    rows: int
    zeros: int
    pins: Mapping[str, str]

    @cached_property
    def measured_queries(self) -> Sequence["MeasuredQuery"]:
        """Each query with its result and its ground truth."""
        allowed = tolerance(self.index.dimension)
        return [
            MeasuredQuery(query, result, nearest, matching, distances, 2 * allowed)
            for query, result, nearest, matching, distances in zip(
                self.queries,
                self.results,
                self.ground_truth.nearest,
                self.ground_truth.matching,
                self.ground_truth.distances,
                strict=True,
            )
        ]


@dataclass(frozen=True, slots=True)
class MeasuredQuery:
    """One query with its result and its ground truth.

    Attributes:
        query: the query.
        result: the rows that PostgreSQL returned.
        nearest: key and exact distance of the true neighbours, the nearest first.
        matching: rows that pass the filters of the query.
        distances: key -> exact distance of each returned row.
        epsilon: difference of distance below which two rows are equally near.
    """

    query: Query
    result: SearchResult
    nearest: Sequence[tuple[Key, float]]
    matching: int
    distances: Mapping[Key, float]
    epsilon: float

    @property
    def wanted(self) -> int:
        """Number of rows that the search should return."""
        return len(self.nearest)

    @property
    def right(self) -> int:
        """Number of returned rows at most `epsilon` further than the k-th true neighbour."""
        if not self.nearest:
            return 0
        furthest = self.nearest[-1][1] + self.epsilon
        near = sum(self.distances.get(key, math.inf) <= furthest for key in self.result.keys)
        return min(near, self.wanted)

    @property
    def recall(self) -> float:
        """Share of the wanted rows that were returned, 0 to 1; 1 where none is wanted."""
        return self.right / self.wanted if self.wanted else 1.0

    @property
    def missed(self) -> list[tuple[Key, float]]:
        """True neighbours that were not returned, the nearest first; at most `wanted - right`."""
        gone = [(key, d) for key, d in self.nearest if key not in self.result.keys]
        return gone[: self.wanted - self.right]


def tolerance(dimension: int) -> float:
    """Return by how much PostgreSQL's cosine distance may differ from the exact one.

    pgvector adds up one product and two squared lengths in float32. Rounding makes each wrong by
    about sqrt(n) * 2**-24 of itself (Higham and Mary 2019; at most n * 2**-24), so their quotient,
    a cosine, by twice that. Four times as much is permitted. Every returned distance is computed
    in float32 or better: candidates of any index are re-ranked by their stored embeddings.
    """
    return 8 * math.sqrt(dimension) * 2.0**-24
