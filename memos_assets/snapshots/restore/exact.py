"""Restore everything that a snapshot has, exactly.

What is live is written as a snapshot first, so a restore can be taken back by another one. The
shadow schema comes in one transaction, and is exchanged in another one. A process that is killed
in the first leaves nothing; one that is killed between both leaves the schema, which the next
command drops (`leftovers`). The live tables are whole at any moment.

Rows that agents write meanwhile are never lost unseen: if some changed since the snapshot of now,
that is written anew, and after `ATTEMPTS` the restore is refused. ``hold_writers`` has agents wait
while the last snapshot of now is written; what they write after it goes into what was restored, or
is cancelled.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from memos_assets.errors import SnapshotError
from memos_assets.postgres.advisory_locks import RESTORE
from memos_assets.postgres.connection import autocommit_connection
from memos_assets.postgres.versions.live_locks import LiveTablesInUseError, seconds_of_attempt
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.reader import batches, check_files
from memos_assets.snapshots.restore import shadow
from memos_assets.snapshots.restore.exchange import (
    Before,
    RowsChangedError,
    exchange,
    hanging,
    put_application,
    require_unchanged,
    stop_writers,
)
from memos_assets.snapshots.restore.leftovers import PREFIX, drop_leftovers
from memos_assets.snapshots.restore.scope import Scope, require_fit, scope_of
from memos_assets.snapshots.restore.staged import Staged, refused_for, stage
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.verify import ensure_bytes
from memos_assets.snapshots.write import Written, write_snapshot

#: Proves memory on a schema by recalls; returns what is wrong. What it writes is taken back.
Proof = Callable[[sa.Connection, str], Sequence[str]]
#: Snapshots of now that are written because rows changed since the one before.
ATTEMPTS: Final = 3
_WITH_STATISTICS = sa.text(
    "select distinct s.stxrelid::regclass::text from pg_catalog.pg_statistic_ext s "
    "join pg_catalog.pg_class c on c.oid = s.stxrelid "
    "where c.relnamespace = 'agent'::regnamespace order by 1"
)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        snapshot: id of what was restored.
        before: id of the snapshot of what was live, by which it is taken back.
        changed: false: it was live already, and nothing was done.
        rows: table of schema `agent` -> rows that were loaded.
        application: table of memOS -> what changed.
        left: tables of the snapshot that stay as they are.
        attempts: snapshots of now that were written.
        seconds: step -> how long it took; ``readers`` is how long they waited.
    """

    snapshot: str
    before: str
    changed: bool
    rows: Mapping[str, int] = field(default_factory=dict)
    application: Mapping[str, Counts] = field(default_factory=dict)
    left: Sequence[str] = ()
    attempts: int = 1
    seconds: Mapping[str, float] = field(default_factory=dict)


def exact(
    engine: sa.Engine,
    store: Store,
    manifest: Manifest,
    *,
    prove: Proof | None = None,
    from_other: bool = False,
    hold_writers: bool = False,
    timeout_seconds: float = 60.0,
) -> Restored:
    """Make the live tables those of a snapshot.

    Args:
        engine: of the owner of the tables.
        store: where the snapshot is.
        manifest: of the snapshot.
        prove: asks the loaded schema as agents ask, before it is exchanged.
        from_other: the snapshot may be of another database.
        hold_writers: agents that write wait for the last snapshot of now; a statement of one that
            is in the middle of a transaction is cancelled.
        timeout_seconds: how long to wait for transactions that use the live tables.

    Raises:
        SnapshotError: M807 a file is missing or damaged; M815 it is of another database; M816 of
            another form; M817 of another model; M818 it is not proven; M819 objects of others
            depend on the tables; M820 another restore runs; M821 agents wrote meanwhile; M822 the
            live tables are in use; M827 it names a user who was erased.
    """
    with one_at_a_time(engine):
        restore = _Restore(engine, store, manifest, timeout_seconds)
        with engine.connect() as conn:
            require_fit(conn, store, manifest, from_other=from_other)
            if found := hanging(conn):
                raise refused_for(found)
        for damaged in check_files(store, manifest):
            raise damaged
        for entry in restore.scope.entries:
            ensure_bytes(store, entry)
        before, now = restore.snapshot_of_now()
        if scope_of(now).identity == restore.scope.identity:
            return restore.done(now, changed=False)
        return restore.run(before, now, prove, hold_writers=hold_writers)


@contextmanager
def one_at_a_time(engine: sa.Engine) -> Iterator[None]:
    """Have no other restore run meanwhile, and drop what a killed one left.

    Raises:
        SnapshotError: M820.
    """
    with RESTORE.tried_alone(engine) as alone:
        if not alone:
            raise SnapshotError(
                "M820",
                "another restore of this database runs",
                where="restore",
                fix="wait until it has ended, then run again",
            )
        drop_leftovers(engine)
        yield


