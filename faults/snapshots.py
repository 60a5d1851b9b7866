"""Kills in every phase of a snapshot's write, of an exact restore, and of an erasure.

After each kill the live tables are as they were, or as the command leaves them, and nothing in
between; what the store lists as snapshots are whole ones. Then the command runs to its end.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import sqlalchemy as sa

from bench.command_run import command_environment
from bench.measure import progress
from bench.sheets import Sheet
from bench.world import World
from memos_assets.memory.erase import erase_rows
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import check_server, create_engine
from memos_assets.snapshots.rewrite import find_user
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.write import write_snapshot

Command = Literal["write", "restore", "erase"]
_PATIENCE_SECONDS: Final = 300
_BOB: Final = "bob-of-the-faults"

#: What is killed -> phase -> place of `faults.breakpoint`.
PLACES: Final[dict[Command, dict[str, str]]] = {
    "write": {
        "rows": "memos_assets.snapshots.table_file:TableFile.write:1",
        "file": "memos_assets.snapshots.store:Store.publish:2",
        "manifest": "memos_assets.snapshots.store:Store.put_manifest:1",
    },
    "restore": {
        "snapshot of now": "memos_assets.snapshots.store:Store.put_manifest:1",
        "load": "memos_assets.snapshots.restore.shadow:prove:1",
        "before the exchange": "memos_assets.snapshots.restore.exact:stop_writers:1",
        "exchange": "memos_assets.snapshots.restore.exact:exchange:1",
        "before its commit": "memos_assets.snapshots.restore.exact:exchange:1:after",
        "after its commit": "memos_assets.snapshots.restore.exact:_Restore._vacuum:1",
    },
    "erase": {
        "rows": "memos_assets.memory.erase:_delete:5",
        "before the commit": "memos_assets.memory.erase:Erasure:1",
        "after the commit": "memos_assets.cli.user_erase:take_out:1",
        "new files": "memos_assets.snapshots.store:Store.publish:2",
        "new manifest": "memos_assets.snapshots.store:Store.put_manifest:1",
        "note": "memos_assets.snapshots.store:Store.put_rewritten:1",
        "old files": "memos_assets.snapshots.rewrite:_settle:2",
        "old manifest": "memos_assets.snapshots.rewrite:_remove_unreferenced:1",
        "search": "memos_assets.memory.canary:search:1",
        "end": "memos_assets.cli.user_erase:finish:1",
    },
}
_ARGUMENTS: Final[dict[Command, tuple[str, ...]]] = {
    "write": ("snapshots", "write"),
    "restore": ("snapshots", "restore", "first", "--mode", "exact", "--yes"),
    "erase": ("user", "erase", _BOB, "--yes"),
}
_ROWS: Final = """
insert into agent.spaces (name, owner, private) select 'private:' || o, o, true
    from unnest(array['ann-of-the-faults', 'bob-of-the-faults']) o;
insert into agent.grants select id, owner, 'read_write', owner from agent.spaces;
insert into agent.memories (id, space_id, user_id, kind, content, content_digest, words, source)
    select md5(s.owner || n)::uuid, s.id, s.owner, 'finding', s.owner || ' says ' || n
        || ': canary of the faults', md5(s.owner || n), 3, 'test'
    from agent.spaces s, generate_series(1, 2000) n order by n;
insert into agent.revisions (memory, space_id, action, retracted, user_id)
    select number, space_id, 'remember', false, user_id from agent.memories order by number;
insert into agent.links select number, number + 2, 'semantic', 0, 0.9, true, space_id, space_id
    from agent.memories where number + 2 <= (select max(number) from agent.memories);
