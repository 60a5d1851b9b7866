"""V21: an index still finds what an exact scan of the table finds, on a sample of stored rows.

A self-check inside PostgreSQL, cheap enough for every day. The truth from the source files is V16.
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
from memos_assets.search.queries import SEARCH_SETTINGS, columns, nearest

#: Stored rows that are searched for, and neighbours that are asked for each.
PROBES = 20
NEIGHBOURS = 10
#: Recall of those 200 neighbours below which an index has drifted. V16 holds a sound one to 0.99,
#: and a sample of this size hardly ever shows one of 0.99 below 0.95.
LEAST_RECALL = 0.95
_SEED = 20_261_122

#: A zero vector has no angle to any other: its distances are NaN, which is no less than anything.
_CHOSEN = sql.SQL(
    "select row({key})::text, {column}::text from {table} where {offered} "
    "and ({column} <=> {column}) < 1 "
    "order by hashtextextended(row({key})::text, {seed}), {key} limit {count}"
)
#: Rows of one distance are as good as each other: all that are as near as the last one are taken.
_EXACT = sql.SQL(
    "select {key} from {table} where {offered} and ({column} <=> {probe}) < 3 "
    "order by {column} <=> {probe} fetch first %(k)s rows with ties"
)
#: The planner for an exact scan, and for a search by the index as applications send it.
_SCAN = {"enable_seqscan": "on", "enable_indexscan": "off", "enable_sort": "on"}
_SEARCH = {**SEARCH_SETTINGS, "enable_indexscan": "on", "enable_sort": "off"}


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the index found of what the exact scan found, over all probes.

    Attributes:
        probes: rows that were searched for; 0 where the index serves none.
        recall: of all neighbours, 0 to 1.
        worst: the least recall, and the key of its probe.
        lacking: rows by which the shortest answer was too short.
        seconds: what all of it took.
    """

    probes: int
    recall: float
    worst: tuple[float, str]
    lacking: int
    seconds: float

    @property
    def drifted(self) -> bool:
        """Whether the index finds less than it should."""
        return bool(self.probes) and (self.recall < LEAST_RECALL or self.lacking > 0)


def may_be_uncounted(conn: sa.Connection) -> bool:
    """Whether this role may switch PostgreSQL's statistics off for scans that are no use of ours.

    Superusers may, and who was granted it: `grant set on parameter track_counts to ROLE`.
    """
    found = sa.text("select has_parameter_privilege('track_counts', 'set')")
    return bool(conn.execute(found).scalar_one())


@contextmanager
def uncounted(conn: sa.Connection) -> Iterator[None]:
    """Keep what the block reads out of PostgreSQL's statistics of use, where the role may.

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
    conn: sa.Connection, table: Table, index: VectorIndex, held: SearchIndex
) -> Finding:
    """V21: searches by the index find nearly all of what exact scans find, and enough rows.

    Args:
        conn: in a transaction; nothing of it is counted as use of the index.
        table: that is searched.
        index: how it is searched.
        held: the same index, as it is built and with the rows that it serves.
    """
    expected = f"recall@{NEIGHBOURS} >= {LEAST_RECALL:g}, and no short answer"
    state = state_of(conn, held.name, held.schema)
    if state is None or not state.valid:
        observed = "missing" if state is None else "invalid"
        return Finding(passed=False, expected=expected, observed=observed)
    sample = sampled_recall(conn, table, index, held)
    if not sample.probes:
        return Finding(passed=True, expected=expected, observed="no rows")
    short = f", {sample.lacking} missing from an answer" if sample.lacking else ""
    return Finding(
        not sample.drifted,
        expected,
        f"recall {sample.recall:.3f} over {sample.probes} probes{short}",
        evidence={
            "recall": round(sample.recall, 4),
            "probes": sample.probes,
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
    held: SearchIndex,
    *,
    probes: int = PROBES,
) -> Sampled:
    """Search for stored rows by the index and by exact scans, and compare.

    Only rows that a search may show count. They are chosen by a hash of their keys, so that two
    looks at the same rows ask the same.
    """
    began = time.monotonic()
    schema, key = held.schema_in(conn), table.key
    offered = held.condition
    if table.condition:
        offered = sql.SQL("{} and {}").format(offered, sql.SQL(table.condition))
    shared = {
        "key": columns(key),
        "column": sql.Identifier(index.column),
        "table": sql.Identifier(schema, index.table),
        "offered": offered,
        "probe": sql.SQL("%(embedding)s::{}").format(sql.SQL(index.stored)),
        "seed": sql.Literal(_SEED),
        "count": sql.Literal(probes),
    }
    chosen, exact = _CHOSEN.format(**shared), _EXACT.format(**shared)
    by_index = nearest(table, index, schema)
    recalls: list[tuple[float, str]] = []
    lacking = 0
    with uncounted(conn):
        driver = driver_of(conn)
        for name, probe in driver.execute(chosen).fetchall():
            values = {"embedding": probe, "k": NEIGHBOURS}
            put_in_force(conn, _SCAN)
            true = set(driver.execute(exact, values).fetchall())
            put_in_force(conn, _SEARCH)
            found = {tuple(row[: len(key)]) for row in driver.execute(by_index, values).fetchall()}
            wanted = min(NEIGHBOURS, len(true))
            recalls.append((len(found & true) / wanted, name))
            lacking = max(lacking, wanted - len(found))
    return Sampled(
        probes=len(recalls),
        recall=sum(recall for recall, _ in recalls) / max(1, len(recalls)),
        worst=min(recalls, default=(1.0, "")),
        lacking=lacking,
        seconds=time.monotonic() - began,
    )
