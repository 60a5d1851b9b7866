"""The digest of a table's rows, the same for every writer, reader and server.

Each column is several streams of bytes, and each stream is digested as the rows pass by:

- one byte per value: 1, or 0 where it is NULL; all that follows leaves NULLs out;
- numbers, dates, timestamps and values of fixed width: their bytes, little-endian; flags: one byte;
- text, jsonb and bytes: the length of each in 8 bytes, and apart from it all bytes;
- lists: the length of each unless the type gives it, and the streams of their elements;
- structs: the streams of their fields.

So nothing depends on batches, row groups, encodings or versions of pyarrow. Which type a column
has is in the manifest, not here. A change of this form is another format of manifest.
"""

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

_FORM: Final = b"memos-rows-1"


class RowsDigest:
    """Digests rows that come in the order of the table's key.

    Attributes:
        schema: of the rows; metadata is of no account.
        rows: digested so far.
    """

    def __init__(self, schema: pa.Schema) -> None:
        """Begin with no rows.

        Args:
            schema: of the rows.
        """
        self.schema = schema
        self.rows = 0
        self._columns = [_Stream(field.type) for field in schema]

    def update(self, batch: pa.RecordBatch) -> None:
        """Digest the next rows.

        Raises:
            ValueError: its columns have other names or types.
        """
        if not batch.schema.equals(self.schema, check_metadata=False):
            raise ValueError(f"columns {batch.schema} where {self.schema} are expected")
        for column, stream in zip(batch.columns, self._columns, strict=True):
            stream.update(column)
        self.rows += batch.num_rows

    def hexdigest(self) -> str:
        """Return the digest of the rows so far, 64 digits; more rows may follow."""
        whole = hashlib.sha256(_FORM + self.rows.to_bytes(8, "little"))
        for column in self._columns:
            for digest in column.digests():
                whole.update(digest)
        return whole.hexdigest()


class _Stream:
    """Digests one column, or what is within its values."""

    def __init__(self, of: pa.DataType) -> None:
        self._of = of.storage_type if isinstance(of, pa.BaseExtensionType) else of
        self._valid, self._lengths, self._values = (hashlib.sha256() for _ in range(3))
        self._within: list[_Stream] = []
        if pa.types.is_struct(self._of):
            self._within = [_Stream(field.type) for field in self._of]
        elif _is_list(self._of):
            self._within = [_Stream(self._of.value_type)]

    def update(self, column: pa.Array) -> None:
        if isinstance(column, pa.ExtensionArray):
            column = column.storage
        if column.null_count:
            self._valid.update(_flags(column.is_valid()))
            column = column.drop_null()
        else:
            self._valid.update(bytes([1]) * len(column))
        if pa.types.is_struct(self._of):
            for place, stream in enumerate(self._within):
                stream.update(column.field(place))
        elif _is_list(self._of):
            if not pa.types.is_fixed_size_list(self._of):
                lengths: Any = column.value_lengths().to_numpy(zero_copy_only=False)
                self._lengths.update(lengths.astype("<i8"))
                self._within[0].update(column.flatten())
            else:
                size = self._of.list_size
                values = column.values.slice(column.offset * size, len(column) * size)
                self._within[0].update(values)
        elif pa.types.is_boolean(self._of):
            self._values.update(_flags(column))
        elif _has_offsets(self._of):
            self._update_text(column)
        else:
            width = self._of.byte_width
            data = _bytes(column.buffers()[1])
            self._values.update(data[column.offset * width : (column.offset + len(column)) * width])

    def _update_text(self, column: pa.Array) -> None:
        _, offset_buffer, data = column.buffers()
        if not len(column):
            return
        offsets = np.frombuffer(offset_buffer, np.int32)[
            column.offset : column.offset + len(column) + 1
        ]
        lengths: Any = np.diff(offsets).astype("<i8")
        self._lengths.update(lengths)
        self._values.update(_bytes(data)[offsets[0] : offsets[-1]])

    def digests(self) -> Iterator[bytes]:
        for stream in (self._valid, self._lengths, self._values):
            yield stream.digest()
        for within in self._within:
            yield from within.digests()


def _is_list(of: pa.DataType) -> bool:
    return bool(pa.types.is_list(of) or pa.types.is_fixed_size_list(of))


def _has_offsets(of: pa.DataType) -> bool:
    return bool(pa.types.is_string(of) or pa.types.is_binary(of))


def _bytes(buffer: pa.Buffer | None) -> Any:
    return memoryview(b"" if buffer is None else buffer)


def _flags(column: pa.BooleanArray) -> Any:
    return column.cast(pa.uint8()).to_numpy(zero_copy_only=False)
