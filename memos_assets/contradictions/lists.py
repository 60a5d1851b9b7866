"""Lists of words by which statements are read: one file per language below `words`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from memos_assets.language.lexicon import Lexicon, lexicon, named_lists

WORDS: Final = Path(__file__).parent / "words"
_VALUE: Final = "value "
#: Sides of a number that a comparison names: the least and the greatest value.
COMPARISONS: Final = ("more than", "at least", "less than", "at most", "about")


@dataclass(frozen=True, slots=True)
class Lists:
    """What a language's file says; the file explains each list.

    Attributes:
        lexicon: words of the language that any room reads by.
        unasserted: finds a plan, a wish or a hypothesis.
        question: first words of a question or a request.
        asked: finds where a question begins within a sentence.
        clause: finds where a clause begins that stands for itself.
        idioms: finds negations that negate nothing.
        never: finds words that rule out any time.
        change: finds that something changed, or was otherwise.
        comparisons: finds what a comparison makes of the number after it, the last group it is.
        relation: finds a relation with a direction.
        predicates: name -> finds a predicate with one value; the value follows.
        nobody: negations that are a subject or an object.
        person: pronoun -> who is meant: "i", "we", "you", "he", "she", "they", "it".
        light, generic, several, acts, copula, auxiliary, scene, attribute, once: words and, where
            inflected, their stems.
        verbs: stem -> groups of verbs that may stand for each other after "never".
    """

    lexicon: Lexicon
    unasserted: re.Pattern[str]
    question: frozenset[str]
    asked: re.Pattern[str]
    clause: re.Pattern[str]
    idioms: re.Pattern[str]
    never: re.Pattern[str]
    change: re.Pattern[str]
    comparisons: Mapping[str, re.Pattern[str]]
    relation: re.Pattern[str]
    predicates: Mapping[str, re.Pattern[str]]
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
        unasserted=_finds((*written["plan"], *written["hypothesis"])),
        question=frozenset(written["question"]),
        asked=re.compile(rf"(?:,|\band|\bund|^)\s*(?:so\s|and\s|but\s)?({_either(written['asked'])})(?!\w)"),
        clause=_finds(written["clause"]),
        idioms=_finds(written["no negation"]),
        never=_finds(written["never"]),
        change=_finds(written["change"]),
        comparisons={
            name: re.compile(rf"\b(?:{_either(written[name])})\s+(?:of\s+|the\s+)?[$€£]?$")
            for name in COMPARISONS
        },
        relation=_finds(written["relation"]),
        predicates={
            name.removeprefix(_VALUE): _finds(phrases)
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
        verbs={verb: frozenset(groups) for verb, groups in verbs.items()},
    )


def _stem(words: Lexicon, phrase: str) -> str:
    return " ".join(words.stem(part) for part in phrase.split())


def _finds(phrases: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{_either(phrases)})(?!\w)")


def _either(phrases: Iterable[str]) -> str:
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))
