"""Write the rows of one table as a Parquet file, within bounded memory.

A thread encodes and compresses one row group, while the caller digests the rows of the next one.
"""

import hashlib
import json
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from memos_assets.snapshots.identity import RowsDigest

#: Bytes and rows of one row group, which is kept in memory until it is written.
GROUP_BYTES: Final = 8 * 1024 * 1024
GROUP_ROWS: Final = 131_072
#: Level of zstd: embeddings hardly become smaller by higher ones, and text by a tenth.
_LEVEL: Final = 1
#: Key of the chunks in the metadata of a file.
_SENT: Final = "memos.sent"


class TableFile:
    """A file of rows that is being written; it digests them.

    Attributes:
        rows: digest of the rows.
    """

    def __init__(self, sink: Any, schema: pa.Schema) -> None:
        """Begin a file.

        Args:
            sink: a writable file of pyarrow or Python, which the caller closes.
            schema: of the rows.
        """
        self.rows = RowsDigest(schema)
        self._sink = _Digested(sink)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            schema,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=[f.name for f in schema if pa.types.is_string(f.type)],
            write_statistics=[f.name for f in schema if not pa.types.is_nested(f.type)],
            store_schema=True,
        )
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._sent: list[Sent] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="parquet")
        self._at_work: Future[None] | None = None

    def write(self, batch: pa.RecordBatch, sent: str | None = None) -> None:
        """Write the next rows.

        Args:
            batch: the rows.
            sent: the digest of the rows as the server sent them; see `Sent`.
        """
        self.rows.update(batch)
        if sent is not None:
            self.note(Sent(self.rows.rows, sent, self.rows.hexdigest()))
        self._waiting.append(batch)
        size = sum(one.nbytes for one in self._waiting)
        if size >= GROUP_BYTES or sum(one.num_rows for one in self._waiting) >= GROUP_ROWS:
            self._end_group()

    def note(self, sent: "Sent") -> None:
        """Note that rows up to here were sent so."""
        self._sent.append(sent)

    def _end_group(self) -> None:
        """Have the rows that wait written as a group, once the group before is."""
        self._join()
        self._at_work = self._thread.submit(self._write_group, self._waiting)
        self._waiting = []

    def _join(self) -> None:
        if self._at_work is not None:
            self._at_work.result()

    def _write_group(self, rows: list[pa.RecordBatch]) -> None:
        table = pa.Table.from_batches(rows, self._schema)
        rows.clear()
        if table.num_rows:
            self._writer.write_table(table, row_group_size=table.num_rows)
        del table
        # Arrow keeps what was freed, for a next group of another form.
        pa.default_memory_pool().release_unused()

    def finish(self) -> tuple[int, str]:
        """Write what waits and the end of the file; return its bytes and their sha256."""
        self._end_group()
        self._join()
        self._thread.shutdown()
        if self._sent:
            sent = json.dumps([[one.rows, one.digest, one.until] for one in self._sent])
            self._writer.add_key_value_metadata({_SENT: sent})
        self._writer.close()
        return self._sink.size, self._sink.sha256.hexdigest()

    def abandon(self) -> None:
        """End without a file; what is left to write goes nowhere."""
        self._sink.abandoned = True
        self._thread.shutdown()
        # Closed while its sink is open: it would be closed with the last reference otherwise.
        with suppress(OSError, ValueError, pa.ArrowException):
            self._writer.close()


@dataclass(frozen=True, slots=True)
class Sent:
    """A chunk of rows as a server sent it, noted in the file that was written of it.

    A server sends equal rows as equal bytes. So the next write compares digests of bytes, and
    decodes no row before the first chunk that differs.

    Attributes:
        rows: of the table up to the end of the chunk.
        digest: of the bytes of the chunk.
        until: digest of the rows up to the end of the chunk, see `RowsDigest`.
    """

    rows: int
    digest: str
    until: str


def sent_of(source: pa.NativeFile) -> list[Sent]:
    """Return the chunks of which a file was written; none where it was written of something else.

    Args:
        source: the file, opened for reading.

    Raises:
        pa.ArrowException, OSError: it cannot be read.
    """
    noted = (pq.read_metadata(source).metadata or {}).get(_SENT.encode())
    return [Sent(*one) for one in json.loads(noted)] if noted else []


class _Digested:
    """A file that is only written to, and digested."""

    closed = abandoned = False

    def __init__(self, sink: Any) -> None:
        self._sink, self.size, self.sha256 = sink, 0, hashlib.sha256()

    def write(self, data: Any) -> int:
        if self.abandoned:
            return len(data)
        self.sha256.update(data)
        self._sink.write(data)
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False
