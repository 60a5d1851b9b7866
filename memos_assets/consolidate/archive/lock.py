"""One process at a time moves files; another one waits for a bounded time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memos_assets.catalog.folder_markers import ARCHIVE_MARKER
from memos_assets.consolidate.archive.manifests import immovable
from memos_assets.errors import TargetError
from memos_assets.files import make_private
from memos_assets.sqlite.locks import open_files

#: Longest wait for a process that moves files.
WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.1


@contextmanager
def locked(archive: Path, wait_seconds: float | None = None) -> Iterator[None]:
    """Make the archive where there is none, and let one process at a time move files.

    Args:
        archive: the folder; it may not be a link.
        wait_seconds: for another process; `WAIT_SECONDS` if None.

    Raises:
        SourceError: M113 the folder cannot be written.
        TargetError: M371 another process keeps the archive locked; M372 the folder is a link.
    """
    refuse_link(archive)
    try:
        if not archive.exists():
            make_private(archive)
        marker = os.open(
            archive / ARCHIVE_MARKER, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise immovable(archive, error) from error
    try:
        _take(marker, archive, WAIT_SECONDS if wait_seconds is None else wait_seconds)
        yield
    finally:
        os.close(marker)


def refuse_link(archive: Path) -> None:
    """Refuse an archive that is a link: it may lead elsewhere tomorrow.

    Raises:
        TargetError: M372.
    """
    if archive.is_symlink():
        raise TargetError(
            "M372",
            f"the archive is a link, to {archive.resolve()}",
            where=str(archive),
            fix=f"point MEMOS_ARCHIVE to the folder itself: MEMOS_ARCHIVE={archive.resolve()}",
        )


def _take(marker: int, archive: Path, wait_seconds: float) -> None:
    end = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < end:
                time.sleep(_POLL_SECONDS)
                continue
            raise TargetError(
                "M371",
                f"another process keeps the archive locked{_holders(archive)}; nothing was moved",
                where=str(archive),
                fix="wait until it has ended, or end it, then run the command again",
            ) from None
        return


def _holders(archive: Path) -> str:
    marker = archive / ARCHIVE_MARKER
    named = open_files([marker]).processes.get(marker, ())
    own = f"({os.getpid()})"
    others = [name for name in named if not name.endswith(own)]
    return f" ({', '.join(others)})" if others else ""
