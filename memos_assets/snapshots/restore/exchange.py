"""The exchange: tables of a shadow schema become the live ones, in one transaction.

First writers wait, while it is looked whether rows changed since the snapshot of now, and while
memOS's own rows are put back; readers go on. Then, for a fraction of a second, everybody waits.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Final

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import MEMOS
from memos_assets.postgres import row_security
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.forks import tables_in
from memos_assets.postgres.owned_rows import OWNERS_POLICY, PREFIX
from memos_assets.postgres.schema import agent
from memos_assets.postgres.versions.carried_over import carry_over
from memos_assets.postgres.versions.live_locks import (
    LiveTablesInUseError,
    lock_tables,
    refuse_older_snapshots,
)
from memos_assets.snapshots.coverage import coverage_of
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.restore import by_hand
from memos_assets.snapshots.restore.shadow import exchanged, set_sequences
from memos_assets.snapshots.restore.staged import Staged, refused

#: How long writers wait in line for one attempt to have them stop.
_WRITERS_WAIT_MS: Final = 2_000


#: Times that writers in the middle of a transaction are cancelled before one attempt ends.
_CANCELS: Final = 5


class RowsChangedError(Exception):
    """Rows changed since the snapshot of now."""


@dataclass(frozen=True, slots=True)
class Before:
    """What was live when the snapshot of now was written.

    Attributes:
        moment: PostgreSQL's snapshot from before it, as text.
        rows: ``schema.table`` -> rows.
    """

    moment: str
    rows: Mapping[str, int]


def stop_writers(conn: sa.Connection, application: Sequence[Staged]) -> None:
    """Have writers of all tables wait until the transaction ends; readers go on.

    Raises:
        LiveTablesInUseError: a writer did not end in time.
    """
    tables = [sql.Identifier(agent.AGENT_SCHEMA, name) for name in _replaced(conn)]
    tables += [one.live for one in application]
    conn.execute(sa.text(f"set local lock_timeout = {_WRITERS_WAIT_MS}"))
    with in_use():
        driver_of(conn).execute(
            sql.SQL("lock table {} in share row exclusive mode").format(sql.SQL(", ").join(tables))
        )


def _replaced(conn: sa.Connection) -> dict[str, int]:
    found = tables_in(conn, agent.AGENT_SCHEMA)
    return {name: number for name, number in found.items() if exchanged(name)}


@contextmanager
def in_use() -> Iterator[None]:
    """Turn a lock that is not had in time into `LiveTablesInUseError`."""
    try:
        yield
    except (
        psycopg.errors.QueryCanceled,
        psycopg.errors.LockNotAvailable,
        psycopg.errors.DeadlockDetected,
    ):
        raise LiveTablesInUseError from None


#: A row's transaction has 32 bits, the moment's 64: the nearest one to the moment is meant. One
#: from before the moment's oldest open transaction has been seen by it.
_CHANGED: Final = """
select count(*) as rows, count(*) filter (where distance >= 0 and not
    pg_catalog.pg_visible_in_snapshot((oldest + distance)::text::xid8, moment)) as changed
