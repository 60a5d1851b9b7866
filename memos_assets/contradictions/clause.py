"""A sentence as detectors see it: words with their places, values, who it is about, negations."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from memos_assets.contradictions.lists import Lists, lists
from memos_assets.contradictions.sentences import Sentence, asserted
from memos_assets.contradictions.values import EVERY_WEEK, NUMBER, WEEKDAY, Value, amount, values_of
from memos_assets.language.lexicon import Word

_TOKEN: Final = re.compile(r"[^\W_]+(?:['&.+#/_-][^\W_]+)*[+#]*")
_KEPT_TEXTS: Final = 20_000
_KEPT_WORDS: Final = 50_000


class Token(NamedTuple):
    """A word of a sentence with its place.

    Attributes:
        word: as the lexicon knows it; of a value, an empty one.
        start, end: offsets in the sentence.
        value: place in `Clause.values`, -1 for a word.
        light: it adds nothing to what is said.
        name: it has a capital within the sentence.
    """

    word: Word
    start: int
    end: int
    value: int
    light: bool
    name: bool


@dataclass(slots=True)
class Clause:
    """A sentence that was read.

    Attributes:
        start: offset of the sentence in its text.
        text: of the sentence; lower: in lower case.
        lists: of its language.
        words: of the sentence, in lower case.
        tokens: all words and values, in order.
        content: places in ``tokens`` of words with content that are neither light nor values.
        stems: of the words with content.
        values: of the sentence.
        negations: places in ``tokens`` of what negates.
        negated: it is negated once or three times.
        never: place of "never", -1 without one.
        person: whom the first pronoun means, "" without one.
        people: whom any pronoun of it means.
        changes: it says that something changed.
        scene: it describes a picture: what it names is there once.
        speaker: who says it, where that is written.
        copula: place of the first "is" and its like, -1 without one.
        verb: place of the first auxiliary, -1 without one.
    """

    start: int
    text: str
    lower: str
    lists: Lists
    words: frozenset[str]
    tokens: list[Token] = field(default_factory=list)
    content: list[int] = field(default_factory=list)
    stems: frozenset[str] = frozenset()
    values: list[Value] = field(default_factory=list)
    negations: list[int] = field(default_factory=list)
    negated: bool = False
    never: int = -1
    person: str = ""
    people: frozenset[str] = frozenset()
    changes: bool = False
    scene: bool = False
    speaker: str = ""
    copula: int = -1
    verb: int = -1

    def shown(self, places: Iterable[int]) -> str:
        """Return the words at some places as they are written, for people."""
        return " ".join(self.text[self.tokens[n].start : self.tokens[n].end] for n in places)


@lru_cache(maxsize=_KEPT_TEXTS)
def clauses(text: str, language: str | None = None) -> tuple[Clause, ...]:
    """Return the sentences of a text that are asserted, read."""
    return tuple(_read(sentence) for sentence in asserted(text, language))


@lru_cache(maxsize=1_000)
def merged(text: str, language: str | None = None) -> Clause | None:
    """Return all that a text asserts and does not deny as one sentence; None for fewer than two.

    What "never" rules out may be spread over a message: the thing in one sentence, its place in
    another.
    """
    kept = [
        sentence
        for sentence, clause in zip(asserted(text, language), clauses(text, language), strict=True)
        if not clause.negations
    ]
    if len(kept) < 2 or len({id(sentence.lists) for sentence in kept}) > 1:
        return None
    parts = bytearray(len(text))
    for sentence in kept:
        end = sentence.start + len(sentence.text)
        parts[sentence.start : end] = b"\1" * len(sentence.text)
    shown = "".join(c if seen else " " for c, seen in zip(text, parts, strict=True))
    words = frozenset[str]().union(*(sentence.words for sentence in kept))
    return _read(Sentence(0, shown, kept[0].lists, kept[0].speaker, words))


def _read(sentence: Sentence) -> Clause:
    words = sentence.lists
    lower = sentence.text.lower().replace("\u2019", "'")
    if len(lower) != len(sentence.text):
        lower = sentence.text
    clause = Clause(
        sentence.start, sentence.text, lower, words, sentence.words, speaker=sentence.speaker
    )
    clause.values = values_of(sentence.text, words)
    changes = [found.span() for found in words.change.all(lower, sentence.words)]
    clause.changes = bool(changes)
    _tokens(clause, changes)
    _negations(clause)
    people = [words.person[t.word.text] for t in clause.tokens if t.word.text in words.person]
    clause.person = people[0] if people else ""
    clause.people = frozenset(people)
    for place, token in enumerate(clause.tokens):
        text = token.word.text
        if clause.copula < 0 and text in words.copula:
            clause.copula = place
        if clause.verb < 0 and text in words.auxiliary:
            clause.verb = place
    first = _first(lower)
    progressive = clause.verb > 0 and any(
        token.word.text.endswith("ing")
        for token in clause.tokens[clause.verb + 1 : clause.verb + 3]
    )
    known = first in words.person or (clause.tokens and clause.tokens[0].name)
    clause.scene = not known and (first in words.scene or (first == "the" and progressive))
    return clause


def _first(lower: str) -> str:
    first = _TOKEN.search(lower)
    return first[0] if first else ""


def _tokens(clause: Clause, changes: list[tuple[int, int]]) -> None:
    language = clause.lists.lexicon.name
    values = iter(enumerate(clause.values))
    number, value = next(values, (-1, None))
    found: list[Token] = []
    for match in _TOKEN.finditer(clause.lower):
        start, end = match.span()
        while value is not None and value.end <= start:
            found.append(_valued(value.start, value.end, number))
            number, value = next(values, (-1, None))
        if value is not None and start < value.end and end > value.start:
            continue
        for word, offset, size, light in _looked_up(match[0], language):
            at = start + offset
            name = bool(found) and clause.text[at].isupper()
            if changes and not light:
                light = any(begin <= at < stop for begin, stop in changes)
            found.append(Token(word, at, at + size, -1, light, name))
    while value is not None:
        found.append(_valued(value.start, value.end, number))
        number, value = next(values, (-1, None))
    clause.tokens = _numbers(_phrases(found, clause), clause)
    clause.content = [
        place
        for place, token in enumerate(clause.tokens)
        if token.value < 0
        and token.word.content
        and not token.light
        and token.word.text not in clause.lists.copula
    ]
    clause.stems = frozenset(clause.tokens[place].word.stem for place in clause.content)


_EMPTY: Final = Word("", "", content=False)


def _valued(start: int, end: int, value: int) -> Token:
    return Token(_EMPTY, start, end, value, light=False, name=False)


@lru_cache(maxsize=_KEPT_WORDS)
def _looked_up(token: str, language: str) -> tuple[tuple[Word, int, int, bool], ...]:
    """Return (word, offset, size, light) of the parts of a token in lower case."""
    words = lists(language)
    found = ((words.lexicon.word(text), at, len(text)) for text, at in _parts(token, words))
    return tuple((word, at, size, word.stem in words.light) for word, at, size in found)


def _parts(token: str, words: Lists) -> list[tuple[str, int]]:
    """Split a compound that is not listed, and take the ending from a genitive."""
    if token.endswith("'s") and token not in words.person and token not in words.copula:
        token = token[:-2]
    if "-" not in token and "/" not in token:
        return [(token, 0)]
    if words.lexicon.stem(token) in words.lexicon.vocabulary or any(c.isdigit() for c in token):
        return [(token, 0)]
    parts, at = [], 0
    for part in re.split(r"([-/])", token):
        if part and part not in "-/":
            parts.append((part, at))
        at += len(part)
    return parts


def _phrases(tokens: list[Token], clause: Clause) -> list[Token]:
    """Join the words of a phrase that the lexicon knows."""
    lexicon = clause.lists.lexicon
    joined: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        taken = 1
        if not token.word.plain and token.word.stem in lexicon.phrases:
            stems = tuple(t.word.stem for t in tokens[place : place + 4])
            for phrase in lexicon.phrases[token.word.stem]:
                if stems[: len(phrase)] == phrase:
                    taken = len(phrase)
                    last = tokens[place + taken - 1]
                    whole = lexicon.word(
                        " ".join(t.word.text for t in tokens[place : place + taken])
                    )
                    token = Token(
                        whole,
                        token.start,
                        last.end,
                        -1,
                        light=whole.stem in clause.lists.light,
                        name=token.name,
                    )
                    break
        joined.append(token)
        place += taken
    return joined


def _numbers(tokens: list[Token], clause: Clause) -> list[Token]:
    """Make values of numbers in words, and give values the units that follow them."""
    lexicon = clause.lists.lexicon
    found: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        word = token.word
        ranked = word.number == "1" and word.text in _FIRST and _definite(found)
        if (
            token.value < 0
            and word.number
            and (ranked or not word.weak)
            and word.number.replace(".", "").isdigit()
        ):
            ordinal = (
                ranked
                or (word.content and word.text.endswith(("th", "first", "second", "third")))
                or word.text.endswith(("te", "ten", "ter"))
            )
            number, end = float(word.number), place + 1
            if (
                end < len(tokens)
                and 20 <= number < 100
                and tokens[end].word.number.isdigit()
                and 0 < int(tokens[end].word.number) < 10
            ):
                number += int(tokens[end].word.number)
                end += 1
            while end < len(tokens) and tokens[end].word.text in lexicon.multipliers:
                number *= lexicon.multipliers[tokens[end].word.text]
                end += 1
            span = (token.start, tokens[end - 1].end)
            if word.text in ("second", "half", "quarter", "double") and not ordinal:
                found.append(token)
                place += 1
                continue
            clause.values.append(
                amount(
                    number,
                    "rank" if ordinal else "",
                    clause.lower[: span[0]],
                    span,
                    clause.text[span[0] : span[1]],
                    clause.lists,
                )
            )
            token = _valued(*span, len(clause.values) - 1)
            place = end - 1
        if token.value < 0 and (day := word.kinds.keys() & _WEEKDAY):
            often = EVERY_WEEK if _weekly(token, found) else ""
            parts = (word.kinds[next(iter(day))],)
            span = token.start, token.end
            clause.values.append(
                Value(WEEKDAY, *span, 0, 0, often, parts, clause.text[span[0] : span[1]])
            )
            token = _valued(*span, len(clause.values) - 1)
        if token.value >= 0 and clause.values[token.value].kind == NUMBER:
            token, place = _with_unit(token, tokens, place, clause)
        found.append(token)
        place += 1
    return found


_WEEKDAY: Final = frozenset({"weekday", "wochentag"})


def _weekly(token: Token, before: list[Token]) -> bool:
    """Whether a day of the week is meant as each of them: "Mondays", "every Monday", "montags"."""
    if token.word.text.endswith("s"):
        return True
    return bool(before) and before[-1].word.text in ("every", "each", "jeden")


_FIRST: Final = frozenset({"first", "erste", "ersten", "erster", "erstes"})
_DEFINITE: Final = frozenset({"the", "der", "die", "das", "den", "dem"})


def _definite(before: list[Token]) -> bool:
    """Whether an article stands before what comes: "the first time", not "first we eat"."""
    return bool(before) and before[-1].word.text in _DEFINITE


def _with_unit(token: Token, tokens: list[Token], place: int, clause: Clause) -> tuple[Token, int]:
    """Return a value's token with the unit or the factor that follows it, and its last place."""
    value = clause.values[token.value]
    following = tokens[place + 1].word if place + 1 < len(tokens) else _EMPTY
    near = place + 1 < len(tokens) and tokens[place + 1].start - token.end <= 1
    if not near or (value.unit and value.unit not in ("", "usd", "eur", "pound", "jpy")):
        return token, place
    factor = clause.lists.lexicon.multipliers.get(following.text)
    unit = following.unit
    if factor is None and not unit:
        return token, place
    end = tokens[place + 1].end
    number = float(value.low if value.low not in (float("-inf"),) else value.high)
    if value.low != value.high and value.high != float("inf") and value.low != float("-inf"):
        number = (value.low + value.high) / 2
    new = amount(
        number * (factor or 1.0),
        value.unit or unit,
        clause.lower[: value.start],
        (value.start, end),
        clause.text[value.start : end],
        clause.lists,
    )
    clause.values[token.value] = new
    joined = _valued(token.start, end, token.value)
    if factor is not None and place + 2 < len(tokens):
        return _with_unit(joined, tokens, place + 1, clause)
    return joined, place + 1


def _negations(clause: Clause) -> None:
    lists = clause.lists
    places = [n for n, token in enumerate(clause.tokens) if token.word.negation]
    if not places:
        return
    for idiom in lists.idioms.all(clause.lower, clause.words):
        places = [n for n in places if not idiom.start() <= clause.tokens[n].start < idiom.end()]
    for idiom in lists.lexicon.idioms.finditer(clause.lower):
        places = [n for n in places if not idiom.start() <= clause.tokens[n].start < idiom.end()]
    near = {n: {t.word.text for t in clause.tokens[n + 1 : n + 3]} for n in places}
    places = [n for n in places if near[n].isdisjoint(lists.limited)]
    clause.negations = places
    clause.negated = len(places) % 2 == 1
    found = lists.never.search(clause.lower, clause.words)
    if found and clause.negated:
        clause.never = next(
            (n for n in places if found.start() <= clause.tokens[n].start < found.end()), -1
        )
