"""Open memOS's SQLite files without ever writing to them, and say what is wrong when that fails."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memos_assets.errors import SourceError

_MAGIC = b"SQLite format 3\0"
#: Seconds to wait for a writer to finish before giving up.
BUSY_TIMEOUT_SECONDS = 5.0


def quoted(identifier: str) -> str:
    """Quote a SQLite identifier; SQLite has no bind parameters for names."""
    return '"' + identifier.replace('"', '""') + '"'


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as a SQLite database does; an empty file does not."""
    try:
        with path.open("rb") as file:
            return file.read(16) == _MAGIC
    except OSError:
        return False


def _text(raw: bytes) -> str:
    # Lone surrogates mark bytes that are not UTF-8; the decoder names them instead of failing.
    return raw.decode("utf-8", "surrogateescape")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.text_factory = _text
    # A schema is data from elsewhere: it may not call functions, and views are never read.
    connection.execute("pragma trusted_schema = off")
    connection.execute("pragma query_only = on")
    return connection


def translated(error: Exception, path: Path) -> SourceError:
    """Turn what sqlite3 says into a SourceError with a code and a fix."""
    text = str(error)
    where = str(path)
    if "locked" in text or "busy" in text:
        return SourceError(
            "M102",
            f"locked by a writer for {BUSY_TIMEOUT_SECONDS:g} s",
            where=where,
            fix="stop memOS or wait until it has committed, then run again",
        )
    if "not a database" in text or "encrypted" in text:
        return SourceError(
            "M103",
            "the file is not a SQLite database",
            where=where,
            fix="take the file out of the folder or restore it from a backup",
        )
    if "malformed" in text or "disk image" in text or "truncated" in text:
        return SourceError(
            "M104",
            f"the database is damaged or cut short ({text})",
            where=where,
            fix="restore it from a backup, or salvage it with `sqlite3 FILE .recover`, "
            "then run again",
        )
    return SourceError(
        "M101",
        f"cannot be read ({text})",
        where=where,
        fix="check that the file exists and may be read",
    )


def needs_copy(path: Path) -> bool:
    """Whether opening the file in place would make SQLite write beside it.

    A database in WAL mode, or one with a write-ahead log or a rollback journal beside it, makes
    even a read-only connection create or replay files in its folder.
    """
    if any(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-journal")):
        return True
    with path.open("rb") as file:
        header = file.read(20)
    return len(header) == 20 and 2 in header[18:20]


def _signature(path: Path) -> tuple[tuple[str, int, int], ...]:
    beside = (path, *(path.with_name(path.name + end) for end in ("-wal", "-journal")))
    return tuple(
        (file.name, status.st_size, status.st_mtime_ns)
        for file in beside
        if file.exists()
        for status in (file.stat(),)
    )


def _copy_with_journal(path: Path, folder: Path) -> Path:
    """Copy a database and the log beside it at one moment; a writer in between starts it over."""
    for _ in range(5):
        before = _signature(path)
        for name, _, _ in before:
            shutil.copyfile(path.with_name(name), folder / name)
        if _signature(path) == before:
            return folder / path.name
        for left in folder.iterdir():
            left.unlink()
    raise SourceError(
        "M102",
        "a writer changed it during each of five attempts to copy it",
        where=str(path),
        fix="stop memOS or wait until it is idle, then run again",
    )


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads one consistent state of the file and never writes to it.

    The connection holds a read transaction, so that a writer cannot move the ground meanwhile.
    TEXT arrives as str in which bytes that are not UTF-8 are lone surrogates; BLOB as bytes.

    Raises:
        SourceError: M101 unreadable, M102 locked, M103 no database, M104 damaged.
    """
    try:
        if needs_copy(path):
            with tempfile.TemporaryDirectory(prefix="memos-assets-") as folder:
                copy = _copy_with_journal(path, Path(folder))
                # Replays the log into the copy; the original keeps its own.
                with closing(sqlite3.connect(copy, isolation_level=None)) as writable:
                    writable.execute("pragma journal_mode = delete").fetchone()
                with closing(_connect(copy, "ro")) as connection:
                    yield _begun(connection)
        else:
            with closing(_connect(path, "ro")) as connection:
                yield _begun(connection)
    except (sqlite3.Error, OSError) as error:
        raise translated(error, path) from error


def _begun(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("begin")
    connection.execute("select count(*) from sqlite_master").fetchone()
    return connection


def layout(connection: sqlite3.Connection) -> Mapping[str, frozenset[str]]:
    """Return real tables and their columns; views, virtual and shadow tables are left out."""
    names = [
        row[1]
        for row in connection.execute("pragma table_list")
        if row[0] == "main" and row[2] == "table" and not row[1].startswith("sqlite_")
    ]
    return {
        name: frozenset(row[1] for row in connection.execute(f"pragma table_xinfo({quoted(name)})"))
        for name in names
    }


def without_rowid(connection: sqlite3.Connection) -> frozenset[str]:
    """Return the tables that have no rowid, which chunks are cut by."""
    return frozenset(row[1] for row in connection.execute("pragma table_list") if row[4])


def row_count(connection: sqlite3.Connection, table: str) -> int:
    """Count the rows of a table."""
    return int(connection.execute(f"select count(*) from {quoted(table)}").fetchone()[0])


def rowid_name(columns: frozenset[str], where: str) -> str:
    """Return a name of the rowid that no column of the table shadows.

    Raises:
        SourceError: M105 when all three names are taken.
    """
    taken = {column.lower() for column in columns}
    for name in ("rowid", "_rowid_", "oid"):
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
    value: Any = connection.execute(f"select max({rowid}) from {quoted(table)}").fetchone()[0]
    return -1 if value is None else int(value)
