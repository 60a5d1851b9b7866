"""Exact nearest neighbours by cosine, computed without PostgreSQL: the ground truth of recall."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.floating[Any]]

#: Rows whose distances are computed at once: 32 MB of float64 at 1,024 elements.
_BLOCK_ROWS = 4_096


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of each query, the nearest first.

    Attributes:
        rows: int64, ``(queries, k)``, numbers of rows from 0; fewer columns where there are fewer.
        distances: float64, ``(queries, k)``, cosine distances, 0 to 2.
    """

    rows: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float64]


def nearest_exact(vectors: Vectors, queries: Vectors, k: int) -> Neighbours:
    """Return the k rows nearest to each query by exact cosine distance, in float64.

    Args:
        vectors: ``(rows, dimension)`` of any float type. Rows without a direction (zero, or not
            finite) are never neighbours; the distance is infinite where there are no others.
        queries: ``(queries, dimension)``, none of them zero.
        k: neighbours.
    """
    starts = range(0, len(vectors), _BLOCK_ROWS)
    return nearest_in((vectors[start : start + _BLOCK_ROWS] for start in starts), queries, k)


def nearest_in(batches: Iterable[Vectors], queries: Vectors, k: int) -> Neighbours:
    """Return the same as `nearest_exact` for rows that come in batches and are not kept."""
    query_directions = directions(queries)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    distances = np.empty((len(queries), 0))
    for first, batch in _numbered(batches):
        found = cosine_distances(query_directions, directions(batch))
        found[~np.isfinite(found)] = np.inf
        numbers = np.broadcast_to(np.arange(first, first + len(batch)), found.shape)
        rows, distances = least(
            np.concatenate([rows, numbers], axis=1), np.concatenate([distances, found], axis=1), k
        )
    return Neighbours(rows, distances)


def recall(found: Iterable[int], rows: npt.NDArray[np.int64]) -> float:
    """Return the share of the true neighbours of one query that a search found, 0 to 1."""
    true = set(rows.tolist())
    return len(true & set(found)) / len(true)


def _numbered(batches: Iterable[Vectors]) -> Iterator[tuple[int, Vectors]]:
    first = 0
    for batch in batches:
        yield first, batch
        first += len(batch)


def directions(vectors: Vectors) -> npt.NDArray[np.float64]:
    """Return vectors of length 1; NaN where there is no direction."""
    wide = vectors.astype(np.float64)
    with np.errstate(all="ignore"):
        return np.asarray(wide / np.linalg.norm(wide, axis=1, keepdims=True))


def cosine_distances(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the distances between directions, ``(n, dimension)`` and ``(m, dimension)``: (n, m).

    BLAS is left out: on a busy machine its threads wait for one another in busy loops, and
    took 1.9 s of processor time where this takes 0.3 s (8,705 x 4,096, 20 queries).
    """
    return np.asarray(1.0 - np.einsum("ij,kj->ik", one, other))


def least(
    rows: npt.NDArray[np.int64], distances: npt.NDArray[np.float64], k: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the k least distances of each line in order, and their rows; the first row wins."""
    if rows.shape[1] > k:
        least = np.argpartition(distances, k - 1, axis=1)[:, :k]
        rows = np.take_along_axis(rows, least, axis=1)
        distances = np.take_along_axis(distances, least, axis=1)
    order = np.lexsort((rows, distances), axis=1)
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)
