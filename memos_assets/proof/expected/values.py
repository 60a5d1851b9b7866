"""The proof's own decoding of a SQLite value: the bytes that PostgreSQL must have for it.

It shares no code with the loader on purpose: a mistake there must not be repeated here. Values are
expressed in PostgreSQL's binary wire form, so that the other side is compared as it arrives.
"""

import json
import math
import struct
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_assets.catalog.columns import MODEL_DIMENSIONS, ColumnKind, VectorColumn
from memos_assets.proof.expected.json_texts import LONGEST, jsonb_text
from memos_assets.proof.expected.moments import moment, usual
from memos_assets.sqlite.row_codec import Value

_POSTGRES_EPOCH = 946_684_800
_MOST_DIMENSIONS = 16_000

Wire = bytes | None


def _text(value: Any) -> bytes:
    return bytes(value, "utf-8")


def whole(value: Value) -> Value:
    """Return a REAL of an integer's value as that integer, anything else as it is.

    Beyond 2^53 a float64 may stand for several integers, so there it stays what it is.
    """
    if isinstance(value, float) and -(2.0**53) <= value <= 2.0**53 and value % 1 == 0:
        return int(value)
    return value


def _integer(value: Any) -> bytes:
    return struct.pack("!q", whole(value))


def is_exact(number: float) -> bool:
    """Whether float64 holds a number as it is."""
    return not isinstance(number, int) or Decimal(number) == Decimal(float(number))


def _double(value: Any) -> bytes:
    if not is_exact(value):
        raise ValueError(f"float64 has no {value}")
    return struct.pack("!d", value)


def _depth(value: Any) -> bytes:
    if isinstance(value, bytes):
        value = float(np.frombuffer(value, "<f4")[0])
    return _double(value)


def _flag(value: Any) -> bytes:
    return {0: b"\x00", 1: b"\x01"}[value]


def _moment(value: Any, *, must_have_zone: bool = False) -> bytes:
    microseconds, has_zone = usual(value) or _read(value)
    if must_have_zone and not has_zone:
        raise ValueError(f"{value[:60]!r} lacks its offset")
    return struct.pack("!q", microseconds - _POSTGRES_EPOCH * 1_000_000)


def _read(value: str) -> tuple[int, bool]:
    read = moment(value)
    if read.finer:
        raise ValueError(f"{value[:60]!r} is finer than a microsecond")
    return read.microseconds, read.has_zone


def _zoned_moment(value: Any) -> bytes:
    return _moment(value, must_have_zone=True)


def _unix(value: Any) -> bytes:
    # A float64 has up to 1,074 digits after the point; the default context would round to 28.
    with localcontext(Context(prec=1_500)):
        exact = (Decimal(value) - _POSTGRES_EPOCH) * 1_000_000
        return struct.pack("!q", int(exact.to_integral_value(ROUND_HALF_EVEN)))


def _json(value: Any) -> bytes:
    return jsonb_text(value).encode()


def vocabulary(value: Any) -> Wire:
    """Name the vocabulary of stored sparse weights."""
    weights = json.loads(value)
    if not isinstance(weights, dict):
        return b"unknown"
    if not weights:
        return None
    numeric = [term for term in weights if term and not term.strip("0123456789")]
    return b"xlmr_token_ids" if len(numeric) == len(weights) else b"words"


ENCODERS: dict[ColumnKind, Callable[[Any], Wire]] = {
    "text": _text,
    "integer": _integer,
    "real": _double,
    "real_or_float32": _depth,
    "boolean": _flag,
    "json": _json,
    "utc_text": _moment,
    "iso_offset": _zoned_moment,
    "unix_seconds": _unix,
}
COMPUTED: dict[str, Callable[[Any], Wire]] = {"sparse_vocabulary": vocabulary}


def dimension_wire(value: Value) -> Wire:
    """Return a dimension as int4, None where the row states none that fits."""
    number = whole(value)
    if not isinstance(number, int) or not 0 <= number < 2**31:
        return None
    return struct.pack("!i", number)


