"""Health: whether tables and indexes stay as fast as a load leaves them.

V20, V22, V23 and V24 read PostgreSQL's statistics and catalogs; V21, which searches, is in
`recall_drift`. `maintain` does the work that they find. The proof compares the rows.
The thresholds: docs/decisions/008-health-of-indexes.md.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table
from memos_assets.catalog.catalog import versions_of
from memos_assets.finding import Finding
from memos_assets.indexes.definitions import SearchIndex, rows_in
from memos_assets.maintenance.recall_drift import may_be_uncounted
from memos_assets.postgres import schemas
from memos_assets.postgres.connection import has_rows
from memos_assets.postgres.schema.tables import schema_in

#: A table needs VACUUM from this share of dead row versions on, and from this number of them.
DEAD_SHARE = 0.2
DEAD_ROWS = 50
#: Statistics are old from this share of rows changed since ANALYZE on, and from this number.
CHANGED_SHARE = 0.2
CHANGED_ROWS = 50
#: An index without a search for so many days is unused; a monthly job still counts as use.
UNUSED_DAYS = 30
#: Scans between two evaluations that may be the checks' own, where the role cannot exclude them.
OWN_SCANS = 100

#: Names that REINDEX CONCURRENTLY gives to the new and the replaced index.
LEFTOVER = r"_cc(new|old)\d*$"

#: Where the counts were reset, by hand or by a crash, the rows are those of the last VACUUM.
_TABLE = sa.text(
    """
    select pg_total_relation_size(c.oid) as bytes, coalesce(s.n_dead_tup, 0) as dead,
        greatest(
            s.n_live_tup,
            case
                when coalesce(s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze)
                    is null then c.reltuples::bigint
            end,
            0
        ) as live,
        coalesce(s.n_mod_since_analyze, 0) as changed,
        greatest(s.last_vacuum, s.last_autovacuum) as vacuumed_at,
        greatest(s.last_analyze, s.last_autoanalyze) as analyzed_at,
        array(
            select a.attname::text from pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                and coalesce(a.attstattarget, -1) <> 0 and a.attgenerated <> 'v'
                and not exists (
                    select from pg_stats p where p.schemaname = n.nspname
                        and p.tablename = c.relname and p.attname = a.attname and not p.inherited
                )
            order by a.attnum
        ) as unknown
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    left join pg_stat_user_tables s on s.relid = c.oid
    where n.nspname = :schema and c.relname = :name and c.relkind in ('r', 'p')
    """
)

#: An index that is being built at this moment is not left behind.
_INVALID = sa.text(
    """
    select n.nspname as schema, c.relname as name, on_n.nspname as table_schema,
        coalesce(owner.relname, t.relname) as table_name, pg_relation_size(c.oid) as bytes,
        c.relname ~ :leftover as leftover
    from pg_index i
    join pg_class c on c.oid = i.indexrelid
    join pg_namespace n on n.oid = c.relnamespace
    join pg_class t on t.oid = i.indrelid
    left join pg_class owner on owner.reltoastrelid = t.oid
    join pg_namespace on_n on on_n.oid = coalesce(owner.relnamespace, t.relnamespace)
    where not (i.indisvalid and i.indisready and i.indislive)
        and (
            on_n.nspname = any(:schemas)
            or on_n.nspname || '.' || coalesce(owner.relname, t.relname) = any(:live)
        )
        and not exists (
            select from pg_stat_progress_create_index p
            where p.relid = i.indrelid and p.datname = current_database()
        )
    order by 1, 2
    """
)

_INDEX = """
    select c.oid::bigint as oid, coalesce(s.idx_scan, 0) as scans, {last_scan} as last_scan,
        pg_relation_size(c.oid) as bytes,
        array(
            select o.relname::text from pg_index other
            join pg_class o on o.oid = other.indexrelid and o.relam = c.relam
            where other.indrelid = i.indrelid and other.indexrelid <> i.indexrelid
                and other.indisvalid and other.indkey::text = i.indkey::text
                and other.indclass::text = i.indclass::text
                and pg_get_expr(other.indexprs, other.indrelid)
                    is not distinct from pg_get_expr(i.indexprs, i.indrelid)
                and pg_get_expr(other.indpred, other.indrelid)
                    is not distinct from pg_get_expr(i.indpred, i.indrelid)
            order by o.relname
        ) as twins,
        now() as seen_at
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    join pg_index i on i.indexrelid = c.oid
    left join pg_stat_user_indexes s on s.indexrelid = c.oid
    where n.nspname = :schema and c.relname = :name
