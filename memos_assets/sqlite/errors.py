"""Errors of SQLite and the file system as errors of this project, with a code and a fix."""

import errno
import re
from pathlib import Path

from memos_assets.errors import SourceError

#: Seconds to wait for a writer to finish before giving up.
BUSY_TIMEOUT_SECONDS = 5.0
#: Bytes of the largest row that is read. memOS's own stay below 1 MB, PostgreSQL refuses a field of
#: 1 GB, and a load has several copies of a row in memory.
LONGEST_ROW_BYTES = 64 * 1024 * 1024


def shown(text: str, longest: int = 60) -> str:
    """Return text from a file as people may see it: one line, no control characters, not long."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:longest])
    return plain if len(text) <= longest else f"{plain}..."


#: Pattern of a message of sqlite3 -> code, meaning, fix. The first that matches.
_MEANINGS: tuple[tuple[str, str, str, str], ...] = (
    (
        "locked|busy",
        "M102",
        f"locked by a writer for {BUSY_TIMEOUT_SECONDS:g} s",
        "stop memOS or wait until it has committed, then run again",
    ),
    (
        "not a database|encrypted",
        "M103",
        "the file is not a SQLite database",
        "take the file out of the folder or restore it from a backup",
    ),
    (
        "too big",
        "M108",
        f"a row holds more than {LONGEST_ROW_BYTES:,} bytes ({{text}})",
        "shorten or delete the row, then run again",
    ),
    (
        "collation|such function|unknown function|unsafe use|such module",
        "M105",
        "the schema of the file needs code of another program, which is not run ({text})",
        "drop the objects that need it with the program of the file, or take the file away",
    ),
    (
        "malformed|disk image|truncated|no such table|utf-8",
        "M104",
        "the database is damaged or cut short ({text})",
        "restore it from a backup, or salvage it with `sqlite3 FILE .recover`, then run again",
    ),
)


def translated(error: Exception, path: Path) -> SourceError:
    """Turn what sqlite3 or the file system says into a SourceError with a code and a fix."""
    text = str(error)
    where = str(path)
    for words, code, what, fix in _MEANINGS:
        if re.search(words, text):
            return SourceError(code, what.format(text=shown(text, 200)), where=where, fix=fix)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SourceError(
            "M106",
            f"a copy of it cannot be written ({shown(text, 200)})",
            where=where,
            fix="free space in the folder for temporary files, or point TMPDIR to another",
        )
    return SourceError(
        "M101",
        f"cannot be read ({shown(text, 200)})",
        where=where,
        fix="check that the file exists and may be read",
    )
