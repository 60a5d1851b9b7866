"""COPY BINARY in both directions, for every row of the registry of types."""

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from memos_assets.catalog.types import column_type
from memos_assets.errors import CodecError
from memos_assets.postgres.copy.arrow_schema import typed_field
from memos_assets.postgres.copy.decode import read_batches
from memos_assets.postgres.copy.encode import HEADER, TRAILER, encode
from memos_assets_tests.postgres.copy.values import (
    EDGES,
    SPELLINGS,
    arrow_array,
    comparable,
    values_of,
)

EACH_TYPE = pytest.mark.parametrize("spelling", SPELLINGS)
#: Few and the same ones each time: there are thirty types.
SHORT = settings(max_examples=12, derandomize=True, database=None, deadline=None)


def batch_of(spelling: str, values: Sequence[Any]) -> pa.RecordBatch:
    schema = pa.schema([typed_field("number", "integer"), typed_field("value", spelling)])
    numbers = pa.array(range(len(values)), pa.int32())
    column = arrow_array(column_type(spelling), values)
    return pa.RecordBatch.from_arrays([numbers, column], schema=schema)


def copied(
    driver: psycopg.Connection, spelling: str, *payloads: bytes, schema: pa.Schema
) -> pa.Table:
    """Send encoded tuples to PostgreSQL and read them back in order."""
    try:
        create = sql.SQL("create temporary table t (number integer, value {})")
        driver.execute(create.format(sql.SQL(spelling)))
        with driver.cursor() as cursor, cursor.copy("copy t from stdin (format binary)") as copy:
            for part in (HEADER, *payloads, TRAILER):
                copy.write(part)
        query = sql.SQL("select number, value from t order by number")
        return pa.Table.from_batches(list(read_batches(driver, query, schema)), schema)
    finally:
        driver.rollback()


def assert_survives(driver: psycopg.Connection, spelling: str, values: Sequence[Any]) -> None:
    batch = batch_of(spelling, values)
    seen = copied(driver, spelling, encode(batch), schema=batch.schema)
    assert seen.column("number").to_pylist() == list(range(len(values)))
    wanted = batch.column("value").to_pylist()
    assert comparable(spelling, seen.column("value").to_pylist()) == comparable(spelling, wanted)


@EACH_TYPE
def test_any_values_and_nulls_survive_both_ways(driver: psycopg.Connection, spelling: str) -> None:
    @SHORT
    @given(st.lists(st.none() | values_of(spelling), max_size=6))
    def search(values: list[Any]) -> None:
        assert_survives(driver, spelling, values)

    search()


@pytest.mark.parametrize("spelling", EDGES)
def test_values_at_the_edges_survive_both_ways(driver: psycopg.Connection, spelling: str) -> None:
    assert_survives(driver, spelling, EDGES[spelling])
    assert_survives(driver, spelling, [None, *EDGES[spelling][:2], None, EDGES[spelling][-1], None])


@EACH_TYPE
def test_nothing_but_nulls_survives_both_ways(driver: psycopg.Connection, spelling: str) -> None:
    assert_survives(driver, spelling, [None, None])


@EACH_TYPE
def test_an_empty_batch_has_no_bytes(driver: psycopg.Connection, spelling: str) -> None:
    empty = batch_of(spelling, [])
    sliced = batch_of(spelling, [None, None]).slice(1, 0)
    assert (encode(empty), encode(sliced)) == (b"", b"")
    seen = copied(driver, spelling, b"", b"", schema=empty.schema)
    assert (seen.num_rows, seen.schema) == (0, empty.schema)


@EACH_TYPE
def test_a_slice_is_encoded_as_its_rows_alone(spelling: str) -> None:
    @SHORT
    @given(st.lists(st.none() | values_of(spelling), min_size=1, max_size=6), st.data())
    def search(values: list[Any], data: st.DataObject) -> None:
        whole = batch_of(spelling, values)
        first = data.draw(st.integers(0, len(values)))
        last = data.draw(st.integers(first, len(values)))
        part = whole.slice(first, last - first)
        alone = pa.RecordBatch.from_arrays(
            [part.column("number"), batch_of(spelling, values[first:last]).column("value")],
            schema=whole.schema,
        )
        assert encode(part) == encode(alone)

    search()


@EACH_TYPE
def test_rows_that_are_not_kept_are_left_out(spelling: str) -> None:
    @SHORT
    @given(st.lists(st.tuples(st.booleans(), st.none() | values_of(spelling)), max_size=6))
    def search(rows: list[tuple[bool, Any]]) -> None:
        whole = batch_of(spelling, [value for _, value in rows])
        keep = [kept for kept, _ in rows]
        parts = [whole.slice(row, 1) for row, kept in enumerate(keep) if kept]
        assert encode(whole, keep) == b"".join(map(encode, parts))

    search()


def test_a_length_is_kept_by_postgresql(driver: psycopg.Connection) -> None:
    assert_survives(driver, "varchar(3)", ["abc", "", None])
    assert_survives(driver, "vector(2)", [[1.0, 2.0], None])
    with pytest.raises(psycopg.errors.StringDataRightTruncation):
        assert_survives(driver, "varchar(3)", ["abcd"])
    with pytest.raises(psycopg.DataError, match="expected 2 dimensions, not 1"):
        assert_survives(driver, "vector(2)", [[1.0]])


