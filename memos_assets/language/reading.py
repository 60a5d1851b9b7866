"""Read a text as rules need it: its language, words, numbers, identifiers and names.

A text is split at spaces, and what each chunk between them is, is looked up once and kept: the same
few thousand chunks make up most texts.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Final, NamedTuple

from memos_assets.language.digits import CURRENCIES, Digits, digits_of
from memos_assets.language.lexicon import LANGUAGES, Lexicon, Word, foreign_words, lexicon

_TOKEN: Final = re.compile(
    r"\w+(?:(?:[-'@&.]|(?<=\d)[:/](?=\d)|(?<=\d),(?=\d{3}))\w+)*(?:\+\+|[#%])?|[$€£¥%&]"
)
#: "3,5" is one number, but "1,500" is thousands where no comma stands before decimals.
_DECIMAL: Final = re.compile(r"(?<![\d,.])(\d+),(\d+)(?![\d,])")
#: What signs say of numbers: a comparison, an operation, less than zero, before or after noon.
_SIGNS: Final = re.compile(
    r"[<>=^*\u00d7\u00f7\u2264\u2265\u00b1\u2212]|(?:^|(?<=[\s(]))-(?=\d)"
    r"|(?<=\d)\s*[+/]\s*(?=\d)|(?<=\d)\s+-\s+(?=\d)|(?<=\d)\s*[ap]\.?m\b"
)
#: Apostrophes that keyboards and word processors write in place of U+0027.
_APOSTROPHES: Final = str.maketrans(dict.fromkeys("\u2018\u2019\u0060\u00b4", "'"))
#: A capital after these begins a sentence, and marks no name.
_ENDS: Final = frozenset('.!?:"')
#: Chunks that are kept, 1 kB each or less; `verdict` lets no longer ones through.
_KEPT_CHUNKS: Final = 20_000


_NO_WORD: Final = Word("", "")


class Item(NamedTuple):
    """A token as it was looked up.

    Attributes:
        word: its word; an empty one for a token with digits.
        digits: what its digits are, None without any.
        capital: 0 it begins with a small letter, 1 with a capital, 2 with two, as acronyms do.
    """

    word: Word
    digits: Digits | None
    capital: int


@dataclass(slots=True)
class Reading:
    """A text as rules see it.

    Attributes:
        text: normalised, in lower case.
        words: words and phrases in order, without digits and identifiers.
        symbols: all that is compared in order: words, values and identifiers.
        stems: of all symbols.
        numbers: values that say how many, which one or which year.
        weak: values of "one" and its like, which are also articles and pronouns.
        units: value -> units it has.
        identifiers: codes, versions, addresses: tokens with letters and digits, in lower case.
        names: words that a capital marks as a name, as stems.
        negated: whether a word negates.
        fresh: it may have an expression of the present.
        signs: what signs say of its numbers, in order.
        asks: what it asks for, "" for nothing; None until a rule wants to know.
    """

    text: str
    words: list[Word] = field(default_factory=list)
    symbols: list[Word] = field(default_factory=list)
    stems: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)
    weak: set[str] = field(default_factory=set)
    units: dict[str, set[str]] = field(default_factory=dict)
    identifiers: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    negated: bool = False
    fresh: bool = False
    signs: list[str] = field(default_factory=list)
    asks: str | None = None


def normalised(text: str) -> str:
    """Return a text with one form for each character, one kind of apostrophe and single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES)
    return " ".join(text.split())


def signs_of(text: str) -> list[str]:
    """Return what signs say of the numbers of a text in lower case, in order."""
    return ["".join(sign.split()).replace(".", "") for sign in _SIGNS.findall(text)]


def language_of(chunks: Sequence[str]) -> str | None:
    """Return the language with rules that a text is in, or None.

    Function words decide; a text without one is in the language that knows half of its words.
    """
    english = german = 0
    others: list[str] = []
    for chunk in chunks:
        in_english, in_german, elsewhere = _votes(chunk)
        english += in_english
        german += in_german
        if elsewhere:
            others.extend(elsewhere)
    best = max(english, german)
    if others and max(Counter(others).values()) >= best:
        return None
    if best:
        return "en" if english >= german else "de"
    tokens = tokens_of(chunks)
    known = {
        name: sum(lexicon(name).stem(token) in lexicon(name).vocabulary for token in tokens)
        for name in LANGUAGES
    }
    likely = max(LANGUAGES, key=known.__getitem__)
    return likely if tokens and known[likely] * 2 >= len(tokens) else None


def tokens_of(chunks: Iterable[str]) -> list[str]:
    """Return the tokens of chunks, in lower case."""
    return [token for chunk in chunks for token in _TOKEN.findall(chunk.lower())]


@lru_cache(maxsize=_KEPT_CHUNKS)
def _votes(chunk: str) -> tuple[int, int, tuple[str, ...]]:
    """Return how many function words of English, of German, and of which others a chunk has."""
    tokens = tokens_of([chunk])
    english, german = (sum(t in lexicon(name).function for t in tokens) for name in LANGUAGES)
    foreign = foreign_words()
    return english, german, tuple(name for t in tokens for name in sorted(foreign.get(t, ())))


