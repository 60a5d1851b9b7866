"""Snapshots beside COPY: write, write again, sizes beside pg_dump and JSON lines, peak memory."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg import sql

from bench.command_run import command_environment
from bench.measure import BenchError, alternate, progress, seconds_of
from bench.memory import MemorySampler
from bench.sheets import Sheet, spread_cells, verdict
from bench.snapshot_memories import LINKS, write_memories
from bench.world import World
from memos_assets.demo import Scale
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server.cluster import programs
from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.table_writer import query_of
from memos_assets.snapshots.write import write_snapshot

DIMENSION: Final = 1_024
#: Memories of the race, and ten times as many for peak memory.
SIZES: Final[dict[Scale, tuple[int, int]]] = {"plan": (100_000, 1_000_000), "small": (2_000, 8_000)}
_MEGABYTE: Final = 1_000_000
_LIMIT: Final = 300


def snapshot_race(world: World, rounds: int) -> list[Sheet]:
    """Return the tables of seconds and sizes of a snapshot, and of its peak memory."""
    count, many = SIZES[world.scale]
    with world.fresh() as engine:
        write_memories(engine, count, DIMENSION)
        race = _Race(world, engine)
        seconds = list(race.seconds(rounds))
        sizes = list(race.sizes())
    peaks = list(_peaks(world, (count, many)))
    of = f"{count:,} memories with embeddings of {DIMENSION} elements and {LINKS} links each"
    return [
        Sheet(
            "snapshots",
            f"A snapshot of {of}",
            ("", "median s", "min - max s", "target"),
            seconds,
            "COPY: psql's `\\copy (select ... order by key) to FILE (format binary)` of the "
            "same tables, one after the other; the read: the same into /dev/null. Files are forced "
            "to the disk by the snapshot alone.",
        ),
        Sheet(
            "snapshots-size",
            f"Size of {of}",
            ("", "MB", "of the snapshot"),
            sizes,
            "pg_dump of the same tables in its custom format, which compresses by zlib; JSON lines "
            "as `row_to_json` writes them.",
        ),
        Sheet(
            "snapshots-memory",
            "Peak memory of `memos-assets snapshots write`",
            ("memories", "resident MB", "private MB", "target"),
            peaks,
        ),
    ]


class _Race:
    """Contestants on one database."""

    def __init__(self, world: World, engine: sa.Engine) -> None:
        self._world, self._engine = world, engine
        self._folder = world.folder / "snapshots of the race"
        self._url = libpq_url(world.server.url())
        self._manifest: Manifest | None = None

    @property
    def _store(self) -> Store:
        return open_store(str(self._folder))

    def _tables(self) -> list[SnapshotTable]:
        if self._manifest is None:
            self._manifest = write_snapshot(self._engine, self._store).manifest
        return [
            SnapshotTable(entry.schema, entry.name, dict(entry.columns), tuple(entry.key))
            for entry in self._manifest.tables
            if entry.rows
        ]

    def seconds(self, rounds: int) -> Iterator[Sequence[str]]:
        """Yield the rows of seconds."""
        self._tables()
        copied = self._world.folder / "copied.bin"
        spreads = alternate(
            {
                "COPY": partial(self._copied, copied),
                "the read": partial(self._copied, Path(os.devnull)),
                "write": self._written_first,
                "write again": self._written_again,
            },
            rounds,
        )
        copied.unlink()
        for name, beside, limit in (
            ("COPY", None, 0.0),
            ("write", "COPY", 2.0),
            ("the read", None, 0.0),
            ("write again", "the read", 1.2),
        ):
            target = ""
            if beside is not None:
                ratio = spreads[name].median / spreads[beside].median
                target = f"{ratio:.2f} x {beside}; {verdict(ratio, limit, 'x')}"
            yield (name, *spread_cells(spreads[name]), target)

    def _copied(self, path: Path) -> float:
        commands: list[str] = []
        with psycopg.connect(self._url) as conn:
            for table in self._tables():
                query = query_of(table).as_string(conn)
                commands += ["-c", f"\\copy ({query}) to '{path}' (format binary)"]
        self._world.settle()
        return seconds_of(partial(self._run, "psql", "--quiet", "--no-psqlrc", *commands))

    def _written_first(self) -> float:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._world.settle()
        return seconds_of(partial(write_snapshot, self._engine, self._store))

    def _written_again(self) -> float:
        self._manifest = write_snapshot(self._engine, self._store).manifest
        self._world.settle()
        return seconds_of(partial(write_snapshot, self._engine, self._store))

    def sizes(self) -> Iterator[Sequence[str]]:
        """Yield the rows of sizes."""
        tables = self._tables()
        assert self._manifest is not None
        snapshot = sum(entry.bytes for entry in self._manifest.tables)
        dump = self._world.folder / "memories.dump"
        named = [f"--table={table.qualified}" for table in tables]
        self._run("pg_dump", "-Fc", f"--file={dump}", *named)
        found = {
            "snapshot": snapshot,
            "pg_dump -Fc": dump.stat().st_size,
            "JSON lines": self._json_bytes(tables),
        }
        dump.unlink()
        for name, size in found.items():
            yield name, f"{size / _MEGABYTE:,.0f}", f"{size / snapshot:.2f} x"

    def _json_bytes(self, tables: Sequence[SnapshotTable]) -> int:
        total = 0
        with psycopg.connect(self._url) as conn:
            for table in tables:
                rows = sql.SQL("select sum(octet_length(row_to_json(t)::text) + 1) from {} t")
                row = conn.execute(rows.format(sql.Identifier(table.schema, table.name))).fetchone()
                assert row is not None
                total += int(row[0] or 0)
        return total

    def _run(self, program: str, *arguments: str) -> None:
        path = programs() / "bin" / program
        done = subprocess.run(
            [path, f"--dbname={self._url}", *arguments], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchError(f"{program} ended with {done.returncode}: {done.stderr}")


def _peaks(world: World, counts: Sequence[int]) -> Iterator[Sequence[str]]:
    for count in counts:
        progress.print(f"  peak memory at {count:,} memories")
        with world.fresh() as engine:
            write_memories(engine, count, DIMENSION)
            engine.dispose()
            resident, private = _peak(world)
        yield (
            f"{count:,}",
            f"{resident / _MEGABYTE:.0f}",
            f"{private / _MEGABYTE:.0f}",
            verdict(round(resident / _MEGABYTE), _LIMIT, "MB"),
        )


def _peak(world: World) -> tuple[int, int]:
    program = str(Path(sys.executable).with_name("memos-assets"))
    postmaster = world.server.status().pid
    assert postmaster is not None, "the server was started with the world"
    with (
        subprocess.Popen(
            [program, "snapshots", "write"],
            env=command_environment(world),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        MemorySampler(process.pid, postmaster) as sampler,
    ):
        _, err = process.communicate()
    if process.returncode:
        raise BenchError(f"snapshots write ended with {process.returncode}:\n{err}")
    peak = sampler.peaks()["memos-assets consolidate"]
    return peak.resident, peak.private
