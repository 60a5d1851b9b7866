"""The catalog's own queries and index definitions, composed so that names are always quoted."""

from psycopg import sql

from memos_assets.catalog import TABLES_BY_NAME, Column, VectorIndex
from memos_assets.postgres.tables import DATA_SCHEMA


def gin_name(table: str, column: Column) -> str:
    """Return the name of the GIN index on a JSON column."""
    return f"{table}_{column.name}_gin"


def _dimension_name(index: VectorIndex) -> str:
    vectors = TABLES_BY_NAME[index.table].vectors
    return next(v.dimension_name for v in vectors if v.name == index.column)


def _indexed(index: VectorIndex, value: sql.Composable) -> sql.Composed:
    """Return the expression on ``value`` that the index holds; queries must repeat it exactly."""
    if index.method == "bits":
        return sql.SQL("(binary_quantize({})::bit({}))").format(value, sql.Literal(index.dimension))
    return sql.SQL("({}::{}({}))").format(
        value, sql.SQL(index.method), sql.Literal(index.dimension)
    )


def _scope(index: VectorIndex) -> sql.Composed:
    """Return the predicate that makes the index partial: one dimension of a mixed column."""
    return sql.SQL("{} = {}").format(
        sql.Identifier(_dimension_name(index)), sql.Literal(index.dimension)
    )


def _concurrently(*, asked: bool) -> sql.SQL:
    return sql.SQL("concurrently" if asked else "")


def create_hnsw(
    index: VectorIndex, schema: str = DATA_SCHEMA, *, concurrently: bool = False
) -> sql.Composed:
    """Return the statement that builds an HNSW index."""
    return sql.SQL(
        "create index {} {} on {} using hnsw ({} {}) with (m = {}, ef_construction = {}) where {}"
    ).format(
        _concurrently(asked=concurrently),
        sql.Identifier(index.name),
        sql.Identifier(schema, index.table),
        _indexed(index, sql.Identifier(index.column)),
        sql.SQL(index.operator_class),
        sql.Literal(index.m),
        sql.Literal(index.ef_construction),
        _scope(index),
    )


def create_gin(
    table: str, column: Column, schema: str = DATA_SCHEMA, *, concurrently: bool = False
) -> sql.Composed:
    """Return the statement that builds a GIN index for containment on a JSON column."""
    return sql.SQL("create index {} {} on {} using gin ({} jsonb_path_ops)").format(
        _concurrently(asked=concurrently),
        sql.Identifier(gin_name(table, column)),
        sql.Identifier(schema, table),
        sql.Identifier(column.name),
    )


def nearest(index: VectorIndex, schema: str = DATA_SCHEMA) -> sql.Composed:
    """Return the k-nearest query that the index serves; bind ``probe`` (text form) and ``k``.

    Columns: the table's key, then ``distance`` (cosine, 0 to 2). Under the strategy ``bits`` the
    index proposes candidates by Hamming distance and the full vectors decide their order; set
    ``hnsw.ef_search`` to at least ``index.ef_search`` for it.
    """
    key = sql.SQL(", ").join(map(sql.Identifier, TABLES_BY_NAME[index.table].primary_key))
    probe = sql.SQL("%(probe)s::{}").format(sql.SQL(index.stored))
    shared = {
        "key": key,
        "column": sql.Identifier(index.column),
        "table": sql.Identifier(schema, index.table),
        "scope": _scope(index),
        "probe": probe,
        "held": _indexed(index, sql.Identifier(index.column)),
        "sought": _indexed(index, probe),
        "operator": sql.SQL(index.operator),
        "candidates": sql.Literal(index.ef_search),
    }
    if index.method == "bits":
        return sql.SQL(
            "with candidate as materialized (select {key}, {column} from {table} where {scope} "
            "order by {held} {operator} {sought} limit {candidates}) "
            "select {key}, {column} <=> {probe} as distance from candidate "
            "order by distance, {key} limit %(k)s"
        ).format(**shared)
    return sql.SQL(
        "select {key}, {held} {operator} {sought} as distance from {table} where {scope} "
        "order by {held} {operator} {sought} limit %(k)s"
    ).format(**shared)


def containing(table: str, column: Column, schema: str = DATA_SCHEMA) -> sql.Composed:
    """Return the containment query that a GIN index serves; bind ``part`` (JSON text)."""
    key = sql.SQL(", ").join(map(sql.Identifier, TABLES_BY_NAME[table].primary_key))
    return sql.SQL("select {} from {} where {} @> %(part)s::jsonb").format(
        key, sql.Identifier(schema, table), sql.Identifier(column.name)
    )
