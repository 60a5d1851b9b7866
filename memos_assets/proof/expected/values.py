"""The proof's own decoding of a SQLite value: the bytes that PostgreSQL must have for it.

It shares no code with the loader on purpose: a mistake there must not be repeated here. Values are
expressed in PostgreSQL's binary wire form, so that the other side is compared as it arrives.
"""

import json
import re
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_assets.catalog.columns import MODEL_DIMENSIONS, ColumnKind, VectorColumn
from memos_assets.sqlite.row_codec import Value

_POSTGRES_EPOCH = 946_684_800
_MOST_DIMENSIONS = 16_000
_LONGEST_JSON = 8_000_000

Wire = bytes | None


def _text(value: Any) -> bytes:
    return bytes(value, "utf-8")


def _integer(value: Any) -> bytes:
    return struct.pack("!q", value)


def _double(value: Any) -> bytes:
    return struct.pack("!d", value)


def _depth(value: Any) -> bytes:
    if isinstance(value, bytes):
        value = np.frombuffer(value, "<f4")[0]
    return struct.pack("!d", float(value))


def _flag(value: Any) -> bytes:
    return b"\x01" if value else b"\x00"


def _moment(value: Any) -> bytes:
    moment = datetime.fromisoformat(value)
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    whole = int(seconds.replace(microsecond=0).timestamp()) - _POSTGRES_EPOCH
    return struct.pack("!q", whole * 1_000_000 + seconds.microsecond)


def _zoned_moment(value: Any) -> bytes:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError(f"{value!r} lacks its offset")
    return _moment(value)


def _unix(value: Any) -> bytes:
    # A float64 has up to 1,074 digits after the point; the default context would round to 28.
    with localcontext(Context(prec=1_500)):
        exact = (Decimal(value) - _POSTGRES_EPOCH) * 1_000_000
        return struct.pack("!q", int(exact.to_integral_value(ROUND_HALF_EVEN)))


def _number(digits: str) -> int | float:
    """Read a JSON number so that 1e2, 100.0 and 100 are one: jsonb rewrites them."""
    value = float(digits)
    if abs(value) < 2**53:
        return int(value) if value.is_integer() else value
    exact = Decimal(digits)
    return int(exact) if exact == exact.to_integral_value() else value


def canonical_json(raw: str | bytes) -> bytes:
    """Return JSON with sorted keys and one spelling per number."""
    parsed = json.loads(raw, parse_float=_number)
    return json.dumps(parsed, sort_keys=True, separators=(",", ":")).encode()


def same_json(one: bytes, other: bytes) -> bool:
    """Whether two JSON texts mean the same, whatever their spelling and the order of their keys."""
    # In Python true == 1, in JSON it is not; in Python 1e300 != 10**300, in jsonb they are equal.
    flags = any(word in text for text in (one, other) for word in (b"true", b"false"))
    if not flags and json.loads(one) == json.loads(other):
        return True
    return canonical_json(one) == canonical_json(other)


def vocabulary(value: Any) -> Wire:
    """Name the vocabulary of stored sparse weights."""
    weights = json.loads(value)
    if not isinstance(weights, dict):
        return b"unknown"
    if not weights:
        return None
    numeric = [term for term in weights if term.isdecimal()]
    return b"xlmr_token_ids" if len(numeric) == len(weights) else b"words"


#: A string of JSON, or a number with an exponent.
_EXPONENT = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]+')


#: Numbers that may have more digits than float64 keeps; jsonb keeps them all.
_BEYOND_FLOAT64 = re.compile(r"[0-9]{16}\.[0-9]|[0-9.]{17}[eE]|[0-9.]{23}|[eE][+-]?[0-9]{3}")


def jsonb_text(value: Any) -> bytes:
    """Return JSON as jsonb prints it: keys by length and bytes, numbers without an exponent.

    Numbers that float64 spells otherwise (0.10, -0.0) come out different; `same_json` decides.
    """
    if _BEYOND_FLOAT64.search(value):
        return _exactly(_ordered(json.loads(value, parse_float=Decimal))).encode()
    text = json.dumps(_ordered(json.loads(value)), ensure_ascii=False).encode()
    if b"e+" in text or b"e-" in text:
        text = _EXPONENT.sub(_without_exponent, text)
    return text


def _exactly(value: Any) -> str:
    if isinstance(value, dict):
        items = (f"{_exactly(key)}: {_exactly(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_exactly, value))}]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value, key=_jsonb_order)}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _jsonb_order(key: str) -> tuple[int, bytes]:
    raw = key.encode()
    return len(raw), raw


def _without_exponent(match: re.Match[bytes]) -> bytes:
    token = match[0]
    return token if token[:1] == b'"' else format(Decimal(token.decode()), "f").encode()


ENCODERS: dict[ColumnKind, Callable[[Any], Wire]] = {
    "text": _text,
    "integer": _integer,
    "real": _double,
    "real_or_float32": _depth,
    "boolean": _flag,
    "json": jsonb_text,
    "utc_text": _moment,
    "iso_offset": _zoned_moment,
    "unix_seconds": _unix,
}
COMPUTED: dict[str, Callable[[Any], Wire]] = {"sparse_vocabulary": vocabulary}


def dimension_wire(value: Value) -> Wire:
    """Return a dimension as int4, None where the row states none that fits."""
    if not isinstance(value, int) or not 0 <= value < 2**31:
        return None
    return struct.pack("!i", value)


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
    if not isinstance(value, str | bytes) or len(value) > _LONGEST_JSON:
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
    return np.frombuffer(packed, "<f4"), None


def _refusal(vector: VectorColumn, elements: npt.NDArray[Any], stated: Value) -> str | None:
    if vector.rule == "column":
        if stated != len(elements) or isinstance(stated, float):
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
    return None if largest else "zero"
