"""Search indexes as assets: built after the load, each in a transaction of its own."""

import time
from collections.abc import Iterator, Mapping

import dagster as dg

from memos_assets.catalog import INDEXED, IndexedTable
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, index_key, table_key
from memos_assets.defs.resources import Postgres
from memos_assets.indexes.build import BuiltIndex
from memos_assets.indexes.build_many import build_indexes
from memos_assets.indexes.build_progress import BuildStep, Tell
from memos_assets.indexes.definitions import SearchIndex, search_indexes

#: Builds take memory and all cores: one step builds at a time. Loads have a pool of their own, so
#: neither waits for the other; `pools` in dagster.yaml says how many steps each lets through.
BUILD_POOL = "postgres_index_build"
#: A build says this often how far it is.
LOG_SECONDS = 10


INDEXES = {index_key(index.name): index for spec in INDEXED for index in search_indexes(spec)}


def _asset_spec(spec: IndexedTable, index: SearchIndex) -> dg.AssetSpec:
    return dg.AssetSpec(
        key=index_key(index.name),
        deps=[table_key(spec)],
        group_name="indexes",
        kinds={"postgres"},
        owners=OWNERS,
        code_version=spec.fingerprint,
        description=f"{index.strategy} on `{spec.qualified}`.",
        metadata={"strategy": index.strategy, "dagster/table_name": spec.qualified},
        skippable=True,
    )


@dg.multi_asset(
    name="search_indexes",
    specs=[_asset_spec(spec, index) for spec in INDEXED for index in search_indexes(spec)],
    can_subset=True,
    pool=BUILD_POOL,
)
def index_assets(
    context: dg.AssetExecutionContext, postgres: Postgres
) -> Iterator[dg.MaterializeResult]:
    """Build the selected indexes that are missing or invalid; each can be asked for by itself."""
    selected = [INDEXES[key] for key in INDEXES if key in context.selected_asset_keys]
    with reported():
        for built in build_indexes(
            postgres.engine,
            selected,
            budget_mb=postgres.settings.maintenance_work_mem_mb,
            tell=logged(context.log),
        ):
            yield dg.MaterializeResult(
                asset_key=index_key(built.name), metadata=build_metadata(built)
            )


def build_metadata(built: BuiltIndex) -> Mapping[str, bool | int | float | str]:
    """Return what a build took beside what was forecast; rows and bytes where nothing was built."""
    fact: dict[str, bool | int | float | str] = {
        "built": built.built,
        "build_seconds": round(built.seconds, 3),
        "rows_served": built.rows,
        "index_bytes": built.bytes,
    }
    if built.forecast is None or built.settings is None:
        return fact
    fact |= {
        "forecast_seconds": round(built.expected_seconds or 0, 3),
        "forecast_basis": built.forecast.basis,
        "forecast_index_bytes": built.forecast.disk_bytes,
        "forecast_memory_bytes": built.forecast.memory_bytes,
        "maintenance_work_mem_mb": built.settings.maintenance_work_mem_mb,
        "parallel_workers": built.settings.parallel_workers,
    }
    if built.in_memory is not None:
        fact["graph_in_memory"] = built.in_memory
    return fact


def logged(log: dg.DagsterLogManager) -> Tell:
    """Return what logs the steps of builds: what somebody should know, the rest at a low rate."""
    latest: dict[str, float] = {}

    def tell(step: BuildStep) -> None:
        if step.warning:
            log.warning(step.line())
        elif step.notice and step.expected_seconds >= 1:
            log.info(step.line())
        elif time.monotonic() - latest.setdefault(step.index, time.monotonic()) >= LOG_SECONDS:
            latest[step.index] = time.monotonic()
            log.info(step.line())

    return tell
