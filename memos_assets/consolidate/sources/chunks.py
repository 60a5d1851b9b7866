"""Digests of SQLite rows as they are stored, and how a file is cut into chunks."""

import hashlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from memos_assets.catalog import FileKind
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.errors import shown
from memos_assets.sqlite.file import quoted, rowid_name, unindexed
from memos_assets.sqlite.row_codec import add_row

#: An event costs Dagster 10 to 30 ms and a chunk costs a few events: no file gets more chunks.
MOST_CHUNKS = 64


@dataclass(frozen=True, slots=True)
class ChunkContent:
    """The content of one chunk of one SQLite table, as counts and a digest.

    Attributes:
        table: SQLite table.
        chunk: ``rowid // chunk_rows``.
        rows: rows in it.
        bytes: bytes of their values.
        digest: sha256 over rowids and row digests, hexadecimal.
    """

    table: str
    chunk: int
    rows: int
    bytes: int
    digest: str


def chunk_bounds(chunk: int, chunk_rows: int) -> tuple[int, int]:
    """Return first and last rowid of a chunk, inclusive; chunk 0 takes negative rowids too."""
    first = -(2**63) if chunk == 0 else chunk * chunk_rows
    return first, min((chunk + 1) * chunk_rows - 1, 2**63 - 1)


def chunk_rows_for(connection: sqlite3.Connection, kind: FileKind, at_least: int) -> int:
    """Return rowids per chunk, doubled from ``at_least`` until the file has at most 64 chunks."""
    layout = sqlite_file.layout(connection)
    highest = max(
        (
            sqlite_file.highest_rowid(connection, spec.origin)
            for spec in kind.tables
            if spec.origin in layout
        ),
        default=-1,
    )
    chunk_rows = max(at_least, kind.chunk_rows)
    while highest // chunk_rows >= MOST_CHUNKS:
        chunk_rows *= 2
    return chunk_rows


def chunk_contents(
    connection: sqlite3.Connection, kind: FileKind, chunk_rows: int
) -> Iterator[ChunkContent]:
    """Yield every chunk that holds rows, of every table that is consolidated."""
    layout = sqlite_file.layout(connection)
    for spec in kind.tables:
        if spec.origin in layout:
            yield from _table_contents(connection, spec.origin, layout[spec.origin], chunk_rows)


def _table_contents(
    connection: sqlite3.Connection, table: str, columns: frozenset[str], chunk_rows: int
) -> Iterator[ChunkContent]:
    # Every column counts, also those that are recomputed instead of copied; sorted, because files
    # of one kind may hold them in another order.
    names = ", ".join(map(quoted, sorted(columns)))
    rowid = rowid_name(columns, table)
    chunk, rows, size, running = -1, 0, 0, hashlib.sha256()
    for row in _rows(connection, table, rowid, names):
        number = row[0]
        place = max(number // chunk_rows, 0)
        if place != chunk:
            if rows:
                yield ChunkContent(table, chunk, rows, size, running.hexdigest())
            chunk, rows, size, running = place, 0, 0, hashlib.sha256()
        content = hashlib.sha256()
        size += add_row(content, row[1:])
        # The next one is read without this one in memory.
        del row
        running.update(b"%d;" % number + content.digest())
        rows += 1
    if rows:
        yield ChunkContent(table, chunk, rows, size, running.hexdigest())


def _rows(
    connection: sqlite3.Connection, table: str, rowid: str, names: str
) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table; a row that is too large to read is named."""
    last = -(2**63)
    try:
        for row in connection.execute(
            f"select {rowid}, {names} from {unindexed(table)} order by {rowid}"
        ):
            last = row[0]
            only = [row]
            del row
            yield only.pop()
    except sqlite3.DataError as error:
        # Some versions of sqlite3 step one row ahead of the one they return.
        for (number,) in connection.execute(
            f"select {rowid} from {unindexed(table)} where {rowid} >= ? order by {rowid}", (last,)
        ):
            where = f"from {unindexed(table)} where {rowid} = ?"
            try:
                connection.execute(f"select {names} {where}", (number,)).fetchone()
            except sqlite3.DataError:
                text = f"{error}: {shown(table)} rowid {number}"
                raise sqlite3.DataError(text) from error
        raise
