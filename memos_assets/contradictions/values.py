"""Values within a sentence: dates, times of day, versions, numbers with their units."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from memos_assets.contradictions.lists import COMPARISONS, Lists
from memos_assets.language.digits import CURRENCIES, digits_of
from memos_assets.language.lexicon import lexicon

NUMBER, DATE, CLOCK, VERSION, WEEKDAY = "number", "date", "time", "version", "weekday"
#: Unit of a day of the week that is each of them.
EVERY_WEEK: Final = "every week"
#: Unit -> what it measures, and how much of the first unit of that it is.
_DIMENSIONS: Final[dict[str, dict[str, float]]] = {
    "time": {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800},
    "months": {"month": 1, "y": 12},
    "length": {"mm": 1e-3, "cm": 0.01, "m": 1, "km": 1e3},
    "mass": {"g": 1, "kg": 1e3, "t": 1e6},
    "volume": {"ml": 1e-3, "l": 1},
    "pace": {"hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9},
    "size": {"byte": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12},
    "power": {"watt": 1, "kw": 1e3},
}
_SCALES: Final = {
    unit: (dimension, scale)
    for dimension, scales in _DIMENSIONS.items()
    for unit, scale in scales.items()
}
#: How far "about" reaches, as a share of the value.
_ABOUT: Final = 0.1
_DATE: Final = (
    r"\b(?P<y1>\d{4})-(?P<m1>\d{1,2})-(?P<d1>\d{1,2})(?:[T ]\d\d:\d\d(?::\d\d)?)?\b"
    r"|\b(?P<d2>\d{1,2})\.(?P<m2>\d{1,2})\.(?P<y2>\d{4}|\d\d)\b"
    r"|\b(?P<d3>\d{1,2})(?:st|nd|rd|th|\.)?\s+(?:of\s+)?(?P<m3>MONTH)\b\.?(?:,?\s+(?P<y3>\d{4}))?\b"
    r"|\b(?P<m4>MONTH)\.?\s+(?P<d4>\d{1,2})(?:st|nd|rd|th)?\b(?!\.\d|:\d)(?:,?\s+(?P<y4>\d{4})\b)?"
    r"|\b(?P<m5>MONTH),?\s+(?P<y5>(?:1[5-9]|20)\d\d)\b"
    r"|\b(?P<y6>(?:1[5-9]|20)\d\d)\b(?![.,]?\d|\s*[%$€£]|[-\w]|COUNTED)"
)
#: What makes four digits a number: "1500 dollars". In German a participle may follow a year.
_COUNTED: Final = {
    "en": r"\s(?:[a-z]+s|km|kg|mb|gb|ms|people)\b",
    "de": r"\s(?:[A-Z\u00c4\u00d6\u00dc]|km\b|kg\b|mb\b)",
}
_CLOCKS: Final = re.compile(
    r"\b(?P<h1>\d{1,2})[:.](?P<min1>\d\d)(?:\s*(?P<half1>[ap])\.?m\b\.?|\s*(?:Uhr|uhr|h)\b|(?<=:\d\d)(?![:.]?\d))"
    r"|\b(?P<h2>\d{1,2})\s*(?:(?P<half2>[ap])\.?m\b\.?|(?:Uhr|uhr|o'clock)\b(?:\s+(?P<min2>\d\d)\b)?)"
)
_VERSIONS: Final = re.compile(
    r"\bv?\d+(?:\.\d+){2,}(?:[-.]?(?:rc|a|b|beta|alpha)\d*)?\b|\bv\d+(?:\.\d+)*\b"
)
_NUMBERS: Final = re.compile(
    r"(?<![\w.,/#:-])(?P<sign>-)?(?P<money>[$€£¥])?\s?(?P<digits>\d+(?:[.,]\d+)*)"
    r"(?P<rest>\s?%|[^\W\d_]{1,4}\b)?(?![\w/#]|[.,:]\d|-\d)"
)


_DIGIT: Final = re.compile(r"\d")


class Value(NamedTuple):
    """A value of a sentence.

    Attributes:
        kind: `NUMBER`, `DATE`, `CLOCK`, `VERSION` or `WEEKDAY`.
        start, end: offsets in the sentence.
        low, high: the least and the greatest number it may be, in the first unit of its dimension.
        unit: its unit or the dimension of it, "" for a bare number.
        parts: year, month, day of a date, 0 where it has none; a version's as one text.
        shown: as it is in the sentence, for people.
    """

    kind: str
    start: int
    end: int
    low: float
    high: float
    unit: str
    parts: tuple[object, ...]
    shown: str

    def conflicts(self, other: "Value") -> bool:
        """Whether both cannot be said of one thing."""
        if self.kind != other.kind or (self.unit != other.unit and self.kind != WEEKDAY):
            return False
        if self.kind == WEEKDAY:
            return self.parts != other.parts
        if self.kind == DATE:
            pairs = zip(self.parts, other.parts, strict=True)
            return any(mine and theirs and mine != theirs for mine, theirs in pairs)
        if self.kind == VERSION:
            mine, theirs = str(self.parts[0]).split("."), str(other.parts[0]).split(".")
            return any(one != two for one, two in zip(mine, theirs, strict=False))
        return self.high < other.low or other.high < self.low


def values_of(text: str, words: Lists) -> list[Value]:
    """Return the values of a sentence that are written in digits, in their order."""
    if not _DIGIT.search(text):
        return []
    found: list[Value] = []
    taken = bytearray(len(text))
    for value in _written(text, words):
        if not any(taken[value.start : value.end]):
            taken[value.start : value.end] = b"\1" * (value.end - value.start)
            found.append(value)
    return sorted(found, key=lambda value: value.start)


def _written(text: str, words: Lists) -> Iterator[Value]:
    for match in _CLOCKS.finditer(text):
        if (value := _clock(match)) is not None:
            yield value
    for match in _dates(words.lexicon.name).finditer(text):
        if (value := _date(match, words)) is not None:
            yield value
    for match in _VERSIONS.finditer(text):
        version = match[0].removeprefix("v")
        yield Value(VERSION, *match.span(), 0, 0, "", (version,), match[0])
    for match in _NUMBERS.finditer(text):
        if (value := _number(match, text, words)) is not None:
            yield value


def _clock(match: re.Match[str]) -> Value | None:
    hour = int(match["h1"] or match["h2"])
    minute = int(match["min1"] or match["min2"] or 0)
    half = match["half1"] or match["half2"]
    if hour > 24 or minute > 59:
        return None
    if half == "p" and hour < 12:
        hour += 12
    elif half == "a" and hour == 12:
        hour = 0
    minutes = float(hour * 60 + minute)
    return Value(CLOCK, *match.span(), minutes, minutes, "", (), match[0].strip())


def _date(match: re.Match[str], words: Lists) -> Value | None:
    found = {name: value for name, value in match.groupdict().items() if value}
    parts = {name[0]: value for name, value in found.items()}
    month = parts.get("m", "")
    named = bool(month) and not month.isdigit()
    number = _month(month.lower(), words) if named else int(month or 0)
    day, year = int(parts.get("d", 0)), int(parts.get("y", 0))
    if number > 12 or day > 31:
        return None
    if 0 < year < 100:
        year += 2000
    return Value(DATE, *match.span(), 0, 0, "", (year, number, day), match[0])


@cache
def _dates(language: str) -> re.Pattern[str]:
    """Return what finds dates with the names of months of a language, and their beginnings."""
    names = [name.split()[0].capitalize() for name in lexicon(language).months]
    names += [name.lower() for name in names if name != "May"]
    names = [form for name in names for form in (name, name[:4], name[:3])]
    return re.compile(
        _DATE.replace("MONTH", "|".join(sorted(set(names), key=len, reverse=True))).replace(
            "COUNTED", _COUNTED[language]
        )
    )


def _month(name: str, words: Lists) -> int:
    for number, month in enumerate(words.lexicon.months, 1):
        if month.startswith(name):
            return number
    return 0


def _number(match: re.Match[str], text: str, words: Lists) -> Value | None:
    digits = match["digits"]
    if words.lexicon.decimal_comma and digits.count(",") == 1 and "." not in digits:
        whole, _, decimals = digits.partition(",")
        digits = f"{whole}.{decimals}"
    rest = (match["rest"] or "").strip().lower()
    read = digits_of(digits, words.lexicon)
    if len(read.numbers) != 1:
        return None
    number = float(read.numbers[0])
    unit = CURRENCIES.get(match["money"] or "", "")
    end = match.end()
    if rest:
        ordinal = rest in ("st", "nd", "rd", "th")
        multiplier = words.lexicon.multipliers.get(
            rest, {"m": 1_000_000, "bn": 1_000_000_000}.get(rest, 0) if unit else 0
        )
        own = "%" if rest == "%" else words.lexicon.word(rest).unit
        if ordinal:
            unit = "rank"
        elif multiplier:
            number *= multiplier
        elif own:
            unit = own
        else:
            return None
    if match["sign"]:
        number = -number
    return amount(
        number, unit, text[: match.start()].lower(), (match.start(), end), match[0], words
    )


def amount(
    number: float, unit: str, before: str, place: tuple[int, int], shown: str, words: Lists
) -> Value:
    """Return a number with what stands before it: "at least", "about" and their like."""
    dimension, scale = _SCALES.get(unit, (unit, 1.0))
    number *= scale
    low = high = number
    before = before.rstrip() + " "
    for name in COMPARISONS:
        if words.comparisons[name].search(before):
            tiny = max(abs(number), 1.0) * 1e-9
            if name == "about":
                low, high = number - abs(number) * _ABOUT, number + abs(number) * _ABOUT
            elif name in ("more than", "at least"):
                low, high = number + (tiny if name == "more than" else 0.0), float("inf")
            else:
                low, high = float("-inf"), number - (tiny if name == "less than" else 0.0)
            break
    return Value(NUMBER, *place, low, high, dimension, (), shown.strip())
