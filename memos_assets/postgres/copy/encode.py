"""PostgreSQL's COPY BINARY format, written from Arrow batches a column at a time.

An embedding costs one byte swap of the whole batch and a 4-byte head per row; no float is parsed.
How a value of a type is written is in its row of `catalog.types`.
"""

import struct
from collections.abc import Sequence
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


def encode(batch: pa.RecordBatch, keep: Sequence[bool] | None = None) -> bytes:
    """Return the tuples of a batch, without header and trailer.

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
    return b"".join(chain.from_iterable(rows if keep is None else compress(rows, keep)))
