"""The gain of an index on this machine: exact scans and index searches over growing tables.

The remediation plan promises "4,166 x at 100K". Here the same rows are searched by an exact scan
of the table as memOS stores it, by exact scans of tables that store the embeddings better, and by
the index of the catalog; `Impact` has the ratio, and the row count that would reach 4,166 times.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Catalog, VectorIndex
from memos_assets.catalog.columns import HNSW_VECTOR_LIMIT, Stored
from memos_assets.errors import TargetError, UsageError
from memos_assets.impact.growth import Fit, fit, rows_where
from memos_assets.impact.latency import (
    Sizes,
    Timing,
    by_statement,
    scan,
    searching,
    served_by,
    sizes,
    timed,
)
from memos_assets.impact.trial_tables import (
    AS_STORED,
    Float,
    Generated,
    K,
    Layout,
    build,
    fits_page,
    forecast_bytes,
    index_for,
    load,
    trial_schema,
)
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.progress import Progress, report
from memos_assets.search.queries import SEARCH_SETTINGS, nearest

#: The promise of the remediation plan, and its number of rows.
PROMISED_RATIO = 4_166
PROMISED_ROWS = 100_000
DEFAULT_ROWS = (1_000, 10_000, 100_000)
DEFAULT_DIMENSION = 1_024
#: Above this a build takes hours here, and says nothing that the fit does not say.
MOST_ROWS = 5_000_000

#: Queries by an index, and the most that exact scans get: each of them reads every row.
INDEX_QUERIES = 100
SCANNED_ROWS = 2_000_000
LEAST_SCANS = 5

#: pgvector's own default, which the remediation plan leaves unchanged.
PLAN_SETTINGS = {"hnsw.ef_search": "40"}
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})

STORED = AS_STORED.scan
INDEX = "index of the catalog"
PLAN_INDEX = "index of the remediation plan"
PLAN_QUERY = "query of the remediation plan (<->)"
BETTER = (
    Layout("vector in line", "vector", in_line=True),
    Layout("halfvec in line", "halfvec", in_line=True),
)
WAYS = (STORED, INDEX, PLAN_INDEX, PLAN_QUERY, *(layout.scan for layout in BETTER))


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to search one table.

    Attributes:
        way: one of the names above.
        rows: of the table.
        timing: of its queries.
        served_by: the index that PostgreSQL read, or the kind of scan.
        prepared_seconds: of the load, or of the index build.
        sizes: of the table, with the index where there is one.
    """

    way: str
    rows: int
    timing: Timing
    served_by: str
    prepared_seconds: float
    sizes: Sizes

    @property
    def is_scan(self) -> bool:
        """Whether it computes the distance of every row by design."""
        return any(self.way == layout.scan for layout in (AS_STORED, *BETTER))


@dataclass(frozen=True, slots=True)
class Impact:
    """Everything that was measured, smallest table first.

    Attributes:
        dimension: elements per embedding.
        strategy: of the catalog's index, in words.
        measured: every way at every row count.
        seconds: all of it took.
    """

    dimension: int
    strategy: str
    measured: tuple[Measured, ...]
    seconds: float

    @property
    def row_counts(self) -> tuple[int, ...]:
        """Row counts that were measured."""
        return tuple(sorted({one.rows for one in self.measured}))

    @property
    def ways(self) -> tuple[str, ...]:
        """Names of the ways that were measured."""
        measured = {one.way for one in self.measured}
        return tuple(way for way in WAYS if way in measured)

    def of(self, way: str, rows: int) -> Measured:
        """Return one way at one row count."""
        return next(one for one in self.measured if (one.way, one.rows) == (way, rows))

    def ratio(self, one: Measured) -> float:
        """Return how many times faster it is than the scan of the same rows as stored."""
        return self.of(STORED, one.rows).timing.p50_ms / one.timing.p50_ms

    def best_scan(self, rows: int) -> Measured:
        """Return the fastest exact scan at a row count, however it stores the embeddings."""
        scans = (one for one in self.measured if one.is_scan and one.rows == rows)
        return min(scans, key=lambda one: one.timing.p50_ms)

    @property
    def scan_fit(self) -> Fit | None:
        """Time of the scan as memOS stores it over row counts; None from a single one."""
        return self._fit(STORED, logarithmic=False)

    @property
    def index_fit(self) -> Fit | None:
        """Time of the index over row counts; None from a single one."""
        return self._fit(INDEX, logarithmic=True)

    def _fit(self, way: str, *, logarithmic: bool) -> Fit | None:
        counts = self.row_counts
        if len(counts) < 2:
            return None
        return fit(
            counts, [self.of(way, rows).timing.p50_ms for rows in counts], logarithmic=logarithmic
        )

    def rows_for(self, ratio: float) -> float | None:
        """Return at how many rows the fits reach a ratio; None where there is no fit for it."""
        scanned, searched = self.scan_fit, self.index_fit
        if scanned is None or searched is None:
            return None
        return rows_where(scanned, searched, ratio, least=self.row_counts[0])


