"""The queries that search indexes serve, composed so that names are always quoted."""

from collections.abc import Callable, Sequence

from psycopg import sql

from memos_assets.catalog import Column, Table, VectorIndex
from memos_assets.indexes.ddl import embedded_rows, indexed_column, indexed_expression
from memos_assets.postgres.vector_names import VectorName
from memos_assets.search.searchable import MOST_HITS

#: Gives a value by name: a named placeholder of psycopg, or a parameter of a function.
Bind = Callable[[str], sql.Composable]
named: Bind = sql.Placeholder
_COSINE = VectorName("<=>")

#: Settings of one search. The planner does not count the costs of reading vectors that are
#: stored outside of their rows, and would scan a table that the index answers in a millisecond; a
#: filter must not leave fewer than k hits where there are more.
SEARCH_SETTINGS = {
    "hnsw.ef_search": "100",
    "hnsw.iterative_scan": "relaxed_order",
    "hnsw.max_scan_tuples": "2147483647",
    "hnsw.scan_mem_multiplier": "8",
    "enable_seqscan": "off",
    "jit": "off",
}
#: For more rows than this a search proposes twice as many candidates as requested rows.
PLENTY = 50


def search_settings(k: int) -> dict[str, str]:
    """Return the settings of a search for ``k`` rows; the functions do the same by ``PLENTY``."""
    if k <= PLENTY:
        return dict(SEARCH_SETTINGS)
    return {**SEARCH_SETTINGS, "hnsw.ef_search": str(min(2 * k, MOST_HITS))}


def placed(table: Table, schema: str | None = None) -> sql.Identifier:
    """Return the table, in its own schema or in another version of it."""
    return sql.Identifier(schema or table.schema, table.name)


def columns(names: Sequence[str], of: str = "") -> sql.Composed:
    """Return column names with commas between, each of the relation ``of`` if one is named."""
    return sql.SQL(", ").join(sql.Identifier(of, n) if of else sql.Identifier(n) for n in names)


def filter_conditions(
    table: Table, bind: Bind, of: str = "", *, only: Sequence[str] | None = None
) -> sql.Composed:
    """Return ``and`` conditions, one per column of `Table.filter_columns`; NULL is not a filter.

    ``of`` names the relation of the columns, where something else has their names, too; ``only``
    the columns, where not all are filtered.

    The planner knows the values and removes the conditions of filters that are off.
    """
    parts: list[sql.Composable] = []
    for name in table.filter_columns if only is None else only:
        is_owner = name == table.owner
        parts.append(
            sql.SQL(" and ({value} is null or {column} {operator} {value})").format(
                value=sql.SQL("{}::{}").format(
                    bind(name), sql.SQL("text" if is_owner else "jsonb")
                ),
                column=columns([name], of),
                operator=sql.SQL("=" if is_owner else "@>"),
            )
        )
    return sql.Composed(parts)


def key_of_hit(table: Table, of: str = "") -> list[sql.Composable]:
    """Return the columns of the key as a hit shows them, each of the relation ``of`` if named."""
    return [
        sql.SQL("{}::{}").format(columns([name], of), sql.SQL(table.key_type(name)))
        for name in table.key
    ]


def text_and_metadata(table: Table, of: str = "") -> list[sql.Composable]:
    """Return the text and metadata of a hit, as far as the table has them."""
    shown: list[sql.Composable] = []
    if len(table.texts) == 1:
        shown.append(columns(table.texts, of))
    elif table.texts:
        shown.append(sql.SQL("concat_ws(E'\\n', {})").format(columns(table.texts, of)))
    if table.details:
        shown.append(columns([table.details], of))
    return shown


def nearest(
    table: Table,
    index: VectorIndex,
    schema: str | None = None,
    *,
    filtered: bool = False,
    hits: bool = False,
    bind: Bind = named,
) -> sql.Composed:
    """Return the k-nearest query that the index serves, under `SEARCH_SETTINGS`.

    Columns: the table's key, then ``distance`` (cosine, 0 to 2), then text and metadata of hits.
    Where the index contains another form of the embedding, or rows are filtered, it proposes
    candidates, which are re-ranked by their stored embeddings.

    Args:
        table: that is searched.
        index: the strategy of one dimension.
        schema: that holds another version of the table; None: its own.
        filtered: with filters, see `filter_conditions`.
        hits: show each row's text and metadata, too.
        bind: gives ``embedding`` (a vector, or its text form), ``k`` (integer) and the filters.
    """
    embedding = sql.SQL("{}::{}").format(bind("embedding"), VectorName(index.stored))
    indexed, requested = indexed_column(index), indexed_expression(index, embedding)
    ordered = sql.SQL("{} {} {}").format(indexed, VectorName(index.operator), requested)
    distance, limit = ordered, bind("k")
    if index.reranked or filtered or table.condition:
        distance = sql.SQL("{} {} {}").format(sql.Identifier(index.column), _COSINE, embedding)
        limit = sql.SQL("greatest({} * 2, {})").format(limit, sql.Literal(index.candidates))
    condition = sql.SQL(f" and {table.condition}" if table.condition else "")
    # So texts are also read for candidates that are not hits; a join would look every hit up again,
    # which takes longer.
    more = [*table.texts, *([table.details] if table.details else [])] if hits else []
    key: list[sql.Composable] = [columns([name]) for name in table.key]
    return sql.SQL(
        "select {shown} from (select {carried}, {distance} as distance from {table} where {where} "
        "order by {ordered} limit {limit}) as candidate order by distance, {key} limit {k}"
    ).format(
        shown=sql.SQL(", ").join(
            [
                *(key_of_hit(table) if hits else key),
                sql.SQL("distance"),
                *(text_and_metadata(table) if hits else []),
            ]
        ),
        carried=columns(list(dict.fromkeys([*table.key, *more]))),
        distance=distance,
        table=placed(table, schema),
        where=embedded_rows(index)
        + condition
        + (filter_conditions(table, bind) if filtered else sql.SQL("")),
        ordered=ordered,
        limit=limit,
        key=columns(table.key, "candidate"),
        k=bind("k"),
    )


def exhaustive(table: Table, index: VectorIndex, schema: str | None = None) -> sql.Composed:
    """Return the query of `nearest` without an index: every distance is computed."""
    return sql.SQL(
        "select {key}, {column} {cosine} {embedding} as distance from {table} where {scope} "
        "order by distance limit {k}"
    ).format(
        key=columns(table.key),
        column=sql.Identifier(index.column),
        cosine=_COSINE,
        embedding=sql.SQL("{}::{}").format(named("embedding"), VectorName(index.stored)),
        table=placed(table, schema),
        scope=embedded_rows(index),
        k=named("k"),
    )


def containing(table: Table, column: Column, schema: str | None = None) -> sql.Composed:
    """Return the query that a GIN index on a JSON column serves.

    Bind ``part``: JSON text that the column contains, or an array of keys of which it has one.
    """
    condition = "{} @> %(part)s::jsonb" if column.searched == "containment" else "{} ?| %(part)s"
    return sql.SQL("select {} from {} where " + condition).format(
        columns(table.key), placed(table, schema), sql.Identifier(column.name)
    )
