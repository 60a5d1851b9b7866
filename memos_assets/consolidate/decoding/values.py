"""Decode one stored SQLite value into the type of its target column, or reject it."""

import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, Final

from memos_assets.catalog.columns import ColumnKind
from memos_assets.consolidate.decoding.fast_columns import (
    usual_iso_offsets,
    usual_texts,
    usual_utc_texts,
)
from memos_assets.sqlite.row_codec import Value


class RejectedValue(Exception):  # noqa: N818  it is a verdict on data, not a failure of the program
    """The row cannot be loaded: ``reason`` is a code of `reasons.REJECT_REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


#: Why a text, and JSON in it, cannot be loaded; see `reject_reasons`.
TEXT_REASONS: Final = frozenset({"nul_character", "invalid_utf8"})
JSON_REASONS: Final = frozenset(
    {
        "json_malformed",
        "json_not_finite",
        "json_nul",
        "json_surrogate",
        "json_number",
        "json_too_deep",
        "json_too_long",
    }
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_WIDE_NUMBER = re.compile(r"[eE][+-]?\d{4,}|\d{1000,}")


def _wrong_type(value: Value, expected: str) -> RejectedValue:
    return RejectedValue("wrong_type", f"{type(value).__name__} where {expected} is expected")


def text(value: Value) -> str:
    """Return text that PostgreSQL accepts."""
    if not isinstance(value, str):
        raise _wrong_type(value, "TEXT")
    if "\0" in value:
        raise RejectedValue("nul_character", f"at character {value.index(chr(0))}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RejectedValue("invalid_utf8", f"at character {error.start}") from None
    return value


def integer(value: Value) -> int:
    """Return an integer as stored."""
    if not isinstance(value, int):
        raise _wrong_type(value, "INTEGER")
    return value


def real(value: Value) -> float:
    """Return a float64 as stored; SQLite keeps whole numbers of a REAL column as such too."""
    if not isinstance(value, int | float):
        raise _wrong_type(value, "REAL")
    return float(value)


def real_or_float32(value: Value) -> float:
    """Return a float64 from a REAL or from the 4-byte float32 BLOB that NumPy >= 2 left there."""
    if isinstance(value, bytes):
        if len(value) != 4:
            raise RejectedValue("wrong_type", f"BLOB of {len(value)} bytes, 4 hold a float32")
        return float(struct.unpack("<f", value)[0])
    return real(value)


def boolean(value: Value) -> bool:
    """Return a flag stored as 0 or 1."""
    if not isinstance(value, int) or value not in (0, 1):
        raise _wrong_type(value, "0 or 1")
    return bool(value)


def _refuse_constant(token: str) -> Any:
    raise RejectedValue("json_not_finite", token)


#: Python's parser stops at the interpreter's recursion limit, less what is on the stack already.
#: This is well below it, so that the loader and the proof agree wherever they are called from.
DEEPEST_JSON = 400

#: Parsed, the worst JSON takes 30 times its length: this much of it 230 MB.
LONGEST_JSON = 8_000_000

#: `json.loads` with arguments makes a decoder for every value.
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _decoded(raw: str) -> Any:
    # The scanner alone, where it takes the whole text: `decode` costs three calls more.
    if raw[:1] in ("{", "["):
        try:
            parsed, end = _STRICT.scan_once(raw, 0)  # type: ignore[attr-defined]  # typeshed lacks it
        except StopIteration:
            return _STRICT.decode(raw)
        if end == len(raw):
            return parsed
    return _STRICT.decode(raw)


def parsed_json(value: Value) -> Any:
    """Parse JSON that jsonb accepts; the text itself is what gets loaded."""
    raw = text(value)
    if len(raw) > LONGEST_JSON:
        raise RejectedValue("json_too_long", f"{len(raw):,} characters")
    try:
        parsed = _decoded(raw)
    except json.JSONDecodeError as error:
        raise RejectedValue("json_malformed", f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise RejectedValue("json_too_deep", f"{len(raw)} characters") from None
    except ValueError:  # int() refuses more than 4,300 digits
        raise RejectedValue("json_number", "more than 4,300 digits") from None
    if raw.count("[") + raw.count("{") > DEEPEST_JSON:
        _refuse_deep(parsed)
    if "\\u" in raw:
        _refuse_unstorable(parsed)
    if _WIDE_NUMBER.search(raw):
        json.loads(raw, parse_float=_refuse_wide, parse_int=_refuse_wide)
    return parsed


def _refuse_deep(parsed: Any) -> None:
    level, depth = [parsed], 0
    while level := [item for item in level if isinstance(item, list | dict)]:
        depth += 1
        if depth > DEEPEST_JSON:
            raise RejectedValue("json_too_deep", f"more than {DEEPEST_JSON} levels")
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item)
        ]


def _refuse_wide(digits: str) -> None:
    mantissa, _, exponent = digits.lower().partition("e")
    if len(mantissa) + abs(int(exponent or 0)) > 16_000:
        raise RejectedValue("json_number", digits[:40])


def _refuse_unstorable(parsed: Any) -> None:
    if isinstance(parsed, str):
        if "\0" in parsed:
            raise RejectedValue("json_nul", repr(parsed[:40]))
        try:
            parsed.encode()
        except UnicodeEncodeError:
            raise RejectedValue("json_surrogate", repr(parsed[:40])) from None
    elif isinstance(parsed, dict):
        for key, item in parsed.items():
            _refuse_unstorable(key)
            _refuse_unstorable(item)
    elif isinstance(parsed, list):
        for item in parsed:
            _refuse_unstorable(item)


def json_text(value: Value) -> str:
    """Return JSON text that jsonb accepts."""
    parsed_json(value)
    assert isinstance(value, str)
    return value


def sparse_vocabulary(value: Value) -> str | None:
    """Name the vocabulary of stored sparse weights by the form of its terms.

    Returns:
        ``xlmr_token_ids`` when every term is a decimal number (FlagEmbedding), ``words`` when not
        (the Ollama era), ``unknown`` when it is not an object, None when there are no terms.
    """
    parsed = parsed_json(value)
    if not isinstance(parsed, dict):
        return "unknown"
    if not parsed:
        return None
    return "xlmr_token_ids" if all(term.isdecimal() for term in parsed) else "words"


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _parsed_timestamp(value: Value) -> datetime:
    raw = text(value)
    try:
        return datetime.fromisoformat(raw)
    except ValueError:
        raise RejectedValue("timestamp_unreadable", repr(raw[:40])) from None


def _in_utc(moment: datetime, value: Value) -> int:
    try:
        return _microseconds(moment.astimezone(UTC))
    except OverflowError:
        raise RejectedValue("timestamp_unreadable", repr(value)) from None


def utc_text(value: Value) -> int:
    """Return microseconds since 1970 from 'YYYY-MM-DD HH:MM:SS', which SQLite means as UTC."""
    moment = _parsed_timestamp(value)
    return _in_utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC), value)


def iso_offset(value: Value) -> int:
    """Return microseconds since 1970 from ISO-8601; without an offset it would be a guess."""
    moment = _parsed_timestamp(value)
    if moment.tzinfo is None:
        raise RejectedValue("timestamp_without_zone", repr(value))
    return _in_utc(moment, value)


#: Years 1 to 9999, which both Python and PostgreSQL can hold.
_FIRST_MICROSECOND = _microseconds(datetime(1, 1, 1, tzinfo=UTC))
_LAST_MICROSECOND = _microseconds(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))


def unix_seconds(value: Value) -> int:
    """Return microseconds since 1970 from Unix seconds, the exact value rounded half to even."""
    if not isinstance(value, int | float):
        raise _wrong_type(value, "Unix seconds")
    try:
        moment = round(Fraction(value) * 1_000_000)
    except (OverflowError, ValueError):
        raise RejectedValue("timestamp_unreadable", repr(value)) from None
    if not _FIRST_MICROSECOND <= moment <= _LAST_MICROSECOND:
        raise RejectedValue("timestamp_unreadable", repr(value))
    return moment


@dataclass(frozen=True, slots=True)
class Decoder:
    """How values of a kind are read.

    Attributes:
        value: decodes one value, or raises `RejectedValue`.
        reasons: why it may do so, ``wrong_type`` left out, which any value may be.
        column: decodes a column of texts at once where each follows the convention of its kind to
            the letter; returns None where one has to be looked at by itself.
    """

    value: Callable[[Value], Any]
    reasons: frozenset[str] = frozenset()
    column: Callable[[Sequence[str]], list[Any] | None] | None = None


#: Kind -> how it is read. The kinds are described in `catalog.columns`.
DECODERS: Final[dict[ColumnKind, Decoder]] = {
    "text": Decoder(text, TEXT_REASONS, usual_texts),
    "integer": Decoder(integer),
    "real": Decoder(real),
    "real_or_float32": Decoder(real_or_float32),
    "boolean": Decoder(boolean),
    "json": Decoder(json_text, TEXT_REASONS | JSON_REASONS),
    "utc_text": Decoder(utc_text, TEXT_REASONS | {"timestamp_unreadable"}, usual_utc_texts),
    "iso_offset": Decoder(
        iso_offset,
        TEXT_REASONS | {"timestamp_unreadable", "timestamp_without_zone"},
        usual_iso_offsets,
    ),
    "unix_seconds": Decoder(unix_seconds, frozenset({"timestamp_unreadable"})),
}

#: Columns that are computed from another one, by name.
COMPUTED: Final[dict[str, Callable[[Value], Any]]] = {"sparse_vocabulary": sparse_vocabulary}


def decode_usual(kind: ColumnKind, stored: Sequence[Value]) -> list[Any] | None:
    """Return the decoded column, None where some value has to be decoded by itself.

    Args:
        kind: of the column.
        stored: its values, as SQLite returns them.
    """
    decode = DECODERS[kind].column
    if decode is None or set(map(type, stored)) != {str}:
        return None
    texts: Sequence[str] = stored  # type: ignore[assignment]
    return decode(texts)
