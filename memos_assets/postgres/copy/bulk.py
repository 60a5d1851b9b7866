"""Read whole tables as Arrow batches by COPY TO in binary, many rows at a time.

`decode` takes rows apart one by one, which suits a query with few rows. Here the fields of a
column are found and copied by numpy for all rows of a batch, whatever lengths the others have.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
from psycopg import sql

from memos_assets.catalog.binary_codecs import Bytes, FixedBytes, Number, Vector
from memos_assets.catalog.types import column_type
from memos_assets.errors import CodecError
from memos_assets.postgres.copy.arrow_schema import postgres_type
from memos_assets.postgres.copy.encode import HEADER, TRAILER

#: Rows and bytes of one chunk; a single row may be larger. What was written with these numbers is
#: compared chunk by chunk (`snapshots.table_file`): with others, all is written once more.
CHUNK_ROWS: Final = 16_384
CHUNK_BYTES: Final = 2 * 1024 * 1024

_Integers = npt.NDArray[np.int64]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows as COPY in binary sends them.

    Attributes:
        data: of each row the number of its fields, then the fields with their lengths.
        ends: int64[n], where each row ends in ``data``.
    """

    data: bytes | bytearray
    ends: _Integers

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.ends)

    @property
    def digest(self) -> str:
        """The sha256 of the rows, as this server sends them."""
        return hashlib.sha256(self.data).hexdigest()

    def decoded(self, schema: pa.Schema) -> pa.RecordBatch:
        """Return the rows.

        Args:
            schema: of `read_table`.

        Raises:
            CodecError: M202 a value that Arrow's type does not hold.
        """
        places = np.concatenate(([0], self.ends[:-1])) + 2
        columns = []
        for field in schema:
            lengths = _gathered(self.data, places, np.dtype(">i4")).astype(np.int64)
            nulls = lengths < 0
            lengths[nulls] = 0
            places = places + 4
            columns.append(_column(_Fields(self.data, places, lengths, nulls), field))
            places = places + lengths
        if not np.array_equal(places, self.ends):
            raise ValueError("rows with more columns than the schema has, or fewer")
        return pa.RecordBatch.from_arrays(columns, schema=schema)


def read_chunks(connection: psycopg.Connection, query: sql.Composable) -> Iterator[Chunk]:
    """Yield the rows of a query as they are sent; equal rows in one order make equal chunks.

    Args:
        connection: in a transaction; it is busy until the last chunk is read. If the caller stops
            before that, the query is cancelled, and the transaction has failed.
        query: of at least one column.

    Raises:
        psycopg.Error: the query failed.
    """
    statement = sql.SQL("copy ({}) to stdout (format binary)").format(query)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        data, ends = bytearray(), []
        for row in _rows(copy):
            data += row
            ends.append(len(data))
            if len(data) >= CHUNK_BYTES or len(ends) == CHUNK_ROWS:
                yield Chunk(data, np.array(ends, np.int64))
                data, ends = bytearray(), []
        if ends:
            yield Chunk(data, np.array(ends, np.int64))


def _rows(copy: psycopg.Copy) -> Iterator[Any]:
    """Yield views of the rows. psycopg waits for each; here only if none has arrived."""
    connection = copy.connection.pgconn
    # The header comes with the first row, or with the trailer where there is none.
    row = copy.read()[len(HEADER) :]
    while len(row) > len(TRAILER):
        yield row
        length, row = connection.get_copy_data(1)
        if length == 0:
            row = copy.read()
        elif length < 0:
            raise _ended(connection)
    while copy.read():  # behind the trailer is the end of the command
        pass


def _ended(connection: psycopg.pq.abc.PGconn) -> psycopg.Error:
    """Return the error by which the server ended a COPY before its trailer."""
    error = connection.get_result()
    while connection.get_result() is not None:
        pass
    assert error is not None
    return psycopg.errors.error_from_result(error)


