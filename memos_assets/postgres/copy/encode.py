"""PostgreSQL's COPY BINARY format, written from Arrow batches a column at a time.

An embedding costs one byte swap of the whole batch and a 4-byte head per row; no float is parsed.
How a value of a type is written is in its row of `catalog.types`.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import chain, compress, repeat

import pyarrow as pa

from memos_assets.catalog.binary_codecs import Parts
from memos_assets.catalog.types import column_type
from memos_assets.errors import CodecError
from memos_assets.postgres.copy.arrow_schema import postgres_type

#: File header: signature, flags, length of the header extension.
HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
#: A field count of -1 ends the data.
TRAILER = struct.pack("!h", -1)


#: Bytes of a batch that is concatenated to one part, whatever is in it.
_JOINED_BYTES = 4 * 1024 * 1024
#: Bytes that are written at once: libpq keeps a buffer as large as the largest write.
WRITTEN_BYTES = 1024 * 1024


def encode(batch: pa.RecordBatch, keep: Sequence[bool] | None = None) -> bytes:
    """Return the tuples of a batch, without header and trailer, as `encoded_parts` reads it."""
    return b"".join(encoded_parts(batch, keep))


def written(parts: Sequence[bytes]) -> Iterator[bytes]:
    """Yield what to write at a time of encoded parts; a long part in slices, without a copy."""
    for part in parts:
        if len(part) <= WRITTEN_BYTES:
            yield part
        else:
            view = memoryview(part)
            for start in range(0, len(part), WRITTEN_BYTES):
                yield bytes(view[start : start + WRITTEN_BYTES])


def encoded_parts(batch: pa.RecordBatch, keep: Sequence[bool] | None = None) -> list[bytes]:
    """Return the tuples of a batch, without header and trailer, in parts to be concatenated.

    A long value is a part by itself, so that it is not copied again.

    Args:
        batch: every field must name its PostgreSQL type in its metadata, as `arrow_schema` does.
        keep: which rows to encode; all where it is None. Filtering the batch itself would copy
            every embedding of it.

    Raises:
        CodecError: M202 a value that PostgreSQL's type does not hold.
    """
    columns: list[Parts] = [list(repeat(struct.pack("!h", batch.num_columns), batch.num_rows))]
    for field, column in zip(batch.schema, batch.columns, strict=True):
        postgres = postgres_type(field)
        try:
            columns += column_type(postgres).codec.encode(column)
        except ValueError as error:
            raise CodecError(
                "M202",
                f"it cannot be written as {postgres}: {error}",
                where=f"column {field.name}",
                fix="correct or remove the value",
            ) from error
    rows = zip(*columns, strict=True)
    pieces = chain.from_iterable(rows if keep is None else compress(rows, keep))
    if batch.nbytes <= _JOINED_BYTES:
        return [b"".join(pieces)]
    parts: list[bytes] = []
    short: list[bytes] = []
    for piece in pieces:
        if len(piece) < WRITTEN_BYTES:
            short.append(piece)
        else:
            parts += (b"".join(short), piece)
            short.clear()
    return [*parts, b"".join(short)]
