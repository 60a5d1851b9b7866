"""Race 5: building the search indexes, against the bare statement with the best settings."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import psycopg
import sqlalchemy as sa
from psycopg import sql

from bench.encoded import work_of
from bench.measure import Spread, progress, seconds_of
from bench.sheets import Sheet, spread_cells, verdict
from bench.world import World
from memos_assets.catalog import (
    MEMOS,
    VectorIndex,
)
from memos_assets.clustered_vectors import VectorSpace
from memos_assets.consolidate.decoding.reader import chunk_stream
from memos_assets.consolidate.loading.load import load_stream
from memos_assets.consolidate.sources.registry import specs_in
from memos_assets.indexes.build import BuiltIndex, ensure_index
from memos_assets.indexes.build_many import build_indexes
from memos_assets.indexes.build_settings import memory_needed_mb
from memos_assets.indexes.definitions import (
    SearchIndex,
    drop_index,
    hnsw_index,
    rows_in,
    search_indexes,
)
from memos_assets.indexes.forecast import forecast_graph
from memos_assets.postgres.server.embedded import DATABASE

#: At most this many times the bare statement.
LIMIT = 1.1
#: Indexes that get a line of their own.
_LINES = 4
#: A table that is large enough for a sample before the build.
_LARGE_ROWS, _LARGE_DIMENSION = 20_000, 1_024
_LARGE = "index_race"

#: Beside the first process, as many as there are other cores.
WORKERS = (os.cpu_count() or 1) - 1

BARE = "bare create index, all cores for each"
PLAIN = "bare create index, workers as PostgreSQL counts them"
BEST = "bare create index, the faster of both for each index (the limit)"
EACH = "ours, one after another"
ALL = "ours, all of them"


@dataclass(slots=True)
class _Race:
    """Builds indexes of the loaded tables, in one way or another.

    Attributes:
        world: where.
        engine: of its database.
        indexes: of the catalog, and one more.
        enough_mb: memory that the largest graph needs; more is only slower to allocate.
        each: way and index -> seconds.
        whole: seconds of all indexes side by side.
        built: index -> its latest build by us.
    """

    world: World
    engine: sa.Engine
    indexes: Sequence[SearchIndex]
    enough_mb: int
    each: dict[tuple[str, str], Spread] = field(default_factory=dict)
    whole: Spread = field(default_factory=Spread)
    built: dict[str, BuiltIndex] = field(default_factory=dict)

    @property
    def budget_mb(self) -> int:
        """Memory that we may take."""
        return self.world.settings.maintenance_work_mem_mb

    def run(self, rounds: int) -> None:
        """Build each index in every way, one right after the other, and then all of them."""
        ways = {BARE: self._bare, PLAIN: self._plain, EACH: self._ours}
        for number in range(rounds):
            start = number % len(ways)
            order = [*ways][start:] + [*ways][:start]
            for index in self.indexes:
                for way in order:
                    self._drop([index])
                    spread = self.each.setdefault((way, index.name), Spread())
                    spread.seconds.append(ways[way](index))
            self._drop(self.indexes)
            self.whole.seconds.append(seconds_of(self._ours_all))
            progress.print(f"  round {number + 1} of {rounds}")

    def total(self, ways: Sequence[str]) -> Spread:
        """Sum up the indexes, each in the fastest of some ways."""
        best = [
            min((self.each[way, index.name] for way in ways), key=lambda spread: spread.median)
            for index in self.indexes
        ]
        return Spread([sum(of) for of in zip(*(spread.seconds for spread in best), strict=True)])

    def by_hand(self, name: str) -> Spread:
        """Return the faster of both ways to build an index by hand."""
        return min(self.each[BARE, name], self.each[PLAIN, name], key=lambda s: s.median)

    def _bare(self, index: SearchIndex) -> float:
        """Give the build all cores, whatever its table's pages say."""
        return self._by_hand(index, {"min_parallel_table_scan_size": "0"})

    def _plain(self, index: SearchIndex) -> float:
        """Leave the number of workers to PostgreSQL, which counts only the table's own pages."""
        return self._by_hand(index, {})

    def _by_hand(self, index: SearchIndex, settings: Mapping[str, str]) -> float:
        settings = {
            "maintenance_work_mem": f"{self.enough_mb}MB",
            "max_parallel_maintenance_workers": str(WORKERS),
            **settings,
        }
        statement = index.create(index.schema or MEMOS.schema, concurrently=False)
        with self.world.administrator(DATABASE) as conn:
            for name, value in settings.items():
                conn.execute("select set_config(%s, %s, false)", (name, value))
            return seconds_of(lambda: conn.execute(statement))

    def _ours(self, index: SearchIndex) -> float:
        """Forecast, build and follow."""

        def build() -> None:
            self.built[index.name] = ensure_index(
                self.engine,
                index,
                maintenance_work_mem_mb=self.budget_mb,
                parallel_workers=WORKERS,
            )

        return seconds_of(build)

    def _ours_all(self) -> list[BuiltIndex]:
        """Build as the assets do: side by side, within one budget."""
        return list(build_indexes(self.engine, self.indexes, budget_mb=self.budget_mb))

    def _drop(self, indexes: Sequence[SearchIndex]) -> None:
        with self.engine.begin() as conn:
            for index in indexes:
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
        indexes = [index for spec in MEMOS.tables for index in search_indexes(spec.as_table)]
        indexes.append(_large_index())
        race = _Race(world, engine, indexes, _enough_mb(engine, indexes))
        race.run(rounds)
    return [_sheet(race), _forecast_sheet(race)]


def _enough_mb(engine: sa.Engine, indexes: Sequence[SearchIndex]) -> int:
    with engine.connect() as conn:
        return max(
            memory_needed_mb(forecast_graph(index.graph, rows_in(conn, index)), WORKERS)
            for index in indexes
            if index.graph is not None
        )


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
        VectorIndex(_LARGE, "embedding", "vector", _LARGE_DIMENSION, "halfvec"),
        serves=sql.SQL("true"),
        schema="public",
    )


def _longest(race: _Race) -> list[str]:
    return sorted(race.built, key=lambda name: -race.by_hand(name).median)[:_LINES]


def _sheet(race: _Race) -> Sheet:
    limit = race.total([BARE, PLAIN])
    lines = [
        (BEST, limit, limit),
        *((way, race.total([way]), limit) for way in (BARE, PLAIN, EACH)),
        (ALL, race.whole, limit),
        *((f"ours, {n}", race.each[EACH, n], race.by_hand(n)) for n in _longest(race)),
    ]
    rows = []
    for name, spread, hand in lines:
        ratio = spread.median / hand.median
        target = verdict(ratio, LIMIT, "x") if name in (EACH, ALL) else ""
        rows.append((name, *spread_cells(spread), f"{ratio:.2f}", target))
    return Sheet(
        "index",
        f"Build of {len(race.indexes)} search indexes, one of them on "
        f"{_LARGE_ROWS:,} x {_LARGE_DIMENSION:,}-d",
        ("way", "s", "min - max", "x limit", "target"),
        rows,
        (
            f"By hand: {race.enough_mb} MB, which the largest graph needs, and {WORKERS} "
            "worker(s) beside the first process; PostgreSQL starts none where the embeddings are "
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