@pytest.mark.parametrize(
    ("spelling", "hidden"),
    [
        ("vector", pa.array([1, 2, 3, 4], pa.float32())),
        ("text[]", pa.array(["a", "b", "c", None])),
        ("timestamp with time zone[]", pa.array([-(2**63), 0, 1, 2], pa.timestamp("us", "UTC"))),
    ],
)
def test_values_hidden_below_a_null_are_not_written(
    driver: psycopg.Connection, spelling: str, hidden: pa.Array
) -> None:
    """Arrow may leave anything under a NULL; only its mask counts."""
    column = pa.ListArray.from_arrays(
        pa.array([0, 2, 4], pa.int32()), hidden, mask=pa.array([True, False])
    )
    schema = batch_of(spelling, []).schema
    batch = pa.RecordBatch.from_arrays(
        [pa.array([0, 1], pa.int32()), column.cast(schema.field("value").type)], schema=schema
    )
    seen = copied(driver, spelling, encode(batch), schema=schema)
    assert seen.column("value").to_pylist() == [None, hidden.slice(2).to_pylist()]


def test_more_rows_than_one_batch_are_read_in_order(driver: psycopg.Connection) -> None:
    values = [None if number % 7 == 0 else number for number in range(2_000)]
    batch = batch_of("bigint", values)
    seen = copied(driver, "bigint", encode(batch), schema=batch.schema)
    assert seen.column("value").to_pylist() == values
    assert seen.column("value").num_chunks > 1


def read(driver: psycopg.Connection, spelling: str, literal: str) -> list[Any]:
    """Return a value that PostgreSQL reads from text."""
    query = sql.SQL("select 0, {}::{}").format(literal, sql.SQL(spelling))
    try:
        (batch,) = read_batches(driver, query, batch_of(spelling, []).schema)
    finally:
        driver.rollback()
    return list(batch.column("value").to_pylist())


BEYOND = "a date outside of the years 1 to 9999, or infinity"


@pytest.mark.parametrize("literal", ["infinity", "-infinity", "10000-01-01", "0001-12-31 BC"])
@pytest.mark.parametrize(
    "spelling", ["date", "timestamp without time zone", "timestamp with time zone", "date[]"]
)
def test_a_date_that_python_does_not_hold_is_not_read_as_another(
    driver: psycopg.Connection, spelling: str, literal: str
) -> None:
    value = f"{{{literal}}}" if spelling.endswith("[]") else literal
    with pytest.raises(CodecError) as failure:
        read(driver, spelling, value)
    assert str(failure.value).startswith(
        f"M202 column value: a value of type {spelling} cannot be read: {BEYOND}. Fix: "
    )


EPOCH_2000 = 946_684_800_000_000


@pytest.mark.parametrize(
    ("spelling", "column"),
    [
        # PostgreSQL's infinity both ways, and the first instants beyond the years of Python.
        ("timestamp with time zone", pa.array([-(2**63) + EPOCH_2000], pa.timestamp("us", "UTC"))),
        ("timestamp with time zone", pa.array([2**63 - 1], pa.timestamp("us", "UTC"))),
        ("timestamp without time zone", pa.array([253_402_300_800_000_000], pa.timestamp("us"))),
        ("timestamp without time zone", pa.array([-62_135_596_800_000_001], pa.timestamp("us"))),
        ("date", pa.array([2**31 - 1], pa.int32()).cast(pa.date32())),
        ("date", pa.array([None, -719_163], pa.int32()).cast(pa.date32())),
    ],
)
def test_a_date_that_python_does_not_hold_is_not_written(spelling: str, column: pa.Array) -> None:
    batch = pa.RecordBatch.from_arrays([column], schema=pa.schema([typed_field("at", spelling)]))
    with pytest.raises(CodecError) as failure:
        encode(batch)
    assert str(failure.value) == (
        f"M202 column at: it cannot be written as {spelling}: {BEYOND}. "
        "Fix: correct or remove the value"
    )


@pytest.mark.parametrize(
    ("spelling", "wanted", "literal", "said"),
    [
        ("text[]", "text[]", "{{a,b},{c,d}}", "an array of 2 dimensions"),
        ("bigint[]", "text[]", "{a}", "an array of the type 25 where one of 20 is expected"),
        ("bigint", "integer", "1", "fields that are not of 8 bytes each"),
        ("uuid", "text", "no uuid", ""),
    ],
)
def test_a_value_of_another_form_is_not_read(
    driver: psycopg.Connection, spelling: str, wanted: str, literal: str, said: str
) -> None:
    query = sql.SQL("select 0, {}::{}").format(literal, sql.SQL(wanted))
    with pytest.raises(CodecError, match=f"^M202 column value: .*{said}"):
        list(read_batches(driver, query, batch_of(spelling, []).schema))
    driver.rollback()


def ragged() -> pa.Array:
    parts = [[3], [[0, 1]], [[1.5]]]
    types = [pa.int32(), pa.list_(pa.int32()), pa.list_(pa.float32())]
    arrays = [pa.array(part, one) for part, one in zip(parts, types, strict=True)]
    return pa.StructArray.from_arrays(arrays, names=["dimension", "indices", "values"])


@pytest.mark.parametrize(
    ("spelling", "made"),
    [
        ("sparsevec", ragged),
        ("vector", lambda: pa.array([[1.0, None]], pa.list_(pa.float32()))),
    ],
)
def test_an_embedding_that_is_not_whole_is_not_written(
    spelling: str, made: Callable[[], pa.Array]
) -> None:
    field = typed_field("embedding", spelling)
    batch = pa.RecordBatch.from_arrays([made().cast(field.type)], schema=pa.schema([field]))
    with pytest.raises(
        CodecError, match=f"^M202 column embedding: it cannot be written as {spelling}"
    ):
        encode(batch)


def test_an_array_that_begins_elsewhere_is_read_as_its_elements(driver: psycopg.Connection) -> None:
    assert read(driver, "text[]", "[5:6]={a,b}") == [["a", "b"]]
    assert read(driver, "bigint[]", "{1,NULL}") == [[1, None]]
