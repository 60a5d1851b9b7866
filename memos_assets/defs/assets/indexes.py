"""Search indexes as assets: built after the load, each in a transaction of its own."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import TABLES, TableSpec
from memos_assets.defs.assets.sources import OWNERS
from memos_assets.defs.assets.tables import table_key
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.search.indexes import SearchIndex, ensure_index, search_indexes

#: Builds take memory and both cores: one at a time.
BUILD_POOL = "postgres_index_build"


def index_key(name: str) -> dg.AssetKey:
    """Return the asset key of a search index."""
    return dg.AssetKey(["memos", "indexes", name])


def _spec_of(spec: TableSpec, index: SearchIndex) -> dg.AssetSpec:
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


def table_indexes(spec: TableSpec) -> dg.AssetsDefinition:
    """Return the indexes of one table; each can be materialised by itself."""
    indexes = {index_key(index.name): index for index in search_indexes(spec)}

    @dg.multi_asset(
        name=f"{spec.name}_indexes",
        specs=[_spec_of(spec, index) for index in indexes.values()],
        can_subset=True,
        pool=BUILD_POOL,
    )
    def _indexes(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> Iterator[dg.MaterializeResult]:
        for key, index in indexes.items():
            if key not in context.selected_asset_keys:
                continue
            with reported():
                built = ensure_index(
                    postgres.engine,
                    index,
                    maintenance_work_mem_mb=postgres.settings.maintenance_work_mem_mb,
                )
            yield dg.MaterializeResult(
                asset_key=key,
                metadata={
                    "built": built.built,
                    "build_seconds": round(built.seconds, 3) if built.built else 0.0,
                    "rows_served": built.rows,
                    "index_bytes": built.bytes,
                },
            )

    return _indexes


index_assets = [table_indexes(spec) for spec in TABLES if search_indexes(spec)]
