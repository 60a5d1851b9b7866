"""Generated vectors in a table of the catalog, in a schema of their own: loaded, searched, timed.

Rows are written, indexed and searched by production code; vectors are a function of a seed
and are made batch by batch, so that no trial needs memory for all of them.
"""

import math
import os
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Catalog, TableSpec, VectorColumn, VectorIndex
from memos_assets.catalog.columns import PAGE_ROW_BYTES, Stored, rows_of_a_page, value_bytes
from memos_assets.clustered_vectors import VectorSpace
from memos_assets.errors import TargetError, UsageError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.build_settings import memory_needed_mb
from memos_assets.indexes.definitions import hnsw_index, rows_in, search_indexes
from memos_assets.indexes.forecast import forecast_graph, graph_of
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.connection import autocommit_connection, driver_of
from memos_assets.postgres.copy import encode as copy_binary
from memos_assets.postgres.copy.arrow_schema import postgres_type, table_schema, typed_field
from memos_assets.postgres.engine import shown
from memos_assets.postgres.schema.consolidated import stored_in_line, table_of
from memos_assets.postgres.schema.tables import in_schema, schema_in
from memos_assets.postgres.vector_names import VectorName
from memos_assets.progress import Progress, report
from memos_assets.search.exact import Neighbours, nearest_in

#: Schema of the trials; it is dropped at the end of each.
TRIAL_SCHEMA = "memos_impact"
#: Neighbours that each query asks for.
K = 10
#: Rows that are generated and written at once.
BATCH_ROWS = 1_000

#: Centres of the clusters of one table.
_CLUSTERS = 1_000
PAGE_BYTES = 8_192
_SENTENCE = (
    "The robot stopped in cell {0}; its controller showed SRVO-{0}, see page {0} of the manual."
)

Float = npt.NDArray[np.float32] | npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table stores its embeddings.

    Attributes:
        name: in words.
        stored: type of the column; None: as the catalog has it.
        in_line: keep embeddings within their rows as far as a page holds them, or move them to
            TOAST; None: as the catalog has it.
    """

    name: str
    stored: Stored | None = None
    in_line: bool | None = None

    @property
    def scan(self) -> str:
        """An exact scan of such a table, in words."""
        return f"scan, {self.name}"


OURS = Layout("as the catalog stores it")
#: pgvector's default, which memOS leaves as it is.
AS_STORED = Layout("as memOS stores it", in_line=False)


@dataclass(frozen=True)
class Generated:
    """Rows of a table of the catalog: unit vectors around centres, rounded to the stored type.

    Attributes:
        spec: the table.
        index: of the dimension, which names the column.
        rows: how many.
        seed: of the vectors.
    """

    spec: TableSpec
    index: VectorIndex
    rows: int
    seed: int = 1

    @property
    def vector(self) -> VectorColumn:
        """The column of the embeddings."""
        return next(v for v in self.spec.vectors if v.name == self.index.column)

    def is_stored_by(self, layout: Layout) -> bool:
        """Whether a layout is the catalog's own."""
        is_in_line = self.spec.row_target is not None
        return (layout.stored or self.vector.stored) == self.vector.stored and (
            layout.in_line is None or layout.in_line == is_in_line
        )

    @cached_property
    def _space(self) -> VectorSpace:
        seed = f"trial/{self.seed}"
        return VectorSpace(seed, self.index.dimension, clusters=_CLUSTERS, norm=1.0)

    def batches(self) -> Iterator[Float]:
        """Yield the vectors, ``(n, dimension)`` at a time, the same ones whenever it is asked."""
        for start in range(0, self.rows, BATCH_ROWS):
            yield self._draw(min(BATCH_ROWS, self.rows - start), f"rows from {start}")

    def queries(self, count: int) -> Float:
        """Return vectors to search for, ``(count, dimension)``; none of them is a row."""
        return self._draw(count, "queries")

    def neighbours(self, queries: Float) -> Neighbours:
        """Return the true neighbours of each query, by float64 arithmetic over all rows."""
        return nearest_in(self.batches(), queries, K)

    def _draw(self, count: int, name: str) -> Float:
        chosen = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        vectors = self._space.rows(chosen.integers(0, _CLUSTERS, count).tolist(), name)
        return vectors.astype(np.float16) if self.index.stored == "halfvec" else vectors


