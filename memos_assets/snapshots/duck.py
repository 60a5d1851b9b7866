"""DuckDB over the files of snapshots, which it reads with its own reader of Parquet."""

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import duckdb
from fsspec.implementations.arrow import ArrowFSWrapper

from memos_assets.snapshots.store import Store

#: What DuckDB keeps in memory; beyond that it spills to a folder.
MEMORY_LIMIT: Final = "128MB"
_PROTOCOL: Final = "snapshots"


class _StoreFiles(ArrowFSWrapper):  # type: ignore[misc]
    """Files of a store for programs that read through fsspec."""

    protocol = _PROTOCOL
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(path).removeprefix(f"{_PROTOCOL}://")

    def modified(self, path: str) -> datetime:
        """Return the same time for all: files are named by their content."""
        del path
        return datetime(2026, 1, 1, tzinfo=UTC)


@contextmanager
def connect(
    store: Store, *, memory_limit: str = MEMORY_LIMIT
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection to an empty database that reads the files of a store; see `source_of`.

    Args:
        store: of the files.
        memory_limit: as DuckDB spells it.
    """
    # An extension would be downloaded; none is needed.
    with duckdb.connect(
        config={"autoinstall_known_extensions": "false", "memory_limit": memory_limit}
    ) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set preserve_insertion_order = true")
        if store.local is None:
            connection.register_filesystem(_StoreFiles(store.filesystem))
        yield connection


def source_of(store: Store, name: str) -> str:
    """Return an SQL expression of the rows of a Parquet file of a store.

    Args:
        store: to which the connection was opened.
        name: of the file within it.
    """
    path = store.path(name)
    return rows_in(path if store.local is not None else f"{_PROTOCOL}://{path}")


def rows_in(path: str) -> str:
    """Return an SQL expression of the rows of a Parquet file, with ``file_row_number`` from 0.

    Args:
        path: of this machine, or of the store.
    """
    # Otherwise a path with * or [ would be a pattern.
    quoted = glob.escape(path).replace("'", "''")
    return f"read_parquet('{quoted}', file_row_number = true)"
