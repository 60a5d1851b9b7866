"""Decode one stored SQLite value into the type of its target column, or reject it."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from memos_assets.catalog.columns import ColumnKind
from memos_assets.consolidate.decoding.fast_columns import (
    usual_iso_offsets,
    usual_texts,
    usual_utc_texts,
)
from memos_assets.consolidate.decoding.json_texts import (
    JSON_REASONS,
    json_text,
    sparse_vocabulary,
)
from memos_assets.consolidate.decoding.rejected import (
    TEXT_REASONS,
    RejectedValue,
    text,
    wrong_type,
)
from memos_assets.consolidate.decoding.timestamps import (
    ISO_OFFSET_REASONS,
    UNIX_SECONDS_REASONS,
    UTC_TEXT_REASONS,
    iso_offset,
    unix_seconds,
    utc_text,
)
from memos_assets.sqlite.row_codec import Value

#: Why a number of a REAL column cannot be loaded, ``wrong_type`` left out.
REAL_REASONS: Final = frozenset({"integer_inexact"})

#: Up to here float64 holds every integer, so that a REAL cannot be one that was rounded.
_LARGEST_INTEGRAL = 2**53


def integral(value: Value) -> Value:
    """Return the integer that a REAL of an integer's value is, anything else as it is.

    A table that went through a data frame has its integers as REAL: 4096.0 is 4096.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_INTEGRAL:
        return int(value)
    return value


def integer(value: Value) -> int:
    """Return an integer as stored, or as a REAL of its value."""
    number = integral(value)
    if not isinstance(number, int):
        raise wrong_type(value, "INTEGER")
    return number


def real(value: Value) -> float:
    """Return a float64 as stored, or the integer that a column without affinity keeps as such."""
    if not isinstance(value, int | float):
        raise wrong_type(value, "REAL")
    number = float(value)
    if isinstance(value, int) and int(number) != value:
        raise RejectedValue("integer_inexact", f"{value}, the nearest float64 is {int(number)}")
    return number


def real_or_float32(value: Value) -> float:
    """Return a float64 from a REAL or from the 4-byte float32 BLOB that NumPy >= 2 left there."""
    if isinstance(value, bytes):
        if len(value) != 4:
            raise RejectedValue("wrong_type", f"BLOB of {len(value)} bytes, 4 hold a float32")
        return float(struct.unpack("<f", value)[0])
    return real(value)


def boolean(value: Value) -> bool:
    """Return a flag stored as 0 or 1, or as 0.0 or 1.0."""
    number = integral(value)
    if not isinstance(number, int) or number not in (0, 1):
        raise wrong_type(value, "0 or 1")
    return bool(number)


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
    "real": Decoder(real, REAL_REASONS),
    "real_or_float32": Decoder(real_or_float32, REAL_REASONS),
    "boolean": Decoder(boolean),
    "json": Decoder(json_text, TEXT_REASONS | JSON_REASONS),
    "utc_text": Decoder(utc_text, UTC_TEXT_REASONS, usual_utc_texts),
    "iso_offset": Decoder(iso_offset, ISO_OFFSET_REASONS, usual_iso_offsets),
    "unix_seconds": Decoder(unix_seconds, UNIX_SECONDS_REASONS),
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