"""


@dataclass(frozen=True, slots=True)
class InvalidIndex:
    """An index that PostgreSQL may still write, and never searches.

    ``leftover``: a REINDEX CONCURRENTLY that was broken off left it beside the index in use.
    """

    schema: str
    name: str
    table: str
    bytes: int
    leftover: bool

    @property
    def qualified(self) -> str:
        """Name with its schema."""
        return f"{self.schema}.{self.name}"


def table_is_vacuumed(conn: sa.Connection, table: Table) -> Finding:
    """V20: few of a table's row versions are dead.

    An HNSW index keeps the elements of dead rows until VACUUM, and searches read them. The count is
    PostgreSQL's own, which lags some seconds behind.

    Args:
        conn: to the target database.
        table: the table to check.
    """
    expected = f"at most {DEAD_SHARE:.0%} dead rows"
    row = _counted(conn, _TABLE, table.name, table.schema)
    if row is None:
        return Finding(passed=False, expected=expected, observed="no such table")
    versions = row.live + row.dead
    share = row.dead / max(1, versions)
    return Finding(
        share <= DEAD_SHARE or row.dead < DEAD_ROWS,
        expected,
        f"{row.dead:,} of {versions:,} row versions dead ({share:.1%})",
        evidence={
            "dead_rows": row.dead,
            "live_rows": row.live,
            "bytes": row.bytes,
            "vacuumed_at": _written(row.vacuumed_at),
        },
    )


def statistics_are_there(conn: sa.Connection, table: Table) -> Finding:
    """V23: the planner has statistics of every column, and few rows changed since ANALYZE.

    Args:
        conn: to the target database.
        table: the table to check.
    """
    expected = f"statistics of every column, at most {CHANGED_SHARE:.0%} of the rows changed since"
    row = _counted(conn, _TABLE, table.name, table.schema)
    if row is None:
        return Finding(passed=False, expected=expected, observed="no such table")
    evidence = {"changed_rows": row.changed, "analyzed_at": _written(row.analyzed_at)}
    if not has_rows(conn, sql.Identifier(schema_in(conn, table.schema), table.name)):
        return Finding(passed=True, expected=expected, observed="no rows", evidence=evidence)
    unknown: Sequence[str] = row.unknown
    share = row.changed / max(1, row.live)
    old = share > CHANGED_SHARE and row.changed >= CHANGED_ROWS
    seen = f"{row.changed:,} of {row.live:,} rows changed since"
    return Finding(
        not unknown and not old,
        expected,
        f"none of {', '.join(unknown)}" if unknown else seen,
        evidence={**evidence, "without_statistics": list(unknown)},
    )


def invalid_indexes(conn: sa.Connection, tables: Iterable[Table]) -> list[InvalidIndex]:
    """Return every invalid index in the schemas of consolidated tables, and on live tables.

    Schemas of former versions, of the bookkeeping tables and of Dagster are included.
    """
    tables = list(tables)
    values = {
        "schemas": _our_schemas(conn, {table.schema for table in tables if not table.live}),
        "live": [table.qualified for table in tables if table.live],
        "leftover": LEFTOVER,
    }
    found = conn.execute(_INVALID, values)
    return [
        InvalidIndex(
            row.schema, row.name, f"{row.table_schema}.{row.table_name}", row.bytes, row.leftover
        )
        for row in found
    ]


def no_index_is_left_invalid(conn: sa.Connection, tables: Iterable[Table]) -> Finding:
    """V22: no interrupted build or REINDEX CONCURRENTLY left an index that is never searched."""
    found = invalid_indexes(conn, tables)
    observed = "; ".join(
        f"{index.qualified} on {index.table} ({index.bytes:,} bytes)" for index in found
    )
    return Finding(
        not found,
        "no invalid index",
        observed or "none",
        evidence={
            "invalid": [index.qualified for index in found],
            "bytes": sum(index.bytes for index in found),
        },
    )


def index_is_used(conn: sa.Connection, index: SearchIndex, former: Mapping[str, Any]) -> Finding:
    """V24: the index was searched within ``UNUSED_DAYS``, and no other index does the same.

    The days count from the first evaluation that saw the index, so the check still passes after a
    build, and after a reset of PostgreSQL's statistics.

    Args:
        conn: to the target database.
        index: an index of the catalog; one that serves no rows cannot be unused.
        former: evidence of the former evaluation; empty where there is none.
    """
    expected = f"searched within {UNUSED_DAYS} days, and the only one of its kind"
    last_scan = "s.last_idx_scan" if _server(conn) >= 16 else "null::timestamptz"
    row = _counted(conn, sa.text(_INDEX.format(last_scan=last_scan)), index.name, index.schema)
    if row is None:
        return Finding(passed=False, expected=expected, observed="missing", evidence={"unused": 0})
    rows = rows_in(conn, index)
    since, used_at = _watched(row, former, OWN_SCANS * (not may_be_uncounted(conn)))
    idle = row.seen_at - max(filter(None, (since, used_at)))
    unused = bool(rows) and idle >= timedelta(days=UNUSED_DAYS)
    twins: Sequence[str] = row.twins
    use = f"last searched {used_at:%Y-%m-%d}" if used_at else f"not searched since {since:%Y-%m-%d}"
    also = f"; {', '.join(twins)} does the same" if twins else ""
    return Finding(
        not unused and not twins,
        expected,
        f"{use if rows else 'serves no rows'}, {row.bytes:,} bytes{also}",
        evidence={
            "index": row.oid,
            "scans": row.scans,
            "watched_since": since.isoformat(),
            "used_at": _written(used_at),
            "bytes": row.bytes,
            "rows": rows,
            "twins": list(twins),
            "unused": int(unused) + len(twins),
        },
    )


def _watched(
    row: sa.Row[Any], former: Mapping[str, Any], own_scans: int
) -> tuple[datetime, datetime | None]:
    """Return the first evaluation of an index and its last use, from the former evidence."""
    if former.get("index") != row.oid:
        return row.seen_at, None if own_scans else row.last_scan
    since = datetime.fromisoformat(former["watched_since"])
    used_at = datetime.fromisoformat(former["used_at"]) if former["used_at"] else None
    before = int(former["scans"])
    # Fewer scans than before: the statistics were reset, so all counted scans are new.
    rise = row.scans - before if row.scans >= before else row.scans
    if rise > own_scans:
        used_at = row.seen_at if own_scans else row.last_scan or row.seen_at
    return since, used_at


def _our_schemas(conn: sa.Connection, live: Iterable[str]) -> list[str]:
    """Return schemas with all their versions, and those that all catalogs share."""
    versions = sa.text(
        "select schema_name from memos_ops.versions where state <> 'dropped' "
        "and schema_name ~ any(:patterns)"
    )
    live = set(live)
    kept = conn.execute(versions, {"patterns": [versions_of(schema) for schema in live]})
    return sorted({*live, *schemas.shared_and_checked(), *kept.scalars()})


def _counted(
    conn: sa.Connection, statement: sa.TextClause, name: str, schema: str
) -> sa.Row[Any] | None:
    """Return PostgreSQL's current statistics of a table or index."""
    conn.execute(sa.text("select pg_stat_clear_snapshot()"))
    return conn.execute(statement, {"schema": schema_in(conn, schema), "name": name}).first()


def _server(conn: sa.Connection) -> int:
    return int(conn.execute(sa.text("show server_version_num")).scalar_one()) // 10_000


def _written(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""