def measure_impact(
    engine: sa.Engine,
    catalog: Catalog,
    *,
    rows: Sequence[int] = DEFAULT_ROWS,
    dimension: int = DEFAULT_DIMENSION,
    free_bytes: int | None = None,
) -> Impact:
    """Measure every way at every row count, in a schema that is dropped at the end.

    Args:
        engine: of the database, which must have the extension.
        catalog: of which a table is measured.
        rows: row counts.
        dimension: of one of the catalog's embeddings.
        free_bytes: on the database's disk; None: unknown.

    Raises:
        UsageError: M585 row counts that cannot be measured; M586 no such embedding.
        TargetError: M365 not enough disk; M320 an index cannot be built; M367 another trial runs.
    """
    started = time.monotonic()
    spec, index = index_for(catalog, dimension)
    counts = checked_rows(rows)
    check_space(index, counts[-1], free_bytes)
    measured: list[Measured] = []
    with trial_schema(engine, catalog) as trial:
        for count in counts:
            ways = _measure(trial, Generated(spec, index, count))
            measured += sorted(ways, key=lambda one: WAYS.index(one.way))
    return Impact(dimension, index.strategy, tuple(measured), time.monotonic() - started)


def disk_needed(catalog: Catalog, rows: Sequence[int], dimension: int) -> int:
    """Return the bytes of disk that a measurement takes at most, until it is over.

    Raises:
        UsageError: M585, M586 as `measure_impact`.
    """
    _, index = index_for(catalog, dimension)
    return forecast_bytes(index, checked_rows(rows)[-1])


def checked_rows(rows: Sequence[int]) -> tuple[int, ...]:
    """Return row counts in order, each once.

    Raises:
        UsageError: M585 there are none, or one cannot be measured.
    """
    wrong = [count for count in rows if not K <= count <= MOST_ROWS]
    if wrong or not rows:
        raise UsageError(
            "M585",
            f"{wrong[0]:,} rows cannot be measured" if wrong else "no row counts",
            where="rows",
            fix=f"pass counts from {K} to {MOST_ROWS:,}, such as 1000,10000,100000",
        )
    return tuple(sorted(set(rows)))


def check_space(index: VectorIndex, rows: int, free_bytes: int | None) -> None:
    """Refuse to fill a disk.

    Raises:
        TargetError: M365 the forecast is more than what is free.
    """
    needed = forecast_bytes(index, rows)
    if free_bytes is not None and needed > free_bytes:
        raise TargetError(
            "M365",
            f"a table of {rows:,} rows and its index take up to {needed / 1e9:,.1f} GB, "
            f"{free_bytes / 1e9:,.1f} GB are free",
            where="disk of the database",
            fix="free disk space, or pass smaller row counts",
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """The table of one row count, its queries, and their ground truth."""

    engine: sa.Engine
    generated: Generated
    queries: Float
    neighbours: npt.NDArray[np.int64]

    @property
    def schema(self) -> str:
        """The schema that the table is in."""
        return schema_in(self.engine, self.generated.spec.schema)

    @property
    def scans(self) -> int:
        """Queries that an exact scan gets."""
        return min(INDEX_QUERIES, max(LEAST_SCANS, SCANNED_ROWS // self.generated.rows))

    def measured(
        self,
        way: str,
        statement: sql.Composed,
        prepared_seconds: float,
        *,
        settings: Mapping[str, str] = NO_SETTINGS,
        count: int | None = None,
        stored: Stored | None = None,
    ) -> Measured:
        """Search by a statement ``count`` times; None: as often as a scan."""
        count = count or self.scans
        report(Progress("measure", f"{way}, {self.generated.rows:,} rows"))
        queries = self.queries[:count]
        stored = stored or self.generated.vector.stored
        with searching(self.engine, settings) as driver:
            timing = timed(
                by_statement(driver, statement, stored), queries, self.neighbours[:count]
            )
            served = served_by(driver, statement, queries[0], stored)
        report(Progress("measure", f"{way}, {self.generated.rows:,} rows", done=True))
        taken = sizes(self.engine, self.generated.spec)
        return Measured(way, self.generated.rows, timing, served, prepared_seconds, taken)


def _measure(engine: sa.Engine, generated: Generated) -> Iterator[Measured]:
    queries = generated.queries(INDEX_QUERIES)
    table = _Table(engine, generated, queries, generated.neighbours(queries).rows)
    for layout in (AS_STORED, *BETTER):
        if layout.in_line and not fits_page(layout, generated.index.dimension):
            continue
        seconds = load(engine, generated, layout)
        exact = scan(generated, table.schema, layout)
        yield table.measured(layout.scan, exact, seconds, stored=layout.stored)
        if generated.is_stored_by(layout):
            yield from _measure_index(table)
        if layout == AS_STORED:
            yield from _measure_plan(table)


def _measure_index(table: _Table) -> Iterator[Measured]:
    index = table.generated.index
    seconds = build(table.engine, table.generated.spec, index)
    by_index = nearest(table.generated.spec.as_table, index, table.schema)
    yield table.measured(INDEX, by_index, seconds, settings=SEARCH_SETTINGS, count=INDEX_QUERIES)


def _measure_plan(table: _Table) -> Iterator[Measured]:
    """Search as the remediation plan does, where pgvector can build its index."""
    index, schema = table.generated.index, table.schema
    if index.stored != "vector" or index.dimension > HNSW_VECTOR_LIMIT:
        return
    planned = replace(index, method="vector")
    seconds = build(table.engine, table.generated.spec, planned)
    yield table.measured(
        PLAN_INDEX,
        nearest(table.generated.spec.as_table, planned, schema),
        seconds,
        settings=PLAN_SETTINGS,
        count=INDEX_QUERIES,
    )
    by_length = scan(table.generated, schema, AS_STORED, "<->")
    yield table.measured(PLAN_QUERY, by_length, seconds)
