"""Build many indexes: the costly ones first, side by side, within one budget of memory."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context
from dataclasses import dataclass

import sqlalchemy as sa

from memos_assets.indexes.build import BuiltIndex, ensure_index
from memos_assets.indexes.build_progress import Tell
from memos_assets.indexes.build_settings import MemoryBudget, memory_needed_mb
from memos_assets.indexes.definitions import SearchIndex, forecast_by_rate, measured, state_of
from memos_assets.indexes.forecast import IndexForecast
from memos_assets.postgres.application.presence import application_is_absent

#: Indexes that are built side by side. Many small builds use two cores better this way than by
#: PostgreSQL's own parallel workers: 5.1 s against 8.8 s (2026-11-22, docs/benchmarks.md).
BUILDERS = 2


@dataclass(frozen=True, slots=True)
class ScheduledBuild:
    """A build, the workers it may use, and the memory it needs, in MB."""

    index: SearchIndex
    workers: int
    memory_mb: int


def schedule_builds(
    forecasts: Sequence[tuple[SearchIndex, IndexForecast]], cores: int
) -> list[ScheduledBuild]:
    """Order builds, the longest first, and share out the cores.

    A build that outweighs all others gets them; the rest run side by side.
    """
    whole = sum(forecast.seconds for _, forecast in forecasts)
    scheduled = []
    for index, forecast in sorted(forecasts, key=lambda pair: -pair[1].seconds):
        outweighs = forecast.seconds * 2 > whole
        workers = max(0, cores - 1 if outweighs else cores // BUILDERS - 1)
        scheduled.append(ScheduledBuild(index, workers, memory_needed_mb(forecast, workers)))
    return scheduled


def build_indexes(
    engine: sa.Engine, indexes: Sequence[SearchIndex], *, budget_mb: int, tell: Tell | None = None
) -> Iterator[BuiltIndex]:
    """Yield indexes as they are ready; a failure ends it after the builds under way.

    Those of live tables come last, one by one: concurrent builds on one table wait for each other,
    and for every other transaction of the database. They are not built where memOS's tables are
    absent.

    Args:
        engine: of the target database.
        indexes: that are wanted; valid ones are left as they are.
        budget_mb: memory of all builds together, as they take it at the same time.
        tell: is called with the progress of each build, in its thread.

    Raises:
        TargetError: M320 to M323, see `ensure_index`.
    """
    with engine.connect() as conn:
        absent = {i.name for i in indexes if i.live} if application_is_absent(conn) else set()
        indexes = [index for index in indexes if index.name not in absent]
        forecasts = [(index, _by_rate(conn, index)) for index in indexes if not index.concurrently]
        live = [(index, _by_rate(conn, index)) for index in indexes if index.concurrently]
    budget = MemoryBudget(budget_mb)

    def build(scheduled: ScheduledBuild) -> BuiltIndex:
        with budget.part(scheduled.memory_mb) as granted_mb:
            return ensure_index(
                engine,
                scheduled.index,
                maintenance_work_mem_mb=granted_mb,
                parallel_workers=scheduled.workers,
                tell=tell,
            )

    with ThreadPoolExecutor(BUILDERS, thread_name_prefix="index") as builders:
        futures = [
            builders.submit(copy_context().run, build, scheduled)
            for scheduled in schedule_builds(forecasts, os.cpu_count() or 1)
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
    for scheduled in schedule_builds(live, os.cpu_count() or 1):
        yield build(scheduled)
    for name in sorted(absent):
        yield BuiltIndex(name, built=False, seconds=0, bytes=0, rows=0, absent=True)


def _by_rate(conn: sa.Connection, index: SearchIndex) -> IndexForecast:
    """Forecast the rest of the work: none where a valid index is there."""
    state = state_of(conn, index.name, index.schema)
    rows, column_bytes = (0, 0) if index.is_built(state) else measured(conn, index)
    return forecast_by_rate(index, rows, column_bytes)
