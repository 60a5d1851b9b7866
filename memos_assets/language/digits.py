"""Tokens with digits: amounts, dates, ordinals, values with units; all others are codes."""

import re
from typing import Final, NamedTuple

from memos_assets.language.lexicon import Lexicon, Word

CURRENCIES: Final = {"$": "usd", "€": "eur", "£": "pound", "¥": "jpy", "%": "%", "&": ""}
_ISO_DATE: Final = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_DOTTED_DATE: Final = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})")
_PLAIN: Final = re.compile(r"\d+(?:\.\d+)?")
_GROUPED: Final = re.compile(r"\d{1,3}(?:[.,]\d{3})+")
_COUNTED: Final = re.compile(r"(\d[\d.,]*)([^\W\d_]+|%)")
_ORDINAL: Final = frozenset({"st", "nd", "rd", "th"})


class Digits(NamedTuple):
    """What a token with digits says.

    Attributes:
        symbols: what the token is among the symbols of the text; a date is three.
        numbers: values, without separators of thousands and zero cents.
        unit: of the first of them.
        code: an identifier, a version or an address; "" for a number.
        currency: a sign that belongs to the number beside it.
        words: those of them that are words: the month of a date.
    """

    symbols: tuple[Word, ...]
    numbers: tuple[str, ...] = ()
    unit: str = ""
    code: str = ""
    currency: str = ""
    words: tuple[Word, ...] = ()


def digits_of(text: str, words: Lexicon) -> Digits:
    """Read a token in lower case that has digits or is a currency sign."""
    if text in CURRENCIES:
        return Digits((), currency=CURRENCIES[text])
    date = _date(text, words)
    if date is not None:
        return date
    value = _value(text)
    if value is not None:
        return _amount(value)
    counted = _COUNTED.fullmatch(text)
    if counted and (value := _value(counted[1])) is not None:
        suffix = counted[2]
        unit = "%" if suffix == "%" else words.word(suffix).unit
        if suffix in words.multipliers:
            scaled = float(value) * words.multipliers[suffix]
            value = f"{scaled:.12g}" if scaled % 1 else str(int(scaled))
            unit = ""
        decade = suffix == "s" and len(value) == 4
        if suffix in _ORDINAL or decade or suffix in words.multipliers or unit:
            return _amount(value, "" if decade else unit)
    # "D-7781" and "#D7781" are one code, "1.2" and "12" are two.
    code = text.strip("#").replace("-", "").replace("_", "")
    return Digits((_symbol(code),), code=code)


def _amount(value: str, unit: str = "") -> Digits:
    return Digits((_symbol(value, value),), (value,), unit)


def _symbol(stem: str, number: str = "") -> Word:
    return Word(stem, stem, number=number)


def _date(text: str, words: Lexicon) -> Digits | None:
    """Read a date whose order of day and month is certain; "03/05/2024" is a code."""
    found = _ISO_DATE.fullmatch(text)
    if found:
        year, month, day = (int(part) for part in found.groups())
    else:
        found = _DOTTED_DATE.fullmatch(text)
        if not found:
            return None
        day, month, year = (int(part) for part in found.groups())
    names = words.months
    if not 1 <= month <= len(names):
        return None
    values, name = (str(year), str(day)), words.word(names[month - 1])
    return Digits(
        (_symbol(values[0], values[0]), name, _symbol(values[1], values[1])), values, words=(name,)
    )


def _value(text: str) -> str | None:
    """Return a number without separators of thousands, leading zeros and zero cents, or None.

    A code that begins with zeros (a branch, a postcode) keeps them, and "3.10" is not "3.1".
    """
    if _GROUPED.fullmatch(text):
        return text.replace(",", "").replace(".", "")
    text = text.replace(",", "")
    if not _PLAIN.fullmatch(text):
        return None
    whole, _, cents = text.partition(".")
    return whole if not cents or cents == "00" else f"{whole}.{cents}"
