"""COPY BINARY in both directions: every type, NULLs, slices and empty batches."""

import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy import encode as copy_binary
from memos_assets.postgres.copy.arrow_schema import POSTGRES_TYPE
from memos_assets.postgres.copy.decode import read_batches

_HALVES = np.array([0.5, -0.0, 65_504, 6e-8, 1], np.float16)
_LONG = "x" * 70_000

#: PostgreSQL type -> its Arrow type and values, the extremes among them.
TYPES: dict[str, tuple[pa.DataType, list[Any]]] = {
    "text": (pa.string(), ["", "a", "gr\u00f6\u00dfe \U0001f600", _LONG, "\x01\\N\t\n"]),
    "jsonb": (pa.string(), ["{}", "null", '{"a": [1, 2.50]}', '"\u00e9"']),
    "integer": (pa.int32(), [0, -1, 2**31 - 1, -(2**31)]),
    "bigint": (pa.int64(), [0, -1, 2**63 - 1, -(2**63)]),
    "double precision": (
        pa.float64(),
        [0.0, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf"), 0.1],
    ),
    "boolean": (pa.bool_(), [True, False, True, True, False, True, False, False, True]),
    "timestamp with time zone": (
        pa.timestamp("us", "UTC"),
        [
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(2000, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        ],
    ),
    "vector": (pa.list_(pa.float32()), [[0.5], [1.0, -2.0, 3.4028235e38], [0.0] * 16_000]),
    "halfvec": (pa.list_(pa.float16()), [list(_HALVES), [np.float16(1)]]),
    "text[]": (pa.list_(pa.string()), [[], ["a"], ["", "b c", '"{},'], ["NULL", "\u00e9"]]),
}


def batch_of(postgres: str, values: Sequence[Any]) -> pa.RecordBatch:
    field = pa.field("value", TYPES[postgres][0], metadata={POSTGRES_TYPE: postgres.encode()})
    number = pa.field("number", pa.int32(), metadata={POSTGRES_TYPE: b"integer"})
    arrays = [pa.array(range(len(values)), pa.int32()), pa.array(values, field.type)]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([number, field]))


def copied(engine: sa.Engine, postgres: str, *payloads: bytes, schema: pa.Schema) -> pa.Table:
    """Send encoded tuples to PostgreSQL and read them back in order."""
    with engine.connect() as conn:
        driver = driver_of(conn)
        create = sql.SQL("create temporary table t (number integer, value {}) on commit drop")
        driver.execute(create.format(sql.SQL(postgres)))
        with driver.cursor() as cursor:
            with cursor.copy("copy t from stdin (format binary)") as copy:
                copy.write(copy_binary.HEADER)
                for payload in payloads:
                    copy.write(payload)
                copy.write(copy_binary.TRAILER)
            query = sql.SQL("select number, value from t order by number")
            batches = list(read_batches(driver, query, schema))
        return pa.Table.from_batches(batches, schema)


def bits(value: Any) -> Any:
    """Make -0.0 differ from 0.0."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, np.floating):
        return value.tobytes()
    return [bits(element) for element in value] if isinstance(value, list) else value


def assert_same(postgres: str, seen: pa.Table, wanted: Sequence[Any]) -> None:
    assert seen.column("number").to_pylist() == list(range(len(wanted)))
    values = seen.column("value").to_pylist()
    arrow = pa.array(wanted, TYPES[postgres][0]).to_pylist()
    assert [bits(value) for value in values] == [bits(value) for value in arrow]


@pytest.mark.parametrize("postgres", TYPES)
def test_values_of_every_type_survive_both_ways(postgres: str, engine: sa.Engine) -> None:
    values = TYPES[postgres][1]
    batch = batch_of(postgres, values)
    seen = copied(engine, postgres, copy_binary.encode(batch), schema=batch.schema)
    assert_same(postgres, seen, values)


@pytest.mark.parametrize("postgres", TYPES)
def test_nulls_of_every_type_survive_both_ways(postgres: str, engine: sa.Engine) -> None:
    values = [None, *TYPES[postgres][1][:2], None, TYPES[postgres][1][-1], None]
    batch = batch_of(postgres, values)
    nothing = batch_of(postgres, [None, None])
    seen = copied(engine, postgres, copy_binary.encode(batch), schema=batch.schema)
    assert_same(postgres, seen, values)
    seen = copied(engine, postgres, copy_binary.encode(nothing), schema=batch.schema)
    assert_same(postgres, seen, [None, None])


@pytest.mark.parametrize("postgres", TYPES)
def test_an_empty_batch_is_no_bytes_at_all(postgres: str, engine: sa.Engine) -> None:
    empty = batch_of(postgres, [])
    sliced = batch_of(postgres, TYPES[postgres][1]).slice(1, 0)
    assert (copy_binary.encode(empty), copy_binary.encode(sliced)) == (b"", b"")
    seen = copied(engine, postgres, b"", b"", schema=empty.schema)
    assert (seen.num_rows, seen.schema) == (0, empty.schema)


@pytest.mark.parametrize("offset", [0, 1, 2])
@pytest.mark.parametrize("postgres", TYPES)
def test_a_slice_is_encoded_as_its_rows_alone(postgres: str, offset: int) -> None:
    values = [None, *TYPES[postgres][1], None]
    whole = batch_of(postgres, values)
    for length in (1, 2, len(values) - offset):
        part = whole.slice(offset, length)
        copy = pa.RecordBatch.from_pylist(part.to_pylist(), whole.schema)
        assert copy_binary.encode(part) == copy_binary.encode(copy)


@pytest.mark.parametrize("postgres", TYPES)
def test_rows_that_are_not_kept_are_left_out(postgres: str) -> None:
    values = [None, *TYPES[postgres][1]]
    whole = batch_of(postgres, values)
    keep = [number % 2 == 1 for number in range(len(values))]
    kept = pa.RecordBatch.from_pylist(
        [row for row, wanted in zip(whole.to_pylist(), keep, strict=True) if wanted], whole.schema
    )
    assert copy_binary.encode(whole, keep) == copy_binary.encode(kept)
    assert copy_binary.encode(whole, [False] * len(values)) == b""


def test_values_hidden_below_a_null_are_not_written(engine: sa.Engine) -> None:
    """Arrow may leave anything under a NULL; only its mask counts."""
    field = batch_of("vector", []).schema.field("value")
    hidden = pa.ListArray.from_arrays(
        pa.array([0, 2, 4], pa.int32()),
        pa.array([1, 2, 3, 4], pa.float32()),
        mask=pa.array([True, False]),
    )
    batch = pa.RecordBatch.from_arrays(
        [pa.array([0, 1], pa.int32()), hidden.cast(field.type)],
        schema=batch_of("vector", []).schema,
    )
    seen = copied(engine, "vector", copy_binary.encode(batch), schema=batch.schema)
    assert seen.column("value").to_pylist() == [None, [3.0, 4.0]]


def test_more_rows_than_one_batch_are_read_in_order(engine: sa.Engine) -> None:
    values = [None if number % 7 == 0 else number for number in range(2_000)]
    batch = batch_of("bigint", values)
    seen = copied(engine, "bigint", copy_binary.encode(batch), schema=batch.schema)
    assert_same("bigint", seen, values)
    assert seen.column("value").num_chunks > 1


def test_a_null_inside_a_text_array_is_read(engine: sa.Engine) -> None:
    schema = batch_of("text[]", []).schema
    with engine.connect() as conn:
        driver = driver_of(conn)
        query = sql.SQL("select 0, array['a', null, '']")
        (batch,) = read_batches(driver, query, schema)
    assert batch.column("value").to_pylist() == [["a", None, ""]]
