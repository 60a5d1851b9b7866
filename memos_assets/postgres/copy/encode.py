"""PostgreSQL's COPY BINARY format, written from Arrow batches a column at a time.

An embedding costs one byte swap of the whole batch and a 4-byte head per row; no float is parsed.
Reading back needs no code of ours: psycopg's ``copy.rows()`` yields the raw fields.
"""

import struct
from collections.abc import Iterable, Sequence
from itertools import chain, compress, pairwise, repeat
from typing import Any

import numpy as np
import pyarrow as pa

from memos_assets.postgres.copy.arrow_schema import POSTGRES_TYPE

#: File header: signature, flags, length of the header extension.
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
#: A field count of -1 ends the data.
TRAILER = struct.pack("!h", -1)

_NULL = struct.pack("!i", -1)
#: Microseconds from 1970 to 2000, PostgreSQL's epoch.
_EPOCH_2000 = 946_684_800_000_000
_TEXT_OID = 25

Parts = Sequence[Any]  # one bytes-like object per row


def encode(batch: pa.RecordBatch, keep: Sequence[bool] | None = None) -> bytes:
    """Return the tuples of a batch, without header and trailer.

    Args:
        batch: every field must name its PostgreSQL type in its metadata, as `shapes` does.
        keep: which rows to encode; all where it is None. Filtering the batch itself would copy
            every embedding of it.
    """
    columns: list[Parts] = [list(repeat(struct.pack("!h", batch.num_columns), batch.num_rows))]
    for field, column in zip(batch.schema, batch.columns, strict=True):
        columns += _encode_column(column, field.metadata[POSTGRES_TYPE].decode())
    rows = zip(*columns, strict=True)
    return b"".join(chain.from_iterable(rows if keep is None else compress(rows, keep)))


def _encode_column(column: pa.Array, postgres: str) -> list[Parts]:
    if postgres in ("vector", "halfvec"):
        return _vectors(column)
    if postgres == "text[]":
        return [[_text_array(value) for value in column.to_pylist()]]
    if postgres == "text":
        return _strings(column, b"")
    if postgres == "jsonb":
        return _strings(column, b"\x01")
    return [_fixed(column, postgres)]


def _validity(column: pa.Array) -> list[bool] | None:
    return None if column.null_count == 0 else column.is_valid().to_pylist()


def _strings(column: pa.Array, prefix: bytes) -> list[Parts]:
    _, offset_buffer, data = column.buffers()
    first = column.offset
    offsets = np.frombuffer(offset_buffer, dtype=np.int32)[first : first + len(column) + 1]
    heads = [
        struct.pack("!i", length + len(prefix)) + prefix for length in np.diff(offsets).tolist()
    ]
    # Slices of bytes, not of a memoryview: the garbage collector has to follow each of those.
    view = b"" if data is None else data.to_pybytes()
    places = offsets.tolist()
    payloads = [view[start:end] for start, end in pairwise(places)]
    valid = _validity(column)
    if valid is not None:
        for row, is_valid in enumerate(valid):
            if not is_valid:
                heads[row], payloads[row] = _NULL, b""
    return [heads, payloads]


def _vectors(column: pa.ListArray) -> list[Parts]:
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
    valid = _validity(column)
    if valid is not None:
        for row, is_valid in enumerate(valid):
            if not is_valid:
                heads[row], payloads[row] = _NULL, swapped[:0]
    return [heads, payloads]


_FIXED: dict[str, tuple[str, int]] = {
    "integer": (">i4", 4),
    "bigint": (">i8", 8),
    "double precision": (">f8", 8),
    "boolean": ("u1", 1),
    "timestamp with time zone": (">i8", 8),
}


def _fixed(column: pa.Array, postgres: str) -> Parts:
    dtype, size = _FIXED[postgres]
    valid = _validity(column)
    if postgres == "timestamp with time zone":
        column = column.cast(pa.int64())
    if postgres == "boolean":
        column = column.cast(pa.uint8())
    values = (column if valid is None else column.fill_null(0)).to_numpy(zero_copy_only=False)
    if postgres == "timestamp with time zone":
        values = values - _EPOCH_2000
    framed = np.empty(len(column), dtype=[("length", ">i4"), ("value", dtype)])
    framed["length"], framed["value"] = size, values
    raw, step = framed.tobytes(), 4 + size
    fields = [raw[start : start + step] for start in range(0, len(raw), step)]
    if valid is not None:
        fields = [
            field if is_valid else _NULL for field, is_valid in zip(fields, valid, strict=True)
        ]
    return fields


def _text_array(values: Iterable[str] | None) -> bytes:
    if values is None:
        return _NULL
    items = [value.encode() for value in values]
    body = struct.pack("!iii", 1 if items else 0, 0, _TEXT_OID)
    if items:
        body += struct.pack("!ii", len(items), 1)
    body += b"".join(struct.pack("!i", len(item)) + item for item in items)
    return struct.pack("!i", len(body)) + body
