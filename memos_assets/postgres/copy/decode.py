"""Read rows of a table as Arrow batches, by COPY TO in binary, without a float being parsed.

How a value of a type is read is in its row of `catalog.types`.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from memos_assets.catalog.binary_codecs import Fields
from memos_assets.catalog.types import column_type
from memos_assets.errors import CodecError
from memos_assets.postgres.copy.arrow_schema import postgres_type
from memos_assets.postgres.copy.encode import HEADER, TRAILER

#: Rows and bytes of one batch; a single row may be larger.
_BATCH_ROWS, _BATCH_BYTES = 512, 4 * 1024 * 1024

#: Bytes of a row, and of a field, from which on it is not copied out of the driver's buffer.
_LONG_BYTES = 256 * 1024


def rows_of(copy: psycopg.Copy) -> Iterator[list[Any]]:
    """Yield the fields of each row of a COPY TO in binary: bytes, None for NULL.

    A long field is a view of the driver's buffer. No row is referred to here while its consumer
    works on it, or after that.

    Args:
        copy: of which nothing is read so far.
    """
    # Short rows are taken apart by psycopg, which expects the header before the first one.
    short = copy.formatter
    short.parse_row(HEADER + TRAILER)
    place = len(HEADER)
    while True:
        row = _fields(copy.read(), place, short)
        if row is None:
            while copy.read():  # behind the last row is the end of the command
                pass
            return
        place, only = 0, [row]
        del row
        yield only.pop()


def _fields(data: Any, place: int, short: Any) -> list[Any] | None:
    """Return the fields of a row that begins at a place of a message; None after the last row."""
    if len(data) <= _LONG_BYTES:
        row = short.parse_row(data[place:]) if data else None
        return None if row is None else list(row)
    view = memoryview(data).cast("B")
    (count,) = struct.unpack_from("!h", view, place)
    place += 2
    fields: list[Any] = []
    for _ in range(count):
        (length,) = struct.unpack_from("!i", view, place)
        place += 4
        if length < 0:
            fields.append(None)
            continue
        field = view[place : place + length]
        fields.append(field if length > _LONG_BYTES else bytes(field))
        place += length
    return fields


def read_batches(
    connection: psycopg.Connection, query: sql.Composable, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query.

    Args:
        connection: in a transaction; it is busy until the last batch is read.
        query: whose columns are the fields of ``schema``, in order.
        schema: every field names its PostgreSQL type in its metadata, as `arrow_schema` does.

    Raises:
        CodecError: M202 a value that Arrow's type does not hold.
    """
    statement = sql.SQL("copy ({}) to stdout (format binary)").format(query)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        rows: list[tuple[Any, ...]] = []
        size = 0
        for row in copy.rows():
            rows.append(row)
            size += sum(len(field) for field in row if field is not None)
            if len(rows) == _BATCH_ROWS or size >= _BATCH_BYTES:
                yield _batch(rows, schema)
                rows, size = [], 0
        if rows:
            yield _batch(rows, schema)


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    return pa.RecordBatch.from_arrays(
        [_array(column, field) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def _array(fields: Fields, field: pa.Field) -> pa.Array:
    postgres = postgres_type(field)
    try:
        return column_type(postgres).codec.decode(fields, field.type)
    except ValueError as error:
        raise CodecError(
            "M202",
            f"a value of type {postgres} cannot be read: {error}",
            where=f"column {field.name}",
            fix="correct the value in PostgreSQL, or query the column as text",
        ) from error
