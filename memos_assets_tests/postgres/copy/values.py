"""Values of every type of the catalog: any, by what Arrow calls the type, and the edges of some."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from memos_assets.catalog.types import TYPES, ColumnType, column_type

#: Every row of the registry, and the array that comes with it.
SPELLINGS = (*TYPES, *(f"{name}[]" for name, row in TYPES.items() if row.oid is not None))

_TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20)
_MOMENTS = st.datetimes(timezones=st.just(UTC))


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
#: float16 and float32 by their bits: subnormal ones as likely as others.
_HALVES = st.floats(width=16, allow_nan=False, allow_infinity=False)
_SINGLES = st.floats(width=32, allow_nan=False, allow_infinity=False)

#: Arrow type -> values of it.
_BY_ARROW: Mapping[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): _TEXTS,
    pa.binary(): st.binary(max_size=20),
    pa.int16(): st.integers(-(2**15), 2**15 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.uuid(): st.uuids(),
    pa.date32(): st.dates(),
    pa.timestamp("us"): _MOMENTS.map(_naive),
    pa.timestamp("us", "UTC"): _MOMENTS,
}


@st.composite
def _sparse(draw: st.DrawFn) -> dict[str, Any]:
    indices = sorted(draw(st.sets(st.integers(0, 40), max_size=6)))
    values = [draw(_SINGLES.filter(bool)) for _ in indices]
    dimension = draw(st.integers(max(indices, default=0) + 1, 10**9))
    return {"dimension": dimension, "indices": indices, "values": values}


#: Types that hold less than their Arrow type does.
_BY_NAME: Mapping[str, st.SearchStrategy[Any]] = {
    "jsonb": _JSON.map(json.dumps),
    "vector": st.lists(_SINGLES, min_size=1, max_size=9),
    "halfvec": st.lists(_HALVES.map(np.float16), min_size=1, max_size=9),
    "sparsevec": _sparse(),
}


def values_of(spelling: str) -> st.SearchStrategy[Any]:
    """Draw values of a type, none of them NULL; an array may hold NULL."""
    name = spelling.removesuffix("[]")
    one = _BY_NAME[name] if name in _BY_NAME else _BY_ARROW[column_type(name).arrow]
    return one if name == spelling else st.lists(st.none() | one, max_size=4)


_INFINITIES = [math.inf, -math.inf]
_WIDE = 16_000
_MOMENTS_AT_EDGES = [
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1582, 10, 10, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
]

#: Type -> values at which it could go wrong, of those that hold more than a drawn value shows.
EDGES: Mapping[str, Sequence[Any]] = {
    "text": ["", "x" * 70_000, "gr\u00f6\u00dfe \U0001f600", "\x01\\N\t\n", "\ufffe", "NULL"],
    "varchar": ["", "x" * 70_000, "\u00e9  "],
    "bytea": [b"", b"\0", bytes(range(256)) * 300],
    "jsonb": ["{}", "null", '"\\u00e9"', "[1, 2.50]", "-0.0", "1e-9"],
    "integer": [0, -1, 2**31 - 1, -(2**31)],
    "bigint": [0, -1, 2**63 - 1, -(2**63)],
    "double precision": [0.0, -0.0, 5e-324, 1.7976931348623157e308, math.nan, *_INFINITIES],
    "boolean": [True, False] * 9,
    "uuid": [UUID(int=0), UUID(int=2**128 - 1)],
    "date": [date.min, date(1582, 10, 10), date(1969, 12, 31), date(2000, 1, 1), date.max],
    "timestamp without time zone": [*map(_naive, _MOMENTS_AT_EDGES)],
    "timestamp with time zone": _MOMENTS_AT_EDGES,
    "vector": [[0.0], [-0.0], [1e-45, 3.4028235e38], [1.5] * _WIDE],
    "halfvec": [
        np.array([-0.0, 65_504, 6e-8, 6.1e-5, -6e-8], np.float16),
        np.full(_WIDE, 6e-8, np.float16),
    ],
    "sparsevec": [
        {"dimension": 1, "indices": [], "values": []},
        {"dimension": 10**9, "indices": [10**9 - 1], "values": [1e-45]},
        {"dimension": _WIDE, "indices": list(range(_WIDE)), "values": [-1.5] * _WIDE},
    ],
    "text[]": [[], [""], ["", "b c", '"{},', "NULL", None], [None, None]],
    "bigint[]": [[], [None], list(range(1_000))],
    "double precision[]": [[-0.0, math.nan, *_INFINITIES]],
    "uuid[]": [[], [UUID(int=0), None]],
}


def arrow_array(row: ColumnType, values: Sequence[Any]) -> pa.Array:
    """Return values as a column of a type."""
    if row.name != "uuid[]":
        return pa.array(values, row.arrow)
    # pyarrow builds no lists of an extension type.
    return pa.array(
        [None if v is None else [u and u.bytes for u in v] for v in values],
        pa.list_(pa.binary(16)),
    ).cast(row.arrow)


def bits(value: Any) -> Any:
    """Make -0.0 differ from 0.0, and NaN equal NaN."""
    if isinstance(value, float | np.floating):
        return np.array(value).tobytes()
    if isinstance(value, dict):
        return {key: bits(item) for key, item in value.items()}
    return [bits(item) for item in value] if isinstance(value, list) else value


def comparable(spelling: str, values: Sequence[Any]) -> list[Any]:
    """Return the values of a column so that equal ones are the same value."""
    if spelling == "jsonb":
        return [None if value is None else json.loads(value) for value in values]
    if spelling == "jsonb[]":
        return [None if value is None else comparable("jsonb", value) for value in values]
    return [bits(value) for value in values]
