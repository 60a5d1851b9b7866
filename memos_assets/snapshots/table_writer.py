"""Write one live table to a store, or find that the store has its rows.

Rows are compared with a former file as the server sends them: until the first chunk that differs
nothing is decoded and nothing written. The rows before that chunk are then copied from the former
file, and the others follow them.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import psycopg
import pyarrow as pa
from psycopg import sql

from memos_assets.errors import SnapshotError
from memos_assets.postgres.copy.bulk import Chunk, read_chunks
from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.manifest import TableEntry
from memos_assets.snapshots.reader import batches, ensure_whole
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.table_file import Sent, TableFile, sent_of

_TEXTS: Final = ("text", "varchar")
#: Chunks that are read while another one is worked on; each is some 2 MB.
_AHEAD: Final = 2


def query_of(table: SnapshotTable) -> sql.Composable:
    """Return the query of the rows of a table in the order of its key, text by its bytes."""
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    query = sql.SQL("select {} from {}").format(columns, sql.Identifier(table.schema, table.name))
    # Without a key, equal rows are alike: any order of them is the same.
    key = table.key or tuple(table.columns)
    return query + sql.SQL(" order by ") + sql.SQL(", ").join(_by(table, name) for name in key)


def _by(table: SnapshotTable, column: str) -> sql.Composable:
    is_text = table.columns[column].partition("(")[0] in _TEXTS
    return sql.Identifier(column) + sql.SQL(' collate "C"' if is_text else "")


def write_table(
    connection: psycopg.Connection,
    store: Store,
    table: SnapshotTable,
    known: Mapping[str, TableEntry],
    former: TableEntry | None,
) -> tuple[TableEntry, bool]:
    """Write the rows of a table unless their file is there; return its entry, and if it is new.

    Args:
        connection: in a transaction, of a role that sees all rows.
        store: to which they are written.
        table: as it is in the database.
        known: identity -> entry of the tables in the store.
        former: entry of the table in the newest snapshot.

    Raises:
        CodecError: M202 a value that Arrow's type does not hold.
        psycopg.Error: the rows cannot be read.
    """
    if former is not None and (sent := _sent(store, table, former)) is not None:
        try:
            # A query that ends early fails its transaction: here one within the transaction.
            with connection.transaction():
                writer = _Writer(store, table, former, sent)
                return writer.write(read_chunks(connection, query_of(table)), known)
        except _FormerIsDamagedError:
            pass
    writer = _Writer(store, table, None, [])
    return writer.write(read_chunks(connection, query_of(table)), known)


def put_rows(
    store: Store,
    table: SnapshotTable,
    batches: Iterable[pa.RecordBatch],
    known: Mapping[str, TableEntry],
) -> tuple[TableEntry, bool]:
    """Write rows of a table unless their file is there; return its entry, and if it is new.

    Args:
        store: to which they are written.
        table: with the schema of the batches.
        batches: in the order of the key.
        known: identity -> entry of the tables in the store.
    """
    with _partial_file(store, table) as file:
        for batch in batches:
            file.rows.write(batch)
        return file.publish(known)


class _FormerIsDamagedError(Exception):
    """The file of which rows were to be copied does not hold them."""


def _sent(store: Store, table: SnapshotTable, former: TableEntry) -> list[Sent] | None:
    """Return the chunks of which a former file was written; None where it is of no use."""
    if (list(former.columns), list(former.key)) != (list(table.columns.items()), list(table.key)):
        return None
    try:
        ensure_whole(store, former)
        with store.open_input(former.file) as source:
            sent = sent_of(source)
    except (SnapshotError, pa.ArrowException, OSError, ValueError):
        return None
    if (sent[-1].rows, sent[-1].until) != (former.rows, former.digest) if sent else former.rows:
        return None
    return sent


@dataclass(slots=True)
class _Partial:
    """A file that is being written.

    Attributes:
        store: in which it is.
        table: whose rows it gets.
        name: of it, until it is published.
        sink: into which it is written.
        rows: the writer of Parquet on it.
    """

    store: Store
    table: SnapshotTable
    name: str
    sink: pa.NativeFile
    rows: TableFile

    def publish(self, known: Mapping[str, TableEntry]) -> tuple[TableEntry, bool]:
        """End the file and give it its name, unless a file of these rows is there."""
        size, sha256 = self.rows.finish()
        self.sink.close()
        table = self.table
        entry = TableEntry(
            schema=table.schema,
            name=table.name,
            columns=list(table.columns.items()),
            key=list(table.key),
            rows=self.rows.rows.rows,
            digest=self.rows.rows.hexdigest(),
            bytes=size,
            sha256=sha256,
        )
        there = known.get(entry.identity)
        if there is not None and self.store.size(there.file) == there.bytes:
            return there, False
        self.store.publish(self.name, entry.file)
        return entry, True


@contextmanager
def _partial_file(store: Store, table: SnapshotTable) -> Iterator[_Partial]:
    with store.partial() as name, store.filesystem.open_output_stream(store.path(name)) as sink:
        rows = TableFile(sink, table.arrow)
        try:
            yield _Partial(store, table, name, sink, rows)
        except BaseException:
            rows.abandon()
            raise


class _Writer:
    """Compares the chunks of a table with a former file, and writes them from the first other."""

    def __init__(
        self,
        store: Store,
        table: SnapshotTable,
        former: TableEntry | None,
        sent: Sequence[Sent],
    ) -> None:
        self._store, self._table, self._former, self._sent = store, table, former, sent
        self._schema = table.arrow
        self._equal = 0
        self._file: _Partial | None = None
        self._open = ExitStack()

    def write(
        self, chunks: Iterator[Chunk], known: Mapping[str, TableEntry]
    ) -> tuple[TableEntry, bool]:
        # The server sends, and this thread reads, while another one digests and writes.
        with self._open, ThreadPoolExecutor(1, thread_name_prefix="snapshot") as worker:
            at_work: deque[Future[None]] = deque()
            for chunk in chunks:
                at_work.append(worker.submit(self._take, chunk))
                if len(at_work) > _AHEAD:
                    at_work.popleft().result()
            for future in at_work:
                future.result()
            if self._file is None:
                if self._former is not None and self._equal == len(self._sent):
                    return self._former, False
                self._file = self._begun()
            return self._file.publish(known)

    def _take(self, chunk: Chunk) -> None:
        digest = chunk.digest
        if self._file is None:
            if self._equal < len(self._sent) and self._sent[self._equal].digest == digest:
                self._equal += 1
                return
            self._file = self._begun()
        self._file.rows.write(chunk.decoded(self._schema), digest)

    def _begun(self) -> _Partial:
        """Return a file with the rows of the chunks that were equal."""
        partial = self._open.enter_context(_partial_file(self._store, self._table))
        equal = self._sent[: self._equal]
        if self._former is not None and equal:
            self._copy(self._former, equal[-1], partial.rows)
            for chunk in equal:
                partial.rows.note(chunk)
        return partial

    def _copy(self, former: TableEntry, last: Sent, file: TableFile) -> None:
        left = last.rows
        try:
            for batch in batches(self._store, former):
                file.write(batch.slice(0, left))
                left -= min(left, batch.num_rows)
                if not left:
                    break
        except SnapshotError as error:
            raise _FormerIsDamagedError from error
        if file.rows.hexdigest() != last.until:
            raise _FormerIsDamagedError
