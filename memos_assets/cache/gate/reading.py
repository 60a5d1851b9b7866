"""Read a text as rules need it: its language, words, numbers, identifiers and names."""

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from memos_assets.cache.gate.lexicon import LANGUAGES, Lexicon, Word, foreign_words, lexicon

_TOKEN: Final = re.compile(
    r"[$€£¥](?=\s?\d)|\w+(?:(?:[-'@&.]|(?<=\d)[:/](?=\d)|(?<=\d),(?=\d{3}))\w+)*(?:\+\+|[#%])?|[$€£¥%&]"
)
_CURRENCIES: Final = {"$": "usd", "€": "eur", "£": "pound", "¥": "jpy", "%": "%"}
_ISO_DATE: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_DOTTED_DATE: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_PLAIN: Final = re.compile(r"\d+(?:\.\d+)?")
_GROUPED: Final = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_COUNTED: Final = re.compile(r"(\d[\d.,]*)-?([^\W\d_]+|%)")
_ORDINAL: Final = frozenset({"st", "nd", "rd", "th", "s"})
_APOSTROPHES: Final = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'"})


@dataclass(slots=True)
class Reading:
    """A text as rules see it.

    Attributes:
        text: normalised, in lower case.
        words: words and phrases in order, without numbers that are digits and identifiers.
        numbers: values that say how many, which one or which year; weak: "one" and its like.
        units: value -> units it has.
        identifiers: codes, versions, addresses: tokens with letters and digits, in lower case.
        names: words that a capital marks as a name, as stems.
        stems: of all words.
        negated: whether a word negates.
        symbols: the sequence of all that is compared in order: stems, values and identifiers.
        content: whether each of `symbols` has content.
    """

    text: str
    words: list[Word] = field(default_factory=list)
    numbers: set[str] = field(default_factory=set)
    weak: set[str] = field(default_factory=set)
    units: dict[str, set[str]] = field(default_factory=dict)
    identifiers: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    stems: set[str] = field(default_factory=set)
    negated: bool = False
    symbols: list[Word] = field(default_factory=list)


