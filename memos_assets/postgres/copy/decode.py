"""Read rows of a table as Arrow batches, by COPY TO in binary, without a float being parsed."""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from memos_assets.postgres.copy.arrow_schema import POSTGRES_TYPE

_BATCH_ROWS = 512
_EPOCH_2000 = 946_684_800_000_000

Fields = Sequence[bytes | None]


def read_batches(
    connection: psycopg.Connection, query: sql.Composable, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query.

    Args:
        connection: in a transaction; it is busy until the last batch is read.
        query: whose columns are the fields of ``schema``, in order.
        schema: every field names its PostgreSQL type in its metadata, as `shapes` does.
    """
    statement = sql.SQL("copy ({}) to stdout (format binary)").format(query)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        rows: list[tuple[Any, ...]] = []
        for row in copy.rows():
            rows.append(row)
            if len(rows) == _BATCH_ROWS:
                yield _batch(rows, schema)
                rows = []
        if rows:
            yield _batch(rows, schema)


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True))
    return pa.RecordBatch.from_arrays(
        [_array(column, field) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def _array(fields: Fields, field: pa.Field) -> pa.Array:
    postgres = field.metadata[POSTGRES_TYPE].decode()
    if postgres in ("vector", "halfvec"):
        return _vectors(fields, field.type)
    decode = _DECODERS[postgres]
    return pa.array([None if raw is None else decode(raw) for raw in fields], field.type)


def _vectors(fields: Fields, arrow: pa.ListType) -> pa.Array:
    dtype = np.dtype(">f2" if arrow.value_type == pa.float16() else ">f4")
    payloads = [b"" if raw is None else raw[4:] for raw in fields]
    elements = np.frombuffer(b"".join(payloads), dtype).astype(dtype.newbyteorder("="))
    lengths = np.array([len(payload) // dtype.itemsize for payload in payloads], dtype=np.int32)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.array(elements, arrow.value_type),
        type=arrow,
        mask=pa.array([raw is None for raw in fields]),
    )


def _text_array(raw: bytes) -> list[str | None]:
    dimensions = struct.unpack_from("!i", raw)[0]
    if dimensions == 0:
        return []
    count, place = struct.unpack_from("!i", raw, 12)[0], 20
    items: list[str | None] = []
    for _ in range(count):
        length = struct.unpack_from("!i", raw, place)[0]
        place += 4
        if length < 0:
            items.append(None)
            continue
        items.append(raw[place : place + length].decode())
        place += length
    return items


def _integer(raw: bytes) -> int:
    return int.from_bytes(raw, "big", signed=True)


def _double(raw: bytes) -> float:
    return float(struct.unpack("!d", raw)[0])


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "text": bytes.decode,
    "text[]": _text_array,
    # The first byte is the version of jsonb's wire form.
    "jsonb": lambda raw: raw[1:].decode(),
    "integer": _integer,
    "bigint": _integer,
    "double precision": _double,
    "boolean": lambda raw: raw == b"\x01",
    "timestamp with time zone": lambda raw: _integer(raw) + _EPOCH_2000,
}
