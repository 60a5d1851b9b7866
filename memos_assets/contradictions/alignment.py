"""Which words of two sentences say the same, and which only one of them has."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from memos_assets.contradictions.clause import Clause
from memos_assets.contradictions.statement import Span
from memos_assets.language.relations import same

_FIRST_PERSONS: Final = frozenset({"i", "we"})


class Found(NamedTuple):
    """What a detector found in two sentences.

    Attributes:
        kind: of the contradiction.
        score: above 0, at most 1.
        mine, theirs: places of tokens that cannot stand together.
        reason: a sentence.
    """

    kind: str
    score: float
    mine: tuple[int, ...]
    theirs: tuple[int, ...]
    reason: str

    def turned(self) -> "Found":
        """Return the same of the two sentences in the other order."""
        return self._replace(mine=self.theirs, theirs=self.mine)


@dataclass(slots=True)
class Pair:
    """Two sentences of one language.

    Attributes:
        one, other: the sentences.
        matched: place in ``one`` -> place in ``other`` of words with content that say the same.
        only_one, only_other: places of the words with content that the other does not have.
        one_subject: both are known to be about the same subject.
        dated: their statements are of two times, so that a difference is an update at most.
    """

    one: Clause
    other: Clause
    matched: dict[int, int]
    only_one: list[int]
    only_other: list[int]
    one_subject: bool
    dated: bool = False

    def turned(self) -> "Pair":
        """Return the sentences in the other order."""
        back = {theirs: mine for mine, theirs in self.matched.items()}
        return Pair(
            *(self.other, self.one, back, self.only_other, self.only_one),
            one_subject=self.one_subject,
            dated=self.dated,
        )

    @property
    def shared(self) -> int:
        """Count the words that both have."""
        return len(self.matched)


def align(one: Clause, other: Clause, *, one_subject: bool, dated: bool) -> Pair:
    """Match words of two sentences, each at most once, equal stems first."""
    free: dict[str, list[int]] = {}
    for place in other.content:
        free.setdefault(other.tokens[place].word.stem, []).append(place)
    matched: dict[int, int] = {}
    rest: list[int] = []
    for place in one.content:
        places = free.get(one.tokens[place].word.stem)
        if places:
            matched[place] = places.pop(0)
        else:
            rest.append(place)
    left = [place for places in free.values() for place in places]
    only_one: list[int] = []
    for place in rest:
        word = one.tokens[place].word
        partner = next((n for n in left if same(word, other.tokens[n].word)), -1)
        if partner < 0:
            only_one.append(place)
        else:
            matched[place] = partner
            left.remove(partner)
    return Pair(one, other, matched, only_one, sorted(left), one_subject, dated)


def one_person(pair: Pair) -> bool:
    """Whether the subjects that pronouns name may be one, and neither is somebody else."""
    mine, theirs = pair.one.person, pair.other.person
    speakers = {pair.one.speaker, pair.other.speaker} - {""}
    if len(speakers) == 2 and {mine, theirs} & _FIRST_PERSONS:
        return False
    if mine == theirs:
        return True
    if pair.one_subject:
        # Of one subject: "I" in what it says of itself, its name or "she" in what others say.
        return not {mine, theirs} & {"you"} and bool(
            {mine, theirs} <= {"i", "we", "he", "she", "they", ""}
        )
    return {mine, theirs} <= _FIRST_PERSONS


def span_of(clause: Clause, places: Iterable[int]) -> Span:
    """Return the part of the statement's text from the first of some words to the last."""
    tokens = [clause.tokens[place] for place in places]
    if not tokens:
        stripped = len(clause.text) - len(clause.text.lstrip())
        return Span(clause.start + stripped, clause.start + len(clause.text.rstrip()))
    return Span(
        clause.start + min(token.start for token in tokens),
        clause.start + max(token.end for token in tokens),
    )


def quoted(clause: Clause, places: Iterable[int]) -> str:
    """Return the words at some places in quotation marks, shortened."""
    shown = clause.shown(sorted(places))
    return f"'{shown if len(shown) <= 60 else shown[:57] + '...'}'"
