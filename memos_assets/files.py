"""Write a file so that nobody ever reads half of it."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write beside the place, force it to the disk, and rename; the folder must be there.

    What is no regular file, such as ``/dev/stdout``, is written to and stays what it is.

    Raises:
        OSError: the folder or the disk does not take it; what was at ``path`` is as it was.
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
