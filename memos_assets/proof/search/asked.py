"""Queries, the results of PostgreSQL for them, and the ground truth of the files beside those."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from memos_assets.catalog import VectorIndex
from memos_assets.proof.search.probes import Probe
from memos_assets.proof.search.source_neighbours import Truth
from memos_assets.proof.search.source_rows import Key


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
