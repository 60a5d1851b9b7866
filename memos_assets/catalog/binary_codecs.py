"""Fields of PostgreSQL's binary COPY format from Arrow arrays, and back: a codec per form of value.

A field is its length as int32, -1 for NULL, and then the value, big-endian. `types` says which type
has which form; tuples, headers and connections are the business of `postgres.copy`.

Source: PostgreSQL's and pgvector's ``*_send`` and ``*_recv`` functions.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: One column of n rows as it is read: a field of each row, without its length; None is NULL.
Fields = Sequence[bytes | None]
#: One column of n rows as it is written is several of these, each with n bytes-like objects: the
#: field of a row is the concatenation of its objects. An embedding is thereby not copied.
Parts = Sequence[Any]

_NULL = struct.pack("!i", -1)
#: Bytes of a column whose values are copied out of Arrow at once.
_COPIED_BYTES = 4 * 1024 * 1024


class Codec(Protocol):
    """Writes and reads fields of one form.

    Both raise ValueError for a value that one of the two sides cannot hold.
    """

    def encode(self, column: pa.Array) -> list[Parts]:
        """Return the fields of a column, their lengths included."""

    def decode(self, fields: Fields, arrow: pa.DataType) -> pa.Array:
        """Return the column that these fields are, of an Arrow type."""


def _validity(column: pa.Array) -> list[bool] | None:
    return None if column.null_count == 0 else column.is_valid().to_pylist()


def _nulls_of(fields: Fields) -> pa.Array:
    return pa.array([raw is None for raw in fields], pa.bool_())


def _framed(values: npt.NDArray[Any], wire: str, valid: Sequence[bool] | None) -> list[Parts]:
    """Return values of one width with their lengths."""
    size = np.dtype(wire).itemsize
    framed = np.empty(len(values), dtype=[("length", ">i4"), ("value", wire)])
    framed["length"], framed["value"] = size, values
    raw, step = framed.tobytes(), 4 + size
    parts = [raw[start : start + step] for start in range(0, len(raw), step)]
    if valid is not None:
        parts = [part if is_valid else _NULL for part, is_valid in zip(parts, valid, strict=True)]
    return [parts]


def _unframed(fields: Fields, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return values of one width; zero where a field is NULL."""
    nothing = bytes(dtype.itemsize)
    joined = b"".join([nothing if raw is None else raw for raw in fields])
    if len(joined) != len(fields) * dtype.itemsize:
        raise ValueError(f"fields that are not of {dtype.itemsize} bytes each")
    return np.frombuffer(joined, dtype)


#: How Arrow holds what a field of a width holds.
_ARROW_NUMBERS = {
    ">i8": pa.int64(),
    ">i4": pa.int32(),
    ">i2": pa.int16(),
    "u1": pa.uint8(),
    ">f8": pa.float64(),
    ">f4": pa.float32(),
}


@dataclass(frozen=True, slots=True)
class Number:
    """A value of fixed width: numbers, flags, dates and timestamps.

    Attributes:
        wire: dtype of the field.
        epoch: Arrow's number of PostgreSQL's zero.
        years: the first and the last number, in Arrow's terms, that either side may hold. None:
            any. PostgreSQL's infinity is outside.
    """

    wire: str
    epoch: int = 0
    years: tuple[int, int] | None = None

    def encode(self, column: pa.Array) -> list[Parts]:
        """Return the fields of a column, their lengths included."""
        valid = _validity(column)
        plain = column.cast(_ARROW_NUMBERS[self.wire])
        numbers = (plain if valid is None else plain.fill_null(0)).to_numpy(zero_copy_only=False)
        if self.years is not None:
            self._refuse_beyond(numbers, *self.years)
            numbers = numbers - self.epoch
        return _framed(numbers, self.wire, valid)

    def decode(self, fields: Fields, arrow: pa.DataType) -> pa.Array:
        """Return the column that these fields are, of an Arrow type."""
        nulls = np.array([raw is None for raw in fields], dtype=bool)
        return self.array(_unframed(fields, np.dtype(self.wire)), nulls, arrow)

    def array(
        self, values: npt.NDArray[Any], nulls: npt.NDArray[np.bool_], arrow: pa.DataType
    ) -> pa.Array:
        """Return the column of values as they are on the wire, of an Arrow type.

        Args:
            values: ``wire``[n]; zero where one is NULL.
            nulls: bool[n].
            arrow: type of the column.
        """
        numbers = values.astype(values.dtype.newbyteorder("="))
        if self.years is not None:
            first, last = self.years
            self._refuse_beyond(numbers, first - self.epoch, last - self.epoch)
            numbers = numbers + numbers.dtype.type(self.epoch)
        return pa.array(numbers, _ARROW_NUMBERS[self.wire], mask=nulls).cast(arrow)

    @staticmethod
    def _refuse_beyond(numbers: npt.NDArray[Any], first: int, last: int) -> None:
        if len(numbers) and (numbers.min() < first or numbers.max() > last):
            raise ValueError("a date outside of the years 1 to 9999, or infinity")


