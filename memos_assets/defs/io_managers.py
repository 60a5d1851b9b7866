"""Typed values in and out of PostgreSQL by annotation: tables, streams, frames, references."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
import pyarrow as pa
from psycopg import sql

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.consolidate.decoding.reader import CHUNKS, tasks_of
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.loading.load import load_stream
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import by_source, chunk_key
from memos_assets.defs.resources import Postgres
from memos_assets.errors import UsageError
from memos_assets.indexes.bulk_load import analyze, drop_before_bulk_load
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets.postgres.copy.decode import read_batches
from memos_assets.postgres.schema.tables import schema_in

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class TableReference:
    """Names rows instead of carrying them: a table and, if partitioned, the chunks of each source.

    ``chunks`` is None when all rows are meant, and empty when none are.
    """

    spec: TableSpec
    chunks: tuple[tuple[str, tuple[int, ...]], ...] | None = None

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.spec.name

    @property
    def qualified(self) -> str:
        """Schema-qualified name of the table."""
        return self.spec.qualified

    def query(self, schema: str | None = None) -> sql.Composed:
        """Return the query for these rows, with the columns of `arrow_schema.table_schema`.

        ``schema`` holds another version of the table; None: its own.
        """
        base = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join(map(sql.Identifier, table_schema(self.spec).names)),
            sql.Identifier(schema or self.spec.schema, self.table),
        )
        if self.chunks is None:
            return base
        if not self.chunks:
            return sql.SQL("{} where false").format(base)
        parts = [
            sql.SQL("(source = {} and chunk = any({}))").format(
                sql.Literal(source), sql.Literal(list(numbers))
            )
            for source, numbers in self.chunks
        ]
        return sql.SQL("{} where {}").format(base, sql.SQL(" or ").join(parts))


class PostgresTableIOManager(dg.ConfigurableIOManager):
    """Loads and reads the consolidated tables of catalogs, see `table_io_manager`.

    Writes a ``pa.RecordBatchReader`` or a ``pa.Table`` whose schema names its chunks (that is, one
    from `reader.chunk_stream`): each chunk is replaced in a transaction of its own. Reads, by the
    consumer's annotation, ``pa.Table``, ``pa.RecordBatchReader``, ``pandas.DataFrame``, or a
    ``TableReference``, which carries no rows.
    """

    catalogs: ClassVar[Sequence[Catalog]] = ()
    postgres: dg.ResourceDependency[Postgres]

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Replace the chunks that the value consists of."""
        with reported():
            spec = self._spec_of(context.asset_key)
            reader = self._as_reader(spec, obj)
            tasks = tasks_of(reader.schema)
            # pandas and Parquet leave metadata of their own, which names no chunks either.
            if CHUNKS not in (reader.schema.metadata or {}):
                raise UsageError(
                    "M532",
                    "the rows do not say which chunks they are, so none could be replaced",
                    where=spec.qualified,
                    fix="return chunk_stream(...), or its read_all()",
                )
            allowed = set(context.asset_partition_keys)
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
            incoming = sum(task.source_rows for task in tasks)
            dropped = drop_before_bulk_load(self.postgres.engine, spec, incoming)
            done = load_stream(self.postgres.engine, spec, reader, run_id=context.run_id)
            if done:
                analyze(self.postgres.engine, spec)
        context.add_output_metadata(
            {
                "rows_copied": sum(counts.rows for _, counts in done),
                "bytes_read": sum(task.source_bytes for task in tasks),
                "chunks_copied": len(tasks),
                "chunks_up_to_date": len(allowed) - len(tasks),
                "indexes_dropped": ", ".join(dropped) or "none",
            }
        )
        self._describe_chunks(context, spec)

    def _describe_chunks(self, context: dg.OutputContext, spec: TableSpec) -> None:
        """Give every partition of the run its own numbers, from the ledger."""
        for source, numbers in by_source(context.asset_partition_keys).items():
            with self.postgres.engine.connect() as conn:
                loaded = ledger.loaded_chunks(conn, source, spec)
            for number in numbers:
                chunk = loaded.get(number)
                if chunk is None:
                    continue
                context.step_context.add_asset_metadata(
                    {
                        "dagster/partition_row_count": chunk.rows + chunk.mirrored,
                        "source_rows": chunk.source_rows,
                        "source_bytes": chunk.source_bytes,
                        "rows_rejected": chunk.rejected,
                        "rows_mirrored": chunk.mirrored,
                        "rows_without_embedding": sum(chunk.without_embedding.values()),
                        "source_digest": chunk.digest,
                        "loaded_by_run": chunk.run_id,
                    },
                    asset_key=context.asset_key,
                    partition_key=chunk_key(source, number),
                )

    def load_input(self, context: dg.InputContext) -> object:
        """Return what the consumer's annotation asks for."""
        with reported():
            reference = self._reference(context)
            wanted = context.dagster_type.typing_type
            if wanted is TableReference:
                return reference
            if wanted is pa.Table:
                with self._batches(reference) as batches:
                    return pa.Table.from_batches(list(batches), table_schema(reference.spec))
            if wanted is pa.RecordBatchReader:
                return self._stream(reference)
            if _is_frame(wanted):
                return self._frame(reference)
            raise UsageError(
                "M531",
                f"cannot be read as {getattr(wanted, '__name__', wanted)}",
                where=reference.qualified,
                fix="annotate the input as pyarrow.Table, pyarrow.RecordBatchReader, "
                "pandas.DataFrame or TableReference",
            )

    @staticmethod
    def _as_reader(spec: TableSpec, obj: object) -> pa.RecordBatchReader:
        if isinstance(obj, pa.RecordBatchReader):
            return obj
        if isinstance(obj, pa.Table):
            return obj.to_reader()
        raise UsageError(
            "M531",
            f"cannot be written from {type(obj).__name__}",
            where=spec.qualified,
            fix="return a pyarrow.RecordBatchReader or a pyarrow.Table",
        )

    @contextmanager
    def _batches(self, reference: TableReference) -> Iterator[Iterator[pa.RecordBatch]]:
        with self.postgres.engine.begin() as conn:
            driver = driver_of(conn)
            query = reference.query(schema_in(conn, reference.spec.schema))
            yield read_batches(driver, query, table_schema(reference.spec))

    def _stream(self, reference: TableReference) -> pa.RecordBatchReader:
        def batches() -> Iterator[pa.RecordBatch]:
            with self._batches(reference) as rows:
                yield from rows

        return pa.RecordBatchReader.from_batches(table_schema(reference.spec), batches())

    def _frame(self, reference: TableReference) -> "pd.DataFrame":
        with self._batches(reference) as batches:
            table = pa.Table.from_batches(list(batches), table_schema(reference.spec))
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def _spec_of(self, key: dg.AssetKey) -> TableSpec:
        known = {
            Keys(catalog.names).table(spec.name): spec
            for catalog in self.catalogs
            for spec in catalog.tables
        }
        if key not in known:
            raise UsageError(
                "M534",
                "no table of the catalog",
                where=key.to_user_string(),
                fix="add a TableSpec to memos_assets/catalog; there are: "
                + _some([spec.name for spec in known.values()]),
            )
        return known[key]

    def _reference(self, context: dg.InputContext) -> TableReference:
        spec = self._spec_of(context.asset_key)
        if not context.has_asset_partitions:
            return TableReference(spec)
        keys: list[Any] = list(context.asset_partition_keys)
        if not keys and context.step_context.entity_partitions_def is None:
            # An instance that observed nothing knows no chunk. A consumer without partitions means
            # all rows.
            return TableReference(spec)
        chunks = tuple((source, tuple(numbers)) for source, numbers in by_source(keys).items())
        return TableReference(spec, chunks)


def table_io_manager(postgres: Postgres, catalogs: Sequence[Catalog]) -> PostgresTableIOManager:
    """Return the I/O manager for the consolidated tables of catalogs."""

    class _OfCatalogs(PostgresTableIOManager):
        pass

    # Not a field: Dagster makes the resource anew from its fields, and shows them.
    _OfCatalogs.catalogs = catalogs
    return _OfCatalogs(postgres=postgres)


def _is_frame(wanted: object) -> bool:
    """Whether a type is pandas' frame, without importing pandas to find out."""
    module = getattr(wanted, "__module__", "").partition(".")[0]
    return module == "pandas" and getattr(wanted, "__name__", "") == "DataFrame"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
