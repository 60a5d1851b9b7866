"""Ground truth of search: the exact neighbours among the rows of the pinned files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_assets.proof.search.queries import Query
from memos_assets.proof.search.source_rows import Key, SourceRow, SourceRows, contains, parsed
from memos_assets.search.exact import Neighbours, cosine_distances, directions, least

#: Indexes of at most this many rows are searched for all of their rows.
SMALL = 200


@dataclass(slots=True)
class GroundTruth:
    """Ground truth for the queries of one dimension.

    Attributes:
        nearest: of each query: key and exact cosine distance, the nearest first.
        matching: of each query: rows that pass its filters.
        distances: of each query: exact distance of every row that PostgreSQL returned.
        rows: rows with an embedding of the dimension.
        keys: keys of these rows; empty where there are more than `SMALL`.
    """

    nearest: list[list[tuple[Key, float]]] = field(default_factory=list)
    matching: list[int] = field(default_factory=list)
    distances: list[dict[Key, float]] = field(default_factory=list)
    rows: int = 0
    keys: set[Key] = field(default_factory=set)


@dataclass(slots=True)
class ColumnGroundTruth:
    """Ground truth for one embedding column.

    Attributes:
        dimensions: dimension -> its queries.
        reasons: reason -> loaded rows without an embedding.
        without: key -> reason, of the rows without an embedding that PostgreSQL returned.
    """

    dimensions: dict[int, GroundTruth] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    without: dict[Key, str] = field(default_factory=dict)


def compute_ground_truth(
    readings: Sequence[SourceRows],
    queries: Mapping[int, Sequence[Query]],
    returned: Mapping[int, Sequence[frozenset[Key]]],
    k: int,
) -> ColumnGroundTruth:
    """Read every row once and compute its distance to every query.

    Args:
        readings: every source of one table, for one embedding column.
        queries: dimension -> queries.
        returned: dimension -> for each of them, the rows that PostgreSQL returned.
        k: neighbours.
    """
    ground_truth = ColumnGroundTruth()
    scans = {
        dimension: _DimensionScan(its_queries, returned[dimension], k)
        for dimension, its_queries in queries.items()
    }
    anywhere: frozenset[Key] = frozenset().union(
        *(keys for results in returned.values() for keys in results)
    )
    for reading in readings:
        for batch in reading.batches():
            by_dimension: dict[int, list[SourceRow]] = {}
            for row in batch:
                if row.dimension is not None:
                    by_dimension.setdefault(row.dimension, []).append(row)
                    continue
                assert row.reason is not None
                ground_truth.reasons[row.reason] += 1
                if row.key in anywhere:
                    ground_truth.without[row.key] = row.reason
            for dimension, rows in by_dimension.items():
                if dimension in scans:
                    scans[dimension].take(rows)
    ground_truth.dimensions = {dimension: scan.ground_truth() for dimension, scan in scans.items()}
    return ground_truth


class _DimensionScan:
    """The nearest rows so far for the queries of one dimension."""

    def __init__(
        self, queries: Sequence[Query], returned: Sequence[frozenset[Key]], k: int
    ) -> None:
        self._queries, self._k = queries, k
        self._directions = directions(np.stack([query.vector for query in queries]))
        self._best = Neighbours(
            np.empty((len(queries), 0), dtype=np.int64), np.empty((len(queries), 0))
        )
        self._names: dict[int, Key] = {}
        self._matching = np.zeros(len(queries), dtype=np.int64)
        self._wanted: dict[Key, list[int]] = {}
        for number, keys in enumerate(returned):
            for key in keys:
                self._wanted.setdefault(key, []).append(number)
        self._ground_truth = GroundTruth(distances=[{} for _ in queries])

    def take(self, rows: Sequence[SourceRow]) -> None:
        """Compare some rows with every query."""
        ground_truth = self._ground_truth
        first = ground_truth.rows
        ground_truth.rows += len(rows)
        if ground_truth.rows <= SMALL:
            ground_truth.keys.update(row.key for row in rows)
        found = cosine_distances(self._directions, directions(_stacked(rows)))
        for place, row in enumerate(rows):
            for number in self._wanted.get(row.key, ()):
                ground_truth.distances[number][row.key] = float(found[number, place])
        passing = self._passing(rows)
        self._matching += passing.sum(axis=1)
        found[~passing] = np.inf
        numbers = np.broadcast_to(np.arange(first, first + len(rows)), found.shape)
        best = self._best
        self._best = Neighbours(
            *least(
                np.concatenate([best.rows, numbers], axis=1),
                np.concatenate([best.distances, found], axis=1),
                self._k,
            )
        )
        kept = set(self._best.rows.ravel().tolist())
        self._names = {number: key for number, key in self._names.items() if number in kept}
        self._names |= {
            first + place: row.key for place, row in enumerate(rows) if first + place in kept
        }

    def _passing(self, rows: Sequence[SourceRow]) -> npt.NDArray[np.bool_]:
        """Return whether each row passes the filters of each query, ``(queries, rows)``."""
        passing = np.ones((len(self._queries), len(rows)), dtype=np.bool_)
        whole: dict[str, list[Any]] = {}
        known: dict[str, npt.NDArray[np.bool_]] = {}
        for number, query in enumerate(self._queries):
            if not query.filters:
                continue
            if query.filter_text not in known:
                known[query.filter_text] = self._pass(query, rows, whole)
            passing[number] = known[query.filter_text]
        return passing

    @staticmethod
    def _pass(
        query: Query, rows: Sequence[SourceRow], whole: dict[str, list[Any]]
    ) -> npt.NDArray[np.bool_]:
        passing = np.ones(len(rows), dtype=np.bool_)
        for column, value in query.filters.items():
            if column == "source":
                passing &= [row.key[0] == value for row in rows]
                continue
            if column not in whole:
                whole[column] = [parsed(row.json[column]) for row in rows]
            passing &= [contains(one, value) for one in whole[column]]
        return passing

    def ground_truth(self) -> GroundTruth:
        """Return the ground truth, after the last row was taken."""
        ground_truth = self._ground_truth
        ground_truth.matching = self._matching.tolist()
        ground_truth.nearest = [list(self._named(number)) for number in range(len(self._queries))]
        if ground_truth.rows > SMALL:
            ground_truth.keys = set()
        return ground_truth

    def _named(self, number: int) -> Iterator[tuple[Key, float]]:
        for row, distance in zip(
            self._best.rows[number].tolist(), self._best.distances[number].tolist(), strict=True
        ):
            if np.isfinite(distance):
                yield self._names[row], distance


def _stacked(rows: Sequence[SourceRow]) -> npt.NDArray[Any]:
    return np.stack([row.elements for row in rows if row.elements is not None])
