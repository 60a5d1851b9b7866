"""Races 2 and 3: the whole command against the sum of its bare parts, and run a second time."""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg import sql

from bench.command_run import CommandRun, run_consolidate
from bench.encoded import EncodedTable, copy_on_server, encode_table
from bench.measure import Spread, alternate, progress, seconds_of
from bench.memory import Peak
from bench.sheets import Sheet, spread_cells, verdict
from bench.world import World
from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.registry import specs_in
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres.server.embedded import DATABASE
from memos_assets.sqlite.file import quoted

#: Seconds on two cores, times the sum of the bare parts, bytes of any process.
LIMIT_SECONDS = 60
LIMIT_RATIO = 1.5
LIMIT_SECOND_SECONDS = 3
LIMIT_BYTES = 300e6
#: The file of which rows are written again, and the share of them.
_CHANGED_FILE = "mixed_precision_embeddings.db"
_CHANGED_SHARE = 0.01

_COPY = "bare COPY of every table, by the server"
_INDEX = "bare CREATE INDEX, one after the other"
_READ_SQLITE = "bare read of every SQLite row"
_READ_POSTGRES = "bare read of every PostgreSQL row"
_PARTS = (_COPY, _INDEX, _READ_SQLITE, _READ_POSTGRES)
_SUM = "sum of the bare parts"
_OURS = "memos-assets consolidate"


@dataclass(frozen=True, slots=True)
class _Copied:
    """Rows and chunks that a run copied, of how many chunks."""

    rows: int = 0
    chunks: int = 0
    of_chunks: int = 0


class _Race:
    """Both contestants, and their measurements besides the sum."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._encoded = [encode_table(world, spec, world.pins) for spec in MEMOS.tables]
        self.parts = {name: Spread() for name in _PARTS}
        self.second = Spread()
        self.third = Spread()
        self.rows = sum(encoded.rows for encoded in self._encoded)
        self.copied_again = _Copied()
        self.copied_changed = _Copied()
        self.changed_rows = 0
        self.runs: list[CommandRun] = []

    def bare_parts(self) -> float:
        """Do the least that loading, indexing and reading again can be, part by part."""
        with self._world.fresh(), self._world.administrator(DATABASE) as conn:
            work = {
                _COPY: lambda: _copy_all(conn, self._encoded),
                _INDEX: lambda: _create_indexes(conn),
                _READ_SQLITE: self._read_sqlite,
                _READ_POSTGRES: lambda: _read_postgres(conn),
            }
            seconds = {}
            for name, part in work.items():
                self._world.settle()
                seconds[name] = seconds_of(part)
                self.parts[name].seconds.append(seconds[name])
        return sum(seconds.values())

    def command(self) -> float:
        """Run the command on an empty database, once more, and once more after a change."""
        self._world.empty()
        first = run_consolidate(self._world)
        self.runs.append(first)
        self.copied_again = self._again(self.second)
        (path,) = self._world.demo.rglob(_CHANGED_FILE)
        kept = path.read_bytes()
        try:
            self.changed_rows = _replace_rows(path)
            self.copied_changed = self._again(self.third)
        finally:
            path.write_bytes(kept)
        return first.seconds

    def _again(self, spread: Spread) -> "_Copied":
        """Run the command and return its copies."""
        with self._world.administrator(DATABASE) as conn:
            moment = _now(conn)
        spread.seconds.append(run_consolidate(self._world).seconds)
        with self._world.administrator(DATABASE) as conn:
            return _copied_since(conn, moment)

    def _read_sqlite(self) -> None:
        for pin in self._world.pins:
            with closing(sqlite3.connect(pin.path)) as connection:
                # The demo has text that is not UTF-8.
                connection.text_factory = bytes
                for spec in specs_in(pin):
                    cursor = connection.execute(f"select * from {quoted(spec.origin)}")
                    while cursor.fetchmany(64):
                        pass


def _now(conn: psycopg.Connection) -> datetime:
    row = conn.execute("select now()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment


def _copied_since(conn: psycopg.Connection, moment: datetime) -> _Copied:
    row = conn.execute(
        "select coalesce(sum(rows + mirrored) filter (where loaded_at > %(moment)s), 0), "
        "count(*) filter (where loaded_at > %(moment)s), count(*) from memos_ops.chunks",
        {"moment": moment},
    ).fetchone()
    assert row is not None
    return _Copied(*map(int, row))


def _replace_rows(path: Path) -> int:
    """Write the first rows of a file again as memOS does, which gives them rowids at the end."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.text_factory = bytes
        (rows,) = connection.execute("select count(*) from embeddings").fetchone()
        names = [row[1].decode() for row in connection.execute("pragma table_info(embeddings)")]
        columns = ", ".join(map(quoted, names))
        wanted = int(rows * _CHANGED_SHARE)
        connection.execute(
            f"insert or replace into embeddings ({columns}) select {columns} from embeddings "
            "where doc_id is not null order by rowid limit ?",
            (wanted,),
        )
    return wanted


def _copy_all(conn: psycopg.Connection, encoded: Sequence[EncodedTable]) -> None:
    for table in encoded:
        copy_on_server(conn, table, sql.Identifier(MEMOS.schema, table.spec.name))


def _create_indexes(conn: psycopg.Connection) -> None:
    conn.execute("set maintenance_work_mem = '128MB'")
    for spec in MEMOS.tables:
        for index in search_indexes(spec.as_table):
            conn.execute(index.create(MEMOS.schema, concurrently=False))


