"""Statements of DuckDB over tables of snapshots: limited memory, a folder to spill to, errors."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.duck import connect, source_of
from memos_assets.snapshots.manifest import TableEntry
from memos_assets.snapshots.store import Store

#: Of DuckDB, beside what Python and pyarrow need.
MEMORY_LIMIT: Final = "256MB"
#: More threads hold more row groups in memory at once.
_THREADS: Final = 4
#: What DuckDB raises for statements that are wrong, whatever the files hold.
_BUGS: Final = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException)


@dataclass(frozen=True, slots=True)
class Duck:
    """A connection of DuckDB that reads the files of a store.

    Attributes:
        store: whose files are read.
        connection: with a memory limit.
    """

    store: Store
    connection: duckdb.DuckDBPyConnection

    def rows_of(self, entry: TableEntry) -> str:
        """Return a table of a snapshot as SQL behind ``from``, with ``file_row_number`` from 0."""
        return source_of(self.store, entry.file)

    def run(self, statement: str) -> duckdb.DuckDBPyConnection:
        """Run a statement.

        Raises:
            SnapshotError: M810 a file is damaged; M811 memory or disk are exhausted.
        """
        try:
            return self.connection.execute(statement)
        except (duckdb.Error, UnicodeDecodeError) as error:
            raise self._explained(error) from error

    def all(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement that returns few rows.

        Raises:
            SnapshotError: M810, M811.
        """
        rows: list[tuple[Any, ...]] = self.run(statement).fetchall()
        return rows

    def insert(self, table: str, rows: pa.RecordBatch) -> None:
        """Add rows to a temporary table of the same columns.

        Raises:
            SnapshotError: M811.
        """
        self.connection.register("incoming", rows)
        self.run(f"insert into {table} select * from incoming")
        self.connection.unregister("incoming")

    def stream(self, query: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a query; the connection is busy until the last one is read.

        Raises:
            SnapshotError: M810, M811.
        """
        try:
            yield from self.connection.sql(query).to_arrow_reader(batch_rows)
        except (duckdb.Error, UnicodeDecodeError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> SnapshotError:
        """Return what an error means; bytes of a damaged file in a message fail to be text."""
        said = str(error)
        if isinstance(error, duckdb.OutOfMemoryException) or "No space left" in said:
            return SnapshotError(
                "M811",
                f"snapshots cannot be compared within {MEMORY_LIMIT} of memory and what is free "
                "on the disk of temporary files",
                where=self.store.url,
                fix="free space there, or set TMPDIR to a folder of a larger disk",
            )
        if isinstance(error, _BUGS):
            raise error
        # The message of DuckDB may show values of rows, its class does not.
        return SnapshotError(
            "M810",
            f"a file of a table is damaged ({type(error).__name__})",
            where=self.store.url,
            fix="find the file: memos-assets snapshots verify ID; restore it from a copy of the "
            "store",
        )


@contextmanager
def opened(store: Store, *, scratch: Path | None = None) -> Iterator[Duck]:
    """Yield a connection over the files of a store.

    Args:
        store: whose files are read.
        scratch: folder in which DuckDB gets one for what does not fit into memory, which is gone
            afterwards; None: that of temporary files.
    """
    with (
        tempfile.TemporaryDirectory(prefix="memos-snapshots-", dir=scratch) as spill,
        connect(store, memory_limit=MEMORY_LIMIT) as connection,
    ):
        connection.execute(f"set temp_directory = {literal(spill)}")
        connection.execute(f"set threads = {min(_THREADS, os.cpu_count() or 1)}")
        yield Duck(store, connection)


def literal(text: str) -> str:
    """Return a text as SQL."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """Return the name of a column as SQL."""
    return '"' + text.replace('"', '""') + '"'


def names(texts: Sequence[str]) -> str:
    """Return the names of columns as SQL, between commas."""
    return ", ".join(map(name, texts))
