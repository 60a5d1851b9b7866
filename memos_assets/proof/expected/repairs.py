"""The proof's own reading of a value that cannot be loaded: its faults, and what a rule leaves.

It shares no code with the rules of the loader. It finds the faults of a value and applies the
decided rule to each; any other change by the loader shows as a difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError
from typing import Any

from memos_assets.catalog import Column
from memos_assets.proof.expected.json_texts import (
    DEEPEST,
    LONGEST,
    NOT_FINITE,
    Digits,
    Members,
    is_wide,
    spelt,
    tree,
)
from memos_assets.proof.expected.moments import BEGIN, END, moment
from memos_assets.proof.expected.values import is_exact, whole
from memos_assets.sqlite.row_codec import Value

_DOUBLE = "double precision"
_REPLACEMENT = "\ufffd"
#: What else is wrong with a value shows once its characters can be stored, its keys differ and its
#: digits fit.
_SHOWN = {
    **dict.fromkeys(
        ("nul_character", "invalid_utf8", "json_nul", "json_surrogate"), "replace_characters"
    ),
    "json_duplicate_key": "keep_all",
    "timestamp_too_fine": "round_fraction",
}


def faults_of(column: Column, value: Value) -> frozenset[str]:
    """Return every reason why a value cannot be loaded as it is; none for one that can.

    Args:
        column: the column of the value.
        value: as stored in SQLite; not NULL.
    """
    return frozenset(_read(column, value, _SHOWN)[1])


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
    elif isinstance(value, int) and column.postgres_type == _DOUBLE and not is_exact(value):
        wrong.add("integer_inexact")
        value = float(value) if rules.get("integer_inexact") == "round_number" else value
    return value, wrong


def _is_of_kind(column: Column, value: Value) -> bool:
    if column.kind == "integer":
        return isinstance(whole(value), int)
    if column.kind == "boolean":
        return isinstance(whole(value), int) and value in (0, 1)
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
    """Repairs a tree of JSON from the inside out and notes the reasons."""

    rules: Mapping[str, str]
    wrong: set[str] = field(default_factory=set)

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
        if isinstance(value, Digits):
            if is_wide(value):
                self.wrong.add("json_number")
            return value
        if isinstance(value, str):
            return self.text(value)
        if value is NOT_FINITE:
            self.wrong.add("json_not_finite")
            return None if self.rules.get("json_not_finite") == "null_numbers" else value
        if not isinstance(value, list):
            return value
        if depth > DEEPEST:
            self.wrong.add("json_too_deep")
            return None
        if isinstance(value, Members):
            made = Members()
            for key, item in value:
                made.append((self.text(key), self.walk(item, depth + 1)))
            return self.once(made)
        items = []
        for item in value:
            items.append(self.walk(item, depth + 1))  # noqa: PERF401  it would be a frame more
        return items

    def once(self, members: Members) -> Members:
        """Return members with each key once, as the rule says; as they are without a rule."""
        values: dict[str, list[Any]] = {}
        for key, value in members:
            values.setdefault(key, []).append(value)
        if len(values) == len(members):
            return members
        self.wrong.add("json_duplicate_key")
        rule = self.rules.get("json_duplicate_key")
        if rule == "keep_first":
            return Members((key, of[0]) for key, of in values.items())
        if rule == "keep_last":
            return Members((key, of[-1]) for key, of in values.items())
        if rule == "keep_all":
            return Members((key, of if of[1:] else of[0]) for key, of in values.items())
        return members


def _repaired_json(text: str, rules: Mapping[str, str]) -> tuple[str, set[str]]:
    if len(text) > LONGEST:
        return text, {"json_too_long"}
    try:
        stored = tree(text)
    except JSONDecodeError:
        return text, {"json_malformed"}
    except RecursionError:
        return text, {"json_too_deep"}
    reading = _Json(rules)
    made = reading.walk(stored)
    if "json_duplicate_key" in reading.wrong and _depth(made) > DEEPEST:
        # A list of values is one level more.
        reading.wrong.add("json_too_deep")
    if not reading.wrong or "json_too_deep" in reading.wrong:
        return text, reading.wrong
    try:
        return spelt(made), reading.wrong
    except ValueError:  # something in it is not repaired
        return text, reading.wrong


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level := [item for item in level if isinstance(item, list)]:
        depth += 1
        level = [
            child[1] if isinstance(item, Members) else child for item in level for child in item
        ]
    return depth


def _repaired_moment(column: Column, text: str, rules: Mapping[str, str]) -> tuple[str, set[str]]:
    try:
        read = moment(text)
    except ValueError:
        return text, {"timestamp_unreadable"}
    wrong: set[str] = set()
    micros, has_zone, is_readable = read.microseconds, read.has_zone, True
    if read.finer:
        wrong.add("timestamp_too_fine")
        rule = rules.get("timestamp_too_fine")
        micros = read.rounded() if rule == "round_fraction" else micros
        is_readable = rule in ("round_fraction", "cut_fraction")
    if not has_zone and column.kind == "iso_offset":
        wrong.add("timestamp_without_zone")
        has_zone = rules.get("timestamp_without_zone") == "assume_utc"
    if not wrong or not is_readable:
        return text, wrong
    if micros >= END * 1_000_000:
        return text, wrong | {"timestamp_unreadable"}
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    return (instant if has_zone else instant.replace(tzinfo=None)).isoformat(), wrong


def _is_moment(seconds: Any) -> bool:
    return bool(BEGIN <= seconds < END)
