"""Write a file whole or not at all, for its user alone whatever the umask is."""

import os
from pathlib import Path
from typing import TextIO

#: Modes of files and folders that may hold rows.
PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def append_private(path: Path) -> TextIO:
    """Open a text file for appending that only its user may read, also if it was open to others.

    Raises:
        OSError: it cannot be opened, or is a link.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, PRIVATE_FILE)
    if os.fstat(descriptor).st_uid == os.geteuid():
        os.fchmod(descriptor, PRIVATE_FILE)
    return os.fdopen(descriptor, "a", encoding="utf-8")


def write_whole(path: Path, text: str) -> None:
    """Write a partial file beside ``path``, force it to the disk, and rename it.

    A path that is not a regular file, such as ``/dev/stdout``, is written to in place.

    Raises:
        OSError: the folder does not exist, or the disk is full; ``path`` is unchanged.
    """
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with partial.open("w", encoding="utf-8") as file:
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
