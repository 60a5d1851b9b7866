"""Make another version live: swap the shadow in, or roll back, in one transaction.

Tables change their schema and keep rows, indexes and statistics. Every live table is locked before
the first one moves, so a transaction that has read one of them reads all others as they were, and a
query that waits finds its tables by name again, in the version that is live then.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from memos_assets.catalog import Catalog
from memos_assets.errors import TargetError
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema import tables
from memos_assets.postgres.versions.carried_over import carry_over
from memos_assets.postgres.versions.dependents import refuse_hanging, relations
from memos_assets.postgres.versions.live_locks import (
    LiveTablesInUseError,
    lock_live,
    refuse_older_snapshots,
    seconds_of_attempt,
)
from memos_assets.postgres.versions.versions import (
    BOOKS,
    current_revision,
    drop_schema_if_empty,
    ensure_live,
    free_schema,
    of_catalog,
)


class _InTheWayError(Exception):
    """Somebody uses the live tables, or looks at the database as it was before the load."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One version became live and another one was put aside, in ``seconds``."""

    live: int
    previous: int
    previous_schema: str
    rows: int
    at: datetime
    seconds: float


def swap(
    engine: sa.Engine,
    catalog: Catalog,
    consolidation: str,
    *,
    filled_at: datetime,
    timeout_seconds: float,
    with_its_pins: bool = False,
) -> Exchange:
    """Make the shadow of a consolidation live; what is live becomes the previous version.

    Args:
        engine: of the target database.
        catalog: whose tables.
        consolidation: that filled the shadow.
        filled_at: when its rows were all there, by the server's clock.
        timeout_seconds: how long to wait for readers and loads of the live tables.
        with_its_pins: have every source work from the pin that the shadow was loaded from, which
            by then it may not do any more.

    Raises:
        TargetError: M331 objects of others hang on the live tables; M333 they are in use; M334
            there is no such shadow, it was made at another schema revision, or lacks a table.
    """
    chosen = sa.and_(
        of_catalog(catalog),
        tables.versions.c.state == "shadow",
        tables.versions.c.consolidation == consolidation,
    )
    return _make_live(
        engine,
        catalog,
        chosen,
        filled_at,
        timeout_seconds,
        with_its_pins=with_its_pins,
        again="memos-assets versions --swap, which makes the loaded version live as it is",
    )


def roll_back(
    engine: sa.Engine, catalog: Catalog, *, timeout_seconds: float, number: int | None = None
) -> Exchange:
    """Make a former version live again: the one that was live last, or ``number``.

    Every source goes back to the pin that the version was loaded from, so that its proof is about
    what it holds, and V08 says which files hold something else.

    Raises:
        TargetError: M332 there is none; M331, M333 and M334 as `swap`.
    """
    version = tables.versions.c
    with engine.begin() as conn:
        ensure_live(conn, catalog)
    with engine.connect() as conn:
        former = _former(conn, catalog, number)
    return _make_live(
        engine,
        catalog,
        version.version == former.version,
        former.swapped_out_at,
        timeout_seconds,
        with_its_pins=True,
        again="run the command again",
    )


def former_version(engine: sa.Engine, catalog: Catalog, number: int | None = None) -> int:
    """Return the number of the version that `roll_back` would make live; nothing is changed.

    Raises:
        TargetError: M332 there is none.
    """
    with engine.connect() as conn:
        return int(_former(conn, catalog, number).version)


def _former(conn: sa.Connection, catalog: Catalog, number: int | None) -> Any:
    version = tables.versions.c
    statement = sa.select(version.version, version.swapped_out_at).where(
        version.state == "previous", of_catalog(catalog)
    )
    if number is not None:
        statement = statement.where(version.version == number)
    former = conn.execute(statement.order_by(version.swapped_out_at.desc())).first()
    if former is None:
        raise TargetError(
            "M332",
            "there is no former version" if number is None else f"there is no version {number}",
            where=f"schema {catalog.schema}",
            fix="see what there is: memos-assets versions",
        )
    return former


