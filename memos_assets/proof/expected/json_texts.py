"""JSON as the proof reads it: every member, and every number by its digits, spelt as in jsonb."""

import json
import re
from decimal import Decimal
from typing import Any, Final

#: The longest JSON, the deepest, the most digits of an integer, and the widest number: digits and
#: exponent together.
LONGEST: Final = 8_000_000
DEEPEST: Final = 400
MOST_DIGITS: Final = 4_300
WIDEST: Final = 16_000


class Digits(str):
    """A number, as its text has it."""

    __slots__ = ()


class Members(list[tuple[str, Any]]):
    """The members of an object, in the order of the text."""


class NotFinite:
    """NaN or Infinity, which jsonb does not know."""


NOT_FINITE: Final = NotFinite()

_TREE = json.JSONDecoder(
    object_pairs_hook=Members,
    parse_int=Digits,
    parse_float=Digits,
    parse_constant=lambda _: NOT_FINITE,
)


def tree(raw: str) -> Any:
    """Return JSON as lists, `Members`, `Digits`, `NOT_FINITE`, texts, flags and None."""
    return _TREE.decode(raw)


def is_wide(digits: str) -> bool:
    """Whether jsonb cannot hold a number, or the loader does not read it."""
    mantissa, _, exponent = digits.lower().partition("e")
    power = exponent.lstrip("+-").lstrip("0")
    if len(power) > len(str(WIDEST)) or len(mantissa) + int(power or 0) > WIDEST:
        return True
    return not exponent and "." not in digits and len(digits.lstrip("-")) > MOST_DIGITS


def jsonb_number(digits: str) -> str:
    """Return a number as PostgreSQL's numeric prints it: its digits, all of them, no exponent.

    ``1.50`` and ``1.5`` differ, as in numeric; ``1e2`` becomes 100, ``-0.0`` becomes 0.0.

    Raises:
        ValueError: it is wider than numeric.
    """
    if is_wide(digits):
        raise ValueError(f"the number {digits[:40]}")
    if "e" in digits or "E" in digits:
        mantissa, _, exponent = digits.lower().partition("e")
        if not mantissa.strip("-0."):
            # A zero has no digits before the point, whatever its exponent.
            scale = max(len(mantissa.partition(".")[2]) - int(exponent), 0)
            return "0." + "0" * scale if scale else "0"
        digits = format(Decimal(digits), "f")
    return digits[1:] if digits[0] == "-" and not digits.strip("-0.") else digits


def spelt(value: Any) -> str:
    """Return a tree as jsonb prints it: keys by length and then bytes.

    Raises:
        ValueError: jsonb refuses it or would lose something: a key that is repeated, a number that
            is not finite or too wide, half of a surrogate pair, NUL.
    """
    parts: list[str] = []
    _spell(value, parts)
    return "".join(parts)


def _spell(value: Any, parts: list[str]) -> None:
    # One frame a level, because the deepest JSON is nearly half of what the interpreter allows.
    if isinstance(value, Digits):
        parts.append(jsonb_number(value))
    elif isinstance(value, str):
        parts.append(_quoted(value))
    elif isinstance(value, Members):
        if len({key for key, _ in value}) < len(value):
            raise ValueError("a key that is repeated")
        for place, (key, item) in enumerate(sorted(value, key=_order_of_member)):
            parts += (", " if place else "{", _quoted(key), ": ")
            _spell(item, parts)
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            parts.append(", " if place else "[")
            _spell(item, parts)
        parts.append("]" if value else "[]")
    elif value is NOT_FINITE:
        raise ValueError("a number that is not finite")
    else:
        parts.append(json.dumps(value))


def _quoted(text: str) -> str:
    text.encode()
    if "\0" in text:
        raise ValueError("a text with NUL")
    return json.dumps(text, ensure_ascii=False)


def _order(key: str) -> tuple[int, bytes]:
    raw = key.encode()
    return len(raw), raw


def _order_of_member(member: tuple[str, Any]) -> tuple[int, bytes]:
    return _order(member[0])


def _refuse_constant(token: str) -> Any:
    raise ValueError(token)


_FINITE = json.JSONDecoder(parse_constant=_refuse_constant)

#: A string of JSON, or a number with an exponent.
_EXPONENT = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?e[+-]?[0-9]+')


def jsonb_text(raw: str) -> str:
    """Return JSON as jsonb prints it.

    Raises:
        ValueError: it is not JSON, or jsonb refuses it or would lose something, see `spelt`.
    """
    try:
        return _spelt_as_jsonb(raw)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def _spelt_as_jsonb(raw: str) -> str:
    parsed = _FINITE.decode(raw)
    # What Python writes as it was read has no repeated key and no number with digits that float64
    # lacks, so that nothing is lost in the parsed values. memOS's JSON is from Python.
    if json.dumps(parsed) == raw and "-0.0" not in raw and "\\u0000" not in raw:
        text = json.dumps(_ordered(parsed), ensure_ascii=False)
        if "\\ud" in raw:
            text.encode()
        return _EXPONENT.sub(_without_exponent, text) if "e+" in text or "e-" in text else text
    return spelt(tree(raw))


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=_order)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _without_exponent(match: re.Match[str]) -> str:
    token = match[0]
    return token if token[:1] == '"' else jsonb_number(token)
