"""What search should answer: the exact neighbours among the rows of the pinned files."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_assets.proof.search.probes import Probe
from memos_assets.proof.search.source_rows import Key, SourceRow, SourceRows, contains, parsed
from memos_assets.search.exact import Neighbours, cosine_distances, directions, least

#: Indexes of at most this many rows are asked for all of them.
SMALL = 200


@dataclass(slots=True)
class Truth:
    """The truth about the queries of one dimension.

    Attributes:
        nearest: of each query: key and exact cosine distance, the nearest first.
        matching: of each query: rows that pass its filters.
        distances: of each query: exact distance of every row that PostgreSQL returned.
        rows: rows with an embedding of the dimension.
        keys: their keys, while they are no more than `SMALL`.
    """

    nearest: list[list[tuple[Key, float]]] = field(default_factory=list)
    matching: list[int] = field(default_factory=list)
    distances: list[dict[Key, float]] = field(default_factory=list)
    rows: int = 0
    keys: set[Key] = field(default_factory=set)


@dataclass(slots=True)
class SourceTruth:
    """The truth about one embedding column.

    Attributes:
        dimensions: dimension -> its queries.
        reasons: reason -> loaded rows without an embedding.
        without: key -> reason, of the rows without an embedding that PostgreSQL returned.
    """

    dimensions: dict[int, Truth] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    without: dict[Key, str] = field(default_factory=dict)


def walk(
    readings: Sequence[SourceRows],
    probes: Mapping[int, Sequence[Probe]],
    returned: Mapping[int, Sequence[frozenset[Key]]],
    k: int,
) -> SourceTruth:
    """Read every row once and compare it with every query.

    Args:
        readings: every source of one table, for one embedding column.
        probes: dimension -> queries.
        returned: dimension -> for each of them, the rows that PostgreSQL returned.
        k: neighbours.
    """
    truth = SourceTruth()
    sides = {dimension: _Side(asked, returned[dimension], k) for dimension, asked in probes.items()}
    anywhere: frozenset[Key] = frozenset().union(
        *(key for side in returned.values() for key in side)
    )
    for reading in readings:
        for batch in reading.batches():
            by_dimension: dict[int, list[SourceRow]] = {}
            for row in batch:
                if row.dimension is not None:
                    by_dimension.setdefault(row.dimension, []).append(row)
                    continue
                assert row.reason is not None
                truth.reasons[row.reason] += 1
                if row.key in anywhere:
                    truth.without[row.key] = row.reason
            for dimension, rows in by_dimension.items():
                if dimension in sides:
                    sides[dimension].take(rows)
    truth.dimensions = {dimension: side.truth() for dimension, side in sides.items()}
    return truth


class _Side:
    """The queries of one dimension on their way through the rows."""

    def __init__(self, probes: Sequence[Probe], returned: Sequence[frozenset[Key]], k: int) -> None:
        self._probes, self._k = probes, k
        self._sought = directions(np.stack([probe.vector for probe in probes]))
        self._best = Neighbours(
            np.empty((len(probes), 0), dtype=np.int64), np.empty((len(probes), 0))
        )
        self._names: dict[int, Key] = {}
        self._matching = np.zeros(len(probes), dtype=np.int64)
        self._wanted: dict[Key, list[int]] = {}
        for number, keys in enumerate(returned):
            for key in keys:
                self._wanted.setdefault(key, []).append(number)
        self._truth = Truth(distances=[{} for _ in probes])

    def take(self, rows: Sequence[SourceRow]) -> None:
        """Compare some rows with every query."""
        truth = self._truth
        first = truth.rows
        truth.rows += len(rows)
        if truth.rows <= SMALL:
            truth.keys.update(row.key for row in rows)
        found = cosine_distances(self._sought, directions(_stacked(rows)))
        for place, row in enumerate(rows):
            for number in self._wanted.get(row.key, ()):
                truth.distances[number][row.key] = float(found[number, place])
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
        """Return which rows pass the filters of which query, ``(queries, rows)``."""
        passing = np.ones((len(self._probes), len(rows)), dtype=np.bool_)
        whole: dict[str, list[Any]] = {}
        known: dict[str, npt.NDArray[np.bool_]] = {}
        for number, probe in enumerate(self._probes):
            if not probe.filters:
                continue
            if probe.narrowing not in known:
                known[probe.narrowing] = self._pass(probe, rows, whole)
            passing[number] = known[probe.narrowing]
        return passing

    @staticmethod
    def _pass(
        probe: Probe, rows: Sequence[SourceRow], whole: dict[str, list[Any]]
    ) -> npt.NDArray[np.bool_]:
        passing = np.ones(len(rows), dtype=np.bool_)
        for column, value in probe.filters.items():
            if column == "source":
                passing &= [row.key[0] == value for row in rows]
                continue
            if column not in whole:
                whole[column] = [parsed(row.json[column]) for row in rows]
            passing &= [contains(one, value) for one in whole[column]]
        return passing

    def truth(self) -> Truth:
        """Return what was found after the last row."""
        truth = self._truth
        truth.matching = self._matching.tolist()
        truth.nearest = [list(self._named(number)) for number in range(len(self._probes))]
        if truth.rows > SMALL:
            truth.keys = set()
        return truth

    def _named(self, number: int) -> Iterator[tuple[Key, float]]:
        for row, distance in zip(
            self._best.rows[number].tolist(), self._best.distances[number].tolist(), strict=True
        ):
            if np.isfinite(distance):
                yield self._names[row], distance


def _stacked(rows: Sequence[SourceRow]) -> npt.NDArray[Any]:
    return np.stack([row.elements for row in rows if row.elements is not None])