def index_for(catalog: Catalog, dimension: int) -> tuple[TableSpec, VectorIndex]:
    """Return a table and its index of a dimension, on a float32 column where there is one.

    Raises:
        UsageError: M586 the catalog has none.
    """
    indexes = [(spec, index) for spec in catalog.tables for index in spec.vector_indexes]
    found = [(spec, index) for spec, index in indexes if index.dimension == dimension]
    if not found:
        known = ", ".join(f"{known:,}" for known in sorted({i.dimension for _, i in indexes}))
        raise UsageError(
            "M586",
            "no embedding of the catalog has this many elements",
            where=f"dimension {dimension:,}",
            fix=f"pass one of {known}",
        )
    preferred = "vector" if rows_of_a_page(value_bytes("vector", dimension)) else "halfvec"
    # One vector column and a key of one column: nothing else has to be made up.
    plainest = [(spec, index) for spec, index in found if len(spec.vectors) == 1]
    return min(plainest or found, key=lambda pair: pair[1].stored != preferred)


def fits_page(layout: Layout, dimension: int) -> bool:
    """Whether a page holds a row with its embedding; without that, none is stored in line."""
    return rows_of_a_page(value_bytes(layout.stored or "vector", dimension)) > 0


@contextmanager
def trial_schema(engine: sa.Engine, catalog: Catalog) -> Iterator[sa.Engine]:
    """Yield an engine for which an empty schema holds the consolidated tables; drop it afterwards.

    Raises:
        TargetError: M367 another process has a trial under way.
    """
    with advisory_locks.TRIAL.tried_alone(engine) as taken:
        if not taken:
            raise TargetError(
                "M367",
                "another trial is under way in this database",
                where=shown(engine.url),
                fix="wait until it has ended, then run again",
            )
        _drop(engine)
        with engine.begin() as fresh:
            fresh.execute(sa.schema.CreateSchema(TRIAL_SCHEMA))
        try:
            yield in_schema(engine, catalog.schema, TRIAL_SCHEMA)
        finally:
            # Where the server is gone the next trial finds the schema, and drops it.
            with suppress(sa.exc.OperationalError):
                _drop(engine)


def _drop(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.schema.DropSchema(TRIAL_SCHEMA, cascade=True, if_exists=True))


def load(engine: sa.Engine, generated: Generated, layout: Layout = OURS) -> float:
    """Make the table anew, write the rows by binary COPY, and bring its statistics up to date.

    Args:
        engine: from `trial_schema`.
        generated: the rows.
        layout: how embeddings are stored.

    Returns:
        Seconds of the COPY; generating is part of it.
    """
    table = table_of(generated.spec)
    report(Progress("load", layout.name, total_rows=generated.rows))
    with engine.begin() as conn:
        driver = driver_of(conn)
        place = sql.Identifier(schema_in(conn, generated.spec.schema), table.name)
        table.drop(conn, checkfirst=True)
        table.create(conn)
        _store_as(driver, place, generated.vector, layout)
        names = table_schema(generated.spec).names
        copy_in = sql.SQL("copy {} ({}) from stdin (format binary)").format(
            place, sql.SQL(", ").join(map(sql.Identifier, names))
        )
        started = time.perf_counter()
        with driver.cursor() as cursor, cursor.copy(copy_in) as copy:
            copy.write(copy_binary.HEADER)
            for batch in _record_batches(generated, layout):
                copy.write(copy_binary.encode(batch))
                report(Progress("load", layout.name, rows=batch.num_rows, bytes=batch.nbytes))
            copy.write(copy_binary.TRAILER)
        seconds = time.perf_counter() - started
    with autocommit_connection(engine) as conn:
        driver = driver_of(conn)
        driver.execute(sql.SQL("vacuum (analyze) {}").format(place))
    report(Progress("load", layout.name, done=True))
    return seconds