@dataclass(frozen=True, slots=True)
class Bytes:
    """A value of any length; ``prefix`` comes before it on the wire."""

    prefix: bytes = b""

    def encode(self, column: pa.Array) -> list[Parts]:
        """Return the fields of a column, their lengths included."""
        _, offset_buffer, data = column.buffers()
        first, prefix = column.offset, self.prefix
        offsets = np.frombuffer(offset_buffer, dtype=np.int32)[first : first + len(column) + 1]
        heads = [
            struct.pack("!i", length + len(prefix)) + prefix for length in np.diff(offsets).tolist()
        ]
        # Slices of bytes, not of a memoryview: the garbage collector has to follow each of those.
        # Of long values, which are few, another copy would cost more.
        view: Any = b"" if data is None else memoryview(data)
        if len(view) <= _COPIED_BYTES:
            view = bytes(view)
        places = offsets.tolist()
        payloads = [view[start:end] for start, end in pairwise(places)]
        _blank(_validity(column), heads, payloads)
        return [heads, payloads]

    def decode(self, fields: Fields, arrow: pa.DataType) -> pa.Array:
        """Return the column that these fields are, of an Arrow type."""
        skipped = len(self.prefix)
        if skipped:
            fields = [None if raw is None else raw[skipped:] for raw in fields]
        return pa.array(fields, arrow)


@dataclass(frozen=True, slots=True)
class FixedBytes:
    """A value of so many bytes, which Arrow holds as an extension of `pa.binary(size)`."""

    size: int

    def encode(self, column: pa.Array) -> list[Parts]:
        """Return the fields of a column, their lengths included."""
        storage, size = column.storage, self.size
        _, data = storage.buffers()
        first, last = storage.offset, storage.offset + len(storage)
        packed = memoryview(b"" if data is None else data)[first * size : last * size]
        return _framed(np.frombuffer(packed, f"V{size}"), f"V{size}", _validity(column))

    def decode(self, fields: Fields, arrow: pa.DataType) -> pa.Array:
        """Return the column that these fields are, of an Arrow type."""
        return pa.array(fields, pa.binary(self.size)).cast(arrow)


@dataclass(frozen=True, slots=True)
class Vector:
    """pgvector's ``vector`` and ``halfvec``: dimension and zero as int16, then the elements."""

    wire: str

    def encode(self, column: pa.Array) -> list[Parts]:
        """Return the fields of a column, their lengths included."""
        offsets = column.offsets.to_numpy()
        values = column.values.to_numpy()[offsets[0] : offsets[-1]]
        offsets = offsets - offsets[0]
        size = values.dtype.itemsize
        swapped = memoryview(values.byteswap()).cast("B")
        heads = [
            struct.pack("!ihh", 4 + size * dimension, dimension, 0)
            for dimension in np.diff(offsets).tolist()
        ]
        places = (offsets * size).tolist()
        payloads = [swapped[start:end] for start, end in pairwise(places)]
        _blank(_validity(column), heads, payloads)
        return [heads, payloads]

    def decode(self, fields: Fields, arrow: pa.ListType) -> pa.Array:
        """Return the column that these fields are, of an Arrow type."""
        payloads = [b"" if raw is None else raw[4:] for raw in fields]
        elements, lengths = _elements(payloads, np.dtype(self.wire))
        return _lists(elements, lengths, arrow, _nulls_of(fields))


@dataclass(frozen=True, slots=True)
class SparseVector:
    """pgvector's ``sparsevec``: dimension, n and zero as int32, n indices from 0, n elements.

    Arrow holds `SPARSE_VECTOR`.
    """

    def encode(self, column: pa.StructArray) -> list[Parts]:
        """Return the fields of a column, their lengths included."""
        dimensions, indices, values = (column.field(number) for number in range(3))
        valid = _validity(column)
        lengths = _lengths(indices)
        if not np.array_equal(lengths, _lengths(values)):
            raise ValueError("a sparse vector with more indices than elements, or fewer")
        heads = [
            struct.pack("!iiii", 12 + 8 * stored, dimension, stored, 0)
            for dimension, stored in zip(
                dimensions.fill_null(0).to_pylist(), lengths.tolist(), strict=True
            )
        ]
        payloads = [_slices(indices, ">i4", lengths), _slices(values, ">f4", lengths)]
        _blank(valid, heads, *payloads)
        return [heads, *payloads]

    def decode(self, fields: Fields, arrow: pa.StructType) -> pa.Array:
        """Return the column that these fields are, of an Arrow type."""
        heads = [(0, 0) if raw is None else struct.unpack_from("!ii", raw) for raw in fields]
        ends = [12 + 4 * stored for _, stored in heads]
        known = list(zip(fields, ends, strict=True))
        indices, lengths = _elements(
            [b"" if raw is None else raw[12:end] for raw, end in known], np.dtype(">i4")
        )
        values, _ = _elements(
            [b"" if raw is None else raw[end:] for raw, end in known], np.dtype(">f4")
        )
        nulls = _nulls_of(fields)
        return pa.StructArray.from_arrays(
            [
                pa.array([dimension for dimension, _ in heads], arrow.field(0).type),
                _lists(indices, lengths, arrow.field(1).type, None),
                _lists(values, lengths, arrow.field(2).type, None),
            ],
            fields=list(arrow),
            mask=nulls,
        )


