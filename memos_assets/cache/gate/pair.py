"""A pair of texts, as rules see it, and what several of them ask of its words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from memos_assets.language.lexicon import Lexicon, Word
from memos_assets.language.reading import Reading


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
