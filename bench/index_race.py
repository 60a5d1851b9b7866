"""Race 5: building the search indexes, against the bare statement with the best settings."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import psycopg
import sqlalchemy as sa
from psycopg import sql

from bench.encoded import work_of
from bench.measure import Spread, alternate, seconds_of
from bench.sheets import Sheet, spread_cells, verdict
from bench.world import World
from memos_assets.catalog import TABLES, VectorIndex
from memos_assets.consolidate.load import load_stream
from memos_assets.consolidate.reader import chunk_stream
from memos_assets.consolidate.registry import specs_in
from memos_assets.demo.vectors import VectorSpace
from memos_assets.postgres.embedded import DATABASE
from memos_assets.postgres.tables import DATA_SCHEMA
from memos_assets.search.build_settings import memory_needed_mb
from memos_assets.search.builds import BuiltIndex, ensure_index
from memos_assets.search.forecast import forecast_graph
from memos_assets.search.indexes import (
    SearchIndex,
    drop_index,
    hnsw_index,
    rows_in,
    search_indexes,
)
from memos_assets.search.schedule import build_indexes

#: At most this many times the bare statement.
LIMIT = 1.1
#: Indexes that get a line of their own.
_LINES = 4
#: A table that is large enough for a sample before the build.
_LARGE_ROWS, _LARGE_DIMENSION = 20_000, 1_024
_LARGE = "index_race"

BARE = "bare create index, all cores for each"
PLAIN = "bare create index, workers as PostgreSQL counts them"
BEST = "bare create index, the faster of both for each index (the limit)"
EACH = "ours, one after another"
ALL = "ours, all of them"


@dataclass(slots=True)
class _Race:
    """Builds every index of the loaded tables, in one way or another, from none."""

    world: World
    engine: sa.Engine
    indexes: Sequence[SearchIndex]
    each: dict[tuple[str, str], Spread] = field(default_factory=dict)
    built: dict[str, BuiltIndex] = field(default_factory=dict)

    @property
    def budget_mb(self) -> int:
        """Memory that we may take."""
        return self.world.settings.maintenance_work_mem_mb

    @property
    def enough_mb(self) -> int:
        """Memory that the largest graph needs; more is only slower to allocate."""
        with self.engine.connect() as conn:
            return max(
                memory_needed_mb(forecast_graph(index.graph, rows_in(conn, index)), self.workers)
                for index in self.indexes
                if index.graph is not None
            )

    @property
    def workers(self) -> int:
        """As many as there are other cores."""
        return (os.cpu_count() or 1) - 1

    def bare(self) -> float:
        """Give each build all cores, whatever its table's pages say."""
        return self._bare(BARE, {"min_parallel_table_scan_size": "0"})

    def plain(self) -> float:
        """Leave the number of workers to PostgreSQL, which does not count what lies outside."""
        return self._bare(PLAIN, {})

    def _bare(self, way: str, settings: dict[str, str]) -> float:
        with self.world.administrator(DATABASE) as conn:
            settings = settings | {
                "maintenance_work_mem": f"{self.enough_mb}MB",
                "max_parallel_maintenance_workers": str(self.workers),
            }
            for name, value in settings.items():
                conn.execute("select set_config(%s, %s, false)", (name, value))
            self._drop()
            return sum(self._timed_bare(way, conn, index) for index in self.indexes)

    def _timed_bare(self, way: str, conn: psycopg.Connection, index: SearchIndex) -> float:
        statement = index.create(index.schema or DATA_SCHEMA, concurrently=False)
        return self._timed(way, index, seconds_of(lambda: conn.execute(statement)))

    def ours_each(self) -> float:
        """Forecast, build and follow each index."""
        self._drop()
        return sum(self._timed_ours(index) for index in self.indexes)

    def _timed_ours(self, index: SearchIndex) -> float:
        def build() -> None:
            self.built[index.name] = ensure_index(
                self.engine,
                index,
                maintenance_work_mem_mb=self.budget_mb,
                parallel_workers=self.workers,
            )

        return self._timed(EACH, index, seconds_of(build))

    def ours(self) -> float:
        """Build as the assets do: side by side, within one budget."""
        self._drop()
        return seconds_of(
            lambda: list(build_indexes(self.engine, self.indexes, budget_mb=self.budget_mb))
        )

    def _timed(self, way: str, index: SearchIndex, seconds: float) -> float:
        self.each.setdefault((way, index.name), Spread()).seconds.append(seconds)
        return seconds

    def _drop(self) -> None:
        with self.engine.begin() as conn:
            for index in self.indexes:
                drop_index(conn, index.name, index.schema)
        self.world.settle()


