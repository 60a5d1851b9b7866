"""One process at a time writes to, rewrites or prunes a store of snapshots."""

import fcntl
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.postgres import advisory_locks
from memos_assets.snapshots.store import Store

#: Seconds between two looks at the lock of a folder.
_POLL_SECONDS: Final = 0.05


@contextmanager
def sole_writer(engine: sa.Engine, store: Store) -> Iterator[None]:
    """Keep other processes on the database from the files of a store; wait until they are done.

    One lock is the database's, another one is that of a local folder; both are free when their
    process has died. So a folder that several databases share has one writer, too. An object store
    has no locks: there, a prune for one database may delete a file that a snapshot of another one,
    written at the same moment, was about to refer to.

    Args:
        engine: of the database; its ``lock_timeout`` limits the wait.
        store: whose files are worked on.

    Raises:
        SnapshotError: M804 another process is not done in time.
        SnapshotError: M806 the store cannot be written to.
    """
    with engine.connect() as conn:
        conn.detach()
        try:
            advisory_locks.SNAPSHOTS.wait(conn, f"{store.filesystem.type_name}:{store.root}")
        except sa.exc.OperationalError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                raise
            raise _at_work(store) from None
        # No transaction stays open while the lock is taken.
        conn.commit()
        seconds = _lock_timeout(conn)
        with writing(store), _folder_locked(store, seconds):
            yield


def _lock_timeout(conn: sa.Connection) -> float:
    """Return the session's limit in seconds; none: forever."""
    setting = (
        "select setting::float8 / 1000 from pg_catalog.pg_settings where name = 'lock_timeout'"
    )
    seconds = float(conn.exec_driver_sql(setting).scalar_one())
    conn.commit()
    return seconds or math.inf


@contextmanager
def _folder_locked(store: Store, seconds: float) -> Iterator[None]:
    """Keep processes on other databases from a local folder.

    Raises:
        SnapshotError: M804.
    """
    if store.local is None or not store.local.is_dir():
        # In a folder that is not there nothing can be deleted.
        yield
        return
    descriptor = os.open(store.local, os.O_RDONLY)
    try:
        until = time.monotonic() + seconds
        while not _is_taken(descriptor):
            if time.monotonic() >= until:
                raise _at_work(store)
            time.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _at_work(store: Store) -> SnapshotError:
    return SnapshotError(
        "M804",
        "another process is writing to this store",
        where=store.url,
        fix="wait until it has ended, then run the command again",
    )


@contextmanager
def writing(store: Store) -> Iterator[None]:
    """Turn refusals of the file system in a block into one error.

    Raises:
        SnapshotError: M806.
    """
    try:
        yield
    except OSError as error:
        said = " ".join(str(error.strerror or error).split())
        raise SnapshotError(
            "M806",
            f"the store cannot be written to: {said}",
            where=store.url,
            fix="free space, or correct the permissions of the folder or bucket; then write the "
            "snapshot again",
        ) from error
