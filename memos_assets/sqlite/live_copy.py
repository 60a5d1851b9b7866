"""Read a file that its program goes on writing: what is beside it, and a copy of one moment.

Nothing is written beside the file. Whatever a writer does in between is not an error but the next
attempt, within a bound.
"""

import errno
import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from memos_assets.errors import SourceError
from memos_assets.sqlite.errors import BUSY_TIMEOUT_SECONDS, shown, translated

_MAGIC = b"SQLite format 3\0"
_WAL, _JOURNAL = "-wal", "-journal"
#: Magic, salts and checksum of a write-ahead log. The salts change whenever it is begun anew.
_WAL_HEADER_BYTES = 32
#: The last bytes of a rollback journal that names the journal of several databases.
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")
#: Seconds between attempts: the first pause, and the longest.
_PAUSES_SECONDS = (0.002, 0.2)
#: A change that is younger may have the time of the next one: file systems count in ticks.
_TICK_NS = 20_000_000

#: What identifies the moment of a database and the log beside it.
_State = tuple[object, ...]


def attempts() -> Iterator[int]:
    """Yield the numbers of attempts, with growing pauses between, for as long as writers may."""
    until = time.monotonic() + BUSY_TIMEOUT_SECONDS
    number, (pause, longest) = 0, _PAUSES_SECONDS
    while True:
        yield number
        number += 1
        if time.monotonic() >= until:
            return
        time.sleep(pause)
        pause = min(pause * 2, longest)


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
    for suffix in (_WAL, _JOURNAL):
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


def _needs_copy(path: Path) -> bool:
    """Whether opening the file in place would make SQLite write beside it.

    A database in WAL mode, or one with a write-ahead log beside it, makes even a read-only
    connection create or replay files in its folder. A rollback journal does not: SQLite finds by
    its locks whether a living writer has it, and says so when it would have to be rolled back.
    """
    first = header(path)
    with_log = any(log.name.endswith(_WAL) for log in logs(path))
    return with_log or (len(first) == 20 and 2 in first[18:20])


@contextmanager
def still(path: Path, *, copied: bool = False) -> Iterator[Path | None]:
    """Yield where the database can be opened without writing: in place, or a copy; gone after.

    None when a writer came in between, so that the caller tries again.

    Args:
        path: the database.
        copied: whether it needs a copy whatever it looks like, with a journal rolled back.
    """
    if not (copied or _needs_copy(path)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="memos-assets-") as name:
        folder = Path(name)
        if not _copied_with_logs(path, folder):
            yield None
            return
        _refuse_super_journal(path, folder)
        copy = folder / path.name
        # Replays the log into the copy; the original keeps its own.
        with closing(sqlite3.connect(copy, isolation_level=None)) as writable:
            writable.execute("pragma journal_mode = delete").fetchone()
        yield copy


def _copied_with_logs(path: Path, folder: Path) -> bool:
    """Copy a database and the log beside it at one moment; False when a writer came in between."""
    try:
        before = _state(path)
        if before is None:
            return False
        # The database first: whatever a checkpoint puts into it meanwhile is in its log, too.
        for file in (path, *logs(path)):
            shutil.copyfile(file, folder / file.name)
        return _state(path) == before
    except FileNotFoundError:
        # A log that its writer has deleted meanwhile, unless the database itself is gone.
        path.stat()
        return False


def _state(path: Path) -> _State | None:
    """Return what changes with every change that makes a copy useless, None in midst of one.

    A write-ahead log may grow, and its pages be written into the database, while both are copied:
    a log is complete up to any of its commits until it is begun anew, with other salts.
    """
    found: list[object] = []
    salted = False
    changed_ns = 0
    for log in logs(path):
        status = log.stat()
        if log.name.endswith(_WAL):
            with log.open("rb") as file:
                salts = file.read(_WAL_HEADER_BYTES)
            salted = len(salts) == _WAL_HEADER_BYTES
            found.append((log.name, status.st_ino, salts))
        else:
            found.append((log.name, status.st_ino, status.st_size, status.st_mtime_ns))
            changed_ns = max(changed_ns, status.st_mtime_ns)
    status = path.stat()
    if salted:
        return path.name, status.st_ino, *found
    changed_ns = max(changed_ns, status.st_mtime_ns)
    if 0 <= time.time_ns() - changed_ns < _TICK_NS:
        return None
    return path.name, status.st_ino, status.st_size, status.st_mtime_ns, *found


def _refuse_super_journal(path: Path, folder: Path) -> None:
    """Refuse a journal that names another file: replaying it, SQLite deletes the file so named."""
    journal = folder / f"{path.name}{_JOURNAL}"
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
