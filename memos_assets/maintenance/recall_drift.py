"""V21: searches by an index find the rows that exact scans find, on a sample of stored rows.

The check runs inside PostgreSQL, cheap enough for every day. V16 has ground truth from the files.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table, VectorIndex
from memos_assets.finding import Finding
from memos_assets.indexes.definitions import SearchIndex, state_of
from memos_assets.postgres.connection import driver_of, put_in_force
from memos_assets.postgres.vector_names import VectorName
from memos_assets.search.queries import SEARCH_SETTINGS, columns, nearest

#: Queries, each a stored row, and neighbours that each requests.
QUERIES = 20
NEIGHBOURS = 10
#: Recall of those 200 neighbours below which an index has drifted. V16 requires 0.99; a
#: sample of this size hardly ever measures an index of recall 0.99 below 0.95.
LEAST_RECALL = 0.95
_SEED = 20_261_122

#: A zero vector has no angle to any other: its distances are NaN, and no comparison
#: by `<` selects it.
_CHOSEN = sql.SQL(
    "select row({key})::text, {column}::text from {table} where {offered} "
    "and ({column} {cosine} {column}) < 1 "
    "order by hashtextextended(row({key})::text, {seed}), {key} limit {count}"
)
#: Rows of one distance are equally right: all that are as near as the last one are included.
_EXACT = sql.SQL(
    "select {key} from {table} where {offered} and ({column} {cosine} {query}) < 3 "
    "order by {column} {cosine} {query} fetch first %(k)s rows with ties"
)
#: The planner for an exact scan, and for a search by the index as applications send it.
_SCAN = {"enable_seqscan": "on", "enable_indexscan": "off", "enable_sort": "on"}
_SEARCH = {**SEARCH_SETTINGS, "enable_indexscan": "on", "enable_sort": "off"}


@dataclass(frozen=True, slots=True)
class Sampled:
    """Recall of an index against exact scans, over all queries.

    Attributes:
        queries: number of rows that were searched for; 0 where the index serves none.
        recall: share of all true neighbours that were found, 0 to 1.
        worst: the least recall, and the key of its query.
        lacking: missing rows of the shortest result.
        seconds: duration of all queries.
    """

    queries: int
    recall: float
    worst: tuple[float, str]
    lacking: int
    seconds: float

    @property
    def drifted(self) -> bool:
        """Whether the index finds less than it should."""
        return bool(self.queries) and (self.recall < LEAST_RECALL or self.lacking > 0)


def may_be_uncounted(conn: sa.Connection) -> bool:
    """Whether this role may exclude the scans of checks from PostgreSQL's statistics.

    Superusers may, and roles after `grant set on parameter track_counts to ROLE`.
    """
    found = sa.text("select has_parameter_privilege('track_counts', 'set')")
    return bool(conn.execute(found).scalar_one())


@contextmanager
def uncounted(conn: sa.Connection) -> Iterator[None]:
    """Exclude the scans of the block from PostgreSQL's statistics, where the role may.

    Planner and search settings of the block end with it.
    """
    savepoint = conn.begin_nested()
    try:
        if may_be_uncounted(conn):
            conn.execute(sa.text("select set_config('track_counts', 'off', true)"))
        yield
    finally:
        savepoint.rollback()


def recall_has_not_drifted(
    conn: sa.Connection, table: Table, index: VectorIndex, built: SearchIndex
) -> Finding:
    """V21: searches by the index find nearly all rows that exact scans find, and enough of them.

    Args:
        conn: in a transaction; its scans are not counted as use of the index, if the role may.
        table: the table.
        index: the index as it is searched.
        built: the same index as it is built, with the rows that it serves.
    """
    expected = f"recall@{NEIGHBOURS} >= {LEAST_RECALL:g}, and no short result"
    state = state_of(conn, built.name, built.schema)
    if state is None or not state.valid:
        observed = "missing" if state is None else "invalid"
        return Finding(passed=False, expected=expected, observed=observed)
    sample = sampled_recall(conn, table, index, built)
    if not sample.queries:
        return Finding(passed=True, expected=expected, observed="no rows")
    short = f", {sample.lacking} missing from a result" if sample.lacking else ""
    return Finding(
        not sample.drifted,
        expected,
        f"recall {sample.recall:.3f} over {sample.queries} queries{short}",
        evidence={
            "recall": round(sample.recall, 4),
            "probes": sample.queries,
            "worst_probe": sample.worst[1],
            "worst_recall": round(sample.worst[0], 4),
            "most_rows_lacking": sample.lacking,
            "index_bytes": state.bytes,
            "seconds": round(sample.seconds, 3),
        },
    )


def sampled_recall(
    conn: sa.Connection,
    table: Table,
    index: VectorIndex,
    built: SearchIndex,
    *,
    queries: int = QUERIES,
) -> Sampled:
    """Search for stored rows by the index and by exact scans, and compare.

    Only rows that a search may return are used. They are chosen by a hash of their keys, so the
    same rows give the same queries.
    """
    began = time.monotonic()
    schema, key = built.schema_in(conn), table.key
    offered = built.condition
    if table.condition:
        offered = sql.SQL("{} and {}").format(offered, sql.SQL(table.condition))
    shared = {
        "key": columns(key),
        "column": sql.Identifier(index.column),
        "table": sql.Identifier(schema, index.table),
        "offered": offered,
        "query": sql.SQL("{}::{}").format(sql.Placeholder("embedding"), VectorName(index.stored)),
        "cosine": VectorName("<=>"),
        "seed": sql.Literal(_SEED),
        "count": sql.Literal(queries),
    }
    chosen, exact = _CHOSEN.format(**shared), _EXACT.format(**shared)
    by_index = nearest(table, index, schema)
    recalls: list[tuple[float, str]] = []
    lacking = 0
    with uncounted(conn):
        driver = driver_of(conn)
        for name, query in driver.execute(chosen).fetchall():
            values = {"embedding": query, "k": NEIGHBOURS}
            put_in_force(conn, _SCAN)
            true = set(driver.execute(exact, values).fetchall())
            put_in_force(conn, _SEARCH)
            found = {tuple(row[: len(key)]) for row in driver.execute(by_index, values).fetchall()}
            wanted = min(NEIGHBOURS, len(true))
            recalls.append((len(found & true) / wanted, name))
            lacking = max(lacking, wanted - len(found))
    return Sampled(
        queries=len(recalls),
        recall=sum(recall for recall, _ in recalls) / max(1, len(recalls)),
        worst=min(recalls, default=(1.0, "")),
        lacking=lacking,
        seconds=time.monotonic() - began,
    )
