"""What is detected of a set, and where the counterpart of a statement is among its candidates."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from eval.contradictions.sets import CONTRADICTION, NONE, UPDATE, Labelled
from memos_assets.contradictions import THRESHOLD, Statement, candidates, detect, forget
from memos_assets.contradictions.candidates import Vectors
from memos_assets.contradictions.clause import clauses

DEPTHS: Final = (5, 10)


@dataclass(frozen=True, slots=True)
class Counted:
    """How many pairs are surfaced, of those that contradict each other and of the others."""

    right: int
    wrong: int
    gold: int
    others: int

    @property
    def precision(self) -> float:
        """Share of the surfaced pairs that contradict each other."""
        surfaced = self.right + self.wrong
        return self.right / surfaced if surfaced else 1.0

    @property
    def recall(self) -> float:
        """Share of the pairs that contradict each other that are surfaced."""
        return self.right / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both else 0.0


def said_of(pair: Labelled) -> str:
    """Return what the rules say of a pair: `CONTRADICTION`, `UPDATE` or `NONE`."""
    found = detect(pair.a, pair.b)
    if found is None or found.score < THRESHOLD:
        return NONE
    return UPDATE if found.is_update else CONTRADICTION


def counted(pairs: Sequence[Labelled]) -> Counted:
    """Count what is surfaced as a contradiction; an update is none."""
    surfaced = [pair.label == CONTRADICTION for pair in pairs if said_of(pair) == CONTRADICTION]
    gold = sum(pair.label == CONTRADICTION for pair in pairs)
    right = sum(surfaced)
    return Counted(right, len(surfaced) - right, gold, len(pairs) - gold)


@dataclass(frozen=True, slots=True)
class Alarms:
    """What is surfaced where nothing should be.

    Attributes:
        pairs: that were compared, of statements of one speaker or file.
        surfaced: pairs of them.
        sentences: that are asserted in all.
        involved: statements that a surfaced pair has.
    """

    pairs: int
    surfaced: int
    sentences: int
    involved: int


def alarms(groups: Sequence[Sequence[Statement]]) -> Alarms:
    """Compare every two statements of each group."""
    pairs = surfaced = sentences = 0
    involved: set[int] = set()
    for group in groups:
        sentences += sum(len(clauses(one.text)) for one in group)
        for a, b in itertools.combinations(group, 2):
            pairs += 1
            found = detect(a, b)
            if found is not None and found.score >= THRESHOLD and not found.is_update:
                surfaced += 1
                involved |= {id(a), id(b)}
    return Alarms(pairs, surfaced, sentences, len(involved))


def counterparts(
    pairs: Sequence[Labelled],
    others: Sequence[Statement],
    vectors: Callable[[Statement, Sequence[Statement]], Vectors] | None,
) -> dict[int, float]:
    """Return depth -> share of the contradicted statements that are among so many candidates.

    Args:
        pairs: the later statement of each asks for the earlier one.
        others: statements that are searched beside all earlier ones.
        vectors: of a statement and of those searched; None: by words alone.
    """
    pool = [pair.a for pair in pairs] + list(others)
    hits = dict.fromkeys(DEPTHS, 0)
    for pair in pairs:
        near = vectors(pair.b, pool) if vectors else None
        ranked = candidates(pair.b, pool, vectors=near, k=max(DEPTHS))
        places = [n for n, one in enumerate(ranked) if one.statement.text == pair.a.text]
        for depth in DEPTHS:
            hits[depth] += bool(places) and places[0] < depth
    return {depth: count / len(pairs) for depth, count in hits.items()}


def microseconds(pairs: Sequence[Labelled], *, known: bool) -> float:
    """Return CPU time of `detect` per pair; ``known``: the texts were read before."""
    forget()
    for pair in pairs if known else ():
        detect(pair.a, pair.b)
    started = time.process_time()
    for pair in pairs:
        detect(pair.a, pair.b)
    return (time.process_time() - started) / len(pairs) * 1e6


def milliseconds(statement: Statement, others: Sequence[Statement], *, known: bool) -> float:
    """Return CPU time of `candidates`; ``known``: the texts were read before."""
    forget()
    if known:
        candidates(statement, others)
    started = time.process_time()
    candidates(statement, others)
    return (time.process_time() - started) * 1e3
