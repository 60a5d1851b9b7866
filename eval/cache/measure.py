"""What the cache serves of a set, at a threshold and with the rules of a namespace."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from eval.cache.sets import Asked
from eval.cache.vectors import Rows
from memos_assets.cache.calibration import LabelledPair
from memos_assets.cache.gate import NamespaceRules, judge

#: Seed of every split and draw: a set is measured in the same way each time.
SEED: Final = 15
#: Known questions of an intent.
KNOWN: Final = 30
#: Requests of a replay with repeats, and the exponent of how often the n-th question is asked.
REQUESTS: Final = 10_000
_EXPONENT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Served:
    """How many pairs are served, of those that are the same and of those that are not."""

    hits: int
    false_hits: int
    same: int
    different: int

    @property
    def recall(self) -> float:
        """Share of same pairs that are served."""
        return self.hits / self.same if self.same else 0.0

    @property
    def false_share(self) -> float:
        """Share of different pairs that are served."""
        return self.false_hits / self.different if self.different else 0.0

    @property
    def precision(self) -> float:
        """Share of served pairs that are the same, as if a set had as many of them as others."""
        served = self.recall + self.false_share
        return self.recall / served if served else 1.0

    @property
    def plain_precision(self) -> float:
        """Share of served pairs that are the same, in the set as it is."""
        served = self.hits + self.false_hits
        return self.hits / served if served else 1.0


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of the requests of a replay.

    Attributes:
        requests: of which ``exact`` found their own text, ``right`` and ``wrong`` another one.
        by_rule: rule -> requests whose winner it refused, right and wrong winners.
    """

    requests: int
    exact: int
    right: int
    wrong: int
    by_rule: Counter[str]

    @property
    def hit_rate(self) -> float:
        """Share of requests that are served."""
        return (self.exact + self.right + self.wrong) / self.requests

    @property
    def wrong_share(self) -> float:
        """Share of served requests that are served another question's answer."""
        return self.wrong / max(self.exact + self.right + self.wrong, 1)

    @property
    def wrong_rate(self) -> float:
        """Share of all requests that are served another question's answer."""
        return self.wrong / self.requests


def halves(pairs: Sequence[LabelledPair]) -> tuple[list[int], list[int]]:
    """Split the places of pairs in two: one to calibrate with, one to report."""
    places = list(range(len(pairs)))
    random.Random(SEED).shuffle(places)
    middle = len(places) // 2
    return places[:middle], places[middle:]


def served(
    pairs: Sequence[LabelledPair],
    cosines: npt.NDArray[np.float64],
    threshold: float,
    rules: NamespaceRules | None,
) -> Served:
    """Count what is served; without rules, by the cosine alone."""
    counts = {True: 0, False: 0}
    for pair, cosine in zip(pairs, cosines, strict=True):
        if cosine >= threshold and (rules is None or judge(rules, pair.b, pair.a).serve):
            counts[pair.same] += 1
    same = sum(pair.same for pair in pairs)
    return Served(counts[True], counts[False], same, len(pairs) - same)


def nearest(entries: Rows, asked: Rows) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return place and cosine of the nearest entry of every question; all are unit vectors."""
    places, cosines = [], []
    for start in range(0, len(asked), 500):
        found = asked[start : start + 500] @ entries.T
        places.append(found.argmax(axis=1))
        cosines.append(found.max(axis=1).astype(np.float64))
    return np.concatenate(places), np.concatenate(cosines)


def replay_known(
    known: Sequence[Asked],
    new: Sequence[Asked],
    found: tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]],
    threshold: float,
    rules: NamespaceRules | None,
) -> Replayed:
    """Ask new questions of a cache that has the known ones, once each."""
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for asked, place, cosine in zip(new, *found, strict=True):
        if cosine < threshold:
            continue
        winner = known[place]
        verdict = judge(rules, asked.text, winner.text) if rules else None
        if verdict is not None and not verdict.serve:
            refused[verdict.rule] += 1
        else:
            counts["right" if winner.intent == asked.intent else "wrong"] += 1
    return Replayed(len(new), 0, counts["right"], counts["wrong"], refused)


def first_of_intents(questions: Sequence[Asked], count: int = KNOWN) -> list[Asked]:
    """Return the first questions of every intent, in the order of the set."""
    taken: Counter[str] = Counter()
    chosen = []
    for one in questions:
        taken[one.intent] += 1
        if taken[one.intent] <= count:
            chosen.append(one)
    return chosen


def replay_repeated(
    questions: Sequence[Asked],
    vectors: Rows,
    threshold: float,
    rules: NamespaceRules,
    requests: int = REQUESTS,
) -> Replayed:
    """Ask questions as often as Zipf's law says of a cache that is empty at first.

    A question that is not served is computed and stored, so the cache fills with what is asked.
    """
    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(questions))
    weights = 1.0 / np.arange(1, len(questions) + 1) ** _EXPONENT
    drawn = order[rng.choice(len(questions), size=requests, p=weights / weights.sum())]
    stored = np.zeros((len(questions), vectors.shape[1]), np.float32)
    places: list[int] = []
    texts: set[str] = set()
    counts: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for place in drawn:
        asked = questions[place]
        if asked.text in texts:
            counts["exact"] += 1
            continue
        if places:
            cosines = stored[: len(places)] @ vectors[place]
            best = int(cosines.argmax())
            if cosines[best] >= threshold:
                winner = questions[places[best]]
                verdict = judge(rules, asked.text, winner.text)
                if verdict.serve:
                    counts["right" if winner.intent == asked.intent else "wrong"] += 1
                    continue
                refused[verdict.rule] += 1
        stored[len(places)] = vectors[place]
        places.append(int(place))
        texts.add(asked.text)
    return Replayed(requests, counts["exact"], counts["right"], counts["wrong"], refused)
