"""The lock that a running server holds on its data for its whole life.

A process id says nothing across containers that share a data directory, nor does silence: a server
may hang or recover. The lock is a `flock` on a file in the data directory whose descriptor the
server and its children inherit, so that the kernel releases it with the last of them, in whatever
namespace they run.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from memos_assets.errors import ServerError
from memos_assets.postgres.server.ownership import Account

#: In the data directory: copies of the data have a lock of their own, other paths to it the same.
NAME = "memos.lock"


@contextmanager
def taken(data_directory: Path, account: Account) -> Iterator[int | None]:
    """Take the lock for a block, without waiting; None where a server holds it.

    What inherits the descriptor keeps the lock beyond the block.

    Raises:
        ServerError: M612 the file system has no locks.
    """
    path = data_directory / NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        if account.switch:
            os.fchown(descriptor, account.uid, account.gid)
        yield descriptor if _locked(path, descriptor, fcntl.LOCK_EX) else None
    finally:
        os.close(descriptor)  # never LOCK_UN, which would release the server's share of it


def is_taken(data_directory: Path) -> bool:
    """Whether a server holds the lock, or one is being started.

    Raises:
        ServerError: M612 the file system has no locks.
    """
    path = data_directory / NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # before the first start, or somebody else's data
        return False
    try:
        return not _locked(path, descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def wait_for(path: Path, descriptor: int, seconds: float) -> None:
    """Take another lock, waiting a bounded time; it ends with the descriptor.

    Raises:
        ServerError: M611 somebody holds it for longer; M612 the file system has no locks.
    """
    deadline = time.monotonic() + seconds
    while not _locked(path, descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            raise ServerError(
                "M611",
                f"another process has had this lock for {seconds:g} s, in which it starts or "
                "stops the server",
                where=str(path),
                fix=f"wait for it, or see who it is (fuser -v '{path}') and end it",
            )
        time.sleep(0.02)


def listens(directory: Path, port: int) -> bool:
    """Whether any process, of whatever namespace, listens at the socket in a directory."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(0)
        try:
            client.connect(str(directory / f".s.PGSQL.{port}"))
        except OSError as error:
            return isinstance(error, BlockingIOError)  # it listens, and its queue is full
    return True


def _locked(path: Path, descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise ServerError(
            "M612",
            f"the file system does not lock files ({errno.errorcode.get(error.errno or 0, '')}), "
            "so two servers could destroy the data",
            where=str(path),
            fix="set MEMOS_HOME to a folder on a local disk, or set MEMOS_DATABASE_URL",
        ) from error
    return True
