"""Every advisory lock that this project takes: name, key, scope, what it protects.

PostgreSQL keeps two spaces of keys apart: one number of 64 bits, and two of 32. Keys never change,
so that former and newer checkouts on one database exclude each other. A lock of rows or tables is
not here: PostgreSQL takes it with the statement that needs it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

#: ``transaction``: PostgreSQL frees it at the end of the transaction. ``session``: when it is
#: released, or when the connection is closed.
Scope = Literal["session", "transaction"]

#: Upper part of every key of one number: "memo" in ASCII, followed by the number of the lock.
_MEMO = 0x6D656D6F


@dataclass(frozen=True, slots=True)
class AdvisoryLock:
    """A lock that excludes sessions of this project from each other, and nobody else.

    Attributes:
        name: how messages and tests name it.
        key: 64 bits without ``subjects``, 32 bits with one; None with two: the key is their hashes.
        scope: session or transaction, at whose end it is released.
        protects: the work that one session at a time may do.
        subjects: what there is one lock each for, such as a run; hashed into the key.
    """

    name: str
    key: int | None
    scope: Scope
    protects: str
    subjects: tuple[str, ...] = ()

    def wait(self, conn: sa.Connection, *subjects: str) -> None:
        """Take the lock, however long that takes within the session's ``lock_timeout``.

        Args:
            conn: the caller's; its transaction, or its session, holds the lock afterwards.
            subjects: as many as the lock has.
        """
        suffix = "_xact_lock" if self.scope == "transaction" else "_lock"
        conn.execute(sa.select(self._call(f"pg_advisory{suffix}", subjects)))

    def share(self, conn: sa.Connection, *subjects: str) -> None:
        """Take the lock together with others that share it; it excludes those that `wait`."""
        assert self.scope == "transaction", "no session shares a lock for longer"
        conn.execute(sa.select(self._call("pg_advisory_xact_lock_shared", subjects)))

    def wait_for_each(self, conn: sa.Connection, subjects: Iterable[str]) -> datetime:
        """Take the locks of several subjects, in an order that all callers share.

        Args:
            conn: the caller's; its transaction holds the locks afterwards.
            subjects: in any order, any number of times.

        Returns:
            The server's time once all of them are taken.
        """
        assert self.scope == "transaction", "a transaction gives its locks back at its end"
        assert self.key is not None, f"{self.name} is one per {self.subjects}"
        assert len(self.subjects) == 1, f"{self.name} is one per {self.subjects}"
        given = sa.func.unnest(sa.cast(sorted(set(subjects)), sa.ARRAY(sa.Text())))
        hashes = sa.select(
            sa.func.hashtext(given.column_valued("subject")).label("hash")
        ).distinct()
        ordered = hashes.order_by(sa.literal_column("hash")).subquery()
        taken = sa.select(
            sa.func.count(
                sa.cast(sa.func.pg_advisory_xact_lock(self.key, ordered.c.hash), sa.Text())
            )
        ).scalar_subquery()
        statement = sa.select(taken, sa.func.clock_timestamp())
        moment: datetime = conn.execute(statement).one()[1]
        return moment

    def tried(self, conn: sa.Connection, *subjects: str) -> bool:
        """Take the lock if it is free, and return whether it was."""
        suffix = "_xact_lock" if self.scope == "transaction" else "_lock"
        call = self._call(f"pg_try_advisory{suffix}", subjects)
        return bool(conn.execute(sa.select(call)).scalar_one())

    def release(self, conn: sa.Connection, *subjects: str) -> None:
        """Give back a lock of the session."""
        assert self.scope == "session", "a transaction gives its locks back at its end"
        conn.execute(sa.select(self._call("pg_advisory_unlock", subjects)))

    def tried_within_transaction(self, *subjects: str) -> sa.ColumnElement[bool]:
        """Return a condition that takes the lock for the transaction, and holds where it was free.

        A session and a transaction exclude each other by the same key.
        """
        return self._call("pg_try_advisory_xact_lock", subjects)

    @contextmanager
    def tried_alone(self, engine: sa.Engine, *subjects: str) -> Iterator[bool]:
        """Try a lock of the session on a connection of its own; yield whether it was free.

        The connection is closed at the end, so the server frees the lock however the block ends.
        """
        assert self.scope == "session"
        with engine.connect() as conn:
            conn.detach()
            taken = self.tried(conn, *subjects)
            # No transaction stays open while the lock is taken.
            conn.commit()
            try:
                yield taken
            finally:
                # A server that is busy notices a closed connection later than our next attempt.
                if taken:
                    with suppress(sa.exc.SQLAlchemyError):
                        self.release(conn, *subjects)
                        conn.commit()

    def _call(self, function: str, subjects: tuple[str, ...]) -> sa.ColumnElement[bool]:
        assert len(subjects) == len(self.subjects), f"{self.name} is one per {self.subjects}"
        key = () if self.key is None else (self.key,)
        call: sa.Function[bool] = getattr(sa.func, function)(
            *key, *map(sa.func.hashtext, subjects), type_=sa.Boolean()
        )
        return call


EXTENSION = AdvisoryLock(
    "extension",
    _MEMO << 8 | 0x01,
    "transaction",
    "Creation of the extension vector: `if not exists` fails when two sessions do it at once.",
)
MIGRATION = AdvisoryLock(
    "migration",
    _MEMO << 8 | 0x02,
    "transaction",
    "The schema revision: two processes migrate one after the other.",
)
DAGSTER_TABLES = AdvisoryLock(
    "dagster tables",
    _MEMO << 8 | 0x03,
    "session",
    "Creation of Dagster's tables by processes that start at once.",
)
SHADOW = AdvisoryLock(
    "shadow",
    _MEMO << 8 | 0x04,
    "session",
    "The shadow schema: one consolidation fills it, and none while it is dropped.",
)
BACKUP = AdvisoryLock(
    "backup",
    _MEMO << 8 | 0x05,
    "session",
    "The backup before the first write: two processes that come first dump one by one.",
)
FUNCTIONS = AdvisoryLock(
    "functions",
    _MEMO << 8 | 0x06,
    "transaction",
    "The search functions: one session compares and replaces them.",
)
MODELS = AdvisoryLock(
    "models",
    _MEMO << 8 | 0x07,
    "transaction",
    "The current embedding model: writers of embeddings share it, a change of the model waits.",
)
WORD_COUNTS = AdvisoryLock(
    "word counts",
    _MEMO << 8 | 0x08,
    "transaction",
    "Counts of words that are added up: an erasure does not leave the sum of a space that is gone.",
)
SNAPSHOTS = AdvisoryLock(
    "snapshots",
    _MEMO + 2,
    "session",
    "The files of a store of snapshots: one session at a time writes, rewrites or prunes them.",
    ("store",),
)
RESTORE = AdvisoryLock(
    "restore",
    _MEMO << 8 | 0x09,
    "session",
    "Restores of snapshots: one at a time, so that what is live is what the last one left.",
)
TRIAL = AdvisoryLock(
    "trial",
    _MEMO << 8 | 0x10,
    "session",
    "The schema of the impact measurement, which each measurement empties.",
)
RUN = AdvisoryLock(
    "run",
    _MEMO,
    "session",
    "A run whose process is alive; a begun run whose lock is free has lost its process.",
    ("run id",),
)
CHUNKS = AdvisoryLock(
    "chunks",
    None,
    "transaction",
    "Rows of one source in one table: two loads queue instead of colliding on keys.",
    ("table with its schema", "source"),
)
MEMORIES = AdvisoryLock(
    "memories",
    _MEMO + 1,
    "transaction",
    "Values of one attribute of one subject, equal texts, one memory, its first access: changes "
    "queue.",
    ("what is changed",),
)

LOCKS = (
    EXTENSION,
    MIGRATION,
    DAGSTER_TABLES,
    SHADOW,
    BACKUP,
    FUNCTIONS,
    MODELS,
    WORD_COUNTS,
    SNAPSHOTS,
    RESTORE,
    TRIAL,
    RUN,
    CHUNKS,
    MEMORIES,
)