#: A sparse vector: ``indices`` count from 0 and ascend, ``values`` are not zero; pgvector refuses
#: others. Its text form counts from 1.
SPARSE_VECTOR = pa.struct(
    [
        pa.field("dimension", pa.int32()),
        pa.field("indices", pa.list_(pa.int32())),
        pa.field("values", pa.list_(pa.float32())),
    ]
)


@dataclass(frozen=True, slots=True)
class Array:
    """An array of one dimension, in which elements may be NULL.

    A column of PostgreSQL may hold arrays of several dimensions, which Arrow's lists are not: those
    are refused. The number of the first element, 1 as a rule, is not kept.

    Attributes:
        element: codec of the elements.
        arrow: their Arrow type.
        oid: PostgreSQL's number of their type, which is part of the value.
    """

    element: Codec = field(repr=False)
    arrow: pa.DataType
    oid: int

    def encode(self, column: pa.ListArray) -> list[Parts]:
        """Return the fields of a column, their lengths included."""
        values, lengths = column.flatten(), _lengths(column)
        items = [b"".join(parts) for parts in zip(*self.element.encode(values), strict=True)]
        ends = np.cumsum(lengths)
        rows = []
        for start, end in zip((ends - lengths).tolist(), ends.tolist(), strict=True):
            row = items[start:end]
            body = struct.pack("!iii", bool(row), _NULL in row, self.oid)
            if row:
                body += struct.pack("!ii", len(row), 1)
            body += b"".join(row)
            rows.append(struct.pack("!i", len(body)) + body)
        _blank(_validity(column), rows)
        return [rows]

    def decode(self, fields: Fields, arrow: pa.ListType) -> pa.Array:
        """Return the column that these fields are, of an Arrow type."""
        items: list[bytes | None] = []
        lengths = []
        for raw in fields:
            before = len(items)
            if raw is not None:
                items += self._items(raw)
            lengths.append(len(items) - before)
        elements = self.element.decode(items, self.arrow)
        return _lists(elements, np.array(lengths, np.int32), arrow, _nulls_of(fields))

    def _items(self, raw: bytes) -> list[bytes | None]:
        dimensions, _, oid = struct.unpack_from("!iiI", raw)
        if oid != self.oid:
            raise ValueError(f"an array of the type {oid} where one of {self.oid} is expected")
        if dimensions > 1:
            raise ValueError(f"an array of {dimensions} dimensions")
        items: list[bytes | None] = []
        place = 20
        while place < len(raw):
            (length,) = struct.unpack_from("!i", raw, place)
            place += 4
            items.append(None if length < 0 else raw[place : place + length])
            place += max(length, 0)
        return items


def _blank(valid: Sequence[bool] | None, heads: list[bytes], *payloads: list[Any]) -> None:
    """Make NULL of what is not valid, whatever Arrow leaves there."""
    if valid is None:
        return
    for row, is_valid in enumerate(valid):
        if not is_valid:
            heads[row] = _NULL
            for payload in payloads:
                payload[row] = b""


def _lengths(column: pa.ListArray) -> npt.NDArray[np.int32]:
    lengths = column.value_lengths().fill_null(0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), np.int32)


def _slices(column: pa.ListArray, wire: str, lengths: npt.NDArray[np.int32]) -> list[bytes]:
    """Return the elements of each list of numbers as they are on the wire."""
    raw = column.flatten().to_numpy().astype(wire).tobytes()
    size = np.dtype(wire).itemsize
    ends = np.concatenate(([0], np.cumsum(lengths))) * size
    return [raw[start:end] for start, end in pairwise(ends.tolist())]


def _elements(
    payloads: Sequence[bytes], dtype: np.dtype[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """Return the numbers of all payloads in native byte order, and how many each one holds."""
    elements = np.frombuffer(b"".join(payloads), dtype).astype(dtype.newbyteorder("="))
    lengths = np.array([len(payload) // dtype.itemsize for payload in payloads], dtype=np.int32)
    return elements, lengths


def _lists(
    elements: npt.NDArray[Any] | pa.Array,
    lengths: npt.NDArray[np.int32],
    arrow: pa.ListType,
    nulls: pa.Array | None,
) -> pa.ListArray:
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    values = elements if isinstance(elements, pa.Array) else pa.array(elements, arrow.value_type)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=arrow, mask=nulls)