def _make_live(
    engine: sa.Engine,
    catalog: Catalog,
    chosen: sa.ColumnElement[bool],
    filled_at: datetime,
    timeout_seconds: float,
    *,
    with_its_pins: bool,
    again: str,
) -> Exchange:
    attempts = Retrying(
        retry=retry_if_exception_type(_InTheWayError),
        stop=stop_after_delay(timeout_seconds),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    try:
        for attempt in attempts:
            with attempt:
                seconds = seconds_of_attempt(attempt.retry_state.attempt_number)
                done = _attempt(
                    engine, catalog, chosen, filled_at, seconds, with_its_pins=with_its_pins
                )
        return done
    except _InTheWayError as last:
        raise TargetError(
            "M333",
            f"the live tables are in use ({last}), so nothing was changed",
            where=f"schema {catalog.schema}",
            fix=f"wait, or end those sessions, then: {again}; MEMOS_SWAP_TIMEOUT_SECONDS sets how "
            "long it waits",
        ) from None


def _attempt(
    engine: sa.Engine,
    catalog: Catalog,
    chosen: sa.ColumnElement[bool],
    filled_at: datetime,
    seconds: float,
    *,
    with_its_pins: bool,
) -> Exchange:
    version = tables.versions.c
    try:
        with engine.begin() as conn:
            # Once before readers are kept waiting, and once when no further one can begin.
            refuse_older_snapshots(conn, filled_at)
            lock_live(conn, catalog, seconds)
            refuse_older_snapshots(conn, filled_at)
            began: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            refuse_hanging(conn, catalog)
            ensure_live(conn, catalog)
            live = conn.execute(
                sa.select(tables.versions)
                .where(version.state == "live", version.schema_name == catalog.schema)
                .with_for_update()
            ).one()
            incoming = conn.execute(
                sa.select(tables.versions).where(chosen).with_for_update()
            ).first()
            _require_fit(conn, catalog, incoming)
            assert incoming is not None
            kept = free_schema(conn, catalog, live.version)
            carry_over(
                conn,
                relations(conn, catalog, catalog.schema),
                relations(conn, catalog, incoming.schema_name),
                incoming.schema_name,
            )
            _move_tables(conn, catalog, catalog.schema, kept)
            _move_tables(conn, catalog, incoming.schema_name, catalog.schema)
            _move_books(conn, catalog.schema, kept)
            _move_books(conn, incoming.schema_name, catalog.schema)
            drop_schema_if_empty(conn, incoming.schema_name)
            _record(conn, catalog, live.version, kept, incoming.version)
            if with_its_pins:
                restore_pins(conn, catalog)
            at, rows = conn.execute(
                sa.select(sa.func.clock_timestamp(), version.rows).where(
                    version.version == incoming.version
                )
            ).one()
    except LiveTablesInUseError as error:
        raise _InTheWayError(str(error) or _users(engine, catalog)) from None
    except (psycopg.Error, sa.exc.DBAPIError) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if isinstance(
            cause,
            psycopg.errors.QueryCanceled
            | psycopg.errors.LockNotAvailable
            | psycopg.errors.DeadlockDetected,
        ):
            raise _InTheWayError(_users(engine, catalog)) from None
        raise
    took = (at - began).total_seconds()
    return Exchange(incoming.version, live.version, kept, rows, at, took)


def _users(engine: sa.Engine, catalog: Catalog) -> str:
    """Name the sessions that hold the live tables."""
    with engine.connect() as conn:
        found = conn.execute(
            sa.text(
                "select distinct format('%s %s (%s, %s)', a.pid, a.usename, a.application_name, "
                "a.state) from pg_locks l join pg_stat_activity a on a.pid = l.pid "
                "where l.relation = any(:relations) and l.granted and l.pid <> pg_backend_pid() "
                "and l.database = (select oid from pg_database where datname = current_database())"
            ),
            {"relations": list(relations(conn, catalog, catalog.schema).values())},
        ).scalars()
        return "session " + ", ".join(map(str, found.all()[:5]))


def _require_fit(conn: sa.Connection, catalog: Catalog, incoming: sa.Row[Any] | None) -> None:
    """Refuse a version that is not there, not whole, or of another shape than the database."""
    if incoming is None or incoming.state not in ("shadow", "previous"):
        wrong = "it is no longer there"
    elif incoming.schema_revision != (revision := current_revision(conn)):
        wrong = f"it is of schema revision {incoming.schema_revision}, the database at {revision}"
    elif missing := sorted(
        {spec.name for spec in catalog.tables}
        - relations(conn, catalog, incoming.schema_name).keys()
    ):
        wrong = f"it lacks the tables {', '.join(missing)}"
    else:
        return
    raise TargetError(
        "M334",
        f"the version cannot become live: {wrong}",
        where=f"schema {incoming.schema_name if incoming is not None else catalog.shadow}",
        fix="choose another (memos-assets versions), or load one: memos-assets consolidate --swap",
    )


def _move_tables(conn: sa.Connection, catalog: Catalog, source: str, target: str) -> None:
    if target != catalog.schema:
        conn.execute(sa.schema.CreateSchema(target, if_not_exists=True))
    for name in relations(conn, catalog, source):
        driver_of(conn).execute(
            sql.SQL("alter table {} set schema {}").format(
                sql.Identifier(source, name), sql.Identifier(target)
            )
        )


def _move_books(conn: sa.Connection, source: str, target: str) -> None:
    for table in BOOKS:
        conn.execute(sa.update(table).where(table.c.target == source).values(target=target))


def _record(conn: sa.Connection, catalog: Catalog, live: int, kept: str, incoming: int) -> None:
    entry, version = tables.chunks.c, tables.versions.c
    rows = sa.func.coalesce(
        sa.select(sa.cast(sa.func.sum(entry.rows + entry.mirrored), sa.BigInteger))
        .where(entry.target == sa.bindparam("schema"))
        .scalar_subquery(),
        0,
    )
    conn.execute(
        sa.update(tables.versions)
        .where(version.version == live)
        .values(
            state="previous",
            schema_name=kept,
            schema_revision=current_revision(conn),
            swapped_out_at=sa.func.clock_timestamp(),
            rows=rows,
        ),
        {"schema": kept},
    )
    conn.execute(
        sa.update(tables.versions)
        .where(version.version == incoming)
        .values(
            state="live",
            schema_name=catalog.schema,
            swapped_in_at=sa.func.clock_timestamp(),
            rows=rows,
        ),
        {"schema": catalog.schema},
    )


def restore_pins(conn: sa.Connection, catalog: Catalog) -> None:
    """Have every source work from the pin that the live tables were loaded from last."""
    entry, source = tables.chunks.c, tables.sources.c
    place = sa.func.row_number().over(
        partition_by=entry.source, order_by=(entry.loaded_at.desc(), entry.pin_digest)
    )
    latest = (
        sa.select(entry.source, entry.pin_digest, place.label("place"))
        .where(entry.target == catalog.schema)
        .subquery()
    )
    conn.execute(
        sa.update(tables.sources)
        .where(
            source.source == latest.c.source,
            latest.c.place == 1,
            sa.exists().where(
                tables.pins.c.source == latest.c.source,
                tables.pins.c.digest == latest.c.pin_digest,
            ),
        )
        .values(pin_digest=latest.c.pin_digest)
    )
