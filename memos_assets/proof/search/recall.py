"""Measure recall and latency of search against ground truth from the source files.

Every query is the statement that search itself sends, under the settings of a search, in the schema
that is being proven. The ground truth is computed from SQLite's pinned copies.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table, TableSpec, VectorColumn, VectorIndex
from memos_assets.check import CheckContext
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.postgres.vector_names import VectorName
from memos_assets.proof.search.measurement import IndexMeasurement, SearchResult
from memos_assets.proof.search.queries import Query, choose
from memos_assets.proof.search.source_neighbours import SMALL, GroundTruth, compute_ground_truth
from memos_assets.proof.search.source_rows import Key, source_rows
from memos_assets.search.plans import under
from memos_assets.search.queries import exhaustive, nearest, search_settings

#: Neighbours that each query requests.
K = 10
#: Exact scans that are timed per index: at least so many, then as many as fit in these seconds.
_LEAST_SCANS, _SCAN_SECONDS = 3, 0.1


def measure_table(context: CheckContext, spec: TableSpec) -> dict[str, IndexMeasurement]:
    """Query PostgreSQL by every vector index of a table, and read the table's sources once.

    Returns:
        Index -> its queries, results and ground truth.

    Raises:
        SourceError: M107 when a pinned copy is gone.
    """
    kind = context.catalog.kind_of_table(spec.name)
    with context.engine.connect() as conn:
        sources = registry.registered_sources(conn, [kind])
        pins = [registry.pin_required(conn, source) for source in sources]
        return {
            measurement.index.name: measurement
            for vector in spec.vectors
            if vector.indexed
            for measurement in _measured(conn, spec, vector, pins)
        }


def _measured(
    conn: sa.Connection, spec: TableSpec, vector: VectorColumn, pins: Sequence[Pin]
) -> list[IndexMeasurement]:
    """Measure every index of a column."""
    indexes, table = vector.indexes(spec.name), spec.as_table
    with source_rows(conn, spec, vector, pins) as readings:
        queries = choose(readings, indexes)
        results = {
            i.dimension: _results(conn, table, i, queries.get(i.dimension, ())) for i in indexes
        }
        returned = {
            dimension: [result.keys for result in results[dimension]] for dimension in queries
        }
        ground_truth = compute_ground_truth(readings, queries, returned, K)
    everything = {
        index.dimension: _everything(conn, table, index, queries[index.dimension][0])
        for index in indexes
        if index.dimension in queries and ground_truth.dimensions[index.dimension].rows <= SMALL
    }
    stored = _stored(conn, spec, vector)
    return [
        IndexMeasurement(
            index=index,
            queries=queries.get(index.dimension, ()),
            results=results[index.dimension],
            scans_ms=_scans(conn, table, index, queries.get(index.dimension, ())),
            ground_truth=ground_truth.dimensions.get(index.dimension, GroundTruth()),
            everything=everything.get(index.dimension),
            without=ground_truth.without,
            source_reasons=dict(sorted(ground_truth.reasons.items())),
            stored_reasons=stored.reasons,
            rows=stored.rows[index.dimension],
            zeros=stored.zeros[index.dimension],
            pins={pin.source: pin.digest for pin in pins},
        )
        for index in indexes
    ]


def _results(
    conn: sa.Connection, table: Table, index: VectorIndex, queries: Sequence[Query]
) -> list[SearchResult]:
    """Search for every query as applications do; the first search runs twice, to warm up."""
    schema = schema_in(conn, table.schema)
    driver = driver_of(conn)
    with under(conn, search_settings(K)):
        statements = {
            filtered: nearest(table, index, schema, filtered=filtered).as_bytes(driver)
            for filtered in (False, True)
        }
        found = [
            _timed_search(driver, statements[bool(query.filters)], _values(table, query, K))
            for query in (*queries[:1], *queries)
        ]
    return found[1:]


def _everything(
    conn: sa.Connection, table: Table, index: VectorIndex, query: Query
) -> SearchResult:
    """Search a small index for more rows than it has, so that all of them are returned."""
    k = SMALL + 1
    driver = driver_of(conn)
    with under(conn, search_settings(k)):
        statement = nearest(table, index, schema_in(conn, table.schema)).as_bytes(driver)
        return _timed_search(driver, statement, _values(table, query, k))


def _scans(
    conn: sa.Connection, table: Table, index: VectorIndex, queries: Sequence[Query]
) -> list[float]:
    """Return the durations of exact scans in milliseconds; their rows are ignored."""
    times: list[float] = []
    plain = [query for query in queries if not query.filters]
    scan = {"enable_indexscan": "off", "enable_bitmapscan": "off", "jit": "off"}
    driver = driver_of(conn)
    with under(conn, scan):
        statement = exhaustive(table, index, schema_in(conn, table.schema)).as_bytes(driver)
        for query in plain[:1] + plain:
            times.append(_timed_search(driver, statement, _values(table, query, K)).milliseconds)
            if len(times) > _LEAST_SCANS and sum(times) > _SCAN_SECONDS * 1e3:
                break
    return times[1:]


def _values(table: Table, query: Query, k: int) -> dict[str, object]:
    filters = {
        name: value if name == table.owner else json.dumps(value)
        for name, value in query.filters.items()
    }
    return dict.fromkeys(table.filter_columns) | filters | {"embedding": query.text, "k": k}


def _timed_search(
    driver: psycopg.Connection, statement: bytes, values: Mapping[str, object]
) -> SearchResult:
    started = time.perf_counter()
    # Planned for its values, as the search functions are.
    rows = driver.execute(statement, values, prepare=False).fetchall()
    milliseconds = (time.perf_counter() - started) * 1e3
    return SearchResult([(_key(row[:-1]), _distance(row[-1])) for row in rows], milliseconds)


def _distance(value: float | None) -> float:
    """Return a distance; NaN where there is none, which no comparison accepts."""
    return math.nan if value is None else float(value)


def _key(values: Sequence[object]) -> Key:
    return tuple(map(str, values))


@dataclass(slots=True)
class _Stored:
    """Counts of an embedding column in PostgreSQL."""

    reasons: dict[str, int] = field(default_factory=dict)
    rows: Counter[int] = field(default_factory=Counter)
    zeros: Counter[int] = field(default_factory=Counter)


def _stored(conn: sa.Connection, spec: TableSpec, vector: VectorColumn) -> _Stored:
    """Count embeddings by dimension and NULLs by reason; other columns do not matter."""
    statement = sql.SQL(
        "select {reason}, {dims}({column}), count(*), count(*) filter (where {norm}({column}) = 0) "
        "from {table} group by 1, 2 order by 1, 2"
    ).format(
        reason=sql.Identifier(vector.reason_name),
        column=sql.Identifier(vector.name),
        dims=VectorName("vector_dims"),
        norm=VectorName("l2_norm" if vector.stored == "halfvec" else "vector_norm"),
        table=sql.Identifier(schema_in(conn, spec.schema), spec.name),
    )
    stored = _Stored()
    for reason, dimension, rows, zeros in driver_of(conn).execute(statement):
        if dimension is None:
            stored.reasons[str(reason)] = rows
        else:
            stored.rows[dimension] += rows
            stored.zeros[dimension] += zeros
    return stored
