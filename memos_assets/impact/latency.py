"""Times and recall of searches, the index that serves them, and the bytes of a table."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import TableSpec
from memos_assets.catalog.columns import Stored
from memos_assets.impact.trial_tables import Float, Generated, K, Layout
from memos_assets.postgres.connection import driver_of, put_in_force
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.postgres.vector_names import VectorName
from memos_assets.search.exact import recall
from memos_assets.search.plans import plan_nodes, plan_of
from memos_assets.search.query_embedding import query_embedding, send_binary

#: One core for every search: a search by an index never has more.
ONE_CORE = {"max_parallel_workers_per_gather": "0", "jit": "off"}
#: Timed passes; the faster one of each query counts, which leaves out delays by other programs.
_PASSES = 2

#: Takes a query, ``(dimension,)``, and returns the numbers of the rows that it found.
Search = Callable[[Float], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Timing:
    """Times and recall of a search.

    Attributes:
        p50_ms: median of the queries in milliseconds, from embedding to rows.
        p95_ms: 95 of 100 took at most this.
        recall: mean share of the true neighbours that were found, 0 to 1.
        worst_recall: of the worst query.
        queries: how many were timed.
    """

    p50_ms: float
    p95_ms: float
    recall: float
    worst_recall: float
    queries: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a table: its rows, its TOAST, and all its search indexes."""

    rows: int
    toast: int
    indexes: int


def scan(generated: Generated, schema: str, layout: Layout, operator: str = "<=>") -> sql.Composed:
    """Return the k-nearest query that computes every distance; bind ``embedding`` and ``k``."""
    parts = {
        "key": sql.SQL(", ").join(map(sql.Identifier, generated.spec.primary_key)),
        "distance": sql.SQL("{} {} %(embedding)s::{}").format(
            sql.Identifier(generated.vector.name),
            VectorName(operator),
            VectorName(layout.stored or generated.vector.stored),
        ),
        "table": sql.Identifier(schema, generated.spec.name),
    }
    return sql.SQL(
        "select {key}, {distance} as distance from {table} order by {distance} limit %(k)s"
    ).format(**parts)


@contextmanager
def searching(engine: sa.Engine, settings: Mapping[str, str]) -> Iterator[psycopg.Connection]:
    """Yield a connection on one core and with these settings, in a transaction that ends them."""
    with engine.begin() as conn:
        driver = driver_of(conn)
        put_in_force(conn, {**ONE_CORE, **settings})
        yield driver


def by_statement(driver: psycopg.Connection, statement: sql.Composed, stored: Stored) -> Search:
    """Return a search by a statement on ``embedding`` and ``k``; row numbers in its second column.

    Args:
        driver: of a connection.
        statement: that is sent.
        stored: the type that it casts the query to.
    """
    send_binary(driver)

    def search(query: Float) -> Sequence[int]:
        return [int(row[1]) for row in driver.execute(statement, _values(query, stored)).fetchall()]

    return search


def _values(query: Float, stored: Stored) -> dict[str, object]:
    return {"embedding": query_embedding(query.astype(np.float32), stored), "k": K}


def timed(search: Search, queries: Float, neighbours: npt.NDArray[np.int64]) -> Timing:
    """Search for every query, one after another: once to warm up, then timed.

    Args:
        search: what is timed.
        queries: ``(n, dimension)``.
        neighbours: ``(n, K)``, the true ones.
    """
    found = [search(query) for query in queries]
    passes = [[_milliseconds(search, query) for query in queries] for _ in range(_PASSES)]
    recalls = [recall(rows, true) for rows, true in zip(found, neighbours, strict=True)]
    p50, p95 = np.percentile(np.min(passes, axis=0), [50, 95]).tolist()
    return Timing(p50, p95, float(np.mean(recalls)), min(recalls), len(queries))


def _milliseconds(search: Search, query: Float) -> float:
    started = time.perf_counter()
    search(query)
    return (time.perf_counter() - started) * 1e3


def served_by(
    driver: psycopg.Connection, statement: sql.Composed, query: Float, stored: Stored
) -> str:
    """Return the index by which PostgreSQL would answer a query, or the kind of scan."""
    send_binary(driver)
    plan = plan_of(driver, statement, _values(query, stored))
    node = next(node for node in plan_nodes(plan) if "Relation Name" in node)
    return str(node.get("Index Name") or node["Node Type"])


def sizes(engine: sa.Engine, spec: TableSpec) -> Sizes:
    """Return the bytes of a table in the engine's schema; indexes are those named ``*_hnsw``."""
    with engine.connect() as conn:
        row = conn.execute(
            sa.text(
                "select pg_relation_size(c.oid) as rows, "
                "coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) as toast, "
                "(select coalesce(sum(pg_relation_size(i.indexrelid)), 0) from pg_index i "
                "join pg_class x on x.oid = i.indexrelid "
                "where i.indrelid = c.oid and x.relname like '%hnsw') as indexes "
                "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
                "where n.nspname = :schema and c.relname = :table"
            ),
            {"schema": schema_in(conn, spec.schema), "table": spec.name},
        ).one()
    return Sizes(int(row.rows), int(row.toast), int(row.indexes))
