"""Full-text and sparse search, and their fusion with search by vector, as statements."""

from psycopg import sql

from memos_assets.catalog import Table, VectorIndex
from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.search.queries import Bind, columns, filter_conditions, named, nearest, placed

#: Reciprocal rank fusion: a row in place p of a list gains 1 / (60 + p).
FUSION_K = 60
#: Places of each list that take part in it.
FUSION_DEPTH = 100


def _where(table: Table, bind: Bind, *, filtered: bool) -> sql.Composed:
    condition = sql.SQL(f" and {table.condition}" if table.condition else "")
    return sql.Composed([condition, filter_conditions(table, bind) if filtered else sql.SQL("")])


def matching(
    table: Table, schema: str | None = None, *, filtered: bool = False, bind: Bind = named
) -> sql.Composed:
    """Return the full-text query that the table's GIN index serves.

    Columns: the table's key, then ``rank``, the best first. Bind ``query`` and ``ranking``
    (tsquery, or its text form), ``k`` and the filters. ``ranking`` has any of the words: words have
    positions, a code has none, and the rank of both together would be nearly 0.
    """
    return sql.SQL(
        "select {key}, ts_rank({words}, {ranking}, 1)::float8 as rank from {table} "
        "where {words} @@ {query}{where} order by rank desc, {key} limit {k}"
    ).format(
        key=columns(table.key),
        words=sql.Identifier(SEARCH_TEXT),
        query=sql.SQL("{}::tsquery").format(bind("query")),
        ranking=sql.SQL("{}::tsquery").format(bind("ranking")),
        table=placed(table, schema),
        where=_where(table, bind, filtered=filtered),
        k=bind("k"),
    )


def weighing(
    table: Table, schema: str | None = None, *, filtered: bool = False, bind: Bind = named
) -> sql.Composed:
    """Return the search by sparse weights: the scalar product with those of the query.

    Columns: the table's key, then ``weight``, the largest first. Bind ``sparse`` (JSON object term
    -> weight), ``vocabulary``, ``k`` and the filters. Weights of other vocabularies are left out:
    a term of one may be a number in another.
    """
    assert table.sparse is not None, f"{table.name} has no sparse weights"
    return sql.SQL(
        "select {key}, (select sum(({weights} ->> term)::float8 * weight::float8) "
        "from jsonb_each_text({sparse}) as sought(term, weight) where {weights} ? term) as weight "
        "from {table} where {vocabulary} = {known} "
        "and {weights} ?| array(select jsonb_object_keys({sparse})){where} "
        "order by weight desc, {key} limit {k}"
    ).format(
        key=columns(table.key),
        weights=sql.Identifier(table.sparse.weights),
        vocabulary=sql.Identifier(table.sparse.vocabulary),
        known=bind("vocabulary"),
        sparse=sql.SQL("{}::jsonb").format(bind("sparse")),
        table=placed(table, schema),
        where=_where(table, bind, filtered=filtered),
        k=bind("k"),
    )


def fused(
    table: Table,
    schema: str | None = None,
    *,
    index: VectorIndex | None = None,
    filtered: bool = False,
    bind: Bind = named,
) -> sql.Composed:
    """Return the fusion of all lists that the table offers, by reciprocal rank.

    Columns: the table's key, ``score`` (the largest first), ``distance`` (NULL for rows that the
    search by vector did not propose). Bind what the lists bind.

    Args:
        table: that is searched.
        schema: that holds another version of the table; None: its own.
        index: serves the embedding of the query; None: there is none.
        filtered: filter every list.
        bind: gives values by name.
    """

    def deep(name: str) -> sql.Composable:
        return sql.Literal(FUSION_DEPTH) if name == "k" else bind(name)

    lists = [(matching(table, schema, filtered=filtered, bind=deep), "rank desc", "null::float8")]
    if table.sparse is not None:
        statement = weighing(table, schema, filtered=filtered, bind=deep)
        lists.append((statement, "weight desc", "null::float8"))
    if index is not None:
        statement = nearest(table, index, schema, filtered=filtered, bind=deep)
        lists.append((statement, "distance", "distance"))
    placed_lists = [
        sql.SQL(
            "select {key}, {distance} as distance, row_number() over (order by {order}, {key}) "
            "as place from ({statement}) as list"
        ).format(
            key=columns(table.key),
            distance=sql.SQL(distance),
            order=sql.SQL(order),
            statement=statement,
        )
        for statement, order, distance in lists
    ]
    return sql.SQL(
        "select {key}, sum(1.0 / ({rank_constant} + place))::float8 as score, "
        "min(distance) as distance from ({lists}) as lists group by {key} "
        "order by score desc, {key} limit {k}"
    ).format(
        key=columns(table.key),
        rank_constant=sql.Literal(FUSION_K),
        lists=sql.SQL(" union all ").join(placed_lists),
        k=bind("k"),
    )