from (
    select m.moment, m.oldest, (t.xmin::text::bigint - (m.oldest & 4294967295) + 6442450944)
        % 4294967296 - 2147483648 as distance
    from {table} t cross join (
        select :moment ::pg_snapshot as moment,
            pg_catalog.pg_snapshot_xmin(:moment ::pg_snapshot)::text::bigint as oldest
    ) as m
) as row
"""


def require_unchanged(conn: sa.Connection, before: Before) -> None:
    """Refuse where rows changed since the snapshot of now; writers have stopped.

    Raises:
        RowsChangedError: naming the tables.
    """
    changed = []
    for qualified, rows in before.rows.items():
        query = sa.text(_CHANGED.format(table=qualified))
        now = conn.execute(query, {"moment": before.moment}).one()
        if now.changed or now.rows != rows:
            changed.append(qualified)
    if changed:
        raise RowsChangedError(", ".join(changed))


def put_application(conn: sa.Connection, staged: Sequence[Staged]) -> dict[str, Counts]:
    """Make memOS's own rows those of the snapshot; return ``schema.table`` -> what changed.

    Raises:
        SnapshotError: M819 rows of others hang on what would be removed.
    """
    parents = {
        table.name: {one.references for one in table.columns if one.references}
        for table in MEMOS.application_tables
    }
    order = list(TopologicalSorter(parents).static_order())
    ordered = sorted(staged, key=lambda one: order.index(one.entry.name))
    removed, done = {}, {}
    one = None
    try:
        for one in reversed(ordered):
            removed[one.entry.qualified] = one.remove(conn)
        for one in ordered:
            added, changed = one.put(conn)
            done[one.entry.qualified] = Counts(added, removed[one.entry.qualified], changed)
    except psycopg.errors.IntegrityError as error:
        raise refused(error, f"table {one.entry.qualified if one else ''}") from None
    return done


_OUTER_KEYS = sa.text(
    """
    select k.conname::text as name, t.relname::text as table_name,
        pg_catalog.pg_get_constraintdef(k.oid) as definition
    from pg_catalog.pg_constraint k
    join pg_catalog.pg_class t on t.oid = k.conrelid
    join pg_catalog.pg_namespace n on n.oid = t.relnamespace
    where k.contype = 'f' and n.nspname = :schema
        and k.confrelid = any(:replaced) and k.conrelid <> all(:replaced)
    """
)
#: Of others, on tables that are replaced. Our own policies come back by their description, and our
#: constraints with the tables.
_HANGING = sa.text(
    """
    select 'publication ' || p.pubname
    from pg_catalog.pg_publication_rel r
    join pg_catalog.pg_publication p on p.oid = r.prpubid where r.prrelid = any(:replaced)
    union all
    select 'policy ' || p.polname || ' of ' || c.relname
    from pg_catalog.pg_policy p join pg_catalog.pg_class c on c.oid = p.polrelid
    where p.polrelid = any(:replaced) and p.polname <> :owners
        and not starts_with(p.polname::text, :prefix)
    union all
    select 'constraint ' || k.conname || ' of ' || c.relname
    from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid
    where k.conrelid = any(:replaced) and k.contype = 'c' and k.conname <> all(:checks)
    order by 1
    """
)


def hanging(conn: sa.Connection) -> list[str]:
    """Describe publications, policies and check constraints of others, which would be dropped."""
    checks = [
        str(constraint.name)
        for table in agent.metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    ]
    given = {"owners": OWNERS_POLICY, "prefix": PREFIX, "checks": checks}
    replaced = list(_replaced(conn).values())
    return list(conn.execute(_HANGING, {"replaced": replaced, **given}).scalars())


def exchange(
    conn: sa.Connection, shadow: str, filled_at: datetime, seconds: float, *, cancel: bool = False
) -> datetime:
    """Put the tables of a shadow schema in the place of the live ones; return when readers stopped.

    Args:
        conn: in a transaction in which writers have stopped; the caller commits.
        shadow: the schema.
        filled_at: when it was there, by the server's clock.
        seconds: as `live_locks.lock_tables` takes them.
        cancel: writers that wait for us, and have what we wait for.

    Raises:
        LiveTablesInUseError: readers did not end in time.
        SnapshotError: M819 objects of others depend on the live tables.
    """
    live = tables_in(conn, agent.AGENT_SCHEMA)
    replaced = {name: number for name, number in live.items() if exchanged(name)}
    emptied = {
        name: number
        for name, number in live.items()
        if (coverage := coverage_of(agent.AGENT_SCHEMA, name)) and coverage.of == "cache"
    }
    outer = conn.execute(
        _OUTER_KEYS, {"schema": agent.AGENT_SCHEMA, "replaced": list(replaced.values())}
    ).all()
    locked = {**replaced, **emptied, **{row.table_name: live[row.table_name] for row in outer}}
    # Locked before, so that those who change these wait as writers do.
    made_by_hand = by_hand.find(conn, replaced.values())
    refuse_older_snapshots(conn, filled_at)
    _stop_readers(conn, locked, seconds, cancel=cancel)
    began: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    refuse_older_snapshots(conn, filled_at)
    driver = driver_of(conn)
    incoming = tables_in(conn, shadow)
    # Agents got numbers after the schema was loaded.
    set_sequences(conn, shadow)
    carry_over(conn, replaced, incoming, shadow)
    if emptied:
        listed = sql.SQL(", ").join(map(_named, emptied))
        driver.execute(sql.SQL("truncate {}").format(listed))
    for row in outer:
        driver.execute(
            sql.SQL("alter table {} drop constraint {}").format(
                _named(row.table_name), sql.Identifier(row.name)
            )
        )
    try:
        driver.execute(sql.SQL("drop table {}").format(sql.SQL(", ").join(map(_named, replaced))))
    except psycopg.errors.DependentObjectsStillExist as error:
        raise refused(error, f"schema {agent.AGENT_SCHEMA}") from None
    for name in incoming:
        driver.execute(
            sql.SQL("alter table {} set schema {}").format(
                sql.Identifier(shadow, name), sql.Identifier(agent.AGENT_SCHEMA)
            )
        )
    for row in outer:
        driver.execute(
            sql.SQL("alter table {} add constraint {} ").format(
                _named(row.table_name), sql.Identifier(row.name)
            )
            + sql.SQL(row.definition)
        )
    by_hand.make(conn, made_by_hand)
    driver.execute(sql.SQL("drop schema {}").format(sql.Identifier(shadow)))
    row_security.install(conn)
    return began


#: Statements of writers that wait for us. In the middle of a transaction that has read, they keep
#: what they have read from being locked.
_CANCEL = sa.text(
    "select pg_catalog.pg_cancel_backend(l.pid) from pg_catalog.pg_locks l "
    "where l.relation = any(:locked) and not l.granted and l.pid <> pg_catalog.pg_backend_pid()"
)


def _stop_readers(
    conn: sa.Connection, locked: Mapping[str, int], seconds: float, *, cancel: bool
) -> None:
    tables = [(_named(name), locked[name]) for name in sorted(locked)]
    if not cancel:
        with in_use():
            lock_tables(conn, tables, seconds)
        return
    for attempt in range(1, _CANCELS + 1):
        conn.execute(_CANCEL, {"locked": list(locked.values())})
        try:
            with in_use(), conn.begin_nested():
                lock_tables(conn, tables, 0)
        except LiveTablesInUseError:
            if attempt == _CANCELS:
                raise
        else:
            return


def _named(name: str) -> sql.Identifier:
    return sql.Identifier(agent.AGENT_SCHEMA, name)