def _store_as(
    driver: psycopg.Connection, place: sql.Identifier, vector: VectorColumn, layout: Layout
) -> None:
    column = sql.Identifier(vector.name)
    # A temporary schema needs no write-ahead log; pages are the same without it.
    driver.execute(sql.SQL("alter table {} set unlogged").format(place))
    if layout.stored is not None and layout.stored != vector.stored:
        driver.execute(
            sql.SQL("alter table {} alter column {} type {}").format(
                place, column, VectorName(layout.stored)
            )
        )
    if layout.in_line:
        driver.execute(stored_in_line(place, [vector.name], PAGE_ROW_BYTES))
    elif layout.in_line is not None:
        driver.execute(
            sql.SQL(
                "alter table {} alter column {} set storage external, reset (toast_tuple_target)"
            ).format(place, column)
        )


def _record_batches(generated: Generated, layout: Layout) -> Iterator[pa.RecordBatch]:
    spec, vector = generated.spec, generated.vector
    stored = layout.stored or vector.stored
    half = stored == "halfvec"
    field = typed_field(vector.name, stored)
    schema = table_schema(spec)
    schema = schema.set(schema.get_field_index(vector.name), field)
    first = 0
    for drawn in generated.batches():
        vectors: Float = drawn.astype(np.float16) if half else drawn.astype(np.float32)
        numbers = np.arange(first, first + len(vectors))
        first += len(vectors)
        yield pa.record_batch(
            [_values(spec, vector, field, numbers, vectors) for field in schema], schema=schema
        )


def _values(
    spec: TableSpec,
    vector: VectorColumn,
    field: pa.Field,
    numbers: npt.NDArray[np.int64],
    vectors: Float,
) -> pa.Array:
    """Return one column of a batch; columns other than keys, texts and embeddings are NULL."""
    count, dimension = vectors.shape
    if field.name == vector.name:
        offsets = np.arange(count + 1, dtype=np.int32) * dimension
        return pa.ListArray.from_arrays(offsets, vectors.reshape(-1))
    if field.name == vector.dimension_name:
        return pa.array(np.full(count, dimension), field.type)
    if field.name in spec.key:
        return pa.array(map(str, numbers.tolist()), field.type)
    if field.name in spec.texts and postgres_type(field) == "text":
        return pa.array((_SENTENCE.format(number) for number in numbers.tolist()), field.type)
    constant = {"source": "trial", "chunk": 0}.get(field.name)
    if constant is not None:
        return pa.array([constant] * count, field.type)
    if field.name == "source_rowid":
        return pa.array(numbers + 1, field.type)
    others = {other.reason_name for other in spec.vectors if other is not vector}
    return pa.array(["missing" if field.name in others else None] * count, field.type)


def build(engine: sa.Engine, spec: TableSpec, index: VectorIndex) -> float:
    """Build an HNSW index of a loaded table with memory for its whole graph; return seconds.

    Args:
        engine: whose data schema holds the table.
        spec: the table.
        index: of the catalog, or one that differs in its method.
    """
    listed = next(one for one in search_indexes(spec.as_table) if one.name == index.name)
    with engine.connect() as conn:
        rows = rows_in(conn, listed)
    workers = max(0, (os.cpu_count() or 1) - 1)
    return ensure_index(
        engine,
        hnsw_index(index, spec.schema, serves=listed.condition),
        maintenance_work_mem_mb=memory_needed_mb(forecast_graph(graph_of(index), rows), workers),
        parallel_workers=workers,
    ).seconds


def forecast_bytes(index: VectorIndex, rows: int) -> int:
    """Return the disk space that one table and its index take at most, however it is stored.

    TOAST cuts an embedding into chunks of which a page holds four; in line a page holds as many
    rows as it can.
    """
    value = value_bytes(index.stored, index.dimension)
    outside = 700 + math.ceil(value / 1_996) * PAGE_BYTES / 4
    in_line = PAGE_BYTES / max(1, rows_of_a_page(value))
    return round(rows * max(outside, in_line)) + forecast_graph(graph_of(index), rows).disk_bytes