class _Restore:
    """One restore, with what it has done so far."""

    def __init__(
        self, engine: sa.Engine, store: Store, manifest: Manifest, timeout_seconds: float
    ) -> None:
        self.engine, self.store, self.manifest = engine, store, manifest
        self.timeout_seconds = timeout_seconds
        self.scope: Scope = scope_of(manifest)
        self.seconds: dict[str, float] = {}
        self.attempts = 0

    def snapshot_of_now(self) -> tuple[Before, Manifest]:
        """Write what is live; the moment is from before it."""
        self.attempts += 1
        with self.engine.connect() as conn:
            moment = conn.execute(sa.text("select pg_catalog.pg_current_snapshot()::text"))
            said = str(moment.scalar_one())
        written: Written = write_snapshot(self.engine, self.store)
        scope = scope_of(written.manifest)
        self._add("snapshot of now", written.seconds)
        return Before(said, {one.qualified: one.rows for one in scope.entries}), written.manifest

    def done(self, before: Manifest, *, changed: bool) -> Restored:
        return Restored(
            self.manifest.id,
            before.id,
            changed,
            rows={one.name: one.rows for one in self.scope.agents} if changed else {},
            left=self.scope.left,
            attempts=self.attempts,
            seconds=self.seconds,
        )

    def run(
        self, before: Before, now: Manifest, prove: Proof | None, *, hold_writers: bool
    ) -> Restored:
        name = f"{PREFIX}{uuid.uuid4().hex[:12]}"
        with self.engine.connect() as conn:
            try:
                with conn.begin():
                    staged = self._load(conn, name, prove)
                filled_at: datetime = conn.execute(
                    sa.select(sa.func.clock_timestamp())
                ).scalar_one()
                conn.commit()
                while True:
                    holds = hold_writers and self.attempts >= ATTEMPTS - 1
                    try:
                        return self._exchange(
                            conn, name, filled_at, staged, before, now, holds=holds
                        )
                    except RowsChangedError as changed:
                        if self.attempts >= ATTEMPTS:
                            raise self._written_meanwhile(str(changed)) from None
                    before, now = self.snapshot_of_now()
            finally:
                # A server that is gone leaves the schema to the next command.
                with suppress(sa.exc.OperationalError):
                    conn.rollback()
                    drop_leftovers(self.engine)

    def _load(self, conn: sa.Connection, name: str, prove: Proof | None) -> list[Staged]:
        began = time.monotonic()
        shadow.build(conn, self.store, self.scope.agents, name, whole=False)
        staged = [stage(conn, one, batches(self.store, one)) for one in self.scope.application]
        self._add("load and indexes", time.monotonic() - began)
        began = time.monotonic()
        shadow.prove(conn, self.scope.agents, name)
        shadow.prove_staged(conn, staged)
        if prove is not None:
            with conn.begin_nested() as taken_back:
                wrong = prove(conn, name)
                taken_back.rollback()
            if wrong:
                raise shadow.not_proven(wrong)
        self._add("proof", time.monotonic() - began)
        return staged

    def _exchange(
        self,
        conn: sa.Connection,
        name: str,
        filled_at: datetime,
        staged: Sequence[Staged],
        before: Before,
        now: Manifest,
        *,
        holds: bool,
    ) -> Restored:
        attempts = Retrying(
            retry=retry_if_exception_type(LiveTablesInUseError),
            stop=stop_after_delay(self.timeout_seconds),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        began = time.monotonic()
        try:
            for attempt in attempts:
                with attempt, conn.begin():
                    stop_writers(conn, staged)
                    if holds:
                        before, now = self.snapshot_of_now()
                    require_unchanged(conn, before)
                    application = put_application(conn, staged)
                    waiting = seconds_of_attempt(attempt.retry_state.attempt_number)
                    stopped = exchange(conn, name, filled_at, waiting, cancel=holds)
                    ended = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        except LiveTablesInUseError as last:
            raise self._in_use(str(last)) from None
        self._add("exchange", time.monotonic() - began)
        self._add("readers", (ended - stopped).total_seconds())
        self._vacuum()
        return replace(self.done(now, changed=True), application=application)

    def _vacuum(self) -> None:
        """Note which pages all see, without which words are not answered from the index alone.

        Statistics that somebody added to tables are filled.
        """
        with autocommit_connection(self.engine) as conn:
            conn.exec_driver_sql("vacuum agent.postings, agent.memories")
            for table in conn.execute(_WITH_STATISTICS).scalars().all():
                conn.exec_driver_sql(f"analyze {table}")

    def _add(self, step: str, seconds: float) -> None:
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds

    def _written_meanwhile(self, tables: str) -> SnapshotError:
        return SnapshotError(
            "M821",
            f"agents wrote while it was restored ({tables}), {self.attempts} times in a row",
            where=f"snapshot {self.manifest.id[:12]}",
            fix="stop the agents for a moment; or add --hold-writers, and they wait while the "
            "last snapshot of now is written. The live tables are as the agents left them",
        )

    def _in_use(self, users: str) -> SnapshotError:
        return SnapshotError(
            "M822",
            "the live tables are in use"
            + (f" ({users})" if users else "")
            + ", so nothing was changed",
            where=f"snapshot {self.manifest.id[:12]}",
            fix="wait, or end those sessions, then run again; MEMOS_SWAP_TIMEOUT_SECONDS sets how "
            "long it waits",
        )
