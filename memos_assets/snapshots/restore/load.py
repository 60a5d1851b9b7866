"""Rows of a snapshot into tables, by the COPY in binary that consolidation uses."""

from collections.abc import Iterable, Sequence

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from memos_assets.postgres.copy.encode import HEADER, TRAILER, encoded_parts, written


def copy_in(
    connection: psycopg.Connection,
    target: sql.Identifier,
    columns: Sequence[str],
    batches: Iterable[pa.RecordBatch],
) -> int:
    """Copy rows into a table, and return how many.

    Args:
        connection: in a transaction.
        target: the table, with its schema.
        columns: of the rows, in their order.
        batches: whose fields name their PostgreSQL types.
    """
    rows = 0
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(target, listed)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(HEADER)
        for batch in batches:
            for part in written(encoded_parts(_with_offsets(batch))):
                copy.write(part)
            rows += batch.num_rows
        copy.write(TRAILER)
    return rows


def _with_offsets(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose lists of fixed size are lists, as the encoder takes embeddings."""
    columns, fields = [], []
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if pa.types.is_fixed_size_list(field.type):
            size, start, count = field.type.list_size, column.offset, len(column)
            listed = pa.list_(field.type.value_type)
            column = pa.ListArray.from_arrays(
                pa.array(np.arange(count + 1, dtype=np.int32) * size),
                _without_nulls(column.values.slice(start * size, count * size)),
                type=listed,
                mask=column.is_null() if column.null_count else None,
            )
            field = field.with_type(listed)
        columns.append(column)
        fields.append(field)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _without_nulls(elements: pa.Array) -> pa.Array:
    """Return elements of which none is NULL: of a NULL embedding all are, and none is written."""
    if not elements.null_count:
        return elements
    return pa.Array.from_buffers(
        elements.type, len(elements), [None, elements.buffers()[1]], offset=elements.offset
    )
