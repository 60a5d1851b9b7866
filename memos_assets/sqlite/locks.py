"""Find the processes that have a SQLite file open or locked; nothing is opened as a database."""

import fcntl
import os
import struct
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

#: SQLite's lock bytes (sqlite3.h, os.h): where they start, how many, and what a lock there means.
_LOCK_BYTES = (
    (0x40000000, 1, "is about to be written"),
    (0x40000001, 1, "is being written"),
    (0x40000002, 510, "is being read"),
)
#: Beside a SQLite file while a program works on it, or after a crash.
_LOGS = ("-wal", "-shm", "-journal")
# The order of `struct flock` differs between systems.
_FLOCK = "hhqqi" if sys.platform == "linux" else "qqihh"


@dataclass(frozen=True, slots=True)
class OpenFiles:
    """Which processes have files open.

    Attributes:
        processes: file -> processes that have it open, as `name (pid)`.
        unseen: number of processes of other users, whose open files cannot be listed.
    """

    processes: Mapping[Path, tuple[str, ...]]
    unseen: int


def open_files(paths: Collection[Path]) -> OpenFiles:
    """Search the open files of all visible processes, also of those in containers."""
    identities = {}
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            identities[status.st_dev, status.st_ino] = path
    found: dict[Path, list[str]] = {}
    unseen = 0
    for process in psutil.process_iter():
        try:
            opened = {identities[file] for file in _files_of(process) if file in identities}
            name = f"{process.name()} ({process.pid})" if opened else ""
        except (psutil.AccessDenied, PermissionError):
            unseen += 1
            continue
        except (psutil.Error, OSError):
            # It ended meanwhile.
            continue
        for path in opened:
            found.setdefault(path, []).append(name)
    return OpenFiles({path: tuple(names) for path, names in found.items()}, unseen)


def _files_of(process: psutil.Process) -> Iterator[tuple[int, int]]:
    """Yield device and inode of a process's open files; their paths may be those of a container."""
    descriptors = Path(f"/proc/{process.pid}/fd")
    if descriptors.is_dir():
        places = [descriptors / name for name in os.listdir(descriptors)]  # noqa: PTH208  names
    else:
        places = [Path(file.path) for file in process.open_files()]
    for place in places:
        with suppress(FileNotFoundError):
            status = place.stat()
            yield status.st_dev, status.st_ino


def locks_on(path: Path) -> list[str]:
    """Return the meaning of each of SQLite's locks on a file; none when the file is not locked.

    Locks are only tested, not taken; those of this process are seen where the system has locks of
    open files.
    """
    command = getattr(fcntl, "F_OFD_GETLK", fcntl.F_GETLK)
    found = []
    with path.open("rb") as file:
        for start, length, meaning in _LOCK_BYTES:
            if sys.platform == "linux":
                tested = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
                kind, _, _, _, pid = struct.unpack(
                    _FLOCK, fcntl.fcntl(file, command, tested)[: len(tested)]
                )
            else:
                tested = struct.pack(_FLOCK, start, length, 0, fcntl.F_WRLCK, os.SEEK_SET)
                _, _, pid, kind, _ = struct.unpack(
                    _FLOCK, fcntl.fcntl(file, command, tested)[: len(tested)]
                )
            if kind != fcntl.F_UNLCK:
                found.append(f"{meaning} by process {pid}" if pid > 0 else meaning)
    return found


@contextmanager
def kept_from_writers(path: Path) -> Iterator[bool]:
    """Hold SQLite's lock of readers, so that no process commits to a file in its own journal mode.

    Yields whether the lock was taken. It is not where a process is writing, and where the system
    has no locks of open files: another kind would be lost with the next file that is closed.
    """
    command = getattr(fcntl, "F_OFD_SETLK", None)
    with path.open("rb") as file:
        taken = False
        if command is not None and sys.platform == "linux":
            start, length, _ = _LOCK_BYTES[2]
            lock = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, start, length, 0)
            with suppress(OSError):
                fcntl.fcntl(file, command, lock)
                taken = True
        yield taken


def logs_beside(path: Path) -> list[str]:
    """Return the names of the logs beside a SQLite file."""
    names = [path.name + suffix for suffix in _LOGS]
    return [name for name in names if os.path.lexists(path.with_name(name))]
