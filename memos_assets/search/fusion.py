"""Score fusion: lists of one query, each with its scores, become one ranking.

Rank positions forget how much better the first is than the second, and two lists of unequal worth
count alike: reciprocal rank fusion of words and embeddings finds less than BM25 alone. Here scores
are added. Each has a scale of its own that needs no statistics of the whole list, so a candidate's
score does not depend on which others there are:

    meaning   cosine of query and document, less the cosine of unrelated texts of the model
    words     BM25 divided by the sum of the IDF of the query's lexemes: 0 to k1 + 1

What is next to a document in its source adds a share of its own sum, and so do linked documents.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each list counts.

    Attributes:
        meaning: of the cosine less ``unrelated``.
        words: of relative BM25.
        neighbours: share of the sum of the documents next to it in its source, on both sides; those
            in the second place add half of it.
        links: share of the sum of the best linked document.
        unrelated: mean cosine of a query and any document, of the model.
    """

    meaning: float = 1.0
    words: float = 1.0
    neighbours: float = 0.3
    links: float = 0.05
    unrelated: float = 0.24

    @classmethod
    def of(cls, stored: Mapping[str, float] | None) -> "Weights":
        """Return weights as a catalog stores them; what is not there is the default's."""
        known = cls.__slots__
        return cls(**{name: float(v) for name, v in (stored or {}).items() if name in known})

    def stored(self) -> dict[str, float]:
        """Return name -> weight, for a catalog."""
        return {name: float(getattr(self, name)) for name in self.__slots__}


#: Chosen on five conversations of LoCoMo with all-MiniLM-L6-v2, the same on each.
DEFAULT: Final = Weights()
#: Neighbours in the second place count half.
NEIGHBOUR_STEPS: Final = (1.0, 0.5)


@dataclass(frozen=True, slots=True)
class JudgedQuery:
    """Scores of every document for one query, and which of them answer it.

    Attributes:
        cosines: float64, (documents,).
        words: relative BM25, float64, (documents,).
        sources: a number per document, (documents,): those of one source follow each other in
            their order; -1: of none.
        relevant: places of the documents that answer it, at least one.
        group: queries of one group are left out together, such as those of one conversation.
    """

    cosines: Floats
    words: Floats
    sources: npt.NDArray[np.int64]
    relevant: Sequence[int]
    group: str = ""


def fused(query: JudgedQuery, weights: Weights) -> Floats:
    """Return the fused score of every document, without links; float64, (documents,)."""
    own = weights.meaning * (query.cosines - weights.unrelated) + weights.words * query.words
    total = own.copy()
    for step, share in enumerate(NEIGHBOUR_STEPS, 1):
        beside = (query.sources[step:] == query.sources[:-step]) & (query.sources[step:] >= 0)
        total[step:] += weights.neighbours * share * own[:-step] * beside
        total[:-step] += weights.neighbours * share * own[step:] * beside
    return total


def recall_at(scores: Floats, relevant: Sequence[int], k: int) -> float:
    """Return the share of the relevant documents among the k best; earlier ones win ties."""
    best = set(np.argsort(-scores, kind="stable")[:k].tolist())
    return len(best.intersection(relevant)) / len(relevant)


@dataclass(frozen=True, slots=True)
class Choice:
    """Weights that were chosen, and how good they are on queries that did not choose them.

    Attributes:
        weights: chosen on all queries.
        cross_validated: mean recall at k of each group's queries, by weights of the other groups.
        before: mean recall at k of the weights there were.
        queries: that were asked.
    """

    weights: Weights
    cross_validated: float
    before: float
    queries: int

    @property
    def better(self) -> bool:
        """Return whether choosing gained anything on queries that took no part in it."""
        return self.cross_validated > self.before


#: Tried values. Few: a choice among many fits the queries, and not the next ones.
GRID: Final[Mapping[str, Sequence[float]]] = {
    "words": (0.5, 0.7, 1.0, 1.4, 2.0),
    "neighbours": (0.0, 0.15, 0.3),
}


def choose_weights(
    queries: Sequence[JudgedQuery],
    *,
    start: Weights = DEFAULT,
    k: int = 10,
    grid: Mapping[str, Sequence[float]] = GRID,
) -> Choice:
    """Choose weights by labelled queries, cross-validated over their groups.

    ``unrelated`` is the mean cosine of the queries. Of equally good weights those nearest to
    ``start`` win.

    Args:
        queries: with their labels; of two groups at least.
        start: the weights there are.
        k: recall at this depth decides.
        grid: attribute of `Weights` -> values to try.

    Raises:
        ValueError: queries of fewer than two groups: nothing could be left out.
    """
    groups = sorted({query.group for query in queries})
    if len(groups) < 2:
        raise ValueError(f"queries of {len(groups)} group(s); two are needed to leave one out")
    unrelated = float(np.mean([query.cosines.mean() for query in queries]))
    tried = list(_tried(replace(start, unrelated=unrelated), grid))
    measured = np.array(
        [[recall_at(fused(q, w), q.relevant, k) for q in queries] for w in tried], dtype=np.float64
    )
    of_group = np.array([groups.index(query.group) for query in queries])
    cross_validated = np.zeros(len(queries))
    for number in range(len(groups)):
        inside = of_group == number
        best = int(np.argmax(measured[:, ~inside].mean(axis=1)))
        cross_validated[inside] = measured[best, inside]
    before = [recall_at(fused(query, start), query.relevant, k) for query in queries]
    chosen = tried[int(np.argmax(measured.mean(axis=1)))]
    return Choice(chosen, float(cross_validated.mean()), float(np.mean(before)), len(queries))


def _tried(start: Weights, grid: Mapping[str, Sequence[float]]) -> Iterator[Weights]:
    """Yield the combinations of the grid, the ones nearest to the start first."""

    def distance(values: tuple[float, ...]) -> float:
        pairs = zip(grid, values, strict=True)
        return float(sum(abs(getattr(start, name) - value) for name, value in pairs))

    for values in sorted(product(*grid.values()), key=distance):
        yield replace(start, **dict(zip(grid, values, strict=True)))
