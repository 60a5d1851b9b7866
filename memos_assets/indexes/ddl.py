"""The statements that build the search indexes, and the expressions that queries must repeat."""

from psycopg import sql

from memos_assets.catalog import Column, VectorIndex
from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.postgres.vector_names import VectorName


def gin_name(table: str, column: Column) -> str:
    """Return the name of the GIN index on a JSON column."""
    return f"{table}_{column.name}_gin"


def indexed_expression(index: VectorIndex, value: sql.Composable) -> sql.Composable:
    """Return the expression on ``value`` that the index holds; queries must repeat it exactly."""
    if index.method == "bits":
        return sql.SQL("({}({})::bit({}))").format(
            VectorName("binary_quantize"), value, sql.Literal(index.dimension)
        )
    if index.method == "prefix":
        return sql.SQL("({}({}, 1, {})::{}({}))").format(
            VectorName("subvector"),
            value,
            sql.Literal(index.prefix),
            VectorName("halfvec"),
            sql.Literal(index.prefix),
        )
    if index.method == "halfvec" and index.reranked:
        # Of length 1 no element is too large or too small for half precision; angles stay.
        value = sql.SQL("{}({})").format(VectorName("l2_normalize"), value)
    return sql.SQL("({}::{}({}))").format(
        value, VectorName(index.method), sql.Literal(index.dimension)
    )


def indexed_column(index: VectorIndex) -> sql.Composable:
    """Return the expression that the index holds, as its own statement writes it."""
    column = sql.Identifier(index.column)
    return indexed_expression(index, column) if index.dimension_name or index.reranked else column


def index_condition(index: VectorIndex) -> sql.Composable:
    """Return the predicate that makes the index partial: one dimension of a mixed column."""
    if index.dimension_name is None:
        return sql.SQL("{} is not null").format(sql.Identifier(index.column))
    return sql.SQL("{} = {}").format(
        sql.Identifier(index.dimension_name), sql.Literal(index.dimension)
    )


def embedded_rows(index: VectorIndex) -> sql.Composable:
    """Return the condition of rows that a search may find.

    A row may state a dimension and have no embedding. The index leaves it out, as a scan must.
    """
    if index.dimension_name is None:
        return index_condition(index)
    return sql.SQL("{} and {} is not null").format(
        index_condition(index), sql.Identifier(index.column)
    )


def _concurrently(*, asked: bool) -> sql.SQL:
    return sql.SQL("concurrently" if asked else "")


def create_hnsw(index: VectorIndex, schema: str, *, concurrently: bool = False) -> sql.Composed:
    """Return the statement that builds an HNSW index."""
    scope = (
        sql.SQL(" where {}").format(index_condition(index)) if index.dimension_name else sql.SQL("")
    )
    return sql.SQL(
        "create index {} {} on {} using hnsw ({} {}) with (m = {}, ef_construction = {}){}"
    ).format(
        _concurrently(asked=concurrently),
        sql.Identifier(index.name),
        sql.Identifier(schema, index.table),
        indexed_column(index),
        VectorName(index.operator_class),
        sql.Literal(index.m),
        sql.Literal(index.ef_construction),
        scope,
    )


def create_gin(
    table: str, column: Column, schema: str, *, concurrently: bool = False
) -> sql.Composed:
    """Return the statement that builds a GIN index on a JSON column."""
    operators = " jsonb_path_ops" if column.searched == "containment" else ""
    return sql.SQL("create index {} {} on {} using gin ({}{})").format(
        _concurrently(asked=concurrently),
        sql.Identifier(gin_name(table, column)),
        sql.Identifier(schema, table),
        sql.Identifier(column.name),
        sql.SQL(operators),
    )


def create_text_index(
    name: str, table: str, schema: str, *, concurrently: bool = False
) -> sql.Composed:
    """Return the statement that builds the GIN index for full-text search."""
    return sql.SQL("create index {} {} on {} using gin ({})").format(
        _concurrently(asked=concurrently),
        sql.Identifier(name),
        sql.Identifier(schema, table),
        sql.Identifier(SEARCH_TEXT),
    )
