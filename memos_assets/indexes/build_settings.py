"""Memory and workers of a build, from its forecast and the budget."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from memos_assets.indexes.forecast import IndexForecast

_MIB = 1 << 20
#: Of a parallel build's memory: 3 MB for other things in its shared memory, 1 MB of reserve.
_PARALLEL_MARGIN_MB = 4
#: PostgreSQL starts no worker unless each process of the build would have this much.
_PROCESS_MB = 32
#: Less than this is never set: it would save nothing.
_LEAST_MB = 16
#: Workers pay from so many seconds of one process on: they start in some milliseconds.
_WORKERS_FROM_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class BuildSettings:
    """Settings of one build.

    Attributes:
        maintenance_work_mem_mb: memory; a parallel build allocates all of it at its start.
        parallel_workers: beside the process that builds.
        fits: whether the memory holds what the build needs.
    """

    maintenance_work_mem_mb: int
    parallel_workers: int
    fits: bool = True

    @property
    def memory_bytes(self) -> int:
        """Memory in bytes."""
        return self.maintenance_work_mem_mb * _MIB

    def as_settings(self) -> dict[str, str]:
        """Return PostgreSQL's settings.

        PostgreSQL plans workers by the pages of a table, and large embeddings are stored outside of
        those: a table of 20,000 rows would get none (pgvector#397). With the least size 0 it gets
        the requested number.
        """
        return {
            "maintenance_work_mem": f"{self.maintenance_work_mem_mb}MB",
            "max_parallel_maintenance_workers": str(self.parallel_workers),
            "min_parallel_table_scan_size": "0",
        }


def memory_needed_mb(forecast: IndexForecast, workers: int) -> int:
    """Return the ``maintenance_work_mem`` that a build needs to stay in memory, in MB."""
    needed = -(-forecast.memory_bytes // _MIB)
    if workers:
        return max(needed + _PARALLEL_MARGIN_MB, _PROCESS_MB * (workers + 1))
    return max(needed, _LEAST_MB)


def settings_for(forecast: IndexForecast, *, budget_mb: int, workers: int) -> BuildSettings:
    """Choose the settings of a build: as much memory as it needs, at most the budget.

    Workers are left out where they would not pay, and where the memory they take is what keeps the
    graph in memory.
    """
    if forecast.seconds < _WORKERS_FROM_SECONDS:
        workers = 0
    while workers and memory_needed_mb(forecast, workers) > budget_mb:
        if budget_mb < _PROCESS_MB * (workers + 1) or memory_needed_mb(forecast, 0) <= budget_mb:
            workers -= 1
        else:
            break
    needed = memory_needed_mb(forecast, workers)
    return BuildSettings(min(needed, budget_mb), workers, fits=needed <= budget_mb)


class MemoryBudget:
    """Memory that several builds share; each waits until its part is free."""

    def __init__(self, mb: int) -> None:
        self.mb = mb
        self._free = mb
        self._returned = threading.Condition()

    @contextmanager
    def part(self, mb: int) -> Iterator[int]:
        """Reserve ``mb`` of the budget, at most all of it; yield the reserved MB."""
        reserved = min(mb, self.mb)
        with self._returned:
            self._returned.wait_for(lambda: self._free >= reserved)
            self._free -= reserved
        try:
            yield reserved
        finally:
            with self._returned:
                self._free += reserved
                self._returned.notify_all()
