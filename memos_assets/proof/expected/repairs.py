"""The proof's own reading of a value that cannot be loaded: its faults, and what a rule leaves.

It shares no code with the rules of the loader. It finds the faults of a value and applies the
decided rule to each; any other change by the loader shows as a difference.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from memos_assets.catalog import Column
from memos_assets.sqlite.row_codec import Value

_REPLACEMENT = "\ufffd"
_DEEPEST = 400
_LONGEST = 8_000_000
_WIDEST = 16_000
#: Where the years 1 to 9999 begin and end, in seconds since 1970.
_BEGIN, _END = -62_135_596_800, 253_402_300_800
#: What is wrong with a JSON or a time stamp shows once its characters can be stored.
_CHARACTERS = dict.fromkeys(("nul_character", "invalid_utf8"), "replace_characters")


def faults_of(column: Column, value: Value) -> frozenset[str]:
    """Return every reason why a value cannot be loaded as it is; none for one that can.

    Args:
        column: the column of the value.
        value: as stored in SQLite; not NULL.
    """
    return frozenset(_read(column, value, _CHARACTERS)[1])


def repaired(column: Column, value: Value, rules: Mapping[str, str]) -> Value:
    """Return a value as ``rules`` change it; a value without a fault stays the same.

    Args:
        column: the column of the value; never one of those that identify a row.
        value: as stored in SQLite.
        rules: reason -> rule, as decided for the row.
    """
    value, wrong = _read(column, value, rules)
    nulling = {reason for reason, rule in rules.items() if rule == "null_value"}
    return None if wrong & nulling and column.nullable else value


def _read(column: Column, value: Value, rules: Mapping[str, str]) -> tuple[Value, set[str]]:
    """Return a value as the rules for its characters change it, and its faults."""
    wrong: set[str] = set()
    if not _is_of_kind(column, value):
        wrong.add("wrong_type")
    elif isinstance(value, str):
        wrong |= _wrong_characters(value)
        value = _without_wrong_characters(value, rules)
        if column.kind == "json":
            value, in_json = _repaired_json(value, rules)
            wrong |= in_json
        elif column.kind in ("utc_text", "iso_offset"):
            value, in_time = _repaired_moment(column, value, rules)
            wrong |= in_time
    elif column.kind == "unix_seconds" and not _is_moment(value):
        wrong.add("timestamp_unreadable")
    return value, wrong


def _is_of_kind(column: Column, value: Value) -> bool:
    if column.kind == "integer":
        return isinstance(value, int)
    if column.kind == "boolean":
        return isinstance(value, int) and value in (0, 1)
    if column.kind == "real_or_float32" and isinstance(value, bytes):
        return len(value) == 4
    if column.kind in ("real", "real_or_float32", "unix_seconds"):
        return isinstance(value, int | float)
    return isinstance(value, str)


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def _wrong_characters(text: str) -> set[str]:
    wrong = {"nul_character"} if "\0" in text else set()
    return wrong | ({"invalid_utf8"} if any(map(_is_surrogate, text)) else set())


def _without_wrong_characters(text: str, rules: Mapping[str, str]) -> str:
    if rules.get("nul_character") == "replace_characters":
        text = _REPLACEMENT.join(text.split("\0"))
    if rules.get("invalid_utf8") == "replace_characters":
        text = "".join(_REPLACEMENT if _is_surrogate(c) else c for c in text)
    return text


@dataclass(slots=True)
class _Json:
    """Repairs a JSON value from the inside out and notes the reasons."""

    rules: Mapping[str, str]
    wrong: set[str] = field(default_factory=set)

    def constant(self, _: str) -> None:
        self.wrong.add("json_not_finite")

    def number(self, digits: str) -> int | float:
        mantissa, _, exponent = digits.lower().partition("e")
        if len(mantissa) + abs(int(exponent or 0)) > _WIDEST:
            self.wrong.add("json_number")
        return float(digits) if exponent or "." in digits else int(digits)

    def object(self, pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        # One after the other: of keys that became equal the last one counts, as it does in jsonb.
        return {self.text(key): value for key, value in pairs}

    def text(self, text: str) -> str:
        for reason, is_wrong in (
            ("json_nul", "\0".__eq__),
            ("json_surrogate", _is_surrogate),
        ):
            if any(map(is_wrong, text)):
                self.wrong.add(reason)
                if self.rules.get(reason) == "replace_characters":
                    text = "".join(_REPLACEMENT if is_wrong(c) else c for c in text)
        return text

    def walk(self, value: Any, depth: int = 1) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict | list) and depth > _DEEPEST:
            self.wrong.add("json_too_deep")
            return None
        if isinstance(value, dict):
            return {key: self.walk(item, depth + 1) for key, item in value.items()}
        return [self.walk(item, depth + 1) for item in value] if isinstance(value, list) else value


def _repaired_json(text: str, rules: Mapping[str, str]) -> tuple[str, set[str]]:
    if len(text) > _LONGEST:
        return text, {"json_too_long"}
    reading = _Json(rules)
    try:
        parsed = json.loads(
            text,
            parse_constant=reading.constant,
            parse_float=reading.number,
            parse_int=reading.number,
            object_pairs_hook=reading.object,
        )
    except json.JSONDecodeError:
        return text, {"json_malformed"}
    except RecursionError:
        return text, {"json_too_deep"}
    except ValueError:  # more digits than int() takes
        return text, {"json_number"}
    made = reading.walk(parsed)
    return (json.dumps(made) if reading.wrong else text), reading.wrong


def _repaired_moment(column: Column, text: str, rules: Mapping[str, str]) -> tuple[str, set[str]]:
    try:
        moment = datetime.fromisoformat(text)
        has_zone = moment.tzinfo is not None
        moment = moment if has_zone else moment.replace(tzinfo=UTC)
        moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return text, {"timestamp_unreadable"}
    if has_zone or column.kind == "utc_text":
        return text, set()
    is_utc = rules.get("timestamp_without_zone") == "assume_utc"
    return (moment.isoformat() if is_utc else text), {"timestamp_without_zone"}


def _is_moment(seconds: Any) -> bool:
    return bool(_BEGIN <= seconds < _END)
