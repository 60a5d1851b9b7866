"""A pair of texts, as rules see it, and what several of them ask of its words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memos_assets.cache.gate.lexicon import Lexicon, Word
from memos_assets.cache.gate.reading import Reading


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts in one language.

    Attributes:
        asked, matched: as they were read.
        asked_only, matched_only: words whose stem the other text does not have.
        lexicon: of their language.
        fresh_enough: the entry is as young as a text about "now" needs.
        slot_words: words that a replaced run may have.
    """

    asked: Reading
    matched: Reading
    asked_only: Sequence[Word]
    matched_only: Sequence[Word]
    lexicon: Lexicon
    fresh_enough: bool
    slot_words: int


#: Returns why one text does not answer the other, or "".
Rule = Callable[[Pair], str]


def same(mine: Word, theirs: Word) -> bool:
    """Whether two words are one, are synonyms, or are two names of one thing."""
    if mine.stem == theirs.stem or mine.synonyms & theirs.synonyms:
        return True
    if mine.number and mine.number == theirs.number:
        return True
    return any(mine.kinds.get(kind) == name for kind, name in theirs.kinds.items())


def exclusive(mine: Word, theirs: Word) -> bool:
    """Whether two words are on the two sides of one pair of opposites."""
    both = {number for number, _ in mine.sides} & {number for number, _ in theirs.sides}
    return any(
        (number, 1 - side) in theirs.sides and (number, side) not in theirs.sides
        for number, side in mine.sides
        if number in both
    )
