"""The vector indexes of a dry run: strategy, memory, disk and time of each, before there is one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from memos_assets.cli.display import titled_table
from memos_assets.consolidate.loading.dry_run import TableForecast
from memos_assets.indexes.build_settings import memory_needed_mb
from memos_assets.indexes.forecast import IndexForecast, forecast_graph, graph_of
from memos_assets.report.formatting import seconds, size


@dataclass(frozen=True, slots=True)
class PlannedIndex:
    """How the embeddings of one table and dimension would be searched.

    Attributes:
        table: with its schema.
        dimension: elements of each embedding.
        embeddings: of all sources.
        strategy: in words.
        index: name of the index; None where there would be none.
        forecast: of its build.
        budget_mb: memory of all builds together.
    """

    table: str
    dimension: int
    embeddings: int
    strategy: str
    index: str | None
    forecast: IndexForecast | None
    budget_mb: int

    @property
    def memory_mb(self) -> int | None:
        """The ``maintenance_work_mem`` that its build needs."""
        return None if self.forecast is None else memory_needed_mb(self.forecast, 0)

    @property
    def fits(self) -> bool:
        """Whether the budget holds it."""
        return self.memory_mb is None or self.memory_mb <= self.budget_mb

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        content: dict[str, object] = {
            "table": self.table,
            "dimension": self.dimension,
            "embeddings": self.embeddings,
            "strategy": self.strategy,
            "index": self.index,
        }
        if self.forecast is not None:
            content |= {
                "maintenance_work_mem_mb": self.memory_mb,
                "budget_mb": self.budget_mb,
                "fits": self.fits,
                "memory_bytes": self.forecast.memory_bytes,
                "disk_bytes": self.forecast.disk_bytes,
                "seconds": round(self.forecast.seconds, 2),
                "seconds_basis": self.forecast.basis,
            }
        return content


def plan_indexes(forecasts: Sequence[TableForecast], budget_mb: int) -> list[PlannedIndex]:
    """Return every table and dimension once, also where several sources fill it."""
    specs = {forecast.spec.name: forecast.spec for forecast in forecasts}
    embeddings: Counter[tuple[str, int, str]] = Counter()
    for forecast in forecasts:
        for dimension, count, strategy in forecast.strategies():
            embeddings[forecast.spec.name, dimension, strategy] += count
    planned = []
    for (table, dimension, strategy), count in sorted(embeddings.items()):
        spec = specs[table]
        index = next(
            (i for i in spec.vector_indexes if (i.dimension, i.strategy) == (dimension, strategy)),
            None,
        )
        planned.append(
            PlannedIndex(
                spec.qualified,
                dimension,
                count,
                strategy,
                index.name if index else None,
                forecast_graph(graph_of(index), count) if index else None,
                budget_mb,
            )
        )
    return planned


def indexes_table(planned: Sequence[PlannedIndex]) -> Table:
    """Return strategies and forecasts as people read them."""
    table = titled_table("Vector indexes")
    table.add_column("table", overflow="fold")
    table.add_column("strategy", overflow="fold")
    for name in ("dimension", "embeddings", "memory", "disk", "build"):
        table.add_column(name, justify="right")
    for each in planned:
        cells = [each.table, each.strategy, f"{each.dimension:,}", f"{each.embeddings:,}"]
        if each.forecast is not None:
            memory = f"{each.memory_mb:,} MB"
            cells += [
                memory if each.fits else f"[yellow]{memory}[/]",
                size(each.forecast.disk_bytes),
                seconds(each.forecast.seconds),
            ]
        table.add_row(*cells)
    return table


def indexes_note(planned: Sequence[PlannedIndex], budget_mb: int) -> str:
    """Say whether the memory suffices, and where the seconds come from."""
    beyond = [each for each in planned if not each.fits]
    budget = f"the {budget_mb:,} MB that all builds may take together"
    if beyond:
        needed = max(each.memory_mb or 0 for each in beyond)
        many = len(beyond) > 1
        fit = (
            f"{len(beyond)} graph{'s' if many else ''} need{'' if many else 's'} more than {budget}"
            " and would be built on disk, many times slower. "
            f"Fix: set MEMOS_MAINTENANCE_WORK_MEM_MB={needed}."
        )
    else:
        fit = f"Every graph fits {budget} (MEMOS_MAINTENANCE_WORK_MEM_MB)."
    return (
        f"{fit} Memory and disk follow from rows and dimensions; seconds are of one core at rates "
        "that were measured elsewhere, and a build of 10,000 rows or more times a sample first."
    )
