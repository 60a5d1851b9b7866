"""Write a file whole or not at all, for its user alone whatever the umask is; digest one."""

import hashlib
import os
import stat
from pathlib import Path
from typing import TextIO

#: Modes of files and folders that may hold rows.
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def sha256_of(path: Path) -> bytes:
    """Return the sha256 of a file's bytes, 32 bytes.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def private_descriptor(path: Path, flags: int) -> int:
    """Open a file that only its user may read, whatever the umask is; return its descriptor.

    A file that was open to others before is closed to them, if it is ours.

    Args:
        path: of the file, which is made if it is missing.
        flags: of `os.open`, beside that.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    entry = os.fstat(descriptor)
    if stat.S_ISREG(entry.st_mode) and entry.st_uid == os.geteuid():
        os.fchmod(descriptor, PRIVATE_FILE)
    return descriptor


def make_private(folder: Path) -> None:
    """Make a folder, and those above it, that only its user may enter, whatever the umask is.

    A folder that is there already is closed to others, if it is ours; those above it are not.

    Raises:
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    for path in {folder, *missing}:
        if path.stat().st_uid == os.geteuid():
            path.chmod(PRIVATE_FOLDER)


def append_private(path: Path) -> TextIO:
    """Open a text file for appending that only its user may read, also if it was open to others.

    Raises:
        OSError: it cannot be opened, or is a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
    return os.fdopen(private_descriptor(path, flags), "a", encoding="utf-8")


def write_private(path: Path) -> TextIO:
    """Open a text file for writing anew that only its user may read.

    Raises:
        OSError: it cannot be opened.
    """
    flags = os.O_WRONLY | os.O_TRUNC
    return os.fdopen(private_descriptor(path, flags), "w", encoding="utf-8")


def write_whole(path: Path, text: str) -> None:
    """Write a partial file beside ``path``, force it to the disk, and rename it.

    Only its user may read it, whatever the umask is.

    A path that is not a regular file, such as ``/dev/stdout``, is written to in place.

    Raises:
        OSError: the folder does not exist, or the disk is full; ``path`` is unchanged.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with write_private(partial) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