def _read_postgres(conn: psycopg.Connection) -> None:
    for spec in MEMOS.tables:
        statement = sql.SQL("copy (select * from {}) to stdout (format binary)").format(
            sql.Identifier(MEMOS.schema, spec.name)
        )
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            for _ in copy:
                pass


def consolidate_race(world: World, rounds: int) -> list[Sheet]:
    """Race the command against its parts; its second run and its memory come along."""
    race = _Race(world)
    spreads = alternate({_SUM: race.bare_parts, _OURS: race.command}, rounds)
    return [
        _consolidate_sheet(race, spreads),
        _second_sheet(race, spreads[_OURS]),
        memory_sheet(race.runs),
    ]


def _consolidate_sheet(race: _Race, spreads: Mapping[str, Spread]) -> Sheet:
    whole = spreads[_SUM].median
    rows = [
        (name, *spread_cells(spread), f"{spread.median / whole:.2f}", "")
        for name, spread in {**race.parts, _SUM: spreads[_SUM]}.items()
    ]
    ours = spreads[_OURS].median
    rows.append(
        (
            _OURS,
            *spread_cells(spreads[_OURS]),
            f"{ours / whole:.2f}",
            f"{verdict(ours, LIMIT_SECONDS, 's')}; {verdict(ours / whole, LIMIT_RATIO, 'x')}",
        )
    )
    return Sheet(
        "consolidate",
        f"Consolidation of {race.rows:,} rows, from process start to exit",
        ("", "s", "min - max", "x sum", "target"),
        rows,
        (
            "The command also starts Python and Dagster, migrates the schema, pins and digests "
            "every file, records runs, proves every row and runs the whole checklist."
        ),
    )


def _second_sheet(race: _Race, first: Spread) -> Sheet:
    return Sheet(
        "second",
        "The same command again",
        ("", "s", "min - max", "x first run", "rows copied", "chunks copied", "target"),
        (
            ("first run", *spread_cells(first), "1.00", f"{race.rows:,}", "all", ""),
            (
                "nothing changed",
                *spread_cells(race.second),
                f"{race.second.median / first.median:.2f}",
                f"{race.copied_again.rows:,}",
                f"{race.copied_again.chunks} of {race.copied_again.of_chunks}",
                verdict(race.second.median, LIMIT_SECOND_SECONDS, "s"),
            ),
            (
                f"{race.changed_rows} rows of one file replaced",
                *spread_cells(race.third),
                f"{race.third.median / first.median:.2f}",
                f"{race.copied_changed.rows:,}",
                f"{race.copied_changed.chunks} of {race.copied_changed.of_chunks}",
                "",
            ),
        ),
        (
            "When nothing changed since every check passed, nothing is read again but the files' "
            "bytes, the ledger and the row counts; `memos-assets verify` reads both sides. A "
            "replaced row moves to the end of its file: its former chunk and the last one are "
            "copied, and everything is proven."
        ),
    )


def memory_sheet(runs: Sequence[CommandRun]) -> Sheet:
    """Return the peaks of all runs by role."""
    peaks = highest(runs)
    return Sheet(
        "memory",
        "Peak memory of any process during the consolidation",
        ("process", "resident MB", "of it private MB", "processes", "target"),
        [
            (
                role,
                f"{peak.resident / 1e6:.0f}",
                f"{peak.private / 1e6:.0f}",
                f"{peak.processes:,}",
                verdict(peak.resident / 1e6, LIMIT_BYTES / 1e6, "MB"),
            )
            for role, peak in peaks.items()
        ],
        (
            "Resident pages of PostgreSQL include shared buffers and the shared memory of parallel "
            "builds, which every backend counts again. Both peaks need not fall together."
        ),
    )


def highest(runs: Sequence[CommandRun]) -> dict[str, Peak]:
    """Return role -> the highest peak of all runs; processes are those of one run."""
    found: dict[str, Peak] = {}
    for run in runs:
        for role, peak in run.peaks.items():
            most = found.setdefault(role, Peak())
            most.resident = max(most.resident, peak.resident)
            most.private = max(most.private, peak.private)
            most.processes = max(most.processes, peak.processes)
    return found


def ten_times_race(world: World, larger: World) -> list[Sheet]:
    """Run the command on a folder and on one ten times as large, once each."""
    runs = {}
    for name, place in (("1 x", world), ("10 x", larger)):
        place.empty()
        runs[name] = run_consolidate(place)
        progress.print(f"  {name}: {runs[name].seconds:.1f} s")
    rows = []
    for role in highest(list(runs.values())):
        once, ten = (run.peaks.get(role, Peak()) for run in runs.values())
        rows.append(
            (
                role,
                f"{once.resident / 1e6:.0f}",
                f"{ten.resident / 1e6:.0f}",
                f"{once.private / 1e6:.0f}",
                f"{ten.private / 1e6:.0f}",
                f"{ten.resident / max(once.resident, 1):.2f}",
                verdict(ten.resident / 1e6, LIMIT_BYTES / 1e6, "MB"),
            )
        )
    return [
        Sheet(
            "ten-times",
            "Peak memory at ten times the rows",
            ("process", "MB", "10 x MB", "private MB", "10 x private MB", "ratio", "target"),
            rows,
            (
                f"The command took {runs['1 x'].seconds:.1f} s on the folder and "
                f"{runs['10 x'].seconds:.1f} s on the one ten times as large, one round each."
            ),
        )
    ]
