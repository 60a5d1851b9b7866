"""How much of a question a text speaks of, and how alike two texts are, by their words. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from memos_assets.language.lexicon import lexicon
from memos_assets.language.reading import language_of

_WORD: Final = re.compile(r"[^\W_]+(?:[-_.:/][^\W_]+)*")
#: A code or a number says more of a question than a word does.
_CODE: Final = 3.0
#: Words that ask, and say nothing of what is asked for.
_ASKING: Final = frozenset(
    (
        *("mean", "means", "meaning", "explain", "describe", "tell", "define", "definition"),
        *("know", "please", "show", "give", "bedeutet", "bedeuten", "heißt", "erkläre"),
        *("beschreibe", "zeige"),
    )
)
#: Ends of sentences within a line; not of abbreviations and numbers.
_END: Final = re.compile(r"(?<=[.!?])(?<!\b[A-Za-z]\.)(?<!\b(?:Dr|Nr|vs|ca)\.)\s+(?=[^a-z])")


@dataclass(frozen=True)
class Asked:
    """The words of a question, stem -> weight."""

    weights: dict[str, float]

    @property
    def whole(self) -> float:
        """The sum of the weights."""
        return sum(self.weights.values())

    def covered_by(self, stems: frozenset[str]) -> float:
        """Return how much of the question a text has, 0 to 1."""
        if not self.weights:
            return 0.0
        return sum(w for stem, w in self.weights.items() if stem in stems) / self.whole


def asked(question: str) -> Asked:
    """Return the words of a question that say what it is about."""
    found = {}
    for stem in stems_in_order(question):
        if stem not in _ASKING:
            found[stem] = _CODE if any(c.isdigit() for c in stem) else 1.0
    return Asked(found)


@lru_cache(maxsize=2_000)
def stems_in_order(text: str) -> tuple[str, ...]:
    """Return the stems of the words with content, each once; a code is one word."""
    words = lexicon(language_of(text.split()[:60]) or "en")
    found: dict[str, None] = {}
    for token in _WORD.findall(text.casefold()):
        if any(c.isdigit() for c in token):
            found[token] = None
        elif (word := words.word(token)).content and token not in _ASKING:
            found[word.stem] = None
    return tuple(found)


def stems(text: str) -> frozenset[str]:
    """Return the stems of the words with content."""
    return frozenset(stems_in_order(text))


def codes(text: str) -> frozenset[str]:
    """Return the codes and numbers of a text."""
    return frozenset(stem for stem in stems_in_order(text) if any(c.isdigit() for c in stem))


def alike(mine: frozenset[str], theirs: frozenset[str]) -> float:
    """Return the share of words that two texts have in common, 0 to 1."""
    both = len(mine | theirs)
    return len(mine & theirs) / both if both else 0.0


def sentences(text: str) -> list[str]:
    """Return the lines of a text, divided into sentences, without those that only repeat spaces."""
    parts = (part for line in text.splitlines() for part in _END.split(" ".join(line.split())))
    return [part for part in parts if part]


def diverse(scores: Sequence[float], words: Sequence[frozenset[str]], most: int) -> list[int]:
    """Return places by maximal marginal relevance: relevant, and unlike those before.

    Args:
        scores: relevance, 0 to 1.
        words: stems of each.
        most: places.

    Source: Carbonell and Goldstein, 1998, with lambda 0.7.
    """
    left = list(range(len(scores)))
    chosen: list[int] = []
    nearest = [0.0] * len(scores)
    while left and len(chosen) < most:
        best = max(left, key=lambda n: 0.7 * scores[n] - 0.3 * nearest[n])
        chosen.append(best)
        left.remove(best)
        for n in left:
            # Squared: a single word in common does not repeat anything.
            nearest[n] = max(nearest[n], alike(words[n], words[best]) ** 2)
    return chosen