def index_race(world: World, rounds: int) -> list[Sheet]:
    """Build every index of the catalog, and one on a larger table."""
    with world.fresh() as engine:
        for pin in world.pins:
            for spec in specs_in(pin):
                work = work_of(spec, [pin])
                load_stream(engine, spec, chunk_stream(spec, work), run_id="bench")
        with world.administrator(DATABASE) as conn:
            _make_large_table(conn)
            conn.execute("vacuum analyze")
        indexes = [index for spec in TABLES for index in search_indexes(spec)]
        race = _Race(world, engine, [*indexes, _large_index()])
        spreads = alternate(
            {BARE: race.bare, PLAIN: race.plain, EACH: race.ours_each, ALL: race.ours}, rounds
        )
        return [_sheet(race, spreads), _forecast_sheet(race)]


def _make_large_table(conn: psycopg.Connection) -> None:
    space = VectorSpace("index race", _LARGE_DIMENSION, clusters=100, norm=1.0)
    rows = space.rows(np.arange(_LARGE_ROWS).tolist(), "rows")
    conn.execute(f"drop table if exists public.{_LARGE}".encode())
    conn.execute(f"create table public.{_LARGE} (embedding vector, dimension integer)".encode())
    with conn.cursor() as cursor, cursor.copy(f"copy public.{_LARGE} from stdin".encode()) as copy:
        for row in rows:
            copy.write(f"[{','.join(f'{value:.6g}' for value in row)}]\t{_LARGE_DIMENSION}\n")


def _large_index() -> SearchIndex:
    return hnsw_index(
        VectorIndex(_LARGE, "embedding", "vector", _LARGE_DIMENSION, "vector"),
        serves=sql.SQL("true"),
        schema="public",
    )


def _best(race: _Race, name: str) -> Spread:
    """Return the faster of both ways to build an index by hand."""
    return min(race.each[BARE, name], race.each[PLAIN, name], key=lambda spread: spread.median)


def _longest(race: _Race) -> list[str]:
    return sorted(race.built, key=lambda name: -_best(race, name).median)[:_LINES]


def _sheet(race: _Race, spreads: dict[str, Spread]) -> Sheet:
    best = [_best(race, name).seconds for name in race.built]
    limit = Spread([sum(seconds) for seconds in zip(*best, strict=True)])
    rows = []
    for name, spread in {BEST: limit, **spreads}.items():
        ratio = spread.median / limit.median
        target = verdict(ratio, LIMIT, "x") if name in (EACH, ALL) else ""
        rows.append((name, *spread_cells(spread), f"{ratio:.2f}", target))
    for name in _longest(race):
        ours, bare = race.each[EACH, name], _best(race, name)
        ratio = ours.median / bare.median
        target = verdict(ratio, LIMIT, "x")
        rows.append((f"ours, {name}", *spread_cells(ours), f"{ratio:.2f}", target))
    return Sheet(
        "index",
        f"Build of {len(race.indexes)} search indexes, one of them on "
        f"{_LARGE_ROWS:,} x {_LARGE_DIMENSION:,}-d",
        ("way", "s", "min - max", "x limit", "target"),
        rows,
        (
            f"By hand: {race.enough_mb} MB, which the largest graph needs, and {race.workers} "
            "worker(s) beside the first process; PostgreSQL starts none where the embeddings lie "
            "outside of the rows, unless the least size of a table for them is 0. Ours counts "
            "rows, forecasts, times a sample of large tables, and looks on twice a second."
        ),
    )


def _forecast_sheet(race: _Race) -> Sheet:
    rows = []
    for name in _longest(race):
        built = race.built[name]
        assert built.forecast is not None
        assert built.settings is not None
        expected = built.expected_seconds or 0.0
        rows.append(
            (
                name,
                f"{built.rows:,}",
                built.forecast.basis,
                f"{expected:.2f}",
                f"{built.seconds:.2f}",
                f"{built.forecast.disk_bytes / 1e6:.1f}",
                f"{built.bytes / 1e6:.1f}",
                f"{built.settings.maintenance_work_mem_mb}",
                "yes" if built.in_memory else "no" if built.in_memory is False else "",
            )
        )
    return Sheet(
        "index-forecast",
        "Forecast of the longest builds against fact, last round",
        ("index", "rows", "by", "s", "fact s", "disk MB", "fact MB", "memory MB", "in memory"),
        rows,
    )
