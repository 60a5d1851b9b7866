"""Search indexes as assets: built after the load, each in a transaction of its own."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextvars import copy_context

import dagster as dg

from memos_assets.catalog import TABLES, TABLES_BY_NAME
from memos_assets.defs.assets.sources import OWNERS
from memos_assets.defs.assets.tables import table_key
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.search.indexes import (
    BuiltIndex,
    SearchIndex,
    build_costs,
    ensure_index,
    search_indexes,
)

#: Builds take memory and all cores: one step builds at a time.
BUILD_POOL = "postgres_index_build"
#: Indexes that one step builds side by side. Many small builds use two cores better this way than
#: by PostgreSQL's own parallel workers: 5.1 s against 8.8 s (2026-11-22, docs/benchmarks.md).
BUILDERS = 2


def index_key(name: str) -> dg.AssetKey:
    """Return the asset key of a search index."""
    return dg.AssetKey(["memos", "indexes", name])


INDEXES = {index_key(index.name): index for spec in TABLES for index in search_indexes(spec)}


def _asset_spec(key: dg.AssetKey, index: SearchIndex) -> dg.AssetSpec:
    spec = TABLES_BY_NAME[index.table]
    return dg.AssetSpec(
        key=key,
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
    specs=[_asset_spec(key, index) for key, index in INDEXES.items()],
    can_subset=True,
    pool=BUILD_POOL,
)
def index_assets(
    context: dg.AssetExecutionContext, postgres: Postgres
) -> Iterator[dg.MaterializeResult]:
    """Build the selected indexes that are missing or invalid; each can be asked for by itself."""
    selected = [INDEXES[key] for key in INDEXES if key in context.selected_asset_keys]
    with reported():
        for built in _build(postgres, selected):
            yield dg.MaterializeResult(
                asset_key=index_key(built.name),
                metadata={
                    "built": built.built,
                    "build_seconds": round(built.seconds, 3) if built.built else 0.0,
                    "rows_served": built.rows,
                    "index_bytes": built.bytes,
                },
            )


def _build(postgres: Postgres, indexes: Sequence[SearchIndex]) -> Iterator[BuiltIndex]:
    """Yield indexes as they are ready; a failure ends it after the builds under way."""
    memory = postgres.settings.maintenance_work_mem_mb // BUILDERS
    cores = os.cpu_count() or 1
    costs = build_costs(postgres.engine, indexes)
    whole = sum(costs.values())

    def workers(index: SearchIndex) -> int:
        """A build that outweighs all others gets the cores; the rest run side by side."""
        return cores - 1 if costs[index.name] * 2 > whole else cores // BUILDERS - 1

    with ThreadPoolExecutor(BUILDERS, thread_name_prefix="index") as builders:
        futures = [
            builders.submit(
                copy_context().run,
                ensure_index,
                postgres.engine,
                index,
                maintenance_work_mem_mb=memory,
                parallel_workers=max(0, workers(index)),
            )
            for index in sorted(indexes, key=lambda index: -costs[index.name])
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
