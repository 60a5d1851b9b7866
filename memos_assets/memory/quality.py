"""Score ranked answers against questions whose evidence is known, and compare two runs.

Pure functions: nothing here asks a model or opens a database. A question is scored by the share of
its evidence among the first k answers (recall@k), and by the rank of the first that is evidence.
Whether a run is worse than the one before is decided on questions that both have, by a paired
bootstrap: which of a few hundred questions a set happens to hold moves its mean by some points.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np

#: Depths at which recall is measured.
DEPTHS: Final = (5, 10, 20)
#: Resamples of a comparison; its interval then moves by less than half a percent of its width.
RESAMPLES: Final = 10_000
#: Questions that are drawn at once; bounds the memory of a comparison to some MB.
_DRAWN_AT_ONCE: Final = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question, and the answers that are evidence for it.

    Attributes:
        text: that is asked.
        evidence: ids of the memories that have to be found, each once.
        category: under which it is counted, such as ``multi-hop``.
        as_of: aware; when the answer has to be true. None: now.
        known_at: aware; when it has to have been known. None: now.
    """

    text: str
    evidence: tuple[str, ...]
    category: str = "all"
    as_of: datetime | None = None
    known_at: datetime | None = None

    @property
    def key(self) -> str:
        """Return what tells the question from others, the same in every run: 16 hex digits."""
        asked = [
            self.text,
            sorted(self.evidence),
            self.category,
            *(moment and moment.timestamp() for moment in (self.as_of, self.known_at)),
        ]
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Score:
    """How well one question was answered.

    Attributes:
        key: of the question.
        category: of the question.
        evidence: how many answers are evidence for it.
        found: depth -> how many of them are among so many first answers.
        reciprocal_rank: 1 / rank of the first answer that is evidence; 0 if there is none.
    """

    key: str
    category: str
    evidence: int
    found: Mapping[int, int]
    reciprocal_rank: float

    def recall(self, depth: int) -> float:
        """Return the share of the evidence that is among so many first answers."""
        return self.found[depth] / self.evidence


@dataclass(frozen=True, slots=True)
class Summary:
    """The scores of several questions.

    Attributes:
        questions: how many.
        recall: depth -> mean over the questions of the share of their evidence that was found.
        evidence_found: depth -> share of all evidence that was found.
        mrr: mean reciprocal rank.
    """

    questions: int
    recall: Mapping[int, float]
    evidence_found: Mapping[int, float]
    mrr: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs on the questions that both have.

    Attributes:
        questions: how many both have.
        before: mean of the former run.
        after: mean of the later run.
        low, high: 95 % interval of the mean difference, later less former.
    """

    questions: int
    before: float
    after: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """Return how much better the later run is."""
        return self.after - self.before

    @property
    def worse(self) -> bool:
        """Return whether the later run is worse, and not by the choice of the questions."""
        return self.high < 0

    @property
    def better(self) -> bool:
        """Return whether the later run is better, and not by the choice of the questions."""
        return self.low > 0


@dataclass(frozen=True, slots=True)
class Run:
    """What is kept of a run, so that a later one can be compared with it.

    Attributes:
        model: that embedded; "" if none did. Runs of two models can be compared.
        scores: of every question. They hold no text.
    """

    model: str
    scores: tuple[Score, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return plain values, from which `from_json` makes the same run."""
        return {"model": self.model, "scores": [asdict(score) for score in self.scores]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Run":
        """Return the run that `to_json` wrote; JSON has made texts of its depths."""
        scores = (
            Score(**{**kept, "found": {int(k): n for k, n in kept["found"].items()}})
            for kept in value["scores"]
        )
        return cls(value["model"], tuple(scores))


def score(question: Question, ranked: Sequence[str], depths: Iterable[int] = DEPTHS) -> Score:
    """Score the answers to a question.

    Args:
        question: that was asked.
        ranked: ids of the answers, the best first. An id counts where it is first.
        depths: at which evidence is counted.

    Raises:
        ValueError: the question has no evidence, so no answer to it is better than another.
    """
    wanted = frozenset(question.evidence)
    if not wanted:
        raise ValueError("a question without evidence cannot be scored")
    first = {answer: rank for rank, answer in reversed(list(enumerate(ranked, 1)))}
    ranks = [first[answer] for answer in wanted if answer in first]
    return Score(
        key=question.key,
        category=question.category,
        evidence=len(wanted),
        found={depth: sum(rank <= depth for rank in ranks) for depth in depths},
        reciprocal_rank=1 / min(ranks) if ranks else 0.0,
    )


def summarise(scores: Sequence[Score]) -> Summary:
    """Return the means of scores that were counted at the same depths.

    Raises:
        ValueError: there are none, which is not a quality of 0.
    """
    if not scores:
        raise ValueError("there are no scores")
    evidence = sum(one.evidence for one in scores)
    depths = tuple(scores[0].found)
    return Summary(
        questions=len(scores),
        recall={k: float(np.mean([one.recall(k) for one in scores])) for k in depths},
        evidence_found={k: sum(one.found[k] for one in scores) / evidence for k in depths},
        mrr=float(np.mean([one.reciprocal_rank for one in scores])),
    )


def by_category(scores: Iterable[Score]) -> dict[str, Summary]:
    """Return category -> its summary, in the order of the names."""
    grouped: dict[str, list[Score]] = {}
    for one in scores:
        grouped.setdefault(one.category, []).append(one)
    return {category: summarise(grouped[category]) for category in sorted(grouped)}


def compare(
    before: Run, after: Run, *, depth: int | None = 10, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison | None:
    """Compare two runs on the questions that both have.

    Args:
        before: the former run.
        after: the later run.
        depth: recall at this depth is compared; None: the reciprocal rank.
        resamples: of the bootstrap.
        seed: of the draws; the same runs always compare the same.

    Returns:
        The comparison; None if they have no question in common.
    """

    def measured(one: Score) -> float:
        return one.reciprocal_rank if depth is None else one.recall(depth)

    former = {one.key: measured(one) for one in before.scores}
    later = {one.key: measured(one) for one in after.scores}
    if not (shared := sorted(former.keys() & later.keys())):
        return None
    return paired_bootstrap(
        [former[key] for key in shared],
        [later[key] for key in shared],
        resamples=resamples,
        seed=seed,
    )


def paired_bootstrap(
    before: Sequence[float], after: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Compare two measurements of the same questions.

    Questions are drawn with replacement, each with both of its values, so that what is hard about
    a question is in neither side of the difference.

    Args:
        before: a value per question.
        after: a value per question, in the same order.
        resamples: how often as many questions as there are get drawn.
        seed: of the draws.

    Raises:
        ValueError: there are no questions, or their number differs.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} values cannot be paired with {len(after)}")
    differences = np.subtract(after, before, dtype=np.float64)
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // differences.size)
    means = np.concatenate(
        [
            differences[
                generator.integers(
                    differences.size, size=(min(at_once, resamples - drawn), differences.size)
                )
            ].mean(axis=1)
            for drawn in range(0, resamples, at_once)
        ]
    )
    low, high = np.quantile(means, (0.025, 0.975))
    return Comparison(
        len(before), float(np.mean(before)), float(np.mean(after)), float(low), float(high)
    )