def read_table(
    connection: psycopg.Connection, query: sql.Composable, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a query.

    Args:
        connection: see `read_chunks`.
        query: whose columns are the fields of ``schema``, in order.
        schema: every field names its PostgreSQL type in its metadata. Embeddings may be lists of
            fixed size.

    Raises:
        CodecError: M202 a value that Arrow's type does not hold.
        psycopg.Error: the query failed.
    """
    for chunk in read_chunks(connection, query):
        yield chunk.decoded(schema)


@dataclass(frozen=True, slots=True)
class _Fields:
    """A column of n rows within a buffer.

    Attributes:
        buffer: all rows, one behind the other.
        places: int64[n], where each value begins.
        lengths: int64[n], bytes of each; 0 where it is NULL.
        nulls: bool[n].
    """

    buffer: bytes | bytearray
    places: _Integers
    lengths: _Integers
    nulls: _Mask

    def fixed(self, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return the n values, all of one width; zeros where one is NULL."""
        if np.any(self.lengths[~self.nulls] != dtype.itemsize):
            raise ValueError(f"fields that are not of {dtype.itemsize} bytes each")
        if not self.nulls.any():
            return _gathered(self.buffer, self.places, dtype)
        values = np.zeros(len(self.places), dtype)
        values[~self.nulls] = _gathered(self.buffer, self.places[~self.nulls], dtype)
        return values

    def joined(self, skipped: int) -> tuple[pa.Buffer, pa.Buffer]:
        """Return int32[n + 1] offsets and the bytes of all values, without the first ones of each.

        Args:
            skipped: how many bytes of each value are left out.
        """
        starts = np.where(self.nulls, self.places, self.places + skipped)
        # As one array of values and what is between them, of which Arrow takes every second one.
        bounds = np.empty(2 * len(starts) + 1, np.int32)
        bounds[0:-1:2], bounds[1::2] = starts, self.places + self.lengths
        bounds[-1] = bounds[-2]
        all_of_it = pa.BinaryArray.from_buffers(
            pa.binary(), 2 * len(starts), [None, pa.py_buffer(bounds), pa.py_buffer(self.buffer)]
        )
        values = all_of_it.take(pa.array(np.arange(0, 2 * len(starts), 2)))
        return values.buffers()[1], values.buffers()[2]

    def validity(self) -> pa.Buffer | None:
        """Return the bitmap of values that are not NULL; None if none is."""
        if not self.nulls.any():
            return None
        return pa.py_buffer(np.packbits(~self.nulls, bitorder="little"))

    def slices(self) -> list[bytes | None]:
        """Return each value by itself, None for NULL."""
        ends = self.places + self.lengths
        bounds = zip(self.places.tolist(), ends.tolist(), self.nulls.tolist(), strict=True)
        view = memoryview(self.buffer)
        return [None if null else bytes(view[start:end]) for start, end, null in bounds]


def _gathered(
    buffer: bytes | bytearray, places: _Integers, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """Return the values that begin at places, which need not be aligned."""
    step = int(places[1] - places[0]) if len(places) > 1 else 1
    if len(places) and (np.diff(places) == step).all():
        # Rows of one length: nothing is copied.
        return np.ndarray((len(places),), dtype, buffer, offset=places[0], strides=(step,))
    # A view of the buffer that has a value at every byte; only those that are wanted are copied.
    count = max(len(buffer) - dtype.itemsize + 1, 0)
    every = np.ndarray((count,), dtype, buffer=buffer, strides=(1,))
    return every[places]


def _column(fields: _Fields, field: pa.Field) -> pa.Array:
    postgres = postgres_type(field)
    codec = column_type(postgres).codec
    try:
        match codec:
            case Number():
                return _numbers(fields, codec, field.type)
            case Bytes():
                return _texts(fields, codec, field.type)
            case FixedBytes():
                return _fixed_bytes(fields, codec, field.type)
            case Vector() if pa.types.is_fixed_size_list(field.type):
                return _matrix(fields, codec, field.type)
            case _:
                return codec.decode(fields.slices(), field.type)
    except ValueError as error:
        raise CodecError(
            "M202",
            f"a value of type {postgres} cannot be read: {error}",
            where=f"column {field.name}",
            fix="correct the value in PostgreSQL",
        ) from error


def _numbers(fields: _Fields, codec: Number, arrow: pa.DataType) -> pa.Array:
    values = fields.fixed(np.dtype(codec.wire))
    return codec.array(values, fields.nulls, arrow)


def _texts(fields: _Fields, codec: Bytes, arrow: pa.DataType) -> pa.Array:
    offsets, data = fields.joined(len(codec.prefix))
    buffers = [fields.validity(), offsets, data]
    return pa.Array.from_buffers(arrow, len(fields.places), buffers)


def _fixed_bytes(fields: _Fields, codec: FixedBytes, arrow: pa.DataType) -> pa.Array:
    values = fields.fixed(np.dtype(f"V{codec.size}"))
    buffers = [fields.validity(), pa.py_buffer(np.ascontiguousarray(values))]
    plain = pa.Array.from_buffers(pa.binary(codec.size), len(values), buffers)
    return plain.cast(arrow)


def _matrix(fields: _Fields, codec: Vector, arrow: pa.FixedSizeListType) -> pa.Array:
    element = np.dtype(codec.wire)
    row = np.dtype([("head", "V4"), ("elements", element, (arrow.list_size,))])
    elements = fields.fixed(row)["elements"].astype(element.newbyteorder("="))
    values = pa.array(elements.reshape(-1), arrow.value_type)
    mask = pa.array(fields.nulls) if fields.nulls.any() else None
    return pa.FixedSizeListArray.from_arrays(values, type=arrow, mask=mask)
