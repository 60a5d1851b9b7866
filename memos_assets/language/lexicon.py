"""Words of a language that has rules: read from the files below `words`, once per process."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Final, NamedTuple

WORDS: Final = Path(__file__).parent / "words"
#: Languages with rules.
LANGUAGES: Final = ("en", "de")
#: Words of texts that are kept looked up; a word takes some 300 bytes.
_KEPT_WORDS: Final = 50_000


class Word(NamedTuple):
    """A word or phrase as rules see it.

    Attributes:
        text: as it is in the text, in lower case.
        stem: without its ending; equal stems are one word.
        content: it is not a function word.
        negation: it negates what it is in.
        number: its value as text, "" if it is not a number.
        weak: a number that is also an article, a pronoun or an adverb.
        unit: the name of its unit, "" if it is not one.
        kinds: kind -> member, of the kinds of things that it belongs to.
        sides: pairs of opposites it belongs to, by the number of the pair, with the side.
        synonyms: numbers of the groups it belongs to.
        plain: it is none of a number, a unit, a negation, and the beginning of a phrase.
        fresh: an expression of time such as "today" has it.
        light: it asks for nothing more where one text adds it to the other.
        either: numbers of its pairs of opposites between which there is nothing.
    """

    text: str
    stem: str
    content: bool = True
    negation: bool = False
    number: str = ""
    weak: bool = False
    unit: str = ""
    kinds: Mapping[str, str] = {}
    sides: frozenset[tuple[int, int]] = frozenset()
    synonyms: frozenset[int] = frozenset()
    plain: bool = True
    fresh: bool = False
    light: bool = False
    either: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What is known of a language.

    Attributes:
        name: "en" or "de".
        function: words without content; the language is detected by them.
        vocabulary: stems of all other words that are listed.
        phrases: first stem -> phrases that begin with it, as stems, the longest first.
        following: stems that a phrase has after its first one.
        fresh: finds words by which an answer is right for a moment only.
        moment: as well, unless ``no_moment`` takes them out, or a person tells what happened then.
        tellers, wishes: a text that begins with the first and has none of the second tells.
        topics: finds what changes by the hour; `values` finds that its value is asked for.
        idioms: finds expressions with a negation that negate nothing.
        like_negations: stems of words such as "avoid", which a negation may stand for.
        negates_things: negations that count where the other text has the thing that follows.
        questions: word or two words -> what a question with it asks for.
        begins: beginning of a question -> what it asks for.
        joins: words of questions that join sentences elsewhere, but after ``asks_after``.
        apart: pairs of questions that have different answers; near: those of them that are close.
        act: matches the beginning of a text that asks for an action.
        act_heads: words that such a text begins with.
        arrows, origins: stems of "to" and of "from"; symmetric: of "and" and "or".
        prepositions: a word after one of them says which of the things before it is meant.
        multipliers: stem -> factor.
        months: their names, in order.
        prefixes: that turn a word into its opposite.
        capitals: a capital within a sentence marks a name.
        decimal_comma: "3,5" is one number.
        cases: words whose form tells the subject from the object.
        synonyms: number of a group -> stems in it.
        word: looks up a word by its text, or a phrase by its stems.
        stem: returns the stem of a word.
    """

    name: str
    function: frozenset[str]
    vocabulary: frozenset[str]
    phrases: Mapping[str, tuple[tuple[str, ...], ...]]
    following: frozenset[str]
    fresh: re.Pattern[str]
    moment: re.Pattern[str]
    no_moment: re.Pattern[str]
    tellers: frozenset[str]
    wishes: frozenset[str]
    topics: re.Pattern[str]
    values: re.Pattern[str]
    idioms: re.Pattern[str]
    like_negations: frozenset[str]
    negates_things: frozenset[str]
    questions: Mapping[str, str]
    begins: Mapping[str, str]
    joins: frozenset[str]
    asks_after: frozenset[str]
    apart: frozenset[tuple[str, str]]
    near: frozenset[tuple[str, str]]
    act: re.Pattern[str]
    act_heads: frozenset[str]
    arrows: frozenset[str]
    origins: frozenset[str]
    symmetric: frozenset[str]
    prepositions: frozenset[str]
    multipliers: Mapping[str, int]
    months: tuple[str, ...]
    prefixes: tuple[str, ...]
    capitals: bool
    decimal_comma: bool
    cases: frozenset[str]
    synonyms: Mapping[int, frozenset[str]]
    word: Callable[[str], Word]
    stem: Callable[[str], str]


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of every line of a list that is not a comment."""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, text


def named_lists(path: Path) -> dict[str, list[str]]:
    """Return name -> members of a file of "name: member, member" lines."""
    lists: dict[str, list[str]] = {}
    for _, line in lines_of(path):
        name, _, rest = line.partition(":")
        lists[name.strip()] = members(rest)
    return lists


def members(text: str) -> list[str]:
    """Return the members of a list that commas separate."""
    return [member.strip() for member in text.split(",") if member.strip()]


def _english_stem(word: str) -> str:
    size = len(word)
    if size > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        if word.endswith("ies") and size > 4:
            return word[:-3] + "y"
        if word.endswith(("sses", "shes", "ches", "xes", "zes")):
            return word[:-2]
        word = word[:-1]
    elif size > 5 and word.endswith("ing"):
        word = _undoubled(word[:-3])
    elif size > 4 and word.endswith("ied"):
        return word[:-3] + "y"
    elif size > 4 and word.endswith("ed"):
        word = _undoubled(word[:-2])
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def _undoubled(word: str) -> str:
    """Undo the doubling of a consonant: "stopp" is "stop", and "sell" stays."""
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
        return word[:-1]
    return word


def _german_stem(word: str) -> str:
    for ending in ("ern", "em", "en", "er", "es", "st", "e", "s", "n", "t"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


_STEMS: Final = {"en": _english_stem, "de": _german_stem}
_QUESTION: Final = "question "
#: Between two sides of an opposite of which a thing has one.
_NOTHING_BETWEEN: Final = "||"
_MONTHS: Final = {"en": "month", "de": "monat"}
_PREFIXES: Final = {
    "en": ("un", "in", "im", "il", "ir", "non", "non-", "dis", "de", "mis", "anti", "anti-"),
    "de": ("un", "in", "ir", "il", "im", "nicht", "nicht-", "miss", "ent", "anti"),
}


@cache
def lexicon(language: str) -> Lexicon:
    """Return the lexicon of a language of `LANGUAGES`."""
    folder = WORDS / language
    grammar = named_lists(folder / "grammar.txt")
    pairs = {name: dict(_pairs(grammar[name])) for name in ("form", "number", "unit", "multiplier")}
    ending = _STEMS[language]

    def stem(word: str) -> str:
        form = pairs["form"].get(word, "")
        # A form that is its own is never shortened; "made" has the stem of "make".
        return word if form == word else ending(form or word)

    def stems(phrase: str) -> str:
        return " ".join(stem(part) for part in phrase.split())

    kinds_file = named_lists(folder / "kinds.txt")
    kinds = _kinds(kinds_file, stems)
    sides: dict[str, set[tuple[int, int]]] = {}
    either: set[int] = set()
    for number, line in lines_of(folder / "antonyms.txt"):
        if _NOTHING_BETWEEN in line:
            either.add(number)
        for side, words_of_side in enumerate(line.replace(_NOTHING_BETWEEN, "|").split("|")):
            for phrase in members(words_of_side):
                sides.setdefault(stems(phrase), set()).add((number, side))
    synonyms: dict[str, set[int]] = {}
    groups: dict[int, frozenset[str]] = {}
    for number, line in lines_of(folder / "synonyms.txt"):
        groups[number] = frozenset(stems(phrase) for phrase in members(line))
        for phrase in members(line):
            synonyms.setdefault(stems(phrase), set()).add(number)
    listed = kinds.keys() | sides.keys() | synonyms.keys()
    function = frozenset(grammar["function"])
    negations = frozenset(grammar["negation"])
    weak = frozenset(grammar["weak number"])
    units = {**pairs["unit"], **{stem(unit): name for unit, name in pairs["unit"].items()}}

    phrases = _phrases(phrase for phrase in listed if " " in phrase)
    # The longest word of an expression is its rarest: "at present" is looked for at "present".
    fresh_words = {
        max(reversed(phrase.split()), key=len)
        for name in ("fresh", "moment", "topic")
        for phrase in grammar[name]
    }
    light = {stems(phrase) for phrase in grammar["light"]}

    @lru_cache(maxsize=_KEPT_WORDS)
    def word(text: str) -> Word:
        key = stems(text)
        negated = text in negations or text.endswith("n't")
        number, unit = pairs["number"].get(text, ""), units.get(text) or units.get(key, "")
        fresh = not fresh_words.isdisjoint(text.split())
        special = negated or number or unit or fresh or text in pairs["multiplier"]
        return Word(
            text=text,
            stem=key,
            content=text not in function and not negated,
            negation=negated,
            number=number,
            weak=text in weak,
            unit=unit,
            kinds=kinds.get(key, {}),
            sides=frozenset(sides.get(key, ())),
            either=frozenset(number for number, _ in sides.get(key, ()) if number in either),
            synonyms=frozenset(synonyms.get(key, ())),
            plain=not special and key not in phrases,
            fresh=fresh,
            light=key in light,
        )

    return Lexicon(
        name=language,
        function=function | negations,
        vocabulary=frozenset(part for phrase in listed for part in phrase.split()),
        phrases=phrases,
        following=frozenset(
            part for all_of in phrases.values() for phrase in all_of for part in phrase[1:2]
        ),
        fresh=_anywhere(grammar["fresh"]),
        moment=_anywhere(grammar["moment"]),
        no_moment=_anywhere(grammar["no moment"]),
        tellers=frozenset(grammar["teller"]),
        wishes=frozenset(grammar["wish"]),
        topics=_anywhere(grammar["topic"]),
        values=_anywhere(grammar["value"]),
        idioms=_anywhere(grammar["no negation"]),
        like_negations=frozenset(stem(word) for word in grammar["like a negation"]),
        negates_things=frozenset(grammar["negation of a thing"]),
        questions={
            word: name.removeprefix(_QUESTION)
            for name, words_of_question in grammar.items()
            if name.startswith(_QUESTION)
            for word in words_of_question
        },
        begins=dict(_pairs(grammar["asks"])),
        joins=frozenset(grammar["joins"]),
        asks_after=frozenset(grammar["asks after"]),
        apart=_both_ways(grammar["apart"]),
        near=_both_ways(grammar["near"]),
        act=re.compile(
            rf"^\W*(?:(?:{_either(grammar['polite'])})[\s,]+)*(?:{_either(grammar['act'])})(?!\w)"
        ),
        act_heads=frozenset(
            phrase.split()[0] for name in ("act", "polite") for phrase in grammar[name]
        ),
        arrows=frozenset(grammar["arrow"]),
        origins=frozenset(grammar["from"]),
        symmetric=frozenset(grammar["symmetric"]),
        prepositions=frozenset(grammar["preposition"]),
        multipliers={name: int(value) for name, value in pairs["multiplier"].items()},
        months=tuple(name.partition("=")[0] for name in kinds_file[_MONTHS[language]]),
        prefixes=_PREFIXES[language],
        capitals=language == "en",
        decimal_comma=language == "de",
        cases=frozenset(grammar.get("case", ())),
        synonyms=groups,
        word=word,
        stem=lru_cache(maxsize=_KEPT_WORDS)(stem),
    )


def _kinds(
    lists: Mapping[str, Sequence[str]], stems: Callable[[str], str]
) -> dict[str, dict[str, str]]:
    """Return stems of a name -> kind -> the first of the names of that thing."""
    found: dict[str, dict[str, str]] = {}
    for kind, things in lists.items():
        for names in (thing.split("=") for thing in things):
            for name in names:
                found.setdefault(stems(name.strip()), {})[kind] = names[0].strip()
    return found


def _pairs(entries: Iterable[str]) -> Iterator[tuple[str, str]]:
    for entry in entries:
        name, _, value = entry.partition("=")
        yield name.strip(), value.strip()


def _anywhere(phrases: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_either(phrases)})(?!\w)")


def _both_ways(pairs: Iterable[str]) -> frozenset[tuple[str, str]]:
    split = [tuple(pair.split()) for pair in pairs]
    return frozenset((one, other) for a, b in split for one, other in ((a, b), (b, a)))


def _either(phrases: Iterable[str]) -> str:
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))


def _phrases(phrases: Iterable[str]) -> dict[str, tuple[tuple[str, ...], ...]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for phrase in phrases:
        parts = tuple(phrase.split())
        found.setdefault(parts[0], []).append(parts)
    return {head: tuple(sorted(all_of, key=len, reverse=True)) for head, all_of in found.items()}


@cache
def foreign_words() -> Mapping[str, frozenset[str]]:
    """Return word -> languages without rules that it is a function word of."""
    ours = frozenset().union(*(lexicon(language).function for language in LANGUAGES))
    found: dict[str, set[str]] = {}
    for language, words in named_lists(WORDS / "languages.txt").items():
        for word in words:
            if word not in ours:
                found.setdefault(word, set()).add(language)
    return {word: frozenset(languages) for word, languages in found.items()}