def vector_wires(vector: VectorColumn, stored: Value, stated: Value) -> tuple[Wire, Wire, Wire]:
    """Return the fields that PostgreSQL must have for one embedding: vector, dimension, reason.

    Args:
        vector: the column's description.
        stored: its SQLite value.
        stated: the dimension that the row states, None where the length decides.
    """
    elements, reason = embedding(vector, stored, stated)
    wire = None
    if elements is not None:
        wide = ">f4" if vector.stored == "vector" else ">f2"
        wire = struct.pack("!hh", len(elements), 0) + elements.astype(wide).tobytes()
    if vector.rule == "column":
        dimension = dimension_wire(stated)
    else:
        dimension = None if wire is None or elements is None else dimension_wire(len(elements))
    return wire, dimension, None if reason is None else reason.encode()


def embedding(
    vector: VectorColumn, stored: Value, stated: Value
) -> tuple[npt.NDArray[Any] | None, str | None]:
    """Return the elements of a stored embedding, float16 or float32, or the reason why it has none.

    Args:
        vector: the column's description.
        stored: its SQLite value.
        stated: the dimension that the row states, None where the length decides.
    """
    elements, reason = _elements(vector, stored)
    if elements is not None:
        reason = _refusal(vector, elements, stated)
    return (elements, None) if reason is None else (None, reason)


def is_embedded(vector: VectorColumn, wire: Wire) -> bool:
    """Whether PostgreSQL's field is a vector with an element that is not zero."""
    if wire is None:
        return False
    elements = np.frombuffer(wire, ">f2" if vector.stored == "halfvec" else ">f4", offset=4)
    return bool(np.any(elements != 0))


def _elements(vector: VectorColumn, value: Value) -> tuple[npt.NDArray[Any] | None, str | None]:
    if value is None:
        return None, "missing"
    if vector.encoding in ("json_text", "json_blob"):
        return _json_elements(value)
    if not isinstance(value, bytes):
        return None, "not_a_vector"
    if len(value) == 0:
        return None, "empty"
    dtype = np.dtype("<f2" if vector.encoding == "float16" else "<f4")
    if len(value) % dtype.itemsize:
        return None, "wrong_length"
    return np.frombuffer(value, dtype), None


def _json_elements(value: Value) -> tuple[npt.NDArray[Any] | None, str | None]:
    if not isinstance(value, str | bytes) or len(value) > LONGEST:
        return None, "not_a_vector"
    if len(value) == 0:
        return None, "empty"
    try:
        numbers = json.loads(value)
    except (ValueError, RecursionError):
        return None, "not_a_vector"
    if not isinstance(numbers, list) or any(
        isinstance(n, bool) or not isinstance(n, int | float) for n in numbers
    ):
        return None, "not_a_vector"
    if not numbers:
        return None, "empty"
    try:
        packed = struct.pack(f"<{len(numbers)}f", *numbers)
    except (OverflowError, struct.error):  # the latter for an integer beyond float64
        return None, "out_of_range"
    elements = np.frombuffer(packed, "<f4")
    if any(numbers) and not np.any(elements):
        return None, "out_of_range"
    return elements, None


def _refusal(vector: VectorColumn, elements: npt.NDArray[Any], stated: Value) -> str | None:
    if vector.rule == "column":
        if stated != len(elements):
            return "wrong_length"
        if len(elements) > _MOST_DIMENSIONS:
            return "unknown_dimension"
    elif len(elements) not in MODEL_DIMENSIONS:
        return "unknown_dimension"
    bits = elements.view(np.uint16 if elements.itemsize == 2 else np.uint32)
    infinity = 0x7C00 if elements.itemsize == 2 else 0x7F80_0000
    largest = int((bits & (2 ** (8 * elements.itemsize - 1) - 1)).max())
    if largest >= infinity:
        return "not_finite"
    if not largest:
        return "zero"
    if vector.indexed and elements.itemsize == 4 and not _has_cosine(elements):
        return "out_of_range"
    return None


def _has_cosine(elements: npt.NDArray[Any]) -> bool:
    """Whether pgvector's ``<=>``, which sums up squares in float32, has a distance for a vector.

    The sum must be below half of what float32 holds, and large enough that squares too small for
    float32 do not matter.
    """
    wide = elements.astype(np.float64)
    if 2.0**-99 < float(np.vdot(wide, wide)) < 2.0**126:
        return True
    # Squares of float32 are exact in float64; near the limits their sum has to be rounded once.
    return 2.0**-100 <= math.fsum(np.square(wide).tolist()) < 2.0**127
