"""One process at a time writes to, rewrites or prunes a store of snapshots."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.postgres import advisory_locks
from memos_assets.snapshots.store import Store


@contextmanager
def sole_writer(engine: sa.Engine, store: Store) -> Iterator[None]:
    """Keep other processes on the database from the files of a store; wait until they are done.

    The lock is the database's, so it is free when its process has died. Writers on another database
    are not kept out: files are named by their content, so that these do not disturb each other.

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
            raise SnapshotError(
                "M804",
                "another process is writing to this store",
                where=store.url,
                fix="wait until it has ended, then run the command again",
            ) from None
        # No transaction stays open while the lock is taken.
        conn.commit()
        with writing(store):
            yield


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
