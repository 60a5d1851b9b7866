"""Lock every live table beside readers: a fair share of waiting for both sides, and no deadlock.

A lock that is waited for lets no new reader pass, so each table is taken once the transactions that
read it now have ended. Readers of tables that are taken wait meanwhile, so an attempt ends after a
while and lets them all through; the next one may last longer.
"""

import time
from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Catalog
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.versions.dependents import relations

#: Longest wait for the lock of one table, less than half of the server's deadlock_timeout.
LOCK_WAIT_MS = 500
#: How long the first fair attempt may keep readers waiting; each further one twice as long, at most
#: `MOST_SECONDS`.
FIRST_SECONDS = 2.0
MOST_SECONDS = 4.0

#: Waits for a lock that we have, and has one that we are about to wait for: a deadlock, in which
#: the server would end one of both.
_ENTANGLED = sa.text(
    "select exists (select from pg_catalog.pg_locks waits "
    "join pg_catalog.pg_locks has on has.pid = waits.pid "
    "where waits.relation = any(:taken) and not waits.granted "
    "and has.relation = any(:wanted) and has.granted and has.pid <> pg_catalog.pg_backend_pid())"
)


class LiveTablesInUseError(Exception):
    """Somebody uses the live tables for longer than one attempt waits."""


def seconds_of_attempt(number: int) -> float:
    """Return how long an attempt, the first of which is 1, may wait from table to table.

    Two of three are 0: they take all tables in one statement. That is over in a millisecond where
    readers come and go, and hardly ever succeeds where some table is always being read.
    """
    return 0.0 if number % 3 else float(min(FIRST_SECONDS * 2 ** (number // 3 - 1), MOST_SECONDS))


def lock_live(conn: sa.Connection, catalog: Catalog, seconds: float) -> None:
    """Lock every live table or none, in the order of their names; see `lock_tables`."""
    live = relations(conn, catalog, catalog.schema)
    tables = [(sql.Identifier(catalog.schema, name), number) for name, number in live.items()]
    lock_tables(conn, tables, seconds)


def lock_tables(
    conn: sa.Connection, tables: Sequence[tuple[sql.Identifier, int]], seconds: float
) -> None:
    """Lock tables or none of them, in the order given.

    A reader is never the one to give way: before a wait at whose end one could have waited for
    deadlock_timeout, it is looked for one that waits for us and has what we want.

    Args:
        conn: in a transaction, which has to be rolled back after an error.
        tables: with their numbers.
        seconds: how long readers of the first table may be kept waiting for the others; 0 takes all
            in one statement.

    Raises:
        LiveTablesInUseError: that was not enough, or a reader waits for us and has what we want.
        psycopg.errors.QueryCanceled: one table was in use for longer than `LOCK_WAIT_MS`.
    """
    if not tables:
        return
    timeout = conn.execute(
        sa.text("select setting::int from pg_catalog.pg_settings where name = 'deadlock_timeout'")
    ).scalar_one()
    wait = max(1, min(LOCK_WAIT_MS, timeout // 2))
    conn.execute(sa.text(f"set local statement_timeout = {wait}"))
    names, numbers = [name for name, _ in tables], [number for _, number in tables]
    began = time.monotonic()
    for place, together in enumerate([[name] for name in names] if seconds else [names]):
        passed = time.monotonic() - began
        if (place and passed > seconds) or (
            passed * 1_000 + wait > timeout and _is_entangled(conn, numbers, place)
        ):
            raise LiveTablesInUseError
        driver_of(conn).execute(
            sql.SQL("lock table {} in access exclusive mode").format(sql.SQL(", ").join(together))
        )
    conn.execute(sa.text("set local statement_timeout = 0"))
    # Everything else that is locked from here on is ours alone.
    conn.execute(sa.text(f"set local lock_timeout = {wait}"))


def refuse_older_snapshots(conn: sa.Connection, filled_at: datetime) -> None:
    """Wait for transactions that would find the new tables empty.

    A repeatable-read transaction sees rows as of its first query, but tables by name as of now.

    Raises:
        LiveTablesInUseError: naming them.
    """
    older = conn.execute(
        sa.text(
            "select string_agg(format('%s %s (%s)', pid, usename, application_name), ', ') "
            "from pg_stat_activity where datname = current_database() "
            "and pid <> pg_backend_pid() and backend_type = 'client backend' "
            "and backend_xmin is not null and xact_start < :filled_at"
        ),
        {"filled_at": filled_at},
    ).scalar()
    if older:
        raise LiveTablesInUseError(f"a transaction that began before the load: {older}")


def _is_entangled(conn: sa.Connection, numbers: Sequence[int], place: int) -> bool:
    found = conn.execute(_ENTANGLED, {"taken": numbers[:place], "wanted": numbers[place:]})
    return bool(found.scalar_one())