@lru_cache(maxsize=_KEPT_CHUNKS)
def _items(chunk: str, language: str) -> tuple[Item, ...]:
    words = lexicon(language)
    found = []
    if "," in chunk:
        chunk = _DECIMAL.sub(partial(_decimal, words.decimal_comma), chunk)
    for token in _TOKEN.findall(chunk):
        capital = token[0].isupper() + (len(token) > 1 and token[:2].isupper())
        if token[-1] == "s" and len(token) > 2 and token[:-1].isupper():
            token = token[:-1]
        for part in _parts(token.lower(), words):
            if part in CURRENCIES or any(character.isdigit() for character in part):
                digits = digits_of(part, words)
                found.append(Item(_NO_WORD, digits, 0))
            else:
                found.append(Item(words.word(part), None, capital))
    return tuple(found)


def _decimal(comma: bool, number: re.Match[str]) -> str:  # noqa: FBT001  of `partial`
    """Return a number with a point before its decimals; three of them may be thousands."""
    whole, decimals = number.groups()
    if len(decimals) != 3:
        return f"{whole}.{decimals}"
    # A zero more keeps "1,500" apart from "1.500", which is 1500.
    return f"{whole}.{decimals}0" if comma else number[0]


def _parts(token: str, words: Lexicon) -> list[str]:
    """Split a compound that is not listed, and leave codes and listed compounds whole."""
    token = token.removesuffix("'s")
    if "-" not in token or words.stem(token) in words.vocabulary:
        return [token]
    parts = [part for part in token.split("-") if part]
    if any(character.isdigit() for character in token):
        counted = len(parts) == 2 and parts[0].isdigit() and parts[1].isalpha()
        return parts if counted and len(parts[1]) > 2 else [token]
    return parts


def read(text: str, chunks: Sequence[str], words: Lexicon) -> Reading:
    """Read a normalised text, given its chunks too, in a language."""
    items: list[Item] = []
    begins: set[int] = {0}
    for chunk in chunks:
        items += _items(chunk, words.name)
        if chunk[-1] in _ENDS:
            begins.add(len(items))
    lower = text.lower()
    reading = Reading(lower, signs=signs_of(lower))
    all_words, symbols = reading.words, reading.symbols
    capitals: list[Word] = []
    currency, skipped = "", 0
    for place, (word, digits, capital) in enumerate(items):
        if skipped:
            skipped -= 1
            continue
        if digits is not None:
            currency = _enter(reading, digits, currency)
            continue
        if not word.plain:
            word, skipped = _longest(items, place, words)
            if _special(reading, word, words):
                continue
        if capital and word.content and (capital > 1 or place not in begins):
            capitals.append(word)
        all_words.append(word)
        symbols.append(word)
    # A text in title case marks no names.
    if words.capitals and len(capitals) * 5 <= max(len(items), 5) * 3:
        reading.names = {word.stem for word in capitals if not word.number}
    reading.stems = {word.stem for word in symbols}
    return reading


def _longest(items: Sequence[Item], place: int, words: Lexicon) -> tuple[Word, int]:
    """Return the longest phrase that begins at an item, or its word, and how many more it takes."""
    word = items[place].word
    phrases = words.phrases.get(word.stem)
    if phrases and place + 1 < len(items) and items[place + 1].word.stem in words.following:
        following = [item.word for item in items[place : place + len(phrases[0])]]
        stems = tuple(each.stem for each in following)
        for phrase in phrases:
            if stems[: len(phrase)] == phrase:
                whole = words.word(" ".join(each.text for each in following[: len(phrase)]))
                return whole, len(phrase) - 1
    return word, 0


def _special(reading: Reading, word: Word, words: Lexicon) -> bool:
    """Enter what a word says beside itself; return whether it became part of the number before."""
    last = reading.symbols[-1] if reading.symbols else None
    after_number = last is not None and bool(last.number)
    if after_number:
        assert last is not None
        if word.unit:
            reading.units.setdefault(last.number, set()).add(word.unit)
        if word.text in words.multipliers:
            value = float(last.number) * words.multipliers[word.text]
            _compose(reading, last, f"{value:.12g}" if value % 1 else str(int(value)))
            return True
        if word.number and _adds(last, word):
            _compose(reading, last, str(int(last.number) + int(word.number)))
            return True
    if word.number:
        (reading.weak if word.weak else reading.numbers).add(word.number)
    reading.negated = reading.negated or word.negation
    reading.fresh = reading.fresh or word.fresh
    return False


def _adds(last: Word, word: Word) -> bool:
    """Whether "twenty" and "five" are one number."""
    if last.text.isdigit() or not (last.number.isdigit() and word.number.isdigit()):
        return False
    return int(last.number) in range(20, 100, 10) and 0 < int(word.number) < 10


def _compose(reading: Reading, last: Word, value: str) -> None:
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


def _enter(reading: Reading, digits: Digits, currency: str) -> str:
    """Enter a token with digits; return the currency that still waits for its number."""
    if digits.currency:
        last = reading.symbols[-1] if reading.symbols else None
        if digits.currency == "%" and last is not None and last.number:
            reading.units.setdefault(last.number, set()).add("%")
            return ""
        return digits.currency
    if digits.code:
        reading.identifiers.add(digits.code)
    reading.numbers.update(digits.numbers)
    unit = digits.unit or currency
    if unit and digits.numbers:
        reading.units.setdefault(digits.numbers[0], set()).add(unit)
    reading.words += digits.words
    reading.symbols += digits.symbols
    return "" if digits.numbers else currency