def normalised(text: str) -> str:
    """Return a text with one form for each character, one kind of apostrophe and single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    return " ".join(text.split())


def tokens_of(text: str) -> list[str]:
    """Return the tokens of a normalised text, with their capitals."""
    return _TOKEN.findall(text)


def language_of(tokens: list[str]) -> str | None:
    """Return the language with rules that a text is in, or None.

    Function words decide; a text without one is in the language that knows half of its words.
    """
    folded = [token.lower() for token in tokens]
    scores = {name: sum(t in lexicon(name).function for t in folded) for name in LANGUAGES}
    best = max(LANGUAGES, key=scores.__getitem__)
    foreign = foreign_words()
    others = Counter(name for token in folded if token in foreign for name in foreign[token])
    if others and max(others.values()) >= scores[best]:
        return None
    if scores[best]:
        return best
    known = {name: _known(folded, lexicon(name)) for name in LANGUAGES}
    best = max(LANGUAGES, key=known.__getitem__)
    return best if folded and known[best] * 2 >= len(folded) else None


def _known(folded: list[str], words: Lexicon) -> int:
    return sum(words.stem(token) in words.vocabulary for token in folded)


def read(text: str, tokens: list[str], words: Lexicon) -> Reading:
    """Read a normalised text in a language."""
    reading = Reading(text.lower())
    raw: list[tuple[str, bool]] = []
    capitals = 0
    for place, token in enumerate(tokens):
        named = token[0].isupper() and (place > 0 or (len(token) > 1 and token[1].isupper()))
        capitals += named
        raw.extend((part, named) for part in _parts(token.lower(), words))
    # A text in title case marks no names.
    marks = words.capitals and capitals * 5 <= max(len(tokens), 5) * 3
    _collect(reading, raw, words, marks=marks)
    return reading


def _parts(token: str, words: Lexicon) -> list[str]:
    """Split a compound that is not listed, and leave codes and listed compounds whole."""
    if token.endswith("'s"):
        token = token[:-2]
    if "-" not in token or words.stem(token) in words.vocabulary or _ISO_DATE.fullmatch(token):
        return [token]
    if any(character.isdigit() for character in token):
        counted = _COUNTED.fullmatch(token)
        return [counted[1], counted[2]] if counted and len(counted[2]) > 2 else [token]
    return [part for part in token.split("-") if part]


def _collect(reading: Reading, raw: list[tuple[str, bool]], words: Lexicon, *, marks: bool) -> None:
    place, size = 0, len(raw)
    pending = ""
    while place < size:
        text, named = raw[place]
        if text[0].isdigit() or any(character.isdigit() for character in text):
            pending = _digits(reading, text, words, pending)
            place += 1
            continue
        if text in _CURRENCIES:
            if reading.symbols and reading.symbols[-1].number and text == "%":
                _measure(reading, reading.symbols[-1].number, "%")
            else:
                pending = _CURRENCIES[text]
            place += 1
            continue
        word, taken = _longest(raw, place, words)
        place += taken
        last = reading.symbols[-1] if reading.symbols else None
        if word.unit and last is not None and last.number:
            _measure(reading, last.number, word.unit)
        if text in words.multipliers and last is not None and last.number:
            _times(reading, last, words.multipliers[text])
            continue
        if word.number and _adds(last, word):
            assert last is not None
            _replace(reading, last, str(int(last.number) + int(word.number)))
            continue
        if word.number:
            (reading.weak if word.weak else reading.numbers).add(word.number)
        if marks and named and word.content and not word.number:
            reading.names.add(word.stem)
        reading.negated = reading.negated or word.negation
        reading.words.append(word)
        reading.stems.add(word.stem)
        reading.symbols.append(word)


def _longest(raw: list[tuple[str, bool]], place: int, words: Lexicon) -> tuple[Word, int]:
    text = raw[place][0]
    word = words.word(text)
    phrases = words.phrases.get(word.stem)
    if phrases:
        following = [words.stem(part) for part, _ in raw[place : place + len(phrases[0])]]
        for phrase in phrases:
            if following[: len(phrase)] == list(phrase):
                whole = " ".join(part for part, _ in raw[place : place + len(phrase)])
                return words.word(whole), len(phrase)
    return word, 1


def _adds(last: Word | None, word: Word) -> bool:
    """Whether "twenty" and "five" are one number."""
    if (
        last is None
        or last.text.isdigit()
        or not last.number.isdigit()
        or not word.number.isdigit()
    ):
        return False
    return int(last.number) in range(20, 100, 10) and 0 < int(word.number) < 10


def _measure(reading: Reading, value: str, unit: str) -> None:
    reading.units.setdefault(value, set()).add(unit)


def _times(reading: Reading, last: Word, factor: int) -> None:
    value = float(last.number) * factor
    _replace(reading, last, str(int(value)) if value == int(value) else str(value))


def _replace(reading: Reading, last: Word, value: str) -> None:
    """Put a composed number in the place of its first part."""
    units = reading.units.pop(last.number, None)
    if units:
        reading.units[value] = units
    reading.numbers.discard(last.number)
    reading.weak.discard(last.number)
    reading.numbers.add(value)
    if reading.words and reading.words[-1] is last:
        reading.words.pop()
    reading.symbols[-1] = Word(value, value, number=value)


def _digits(reading: Reading, text: str, words: Lexicon, unit: str) -> str:
    """Enter a token with digits; return the currency that still waits for its number."""
    date = _ISO_DATE.fullmatch(text)
    parts = date.groups() if date else ()
    if not date and (dotted := _DOTTED_DATE.fullmatch(text)):
        parts = dotted.groups()[::-1]
    if parts:
        for part in parts:
            _number(reading, str(int(part)), unit="")
        return unit
    value = _value(text)
    if value is not None:
        _number(reading, value, unit=unit)
        return ""
    percent = text.removesuffix("%")
    if percent != text and (value := _value(percent)) is not None:
        _number(reading, value, unit="%")
        return ""
    counted = _COUNTED.fullmatch(text)
    if counted and (value := _value(counted[1])) is not None:
        suffix = counted[2]
        known = words.word(suffix).unit
        if suffix in words.multipliers:
            scaled = float(value) * words.multipliers[suffix]
            value = str(int(scaled)) if scaled == int(scaled) else str(scaled)
        if suffix in _ORDINAL or suffix in words.multipliers or known:
            _number(reading, value, unit=unit or (known if suffix != "s" else ""))
            return ""
    code = text.strip("#").replace("-", "").replace("_", "")
    reading.identifiers.add(code)
    reading.symbols.append(Word(text, code))
    reading.stems.add(code)
    return unit


def _value(text: str) -> str | None:
    """Return the value of a number in digits, without separators of thousands and zero cents."""
    if _GROUPED.fullmatch(text):
        return text.replace(",", "").replace(".", "")
    text = text.replace(",", "")
    if not _PLAIN.fullmatch(text):
        return None
    whole, _, cents = text.partition(".")
    whole = whole.lstrip("0") or "0" if len(whole) < 4 or cents else whole
    return whole if not cents.strip("0") and len(cents) != 1 else f"{whole}.{cents}"


def _number(reading: Reading, value: str, *, unit: str) -> None:
    reading.numbers.add(value)
    if unit:
        _measure(reading, value, unit)
    reading.symbols.append(Word(value, value, number=value))
