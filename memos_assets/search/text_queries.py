"""Full-text and sparse search, and their fusion with search by vector, as statements.

Text is ranked by BM25 over the lexemes of ``search_text``. One scan by the GIN index finds the rows
with a word of the query; `ts_rank` of one word tells how often it is in a row, without the tsvector
being unnested. To decompress a row's tsvector takes most of the time, so it is done once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from memos_assets.catalog import Table, VectorIndex
from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.indexes.ddl import embedded_rows
from memos_assets.postgres.vector_names import VectorName
from memos_assets.search import bm25
from memos_assets.search.queries import Bind, columns, filter_conditions, named, nearest, placed

#: Weights of the text columns do not count, only how often a word is in them.
EVEN: Final = sql.SQL("'{1,1,1,1}'::float4[]")
#: `ts_rank` of one word, even weights: the sum of 1 / n^2 to its number of occurrences (255 at
#: most, as tsvector has it) divided by this, so it says the number. See calc_rank_or in
#: src/backend/utils/adt/tsrank.c, PostgreSQL 8.3 to 18.
_LIMIT: Final = "1.64493406685"
#: Parts of a statement that has one expression per term of the query; `with_terms` fills them.
RANKS, ADDENDS = "/*ranks*/", "/*addends*/"
FREQUENCIES, SCORES = "/*frequencies*/", "/*scores*/"
#: Candidates whose scores deviate less are alike in that list; beyond it there is only rounding.
LEAST_DEVIATION: Final = 1e-9

#: Terms of a query that count, the longest: words of more letters are rarer.
MOST_TERMS: Final = 32
#: Where a query matches few rows, rows with one of its words are counted as long as statistics of
#: ANALYZE do not say that they are more than this; else their estimate is used.
COUNTED_ROWS: Final = 500
#: Share of the rows beyond which a word (IDF below 0.7) adds no rows to a fusion that has rarer
#: words and an embedding.
COMMON_SHARE: Final = 0.5

#: Reciprocal rank fusion: a row in place p of a list gains 1 / (60 + p).
FUSION_K = 60
#: Places of each list that take part in it.
FUSION_DEPTH = 100


@dataclass(frozen=True, slots=True)
class TermParts:
    """Expressions of one term, whose number takes the place of ``%1$s`` (as in ``format``).

    Attributes:
        rank: `ts_rank` of the term alone in a row.
        addend: of the sum of these ranks.
        frequency: rows that have the term.
        word: what a word adds to BM25.
        code: what a code adds: it counts once, also where several begin with it.
    """

    rank: str
    addend: str
    frequency: str
    word: str
    code: str

    @classmethod
    def of(cls, bind: Bind) -> "TermParts":
        """Return the parts for a statement that binds ``terms``."""
        term = sql.SQL("({}::tsquery[])[%1$s]").format(bind("terms"))
        rank = sql.SQL("ts_rank({}, {}, {})").format(EVEN, sql.Identifier(SEARCH_TEXT), term)
        word = sql.SQL(f"round(1 / ({_LIMIT} * (1 - ranks[%1$s]::float8)) - 0.5)")
        code = sql.SQL("(ranks[%1$s] > 0)::integer")
        scores = (
            f"idf[%1$s] * (1 - half / ({count.as_string()} + half))" for count in (word, code)
        )
        return cls(
            rank.as_string(),
            "ranks[%1$s]::float8",
            "count(*) filter (where ranks[%1$s] > 0)",
            *scores,
        )


def with_terms(statement: sql.Composed, codes: Sequence[bool], bind: Bind = named) -> sql.Composed:
    """Return a ranking with the expressions of its terms; the functions do it by search_ranked.

    Args:
        statement: of `matching` or `fused`.
        codes: of each term, whether it is a code.
        bind: as the statement's.
    """
    parts = TermParts.of(bind)
    text = statement.as_string()
    for mark, between, each in (
        (RANKS, ", ", [parts.rank for _ in codes]),
        (ADDENDS, " + ", [parts.addend for _ in codes]),
        (FREQUENCIES, ", ", [parts.frequency for _ in codes]),
        (SCORES, " + ", [parts.code if is_code else parts.word for is_code in codes]),
    ):
        numbered = (part.replace("%1$s", str(number)) for number, part in enumerate(each, 1))
        text = text.replace(mark, between.join(numbered))
    return sql.Composed([sql.SQL(text)])


def _where(table: Table, bind: Bind, *, filtered: bool) -> sql.Composed:
    condition = sql.SQL(f" and {table.condition}" if table.condition else "")
    return sql.Composed([condition, filter_conditions(table, bind) if filtered else sql.SQL("")])


def _ranking(table: Table, schema: str | None, bind: Bind, *, filtered: bool) -> sql.Composed:
    """Return the common table expressions of a ranking by words.

    ``found`` has the rows of the corpus that the query matches: how often each term is in them, and
    their length; ``ranked`` has those that pass the filters, with ``rank`` (BM25).
    """
    words = sql.Identifier(SEARCH_TEXT)
    owner = [table.owner] if table.owner else []
    others = [name for name in table.filter_columns if name not in owner]
    is_of_owner, passes = (filter_conditions(table, bind, only=only) for only in (owner, others))
    return sql.SQL(
        "found as materialized ({counted_rows}), "
        "corpus as materialized (select greatest({documents}, count(*)) as documents, "
        "greatest(coalesce({mean}, avg({length})), 1) as mean_words, "
        "coalesce({frequencies}, array[{counted}]) as frequencies from found), "
        "weights as materialized (select mean_words, array(select {most} * {idf} "
        "from unnest(frequencies) with ordinality as term(frequency, place) order by place) "
        "as idf from corpus), "
        "ranked as ({ranked})"
    ).format(
        counted_rows=_counted(
            sql.SQL(
                "select {key}, (true{passes}) as passes, {words} from {table} "
                "where {words} @@ {query}{condition}{is_of_owner}"
            ).format(
                key=columns(table.key),
                passes=passes if filtered else sql.SQL(""),
                words=words,
                table=placed(table, schema),
                query=sql.SQL("{}::tsquery").format(bind("query")),
                condition=sql.SQL(f" and {table.condition}" if table.condition else ""),
                is_of_owner=is_of_owner if filtered else sql.SQL(""),
            ),
            table,
            bind,
        ),
        documents=sql.SQL("{}::bigint").format(bind("documents")),
        mean=sql.SQL("{}::float8").format(bind("mean_words")),
        length=_length(),
        frequencies=sql.SQL("{}::bigint[]").format(bind("frequencies")),
        counted=sql.SQL(FREQUENCIES),
        most=sql.Literal(bm25.K1 + 1),
        idf=bm25.idf(sql.SQL("greatest(documents, frequency)"), sql.SQL("frequency")),
        ranked=_scored(
            sql.SQL("found"),
            sql.SQL("{}, coalesce({}, 0)::float8 as rank").format(
                columns(table.key), sql.SQL(SCORES)
            ),
        ),
    )


def _counted(rows: sql.Composable, table: Table, bind: Bind, *kept: str) -> sql.Composed:
    """Return how often each term is in rows, and what `_length` needs.

    Args:
        rows: a query of the key, ``passes``, ``search_text``, and the columns that are kept.
        table: that the rows are of.
        bind: as the statement's.
        kept: columns that are returned beside the key and ``passes``.
    """
    # With the offset a row's words are decompressed once, by setweight, not once per term.
    return sql.SQL(
        "select {shown}, array[{ranks}] as ranks, "
        "ts_rank({even}, {words}, {ranking}::tsquery, 2) as by_length "
        "from (select {shown}, setweight({words}, 'D') as {words} from ({rows}) as given offset 0) "
        "as given"
    ).format(
        shown=columns([*table.key, "passes", *kept]),
        ranks=sql.SQL(RANKS),
        even=EVEN,
        words=sql.Identifier(SEARCH_TEXT),
        ranking=bind("ranking"),
        rows=rows,
    )


def _scored(counted: sql.Composable, shown: sql.Composable) -> sql.Composed:
    """Return what is shown of the rows of `_counted` that pass the filters, such as `SCORES`."""
    # With the offsets what is of the row is computed once per row, not once per term.
    return sql.SQL(
        "select {shown} from (select *, {half} as half "
        "from (select *, {length} as length from {counted} where passes offset 0) as counted "
        "cross join weights offset 0) as counted"
    ).format(
        shown=shown,
        half=bm25.half_point(sql.SQL("length"), sql.SQL("mean_words")),
        length=_length(),
        counted=counted,
    )


def _length() -> sql.Composed:
    # The rank of any word is the mean of the words' ranks; here it is divided by the length.
    return sql.SQL("round(({}) / cardinality(ranks) / nullif(by_length, 0)::float8)").format(
        sql.SQL(ADDENDS)
    )


def matching(
    table: Table,
    schema: str | None = None,
    *,
    filtered: bool = False,
    bind: Bind = named,
) -> sql.Composed:
    """Return the full-text query that the table's GIN index serves; see `with_terms`.

    Columns: the table's key, then ``rank`` (BM25), the best first. Bind ``query`` (tsquery, or its
    text form: which rows are found), ``ranking`` (has any of the words), ``terms`` (tsquery[]: each
    of them), ``documents`` and ``mean_words`` (of the corpus; NULL: of the rows that are found),
    ``frequencies`` (bigint[]: rows of the corpus with each term; NULL: of the rows that are found,
    which is the same where any word will do), ``k`` and the filters.

    The corpus is the rows that search offers, of the owner if one is asked for. Other filters do
    not change a score.
    """
    return sql.SQL(
        "with {ranking} select {key}, rank from ranked order by rank desc, {key} limit {k}"
    ).format(
        ranking=_ranking(table, schema, bind, filtered=filtered),
        key=columns(table.key),
        k=bind("k"),
    )


def kth_best(table: Table, *, bind: Bind = named) -> sql.Composed:
    """Return the ranking's k-th best ``rank``; no row where fewer match. Bind as for `matching`."""
    return sql.SQL("select min(rank) from ({}) as best having count(*) = {}::bigint").format(
        matching(table, filtered=True, bind=bind), bind("k")
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
    """Return the fusion of all lists that the table offers, by scores or by reciprocal rank.

    Columns: the table's key, ``score`` (the largest first), ``distance`` (NULL for rows without an
    embedding of this dimension; by reciprocal rank also for those that the search by vector did
    not propose). Bind what the lists bind, ``by_rank``: true for reciprocal ranks, and ``whole``
    (tsquery): the rows that have a score by words, where ``query`` finds only those with the rarer.

    The first `FUSION_DEPTH` rows of each list are candidates. By scores, each candidate has every
    score, also of lists that did not propose it; its score is the sum of its z-scores (how many
    standard deviations above the mean of the candidates) by the weights of `Table.fusion`.

    Args:
        table: that is searched.
        schema: of another version of the table; None: its own.
        index: serves the embedding of the query; None: there is none.
        filtered: filter every list.
        bind: gives values by name.
    """

    def deep(name: str) -> sql.Composable:
        return sql.Literal(FUSION_DEPTH) if name == "k" else bind(name)

    key = columns(table.key)
    matched = sql.SQL(
        "select {key}, rank from ranked order by rank desc, {key} limit {depth}"
    ).format(key=key, depth=sql.Literal(FUSION_DEPTH))
    lists = [(matched, "rank desc", "rank")]
    if table.sparse is not None:
        statement = weighing(table, schema, filtered=filtered, bind=deep)
        lists.append((statement, "weight desc", "weight"))
    if index is not None:
        statement = nearest(table, index, schema, filtered=filtered, bind=deep)
        lists.append((statement, "distance", "distance"))
    listed = [
        sql.SQL(
            "select {key}, {values}, row_number() over (order by {order}, {key}) as place "
            "from ({statement}) as list"
        ).format(
            key=key,
            values=sql.SQL(", ").join(
                sql.SQL(f"{name if name == value else 'null'}::float8 as {name}")
                for name in ("rank", "weight", "distance")
            ),
            order=sql.SQL(order),
            statement=statement,
        )
        for statement, order, value in lists
    ]
    kept = ["by_rank", "distance", "sparse"]
    z_scores = [
        _z_score("1 - distance", table.fusion.meaning),
        _z_score("words", table.fusion.words),
    ]
    if table.sparse is not None:
        z_scores.append(_z_score("sparse", table.fusion.sparse))
    return sql.SQL(
        "with {ranking}, candidate as materialized (select {key}, "
        "sum(1.0 / ({rank_constant} + place))::float8 as by_rank, min(distance) as distance, "
        "coalesce(max(weight), 0) as sparse, max(rank) as listed "
        "from ({lists}) as lists group by {key}), "
        "counted as materialized ({counted}), scored as ({scored}) "
        "select {key}, case when {by_rank} then by_rank else {z_scores} end as score, distance "
        "from scored order by score desc, {key} limit {k}"
    ).format(
        ranking=_ranking(table, schema, bind, filtered=filtered),
        key=key,
        rank_constant=sql.Literal(FUSION_K),
        lists=sql.SQL(" union all ").join(listed),
        counted=_counted(_candidates(table, schema, index, bind), table, bind, *kept, "listed"),
        scored=_scored(
            sql.SQL("counted"),
            sql.SQL("{}, {}, coalesce(listed, {}, 0) as words").format(
                key, columns(kept), sql.SQL(SCORES)
            ),
        ),
        by_rank=sql.SQL("{}::boolean").format(bind("by_rank")),
        z_scores=sql.SQL(" + ").join(z_scores),
        k=bind("k"),
    )


def _candidates(
    table: Table, schema: str | None, index: VectorIndex | None, bind: Bind
) -> sql.Composed:
    """Return the candidates with their distance, and the words of those not listed by words.

    With the offset each row is looked up by its key, however many the planner expects.
    """
    key = columns(table.key)
    stored = [SEARCH_TEXT]
    if index is not None:
        stored += [index.column, *filter(None, [index.dimension_name])]
    return sql.SQL(
        "select {key}, true as passes, by_rank, case when {by_rank} then candidate.distance "
        "else {distance} end as distance, sparse, listed, "
        "case when listed is null and {words} @@ {whole}::tsquery then {words} end as {words} "
        "from candidate cross join lateral (select {stored} from {table} as whole "
        "where ({key_of_whole}) = ({candidate}) offset 0) as stored"
    ).format(
        key=key,
        by_rank=sql.SQL("{}::boolean").format(bind("by_rank")),
        distance=_distance(index, bind),
        words=sql.Identifier(SEARCH_TEXT),
        whole=bind("whole"),
        stored=columns(list(dict.fromkeys(stored))),
        table=placed(table, schema),
        key_of_whole=columns(table.key, "whole"),
        candidate=columns(table.key, "candidate"),
    )


def _z_score(value: str, weight: float) -> sql.Composed:
    """Return a weighted z-score over the candidates; 0 for a row without the value."""
    return sql.SQL(
        "{weight}::float8 * coalesce((({value}) - avg({value}) over ()) / case when "
        "stddev_pop({value}) over () > {least} then stddev_pop({value}) over () end, 0)"
    ).format(weight=sql.Literal(weight), value=sql.SQL(value), least=sql.Literal(LEAST_DEVIATION))


def _distance(index: VectorIndex | None, bind: Bind) -> sql.Composable:
    """Return the exact distance of a candidate; NULL without an embedding of the dimension."""
    if index is None:
        return sql.SQL("null::float8")
    return sql.SQL(
        "coalesce(candidate.distance, case when {rows} then {column} {cosine} {query} end)"
    ).format(
        rows=embedded_rows(index),
        column=sql.Identifier(index.column),
        cosine=VectorName("<=>"),
        query=sql.SQL("{}::{}").format(bind("embedding"), VectorName(index.stored)),
    )
