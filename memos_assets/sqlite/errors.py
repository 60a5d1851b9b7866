"""Errors of SQLite and the file system as errors of this project, with a code and a fix.

Codes decide, not words: the text of an error quotes paths and names, which are anybody's. Only
where SQLite has one code for everything, SQLITE_ERROR, its own words at the start decide.
"""

import errno
import re
import sqlite3
from pathlib import Path

from memos_assets.errors import SourceError, out_of_memory

#: Seconds to wait for a writer to finish before giving up.
BUSY_TIMEOUT_SECONDS = 5.0
#: Bytes of the largest row that is read. memOS's own stay below 1 MB, PostgreSQL refuses a field of
#: 1 GB, and a load has several copies of a row in memory.
LONGEST_ROW_BYTES = 64 * 1024 * 1024

_FOREIGN_CODE = re.compile(
    r"no such (function|module|collation sequence)\b|unknown function\b|unsafe use of\b"
)
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def shown(text: str, longest: int = 60) -> str:
    """Return text from a file as people may see it: one line, no control characters, not long."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:longest])
    return plain if len(text) <= longest else f"{plain}..."


def locked(path: Path) -> SourceError:
    """Return M102: a writer had the file locked for as long as is waited."""
    return SourceError(
        "M102",
        f"locked by a writer for {BUSY_TIMEOUT_SECONDS:g} s",
        where=str(path),
        fix="stop memOS or wait until it has committed, then run again",
    )


def changing(path: Path) -> SourceError:
    """Return M102: a writer changed the file during every attempt to copy it."""
    return SourceError(
        "M102",
        f"a writer changed it during each attempt to copy it, for {BUSY_TIMEOUT_SECONDS:g} s",
        where=str(path),
        fix="stop memOS or wait until it is idle, then run again",
    )


def not_a_database(path: Path) -> SourceError:
    """Return M103: the file begins otherwise than a database."""
    return SourceError(
        "M103",
        "the file is not a SQLite database",
        where=str(path),
        fix="take the file out of the folder or restore it from a backup",
    )


def damaged(text: str, path: Path) -> SourceError:
    """Return M104: the database is damaged, as ``text`` says."""
    return SourceError(
        "M104",
        f"the database is damaged or cut short ({shown(text, 200)})",
        where=str(path),
        fix="restore it from a backup, or salvage it with `sqlite3 FILE .recover`, then run again",
    )


def damaged_index(text: str, path: Path) -> SourceError:
    """Return M104: an index differs from its table, whose rows are whole."""
    return SourceError(
        "M104",
        f"an index differs from its table, so that memOS overlooks rows ({shown(text, 200)})",
        where=str(path),
        fix="stop memOS, build the indexes again with `sqlite3 FILE reindex`, then run again; "
        "where that fails because a key is there twice, copy all rows but one of these into a new "
        "table of the same name",
    )


def needs_code(text: str, path: Path) -> SourceError:
    """Return M105: the schema needs functions, collations or modules of another program."""
    return SourceError(
        "M105",
        "the schema of the file needs code of another program, which is not run "
        f"({shown(text, 200)})",
        where=str(path),
        fix="drop the objects that need it with the program of the file, or take the file away",
    )


def translated(error: BaseException, path: Path) -> SourceError:
    """Turn what sqlite3 or the file system raised into a SourceError with a code and a fix."""
    if isinstance(error, MemoryError):
        return out_of_memory(str(path))
    if isinstance(error, UnicodeDecodeError):
        # sqlite3 decodes SQLite's messages as UTF-8, and those quote names from the file.
        return damaged(str(error), path)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, path)
    if isinstance(error, OSError):
        if error.errno in _NO_SPACE:
            return _no_space(str(error), path)
        if error.errno == errno.ENOMEM:
            return out_of_memory(str(path))
    return _unreadable(str(error), path)


def _of_sqlite(error: sqlite3.Error, path: Path) -> SourceError:
    name, text = getattr(error, "sqlite_errorname", ""), str(error)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return locked(path)
    if isinstance(error, sqlite3.DataError):
        return SourceError(
            "M108",
            f"a row holds more than {LONGEST_ROW_BYTES:,} bytes ({shown(text, 200)})",
            where=str(path),
            fix="shorten or delete the row, then run again",
        )
    if name.startswith("SQLITE_ERROR"):
        if _FOREIGN_CODE.match(text):
            return needs_code(text, path)
        if text.startswith("no such table"):
            return damaged(text, path)
    elif name == "SQLITE_NOTADB":
        return not_a_database(path)
    elif name.startswith("SQLITE_CORRUPT"):
        return damaged(text, path)
    elif name == "SQLITE_FULL":
        return _no_space(text, path)
    elif name.startswith(("SQLITE_NOMEM", "SQLITE_IOERR_NOMEM")):
        return out_of_memory(str(path))
    return _unreadable(text, path)


def _no_space(text: str, path: Path) -> SourceError:
    return SourceError(
        "M106",
        f"a copy of it cannot be written ({shown(text, 200)})",
        where=str(path),
        fix="free space in the folder for temporary files, or point TMPDIR to another",
    )


def _unreadable(text: str, path: Path) -> SourceError:
    return SourceError(
        "M101",
        f"cannot be read ({shown(text, 200)})",
        where=str(path),
        fix="check that the file exists and may be read",
    )
