"""Search indexes as assets: built after the load, each in a transaction of its own."""

import time
from collections.abc import Iterator, Mapping

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog, Table
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.indexes.build import BuiltIndex
from memos_assets.indexes.build_many import build_indexes
from memos_assets.indexes.build_progress import BuildStep, Tell
from memos_assets.indexes.definitions import SearchIndex, search_indexes
from memos_assets.postgres.application.presence import NOT_HERE

#: Builds take memory and all cores: one step builds at a time. Loads have a pool of their own, so
#: neither waits for the other; `pools` in dagster.yaml says how many steps each lets through.
BUILD_POOL = "postgres_index_build"
#: A build says this often how far it is.
LOG_SECONDS = 10


def indexes_of(catalog: Catalog) -> dict[dg.AssetKey, SearchIndex]:
    """Return the asset key of every search index."""
    keys = Keys(catalog.names)
    return {
        keys.index(index.name): index
        for table in catalog.indexed
        for index in search_indexes(table)
    }


def _asset_spec(catalog: Catalog, table: Table, index: SearchIndex) -> dg.AssetSpec:
    keys = Keys(catalog.names)
    return dg.AssetSpec(
        key=keys.index(index.name),
        deps=[keys.table(table.name)],
        group_name=catalog.names.job("indexes"),
        kinds={"postgres"},
        owners=OWNERS,
        code_version=table.fingerprint,
        description=f"{index.strategy} on `{table.qualified}`.",
        metadata={"strategy": index.strategy, "dagster/table_name": table.qualified},
        skippable=True,
    )


def index_step(names: AssetNames) -> str:
    """Return the name of the step that builds indexes."""
    return names.job("search_indexes")


def index_assets(catalog: Catalog) -> dg.AssetsDefinition:
    """Return the search indexes of a catalog, which one step builds."""
    indexes, keys = indexes_of(catalog), Keys(catalog.names)

    @dg.multi_asset(
        name=index_step(catalog.names),
        specs=[
            _asset_spec(catalog, table, index)
            for table in catalog.indexed
            for index in search_indexes(table)
        ],
        can_subset=True,
        pool=BUILD_POOL,
    )
    def _indexes(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> Iterator[dg.MaterializeResult]:
        """Build the selected indexes that are missing or invalid; each can be asked for alone."""
        selected = [indexes[key] for key in indexes if key in context.selected_asset_keys]
        with reported():
            for built in build_indexes(
                postgres.engine,
                selected,
                budget_mb=postgres.settings.maintenance_work_mem_mb,
                tell=logged(context.log),
            ):
                yield dg.MaterializeResult(
                    asset_key=keys.index(built.name), metadata=build_metadata(built)
                )

    return _indexes


def build_metadata(built: BuiltIndex) -> Mapping[str, bool | int | float | str]:
    """Return what a build took beside what was forecast; rows and bytes where nothing was built."""
    fact: dict[str, bool | int | float | str] = {
        "built": built.built,
        "build_seconds": round(built.seconds, 3),
        "rows_served": built.rows,
        "index_bytes": built.bytes,
    }
    if built.absent:
        fact["table"] = NOT_HERE
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
