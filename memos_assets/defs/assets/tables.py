"""One asset per table: the body chooses the stale chunks, the I/O manager loads them."""

import warnings

import dagster as dg
import pyarrow as pa

from memos_assets.catalog import Catalog, FileKind, TableSpec
from memos_assets.consolidate.decoding.reader import ChunkTask, chunk_stream
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.observe import pins_for
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.partitions import by_source, chunks_of
from memos_assets.defs.resources import Postgres
from memos_assets.defs.tags import RELOAD_TAG, consolidation_of
from memos_assets.postgres.copy.arrow_schema import table_schema

#: Loads of one table queue behind each other; see `concurrency.pools` in dagster.yaml.
WRITE_POOL = "postgres_write"


def _column_schema(spec: TableSpec) -> dg.TableSchema:
    about = {column.name: column.about for column in spec.columns}
    about |= {vector.name: vector.about for vector in spec.vectors}
    about |= {"source": "The SQLite file the row comes from."}
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=field.name,
                type=field.metadata[b"postgres"].decode(),
                description=about.get(field.name) or None,
                constraints=dg.TableColumnConstraints(
                    nullable=field.name not in {*spec.primary_key, "chunk", "source_rowid"}
                ),
            )
            for field in table_schema(spec)
        ]
    )


def _column_lineage(source: dg.AssetKey, spec: TableSpec) -> dg.TableColumnLineage:
    """Name the SQLite column, as `table.column`, that each column comes from."""
    origins = {column.name: [column.origin] for column in spec.columns}
    for vector in spec.vectors:
        origins[vector.name] = [vector.origin]
        origins[vector.reason_name] = [vector.origin]
        origins[vector.dimension_name] = [vector.dimension_origin or vector.origin]
    if spec.mirrored:
        origins["reversed"] = [spec.column("bidirectional").origin]
    if spec.has_loose_links:
        origins["missing"] = [spec.column(link.column).origin for link in spec.links]
    return dg.TableColumnLineage(
        deps_by_column={
            name: [
                dg.TableColumnDep(asset_key=source, column_name=f"{spec.origin}.{column}")
                for column in columns
            ]
            for name, columns in origins.items()
        }
    )


def stale_work(
    context: dg.AssetExecutionContext, postgres: Postgres, kind: FileKind, spec: TableSpec
) -> list[tuple[Pin, ChunkTask]]:
    """Return the chunks of this run whose rows are not those of the pin, in the order of keys."""
    engine, folder = postgres.engine, postgres.settings.pins_folder
    wanted = by_source(context.partition_keys)
    reload = Reload.parse(context.run.tags.get(RELOAD_TAG))
    with engine.connect() as conn:
        sources = registry.sources_named(conn, kind, wanted)
    pins = pins_for(engine, folder, consolidation_of(context.run), sources)
    with engine.connect() as conn:
        return [
            (pin, task)
            for pin in pins
            for task in ledger.stale_tasks(conn, spec, pin, reload=reload)
            if task.chunk in wanted[pin.source]
        ]


def consolidated_table(catalog: Catalog, kind: FileKind, spec: TableSpec) -> dg.AssetsDefinition:
    """Return the asset that loads chunks of ``spec`` from SQLite into PostgreSQL."""
    keys = Keys(catalog.names)
    linked = {link.table for link in spec.links if link.table != spec.name}

    @dg.asset(
        key=keys.table(spec.name),
        deps=[
            keys.source(kind),
            *(keys.table(other.name) for other in kind.tables if other.name in linked),
        ],
        partitions_def=chunks_of(catalog.names, kind),
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="postgres_table",
        group_name=catalog.names.job("tables"),
        kinds={"postgres", "table"},
        owners=OWNERS,
        pool=WRITE_POOL,
        code_version=spec.fingerprint,
        description=f"{spec.about}\n\n`{spec.origin}` as `{spec.qualified}`, "
        f"keyed by {', '.join(f'`{name}`' for name in spec.primary_key)}.",
        metadata={
            "dagster/table_name": spec.qualified,
            "dagster/column_schema": _column_schema(spec),
            "dagster/column_lineage": _column_lineage(keys.source(kind), spec),
        },
    )
    def _table(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[pa.RecordBatchReader]:
        with reported():
            declared = postgres.declared(catalog).kind(kind.name)
            return dg.MaterializeResult(
                value=chunk_stream(spec, stale_work(context, postgres, declared, spec))
            )

    return _table


def table_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Return the assets of a catalog's tables."""
    with warnings.catch_warnings():
        # `backfill_policy` of @asset is marked beta in dagster 1.13; one run for many chunks needs
        # it.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return [
            consolidated_table(catalog, kind, spec)
            for kind in catalog.consolidated
            for spec in kind.tables
        ]