"""
#: Tables that are not compared: tombstones of erasures, and what is computed from memories.
_COMPUTED: Final = ("erasures", "postings", "word_counts")
_TABLES: Final = sa.text(
    "select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = 'agent' and c.relkind in ('r', 'p') order by 1"
)


@dataclass(slots=True)
class SnapshotKill:
    """One kill, and what was found afterwards.

    Attributes:
        command: that was killed.
        phase: in which.
        live: ``before``, ``after``, or "half": neither.
        leftovers: files and schemas that are left when the command has run to its end.
    """

    command: Command
    phase: str
    live: str
    leftovers: int


@dataclass(slots=True)
class SnapshotFaults:
    """Every kill, and every fault that was found, in words."""

    world: World
    kills: list[SnapshotKill] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def run(self, only: tuple[tuple[Command, str], ...] = ()) -> None:
        """Kill once in each phase, or in some."""
        for command, phases in PLACES.items():
            for phase in phases:
                if not only or (command, phase) in only:
                    self._kill(command, phase)

    @property
    def store(self) -> Store:
        """The store of snapshots of this world."""
        return open_store(str(self.world.home / "snapshots"))

    def _kill(self, command: Command, phase: str) -> None:
        named = f"{command}, {phase}"
        with _filled(self.world) as engine:
            write_snapshot(engine, self.store, label="first")
            first = _live(engine)
            with engine.begin() as conn:
                conn.exec_driver_sql(
                    "update agent.memories set kind = 'source' where number %% 7 = 0"
                )
            before = _live(engine)
            after = {"write": before, "restore": first, "erase": _without_bob(engine)}[command]
            code, said = self._run(["-m", "faults.breakpoint", PLACES[command][phase]], command)
            if code != -signal.SIGKILL:
                self.faults.append(f"{named}: not killed, but exit code {code}: {said}")
            now = _live(engine)
            live = "before" if now == before else "after" if now == after else "half"
            if live == "half":
                self.faults.append(f"{named}: live tables are neither as before nor as after")
            self._check_store(named)
            code, said = self._run(["-m", "memos_assets"], command)
            if code != 0:
                self.faults.append(f"{named}: the next run: exit code {code}: {said}")
            if _live(engine) != after:
                self.faults.append(f"{named}: live tables are not as the command leaves them")
            self._check_store(named)
            leftovers = self._leftovers(engine, command)
            self.faults += [f"{named}: {left} is left" for left in leftovers]
        self.kills.append(SnapshotKill(command, phase, live, len(leftovers)))
        progress.print(f"  kill in {named}: live tables as {live}", markup=False)

    def _run(self, started: list[str], command: Command) -> tuple[int, str]:
        """Run a command to its end, and return its exit code and the last line of its errors."""
        done = subprocess.run(
            [sys.executable, *started, *_ARGUMENTS[command]],
            env=command_environment(self.world),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
        return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]

    def _check_store(self, named: str) -> None:
        """Note what is listed as a snapshot and is not a whole one."""
        store = self.store
        for manifest in store.manifests():
            damaged = verify(store, manifest).damaged
            self.faults += [f"{named}: {error}" for error in damaged]

    def _leftovers(self, engine: sa.Engine, command: Command) -> list[str]:
        """Return what nobody needs any more, and after an erasure what names the user."""
        store = self.store
        kept = {entry.file for one in store.manifests() for entry in one.tables}
        left = [*store.names("partial"), *(set(store.names("tables")) - kept), *store.leftovers()]
        with engine.connect() as conn:
            left += conn.execute(sa.text(_SHADOWS)).scalars()
        if command == "erase":
            left += [f"the user in snapshot {one}" for one in find_user(store, _BOB)]
        return left


_SHADOWS: Final = "select nspname from pg_namespace where nspname like 'memos\\_restore\\_%'"


@contextmanager
def _filled(world: World) -> Iterator[sa.Engine]:
    """Yield an engine on a database with memories of two users."""
    world.empty()
    engine = create_engine(world.server.url(), world.settings, application_name="faults")
    try:
        check_server(engine)
        migrations.upgrade_and_adopt(engine, create_application=True)
        with engine.begin() as conn:
            conn.exec_driver_sql(_ROWS)
        yield engine
    finally:
        engine.dispose()


def _live(engine: sa.Engine) -> dict[str, str]:
    with engine.connect() as conn:
        return _digests(conn)


def _digests(conn: sa.Connection) -> dict[str, str]:
    """Return table of schema `agent` -> digest of its rows, whatever their order is."""
    names = [name for name in conn.execute(_TABLES).scalars() if name not in _COMPUTED]
    rows = 'select md5(string_agg(t::text, chr(10) order by t::text collate "C")) from agent.{} t'
    return {name: str(conn.exec_driver_sql(rows.format(name)).scalar_one()) for name in names}


def _without_bob(engine: sa.Engine) -> dict[str, str]:
    """Return the tables as an erasure leaves them; it is taken back."""
    with engine.connect() as conn:
        erase_rows(conn, _BOB, erased_by="faults")
        digests = _digests(conn)
        conn.rollback()
    return digests


def sheet_of(faults: SnapshotFaults) -> Sheet:
    """Return one line per phase."""
    return Sheet(
        "faults-snapshots",
        f"{len(faults.kills)} kills in snapshots, restores and erasures, one in each phase",
        ("killed", "in", "live tables as", "left after the next run"),
        [(one.command, one.phase, one.live, f"{one.leftovers}") for one in faults.kills],
        "Killed by signal 9 where the phase begins. Live tables as: before the command, or as the "
        "command leaves them; half: neither. After each kill every snapshot that is listed is "
        "verified, and the command runs to its end.",
    )


def last_line(faults: SnapshotFaults) -> str:
    """Sum it up, e.g. ``19 kills of snapshots: 0 half done, 0 leftovers``."""
    half = sum(one.live == "half" for one in faults.kills)
    leftovers = sum(one.leftovers for one in faults.kills)
    return f"{len(faults.kills)} kills of snapshots: {half} half done, {leftovers} leftovers"
