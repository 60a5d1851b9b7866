"""Build a search index: forecast it, choose its settings, follow it, return its measurements."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.errors import TargetError
from memos_assets.indexes.build_errors import refusals
from memos_assets.indexes.build_progress import BuildStep, Tell, Watch, watched
from memos_assets.indexes.build_sample import sample_rows, sampled_seconds
from memos_assets.indexes.build_settings import BuildSettings, memory_needed_mb, settings_for
from memos_assets.indexes.definitions import (
    IndexState,
    SearchIndex,
    drop_index,
    forecast_by_rate,
    is_as_described,
    measured,
    put_mark,
    state_of,
)
from memos_assets.indexes.forecast import IndexForecast, extrapolated
from memos_assets.postgres.connection import (
    autocommit_connection,
    driver_of,
    in_force,
    put_in_force,
)
from memos_assets.progress import Progress, report

#: A concurrent build waits this long for transactions that are older than itself.
CONCURRENT_PATIENCE_SECONDS = 600


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """The outcome of asking for an index.

    Attributes:
        name: of the index.
        built: false when a valid one was there.
        seconds: that the build took, its forecast left out.
        bytes: of the index.
        rows: that it serves.
        forecast: made before the build.
        settings: of the build.
        in_memory: whether the whole graph fitted in memory; None for an index without a graph.
        absent: its table is not in the database.
    """

    name: str
    built: bool
    seconds: float
    bytes: int
    rows: int
    forecast: IndexForecast | None = None
    settings: BuildSettings | None = None
    in_memory: bool | None = None
    absent: bool = False

    @property
    def expected_seconds(self) -> float | None:
        """Forecast of the build with its settings."""
        if self.forecast is None or self.settings is None:
            return None
        return self.forecast.seconds_with(
            self.settings.parallel_workers, self.settings.memory_bytes
        )


def ensure_index(
    engine: sa.Engine,
    index: SearchIndex,
    *,
    maintenance_work_mem_mb: int,
    parallel_workers: int = 1,
    tell: Tell | None = None,
) -> BuiltIndex:
    """Build an index unless a valid one is there; an invalid one is dropped first.

    So is one that was built by another definition, such as that of a former checkout. Statistics of
    a full-text index are renewed when its table has grown or shrunk by more than 10 %.

    Args:
        engine: of the target database.
        index: from `search_indexes`, or described by hand.
        maintenance_work_mem_mb: the most memory that the build may take. It takes what its graph
            needs; where that is more, the rest of the graph is built on disk, many times slower.
        parallel_workers: the most that PostgreSQL may use beside the process that builds.
        tell: is called with the forecast, then twice a second with the progress.

    Raises:
        TargetError: M320 when PostgreSQL cannot build it, the table is as it was; M321 when
            another session is building it; M322 when a concurrent build breaks off, which leaves
            an invalid index for the next call to replace; M323 when the table is locked.
    """
    name = f"{index.schema_in(engine)}.{index.name}"
    with refusals(name, index.table, lambda: _left_invalid(engine, index)):
        with engine.connect() as conn:
            state = _unless_others_build(conn, index)
            rows, column_bytes = measured(conn, index)
            is_built = index.is_built(state) and is_as_described(conn, index)
        if state is not None and is_built:
            if index.reads == (SEARCH_TEXT,) and not (state.corpus and state.corpus.is_of(rows)):
                with engine.begin() as conn:
                    put_mark(conn, index)
            report(Progress("index", index.name, total_rows=rows))
            report(Progress("index", index.name, rows=rows, bytes=state.bytes, done=True))
            return BuiltIndex(index.name, built=False, seconds=0, bytes=state.bytes, rows=rows)
        forecast = _forecast(engine, index, rows, column_bytes)
        settings = settings_for(
            forecast, budget_mb=maintenance_work_mem_mb, workers=parallel_workers
        )
        watch = Watch(first_step(index, forecast, settings), tell)
        watch.begin()
        settings = built_with(
            settings,
            lambda: settings_for(forecast, budget_mb=maintenance_work_mem_mb, workers=0),
            watch,
            lambda chosen: _build(engine, index, chosen, watch),
        )
        with engine.connect() as conn:
            state = state_of(conn, index.name, index.schema)
    assert state is not None
    watch.end(state.bytes)
    return BuiltIndex(
        index.name,
        built=True,
        seconds=watch.seconds,
        bytes=state.bytes,
        rows=rows,
        forecast=forecast,
        settings=settings,
        in_memory=None if index.graph is None else watch.spilled is None,
    )


def _forecast(engine: sa.Engine, index: SearchIndex, rows: int, column_bytes: int) -> IndexForecast:
    forecast = forecast_by_rate(index, rows, column_bytes)
    sample = sample_rows(rows)
    if index.graph is None or not (sample and index.reads):
        return forecast
    timed = sampled_seconds(
        engine,
        sql.Identifier(index.schema_in(engine), index.table),
        index.table,
        index.reads,
        index.condition,
        partial(index.create, concurrently=False),
        rows=rows,
        sample=sample,
    )
    if timed is None:
        return forecast
    return replace(forecast, seconds=extrapolated(*timed, rows), basis="sample")


def built_with(
    settings: BuildSettings,
    alone: Callable[[], BuildSettings],
    watch: Watch,
    build: Callable[[BuildSettings], None],
) -> BuildSettings:
    """Build, and return the settings: those of ``alone`` where workers get no shared memory."""
    try:
        build(settings)
    except psycopg.Error as error:
        if not (settings.parallel_workers and _lacks_shared_memory(error)):
            raise
        watch.note("no shared memory for workers, one process builds")
        settings = alone()
        build(settings)
    return settings


def first_step(index: SearchIndex, forecast: IndexForecast, settings: BuildSettings) -> BuildStep:
    """Return the forecast of a build as its first step."""
    needed = memory_needed_mb(forecast, settings.parallel_workers)
    return BuildStep(
        index.name,
        "forecast",
        rows=0,
        total_rows=forecast.rows,
        seconds=0,
        expected_seconds=forecast.seconds_with(settings.parallel_workers, settings.memory_bytes),
        notice=f"{settings.maintenance_work_mem_mb} MB of memory, "
        f"{forecast.disk_bytes / 1e6:,.0f} MB on disk, "
        f"{settings.parallel_workers} workers",
        warning=None
        if settings.fits
        else f"its graph needs {needed:,} MB and goes to disk beyond "
        f"{settings.maintenance_work_mem_mb:,} MB, which takes many times as long: "
        f"set MEMOS_MAINTENANCE_WORK_MEM_MB={needed}",
    )


def _lacks_shared_memory(error: psycopg.Error) -> bool:
    """Whether a parallel build was refused its memory, which is allocated before the first row."""
    refused = isinstance(error, psycopg.errors.DiskFull | psycopg.errors.OutOfMemory)
    return refused and "shared memory" in str(error)


def _build(engine: sa.Engine, index: SearchIndex, settings: BuildSettings, watch: Watch) -> None:
    if index.concurrently:
        _build_concurrently(engine, index, settings.as_settings(), watch)
    else:
        _build_in_transaction(engine, index, settings.as_settings(), watch)


def _build_in_transaction(
    engine: sa.Engine, index: SearchIndex, settings: Mapping[str, str], watch: Watch
) -> None:
    """Drop the former index and build, in one transaction; the table takes no writes meanwhile."""
    with engine.begin() as conn:
        driver = driver_of(conn)
        if _unless_others_build(conn, index) is not None:
            drop_index(conn, index.name, index.schema)
        put_in_force(conn, settings)
        with watched(engine, driver, watch):
            driver.execute(index.create(index.schema_in(conn), concurrently=False))
        put_mark(conn, index)


def _build_concurrently(
    engine: sa.Engine, index: SearchIndex, settings: Mapping[str, str], watch: Watch
) -> None:
    """Drop an invalid or outdated index and build beside readers and writers of the table.

    Outside of a transaction, as PostgreSQL demands. It waits for transactions that are older than
    the build, and blocks no other session meanwhile, so its timeout is long.
    """
    settings = {**settings, "lock_timeout": f"{CONCURRENT_PATIENCE_SECONDS}s"}
    with autocommit_connection(engine) as conn:
        driver = driver_of(conn)
        former = _unless_others_build(conn, index) is not None
        before = in_force(conn, settings)
        put_in_force(conn, settings, local=False)
        try:
            if former:
                drop_index(conn, index.name, index.schema, concurrently=True)
            with watched(engine, driver, watch):
                driver.execute(index.create(index.schema_in(conn), concurrently=True))
            put_mark(conn, index)
        finally:
            # The connection goes back to its pool, or is lost. `reset` would take the settings of
            # the database, which are not those of our connections.
            with suppress(psycopg.Error, sa.exc.DBAPIError):
                put_in_force(conn, before, local=False)


def _unless_others_build(conn: sa.Connection, index: SearchIndex) -> IndexState | None:
    state = state_of(conn, index.name, index.schema)
    if state is not None and not state.valid and state.builder is not None:
        raise TargetError(
            "M321",
            f"another session is building it, process {state.builder} of PostgreSQL",
            where=f"{index.schema_in(conn)}.{index.name}",
            fix="wait for it, then run again",
        )
    return state


def _left_invalid(engine: sa.Engine, index: SearchIndex) -> bool:
    """Whether a concurrent build is known to have left something behind."""
    if not index.concurrently:
        return False
    with suppress(sa.exc.DBAPIError), engine.connect() as conn:
        state = state_of(conn, index.name, index.schema)
        return state is not None and not state.valid
    return False
