"""Open memOS's SQLite files without ever writing to them; a failure names its cause.

A file is untrusted data: any program may have written its schema, names, sizes and the log beside
it. Nothing in it is run, and nothing in it makes SQLite touch another file.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memos_assets.errors import SourceError, out_of_memory
from memos_assets.freed_memory import give_back_large_blocks
from memos_assets.sqlite.errors import (
    BUSY_TIMEOUT_SECONDS,
    LONGEST_ROW_BYTES,
    changing,
    damaged,
    shown,
    translated,
)
from memos_assets.sqlite.live_copy import (
    attempts,
    header,
    is_sqlite,
    logs,
    refuse_detour,
    still,
)

__all__ = [
    "has_rowid",
    "header",
    "highest_rowid",
    "is_sqlite",
    "layout",
    "logs",
    "opened",
    "quoted",
    "refuse_detour",
    "row_count",
    "rowid_name",
    "unindexed",
]

#: SQLite's errors where a read-only connection would have to roll back a journal.
_ROLL_BACK = frozenset({"SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY"})
#: Everything but these is denied, whatever a schema or a mistake of ours asks for.
_READING = frozenset(
    {
        sqlite3.SQLITE_SELECT,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_TRANSACTION,
    }
)
_PRAGMAS = frozenset(
    {"encoding", "table_xinfo", "index_list", "index_info", "quick_check", "integrity_check"}
)


def quoted(identifier: str) -> str:
    """Quote a SQLite identifier; SQLite has no bind parameters for names."""
    return '"' + identifier.replace('"', '""') + '"'


def unindexed(table: str) -> str:
    """Return a table as a FROM clause names it whose indexes must answer nothing.

    An index that lost entries leaves rows out without any error.
    """
    return f"{quoted(table)} not indexed"


def _text(raw: bytes) -> str:
    # Lone surrogates mark bytes that are not UTF-8; the decoder names them instead of failing.
    return raw.decode("utf-8", "surrogateescape")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Long values come from here.
    give_back_large_blocks()
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _text
    # A schema may not call functions that do anything; views and virtual tables are never read.
    connection.execute("pragma trusted_schema = off")
    connection.execute("pragma query_only = on")
    # Damage is an error then, and not a number taken for a place in memory.
    connection.execute("pragma cell_size_check = on")
    connection.execute("pragma mmap_size = 0")
    connection.execute("pragma ignore_check_constraints = on")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_ROW_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(_authorised)
    return connection


def _authorised(action: int, first: str | None, *_: str | None) -> int:
    if action in _READING or (action == sqlite3.SQLITE_PRAGMA and first in _PRAGMAS):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


@contextmanager
def opened(path: Path, *, called: Path | None = None) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads one consistent state of the file and never writes to it.

    The connection holds a read transaction, so that a writer cannot move the ground meanwhile.
    TEXT arrives as str in which bytes that are not UTF-8 are lone surrogates; BLOB as bytes.

    Args:
        path: the file.
        called: the file to name in errors where ``path`` is a copy of it.

    Raises:
        SourceError: M101 unreadable, M102 locked, M103 no database, M104 damaged, M105 in need of
            code that is not run, M106 no room for a copy, M108 a row too large, M120 out of memory.
    """
    try:
        hot = False
        for _ in attempts():
            with still(path, copied=hot) as place:
                if place is None:
                    hot = False
                    continue
                with closing(_connect(place, "ro")) as connection, _memory(place, called or path):
                    try:
                        _begin(connection)
                    except sqlite3.OperationalError as error:
                        # The journal of a killed writer, or one that a living writer has begun
                        # at this moment. It is rolled back in a copy, which takes none that lives.
                        if getattr(error, "sqlite_errorname", "") not in _ROLL_BACK:
                            raise
                        hot = True
                        continue
                    yield connection
                    return
        raise changing(called or path)
    except (sqlite3.Error, OSError, UnicodeDecodeError, MemoryError) as error:
        raise translated(error, called or path) from error


