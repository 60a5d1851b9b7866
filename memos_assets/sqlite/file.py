"""Open memOS's SQLite files without ever writing to them; a failure names its cause.

A file is untrusted data: any program may have written its schema, names, sizes and the log beside
it. Nothing in it is run, and nothing in it makes SQLite touch another file.
"""

import errno
import os
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from memos_assets.errors import SourceError
from memos_assets.sqlite.errors import BUSY_TIMEOUT_SECONDS, LONGEST_ROW_BYTES, shown, translated

_MAGIC = b"SQLite format 3\0"

_LOGS = ("-wal", "-journal")
#: The last bytes of a rollback journal that names the journal of several databases.
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
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
_PRAGMAS = frozenset({"table_xinfo", "index_list", "index_info", "quick_check"})


def quoted(identifier: str) -> str:
    """Quote a SQLite identifier; SQLite has no bind parameters for names."""
    return '"' + identifier.replace('"', '""') + '"'


def header(path: Path) -> bytes:
    """Return the first 20 bytes of a regular file; a pipe or a device is not waited for.

    Raises:
        OSError: it cannot be read, or is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return os.read(descriptor, 20)
    finally:
        os.close(descriptor)


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as a SQLite database does; an empty file does not."""
    try:
        return header(path)[:16] == _MAGIC
    except OSError:
        return False


def logs(path: Path) -> list[Path]:
    """Return the write-ahead log and the rollback journal beside a database.

    Raises:
        SourceError: M101 when one is a link or a device: what it leads to is not of this folder.
    """
    found = []
    for suffix in _LOGS:
        log = path.with_name(path.name + suffix)
        try:
            mode = log.lstat().st_mode
        except FileNotFoundError:
            continue
        except OSError as error:
            raise translated(error, log) from error
        if not stat.S_ISREG(mode):
            raise translated(OSError(errno.EINVAL, "not a regular file"), log)
        found.append(log)
    return found


def refuse_detour(path: Path) -> None:
    """Refuse a path that was a file of its own when it was found and leads elsewhere since.

    Raises:
        SourceError: M101.
    """
    leads_to = os.path.realpath(path)
    if leads_to != str(path):
        raise SourceError(
            "M101",
            f"the path leads to {shown(leads_to, 200)} since the file was found",
            where=str(path),
            fix="put the file back, or pass the folder that it is in: --data DIR",
        )


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


def needs_copy(path: Path) -> bool:
    """Whether opening the file in place would make SQLite write beside it.

    A database in WAL mode, or one with a write-ahead log or a rollback journal beside it, makes
    even a read-only connection create or replay files in its folder.
    """
    first = header(path)
    return bool(logs(path)) or (len(first) == 20 and 2 in first[18:20])


def _signature(path: Path) -> tuple[tuple[str, int, int], ...]:
    return tuple(
        (file.name, status.st_size, status.st_mtime_ns)
        for file in (path, *logs(path))
        for status in (file.stat(),)
    )


def _copy_with_journal(path: Path, folder: Path) -> Path:
    """Copy a database and the log beside it at one moment; a writer in between starts it over."""
    for _ in range(5):
        before = _signature(path)
        for name, _, _ in before:
            shutil.copyfile(path.with_name(name), folder / name)
        if _signature(path) == before:
            _refuse_super_journal(path, folder)
            return folder / path.name
        for left in folder.iterdir():
            left.unlink()
    raise SourceError(
        "M102",
        "a writer changed it during each of five attempts to copy it",
        where=str(path),
        fix="stop memOS or wait until it is idle, then run again",
    )


def _refuse_super_journal(path: Path, folder: Path) -> None:
    """Refuse a journal that names another file: replaying it, SQLite deletes the file so named."""
    journal = folder / f"{path.name}-journal"
    if journal.exists():
        with journal.open("rb") as file:
            file.seek(max(0, journal.stat().st_size - len(_SUPER_JOURNAL)))
            if file.read() == _SUPER_JOURNAL:
                raise SourceError(
                    "M104",
                    "its rollback journal belongs to a transaction over several databases",
                    where=str(path),
                    fix="open it once with the program that wrote it, or restore it from a backup",
                )


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
            code that is not run, M106 no room for a copy, M108 a row too large.
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
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        # sqlite3 decodes SQLite's messages as UTF-8, and those quote names from the file.
        raise translated(error, called or path) from error
    except MemoryError as error:
        text = "database disk image is malformed: it asks for more memory than there is"
        raise translated(ValueError(text), called or path) from error


def _begun(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("begin")
    connection.execute("select count(*) from sqlite_master").fetchone()
    return connection


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
        connection.execute(f"select {rowid} from {quoted(table)} limit 0")
    except sqlite3.OperationalError as error:
        if "no such column" in str(error):
            return False
        raise
    return True


#: Messages of `quick_check` about values, as opposed to the structure of the file.
_OF_VALUES = re.compile(r"^[\w-]+ value in |^CHECK constraint")


def damage(connection: sqlite3.Connection, table: str) -> str | None:
    """Return the damage of a table in the file, None where there is none.

    A page that lost its place makes rows disappear without any error: this walks all of them.
    """
    for (message,) in connection.execute(f"pragma quick_check({quoted(table)})").fetchall():
        if message != "ok" and not _OF_VALUES.match(message):
            return shown(message.replace("*** in database main ***\n", ""), 200)
    return None


def row_count(connection: sqlite3.Connection, table: str) -> int:
    """Count the rows of a table; an index, which would be faster, may say something else."""
    query = f"select count(*) from {quoted(table)} not indexed"
    return int(connection.execute(query).fetchone()[0])


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
    value: Any = connection.execute(f"select max({rowid}) from {quoted(table)}").fetchone()[0]
    return -1 if value is None else int(value)
