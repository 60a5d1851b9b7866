"""Lists of words by which statements are read: one file per language below `words`."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from memos_assets.language.lexicon import Lexicon, lexicon, named_lists

WORDS: Final = Path(__file__).parent / "words"
_VALUE: Final = "value "
#: Sides of a number that a comparison names: the least and the greatest value.
COMPARISONS: Final = ("more than", "at least", "less than", "at most", "about")


#: Adverbs that may stand within a predicate: "works now for".
_BETWEEN: Final = (
    r"\s+(?:(?:now|currently|still|also|just|mostly|presently|jetzt|nun|derzeit|aktuell|momentan|weiterhin"
    r"|inzwischen|mittlerweile|noch|seit kurzem)\s+)?"
)
_WORD: Final = re.compile(r"[\w'-]+")


class Phrases:
    """Phrases that are looked for in a sentence, and first by the words that they begin with."""

    def __init__(self, phrases: Iterable[str], between: str = "") -> None:
        kept = sorted(phrases, key=len, reverse=True)
        self._heads = frozenset(words_in(phrase)[0] for phrase in kept)
        either = "|".join(re.escape(phrase) for phrase in kept)
        if between:
            either = either.replace(r"\ ", between)
        self._pattern = re.compile(rf"(?<!\w)(?:{either})(?!\w)")

    def search(self, text: str, words: frozenset[str], start: int = 0) -> re.Match[str] | None:
        """Return the first phrase in a text in lower case, given its words too."""
        if self._heads.isdisjoint(words):
            return None
        return self._pattern.search(text, start)

    def all(self, text: str, words: frozenset[str]) -> Iterator[re.Match[str]]:
        """Yield all phrases in a text in lower case, given its words too."""
        if not self._heads.isdisjoint(words):
            yield from self._pattern.finditer(text)


def words_in(text: str) -> list[str]:
    """Return the words of a text, as phrases are looked for by them."""
    return [word.strip("'-") for word in _WORD.findall(text)]


@dataclass(frozen=True, slots=True)
class Lists:
    """What a language's file says; the file explains each list.

    Attributes:
        lexicon: words of the language that any room reads by.
        unasserted: finds a plan, a wish or a hypothesis.
        question: first words of a question or a request.
        asked: finds where a question begins within a sentence; asked_heads: its first words.
        clause: finds where a clause begins that stands for itself.
        idioms: finds negations that negate nothing.
        limited: words after a negation that make it a part: "not only".
        never: finds words that rule out any time.
        change: finds that something changed, or was otherwise.
        comparisons: finds what a comparison makes of the number after it, the last group it is.
        relation: finds a relation with a direction.
        predicates: name -> finds a predicate with one value; the value follows.
        nobody: negations that are a subject or an object.
        person: pronoun -> who is meant: "i", "we", "you", "he", "she", "they", "it".
        light, generic, several, acts, attribute, once, states, roles: stems of words.
        copula, auxiliary, scene, subjects, past, pointing, another, over, ongoing, present: words.
        known: every word of the file; they tell the language where function words do not.
        habit: finds how often something is done.
        verbs: stem -> groups of verbs that may stand for each other after "never".
    """

    lexicon: Lexicon
    unasserted: Phrases
    question: frozenset[str]
    asked: re.Pattern[str]
    asked_heads: frozenset[str]
    clause: Phrases
    idioms: Phrases
    limited: frozenset[str]
    never: Phrases
    change: Phrases
    comparisons: Mapping[str, re.Pattern[str]]
    relation: Phrases
    predicates: Mapping[str, Phrases]
    nobody: frozenset[str]
    person: Mapping[str, str]
    light: frozenset[str]
    generic: frozenset[str]
    several: frozenset[str]
    acts: frozenset[str]
    copula: frozenset[str]
    auxiliary: frozenset[str]
    scene: frozenset[str]
    attribute: frozenset[str]
    once: frozenset[str]
    states: frozenset[str]
    roles: frozenset[str]
    subjects: frozenset[str]
    past: frozenset[str]
    pointing: frozenset[str]
    another: frozenset[str]
    over: frozenset[str]
    ongoing: frozenset[str]
    present: frozenset[str]
    known: frozenset[str]
    habit: Phrases
    verbs: Mapping[str, frozenset[str]]


@cache
def lists(language: str) -> Lists:
    """Return the lists of a language that has rules."""
    written = named_lists(WORDS / f"{language}.txt")
    words = lexicon(language)

    def stems(name: str) -> frozenset[str]:
        return frozenset(_stem(words, phrase) for phrase in written[name])

    verbs: dict[str, set[str]] = {}
    for group in written["groups of verbs"]:
        for verb in stems(group):
            verbs.setdefault(verb, set()).add(group)
    return Lists(
        lexicon=words,
        unasserted=Phrases((*written["plan"], *written["hypothesis"])),
        question=frozenset(written["question"]),
        asked=re.compile(
            rf"(?:,|\band|\bund|^)\s*(?:so\s|and\s|but\s)?({_either(written['asked'])})(?!\w)"
        ),
        asked_heads=frozenset(words_in(phrase)[0] for phrase in written["asked"]),
        clause=Phrases(written["clause"]),
        idioms=Phrases(written["no negation"]),
        limited=frozenset(written["limited"]),
        never=Phrases(written["never"]),
        change=Phrases(written["change"]),
        comparisons={
            name: re.compile(rf"\b(?:{_either(written[name])})\s+(?:of\s+|the\s+)?[$€£]?$")
            for name in COMPARISONS
        },
        relation=Phrases(written["relation"]),
        predicates={
            name.removeprefix(_VALUE): Phrases(phrases, _BETWEEN)
            for name, phrases in written.items()
            if name.startswith(_VALUE)
        },
        nobody=frozenset(written["nobody"]),
        person=dict(pair.split("=") for pair in written["person"]),
        light=stems("light"),
        generic=stems("generic"),
        several=stems("several"),
        acts=stems("acts"),
        copula=frozenset(written["copula"]),
        auxiliary=frozenset(written["auxiliary"]),
        scene=frozenset(written["scene"]),
        attribute=stems("attribute"),
        once=stems("once"),
        states=stems("states"),
        roles=stems("roles"),
        subjects=frozenset(written["subject"]),
        past=frozenset(written["past"]),
        pointing=frozenset(written["pointing"]),
        another=frozenset(written["another"]),
        over=frozenset(written["over"]),
        ongoing=frozenset(written["ongoing"]),
        present=frozenset(written["present"]),
        known=frozenset(
            word for phrases in written.values() for phrase in phrases for word in words_in(phrase)
        ),
        habit=Phrases(written["habit"]),
        verbs={verb: frozenset(groups) for verb, groups in verbs.items()},
    )


def _stem(words: Lexicon, phrase: str) -> str:
    return " ".join(words.stem(part) for part in phrase.split())


def _either(phrases: Iterable[str]) -> str:
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))