@contextmanager
def _memory(place: Path, path: Path) -> Iterator[None]:
    """Tell memory that there is not from memory that no file needs.

    SQLite asks for as much as a damaged page says that a row has.

    Raises:
        SourceError: M120 or M104.
    """
    try:
        yield
    except MemoryError as error:
        try:
            bytearray(2 * LONGEST_ROW_BYTES)
        except MemoryError:
            raise out_of_memory(str(path)) from error
        try:
            with closing(_connect(place, "ro")) as connection:
                connection.execute("pragma quick_check").fetchall()
        except (MemoryError, sqlite3.DatabaseError):
            raise damaged("it asks for more memory than any row needs", path) from error
        raise out_of_memory(str(path)) from error


def _begin(connection: sqlite3.Connection) -> None:
    connection.execute("begin")
    connection.execute("select count(*) from sqlite_master").fetchone()


#: The mark of `pragma table_xinfo` for a column that is computed on reading.
_COMPUTED = 2
_ROWIDS = ("rowid", "_rowid_", "oid")


def layout(connection: sqlite3.Connection) -> Mapping[str, frozenset[str]]:
    """Return real tables and their stored columns.

    Views and virtual tables hold no rows of their own and are never opened; the tables that a
    virtual one keeps its rows in are real ones. Columns that are computed on reading are left out.

    Raises:
        SourceError: M105 when a name is not UTF-8, so that no statement can name it, or when a
            computed column takes a name of the rowid.
    """
    # SQLite begins what it writes there so; `pragma table_list` would open every virtual table.
    entries = connection.execute(
        "select name, sql from sqlite_master where type = 'table' and rootpage > 0"
    ).fetchall()
    names = [
        name
        for name, sql in entries
        if isinstance(name, str)
        and isinstance(sql, str)
        and sql[:13].upper() == "CREATE TABLE "
        and not name.lower().startswith("sqlite_")
    ]
    return {_named(name): frozenset(_columns(connection, name)) for name in names}


def _columns(connection: sqlite3.Connection, table: str) -> Iterator[str]:
    for row in connection.execute(f"pragma table_xinfo({quoted(table)})"):
        if row[6] != _COMPUTED:
            yield _named(row[1])
        elif row[1].lower() in _ROWIDS:
            raise SourceError(
                "M105",
                f"`{row[1]}` is computed, but chunks are cut by the rowid, which has this name",
                where=shown(table),
                fix="drop the column with the program that wrote it",
            )


def _named(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SourceError(
            "M105",
            "the name of a table or column is not UTF-8",
            where=shown(name),
            fix="rename it with the program that wrote it, or take the file out of the folder",
        ) from None
    return name


def has_rowid(connection: sqlite3.Connection, table: str, columns: frozenset[str]) -> bool:
    """Whether a table has rowids, which chunks are cut by."""
    rowid = rowid_name(columns, table)
    try:
        connection.execute(f"select {rowid} from {unindexed(table)} limit 0")
    except sqlite3.OperationalError as error:
        if str(error).startswith("no such column: "):
            return False
        raise
    return True


def row_count(connection: sqlite3.Connection, table: str) -> int:
    """Count the rows of a table; an index, which would be faster, may say something else."""
    query = f"select count(*) from {unindexed(table)}"
    return int(connection.execute(query).fetchone()[0])


def row_counts(connection: sqlite3.Connection, tables: Iterable[str]) -> dict[str, int]:
    """Count the rows of tables; return table -> rows, by name."""
    return {table: row_count(connection, table) for table in sorted(tables)}


def rowid_name(columns: frozenset[str], where: str) -> str:
    """Return a name of the rowid that no column of the table shadows.

    Raises:
        SourceError: M105 when all three names are taken.
    """
    taken = {column.lower() for column in columns}
    for name in _ROWIDS:
        if name not in taken:
            return name
    raise SourceError(
        "M105",
        "columns take all the names of the rowid, so chunks cannot be cut",
        where=where,
        fix="rename one of the columns rowid, _rowid_ and oid",
    )


def highest_rowid(connection: sqlite3.Connection, table: str) -> int:
    """Return the largest rowid of a table, -1 when it is empty."""
    rowid = rowid_name(layout(connection)[table], table)
    query = f"select max({rowid}) from {unindexed(table)}"
    value: Any = connection.execute(query).fetchone()[0]
    return -1 if value is None else int(value)
