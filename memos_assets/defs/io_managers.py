"""Typed values in and out of PostgreSQL by annotation: tables, streams, frames, references."""

from collections.abc import Collection, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

import dagster as dg
import pyarrow as pa

from memos_assets.catalog import ApplicationTable, Catalog, TableSpec
from memos_assets.consolidate.decoding.reader import CHUNKS, ChunkTask, tasks_of
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.loading.counts import Counts
from memos_assets.consolidate.loading.load import load_chunks
from memos_assets.defs.dagster_internals import materialized, without_events_of_dagster
from memos_assets.defs.dropped_indexes import announce_drop, judge_again
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import by_source, chunk_key
from memos_assets.defs.resources import Postgres
from memos_assets.defs.row_handlers import TableRows, read_as, written_as
from memos_assets.defs.table_reference import TableReference
from memos_assets.errors import UsageError
from memos_assets.indexes.bulk_load import analyze, drop_before_bulk_load
from memos_assets.postgres.application.presence import absent_error, application_is_absent
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets.postgres.copy.decode import read_batches
from memos_assets.postgres.schema.tables import schema_in

#: Data version of a chunk without a row in the ledger: its source never had rows there.
_NO_ROWS = "no rows"


class PostgresTableIOManager(dg.ConfigurableIOManager):
    """Loads and reads consolidated tables of catalogs, and reads those of their applications.

    `row_handlers` lists the Python types that are written and that a consumer may annotate its
    input as. The schema of rows to write names their chunks (that is, it is from
    `reader.chunk_stream`): each chunk is replaced in a transaction of its own.

    An asset of an application stands for several tables, and is read as the first of them unless
    its input names another:
    ``dg.AssetIn(["memos", "quests"], metadata={"table": "user_quests"})``.
    """

    catalogs: ClassVar[Sequence[Catalog]] = ()
    postgres: dg.ResourceDependency[Postgres]

    # Dagster takes a generator, which its annotation does not say.
    def handle_output(  # type: ignore[override]
        self, context: dg.OutputContext, obj: object
    ) -> Iterator[dg.DagsterEvent]:
        """Replace the chunks that the value consists of; yield each partition as it is committed.

        A partition that is up to date is told first. One whose chunk is refused is not: the others
        are loaded, and told, before the refusal is raised. So partitions of a run that fails, or is
        killed, are materialised as far as the ledger has them.
        """
        with reported():
            spec = self._written_table(context.asset_key)
            reader: pa.RecordBatchReader = written_as(obj, TableRows, spec.qualified)
            tasks = _tasks(spec, reader, set(context.asset_partition_keys))
            yield from self._materialized(
                context,
                spec,
                set(context.asset_partition_keys)
                - {chunk_key(task.source, task.chunk) for task in tasks},
            )
            dropped = self._drop_indexes(context, spec, sum(task.source_rows for task in tasks))
            done: list[Counts] = []
            try:
                for task, counts in load_chunks(
                    self.postgres.engine, spec, reader, run_id=context.run_id
                ):
                    done.append(counts)
                    key = chunk_key(task.source, task.chunk)
                    yield from self._materialized(context, spec, {key})
            finally:
                if done:
                    analyze(self.postgres.engine, spec)
        # Of the run, and so on no partition.
        context.add_output_metadata(
            {
                "rows_copied": sum(counts.rows for counts in done),
                "bytes_read": sum(task.source_bytes for task in tasks),
                "chunks_copied": len(tasks),
                "chunks_up_to_date": len(context.asset_partition_keys) - len(tasks),
                "reals_read_as_integers": sum(counts.integral_reals.total() for counts in done),
                "indexes_dropped": ", ".join(dropped) or "none",
            }
        )
        without_events_of_dagster(context)

    def _drop_indexes(
        self, context: dg.OutputContext, spec: TableSpec, incoming: int
    ) -> Sequence[str]:
        """Drop search indexes before a bulk load; until they are built again it is shown so."""
        engine, instance = self.postgres.engine, context.step_context.instance
        catalog = self._catalog_of(spec)
        announced: list[str] = []

        def announce(names: Sequence[str]) -> None:
            announced.extend(names)
            announce_drop(instance, engine, catalog, names, rows=incoming, run_id=context.run_id)

        dropped = drop_before_bulk_load(engine, spec, incoming, announce)
        if announced and not dropped:
            judge_again(
                instance,
                engine,
                catalog,
                announced,
                run_id=context.run_id,
                settings=self.postgres.settings,
            )
        return dropped

    def _materialized(
        self, context: dg.OutputContext, spec: TableSpec, keys: Collection[str]
    ) -> Iterator[dg.DagsterEvent]:
        """Yield the event of each partition, with its own numbers and digest, from the ledger."""
        for source, numbers in by_source(keys).items():
            with self.postgres.engine.connect() as conn:
                loaded = ledger.loaded_chunks(conn, source, spec, numbers)
            for number in numbers:
                chunk = loaded.get(number)
                yield materialized(
                    context,
                    chunk_key(source, number),
                    chunk.digest if chunk else _NO_ROWS,
                    _numbers_of(chunk) if chunk else {},
                )

    def load_input(self, context: dg.InputContext) -> object:
        """Return what the consumer's annotation asks for."""
        with reported():
            reference = self._reference(context)
            schema = table_schema(reference.spec)
            rows = TableRows(reference, schema, partial(self._batches, reference, schema))
            return read_as(context.dagster_type.typing_type, rows, reference.qualified)

    def _batches(self, reference: TableReference, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self.postgres.engine.begin() as conn:
            if isinstance(reference.spec, ApplicationTable) and application_is_absent(conn):
                raise absent_error(reference.qualified)
            driver = driver_of(conn)
            query = reference.query(schema_in(conn, reference.spec.schema))
            yield from read_batches(driver, query, schema)

    def _table_of(self, key: dg.AssetKey, wanted: object = None) -> TableSpec | ApplicationTable:
        """Return the table that an asset stands for; of several the one that is wanted."""
        tables: dict[str, TableSpec | ApplicationTable] = {}
        known: list[str] = []
        for catalog in self.catalogs:
            keys = Keys(catalog.names)
            known += [spec.name for spec in catalog.tables]
            tables |= {spec.name: spec for spec in catalog.tables if keys.table(spec.name) == key}
            for asset, group in catalog.application.items():
                if keys.table(asset) == key:
                    tables |= {table.name: table for table in group}
        found = tables.get(str(wanted)) if wanted else next(iter(tables.values()), None)
        if found is None:
            raise UsageError(
                "M534",
                f"no table {wanted!r} of it in the catalog"
                if wanted
                else "no table of the catalog",
                where=key.to_user_string(),
                fix="add a TableSpec to memos_assets/catalog; there are: "
                + _some(list(tables) or known),
            )
        return found

    def _catalog_of(self, spec: TableSpec) -> Catalog:
        return next(catalog for catalog in self.catalogs if catalog.schema == spec.schema)

    def _written_table(self, key: dg.AssetKey) -> TableSpec:
        table = self._table_of(key)
        if isinstance(table, ApplicationTable):
            raise UsageError(
                "M537",
                "the application alone writes its tables",
                where=table.qualified,
                fix="return no value from this asset, or write through the application",
            )
        return table

    def _reference(self, context: dg.InputContext) -> TableReference:
        spec = self._table_of(context.asset_key, context.definition_metadata.get("table"))
        if isinstance(spec, ApplicationTable) or not context.has_asset_partitions:
            return TableReference(spec)
        keys: list[Any] = list(context.asset_partition_keys)
        if not keys and context.step_context.entity_partitions_def is None:
            # An instance that observed nothing knows no chunk. A consumer without partitions means
            # all rows.
            return TableReference(spec)
        chunks = tuple((source, tuple(numbers)) for source, numbers in by_source(keys).items())
        return TableReference(spec, chunks)


def table_io_manager(postgres: Postgres, catalogs: Sequence[Catalog]) -> PostgresTableIOManager:
    """Return the I/O manager for the tables of catalogs."""

    class _OfCatalogs(PostgresTableIOManager):
        pass

    # Not a field: Dagster makes the resource anew from its fields, and shows them.
    _OfCatalogs.catalogs = catalogs
    return _OfCatalogs(postgres=postgres)


def _tasks(
    spec: TableSpec, reader: pa.RecordBatchReader, allowed: Collection[str]
) -> list[ChunkTask]:
    """Return the chunks that a stream consists of.

    Raises:
        UsageError: M532 when it names none; M533 when one is not of this run.
    """
    tasks = tasks_of(reader.schema)
    # pandas and Parquet leave metadata of their own, which names no chunks either.
    if CHUNKS not in (reader.schema.metadata or {}):
        raise UsageError(
            "M532",
            "the rows do not say which chunks they are, so none could be replaced",
            where=spec.qualified,
            fix="return chunk_stream(...), or its read_all()",
        )
    stray = sorted(
        key for task in tasks if (key := chunk_key(task.source, task.chunk)) not in allowed
    )
    if stray:
        raise UsageError(
            "M533",
            f"rows of the chunks {', '.join(stray)} in a run of other chunks",
            where=spec.qualified,
            fix="stream only the chunks in context.partition_keys",
        )
    return tasks


def _numbers_of(chunk: ledger.LoadedChunk) -> dict[str, int | str]:
    return {
        "dagster/partition_row_count": chunk.rows + chunk.mirrored,
        "source_rows": chunk.source_rows,
        "source_bytes": chunk.source_bytes,
        "rows_rejected": chunk.rejected,
        "rows_mirrored": chunk.mirrored,
        "rows_without_embedding": sum(chunk.without_embedding.values()),
        "source_digest": chunk.digest,
        "loaded_by_run": chunk.run_id,
    }


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
