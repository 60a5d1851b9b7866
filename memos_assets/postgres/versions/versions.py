"""Versions of the consolidated tables: the live one, a shadow that is being filled, former ones.

A version is a schema. The live one is the catalog's; `swap` makes another one live. In the
bookkeeping tables, `target` names the schema that a row is about.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Catalog
from memos_assets.errors import TargetError
from memos_assets.finding import Finding
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.connection import count_rows, driver_of, first_line
from memos_assets.postgres.engine import shown
from memos_assets.postgres.migrations import VERSION_SCHEMA, VERSION_TABLE
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import create_tables, tables_of
from memos_assets.postgres.schema.tables import in_schema, schema_in
from memos_assets.postgres.versions.dependents import relations

State = Literal["shadow", "live", "previous", "dropped"]

#: Grace period before an unfinished shadow is removed.
SHADOW_DAYS = 1

#: What is written down about the rows of a version, by its schema in ``target``.
BOOKS = (tables.chunks, tables.rejects, tables.evaluations)


@dataclass(frozen=True, slots=True)
class Version:
    """One version. ``rows`` and ``bytes`` are 0 once it is dropped."""

    number: int
    schema: str
    state: State
    consolidation: str | None
    schema_revision: str
    rows: int
    bytes: int
    made_at: datetime
    swapped_in_at: datetime | None
    swapped_out_at: datetime | None


@contextmanager
def sole_swap(engine: sa.Engine) -> Iterator[None]:
    """Keep a second consolidation from filling the shadow meanwhile.

    Raises:
        TargetError: M330 another one is at it.
    """
    with advisory_locks.SHADOW.tried_alone(engine) as taken:
        if not taken:
            raise TargetError(
                "M330",
                "another consolidation fills the shadow at this moment",
                where=shown(engine.url),
                fix="wait until it has ended, then run consolidate --swap again",
            )
        yield


def current_revision(conn: sa.Connection) -> str:
    """Return the schema revision that the database is at."""
    table = sa.table(VERSION_TABLE, sa.column("version_num"), schema=VERSION_SCHEMA)
    return str(conn.execute(sa.select(table.c.version_num)).scalar_one())


def of_catalog(catalog: Catalog) -> sa.ColumnElement[bool]:
    """Return the condition of versions of a catalog's tables."""
    return tables.versions.c.schema_name.regexp_match(catalog.versions)


def list_versions(conn: sa.Connection, catalog: Catalog) -> list[Version]:
    """Return every version of a catalog's tables, the newest first."""
    entry, version = tables.chunks.c, tables.versions.c
    rows = (
        sa.select(sa.cast(sa.func.sum(entry.rows + entry.mirrored), sa.BigInteger))
        .where(entry.target == version.schema_name)
        .scalar_subquery()
    )
    used = sa.text(
        "(select sum(pg_total_relation_size(c.oid))::bigint from pg_class c join pg_namespace n "
        "on n.oid = c.relnamespace where n.nspname = versions.schema_name and c.relkind = 'r')"
    )
    found = conn.execute(
        sa.select(
            tables.versions, rows.label("row_count"), sa.literal_column(used.text).label("used")
        )
        .where(version.state != "dropped", of_catalog(catalog))
        .order_by(version.version.desc())
    )
    return [
        Version(
            row.version,
            row.schema_name,
            row.state,
            row.consolidation,
            row.schema_revision,
            row.row_count or 0,
            row.used or 0,
            row.made_at,
            row.swapped_in_at,
            row.swapped_out_at,
        )
        for row in found
    ]


def version_number(conn: sa.Connection, catalog: Catalog) -> int | None:
    """Return the number of the version that this connection works on; None before the first."""
    entry = tables.versions.c
    found: int | None = conn.execute(
        sa.select(entry.version).where(
            entry.state.in_(("live", "shadow")),
            entry.schema_name == schema_in(conn, catalog.schema),
        )
    ).scalar()
    return found


def ensure_live(conn: sa.Connection, catalog: Catalog) -> None:
    """Write the live version down where nobody did so far."""
    entry = tables.versions.c
    live = sa.exists().where(entry.state == "live", entry.schema_name == catalog.schema)
    conn.execute(
        sa.insert(tables.versions).from_select(
            ["schema_name", "state", "schema_revision"],
            sa.select(
                sa.literal(catalog.schema), sa.literal("live"), sa.literal(current_revision(conn))
            ).where(~live),
        )
    )


def create_shadow(engine: sa.Engine, catalog: Catalog, consolidation: str) -> int:
    """Create empty tables in the shadow schema, in one transaction; return the version's number.

    A shadow that an earlier consolidation left behind is dropped first.

    Raises:
        TargetError: M335 objects of others depend on that shadow.
    """
    with in_schema(engine, catalog.schema, catalog.shadow).begin() as conn:
        ensure_live(conn, catalog)
        for version in list_versions(conn, catalog):
            if version.state == "shadow":
                _drop(conn, catalog, version.number, version.schema)
        # Not registered, such as after `migrate --to base`.
        _drop_tables(conn, catalog, catalog.shadow)
        create_tables(conn, catalog)
        number: int = conn.execute(
            sa.insert(tables.versions)
            .values(
                schema_name=catalog.shadow,
                state="shadow",
                consolidation=consolidation,
                schema_revision=current_revision(conn),
            )
            .returning(tables.versions.c.version)
        ).scalar_one()
    return number


def require_shadow(engine: sa.Engine, schema: str) -> None:
    """Refuse to work on any schema but the shadow that is being filled.

    Raises:
        TargetError: M336 it is another schema, or there is no shadow, such as after the swap.
    """
    entry = tables.versions.c
    with engine.connect() as conn:
        there = conn.execute(
            sa.select(sa.exists().where(entry.state == "shadow", entry.schema_name == schema))
        ).scalar_one()
    if not there:
        raise TargetError(
            "M336",
            "there is no such shadow; it became live, or was dropped",
            where=f"schema {schema}",
            fix="run it without the tag memos/into, or fill a shadow: consolidate --swap",
        )


def prune(engine: sa.Engine, catalog: Catalog, keep_days: float) -> list[int]:
    """Drop former versions that are older than ``keep_days``, and a shadow that was left behind.

    Returns:
        The numbers of what was dropped.

    Raises:
        TargetError: M335 one cannot be dropped; those before it are.
    """
    entry = tables.versions.c
    days = sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.bindparam("seconds"))
    due = (
        sa.select(entry.version, entry.schema_name)
        .where(
            of_catalog(catalog),
            sa.or_(
                sa.and_(entry.state == "previous", entry.swapped_out_at < sa.func.now() - days),
                sa.and_(
                    entry.state == "shadow",
                    entry.made_at < sa.func.now() - sa.text(f"interval '{SHADOW_DAYS} day'"),
                    # The transaction that drops it keeps another one from being filled.
                    advisory_locks.SHADOW.tried_within_transaction(),
                ),
            ),
        )
        .order_by(entry.version)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    dropped: list[int] = []
    while True:
        with engine.begin() as conn:
            row = conn.execute(due, {"seconds": keep_days * 86_400}).first()
            if row is None:
                return dropped
            _drop(conn, catalog, row.version, row.schema_name)
        dropped.append(row.version)


def drop_schema_if_empty(conn: sa.Connection, schema: str) -> None:
    """Drop a schema, unless somebody put something of their own into it."""
    empty = conn.execute(
        sa.text(
            "select not exists (select from pg_depend d join pg_namespace n on n.oid = d.refobjid "
            "where d.refclassid = 'pg_namespace'::regclass and n.nspname = :schema)"
        ),
        {"schema": schema},
    ).scalar_one()
    if empty:
        conn.execute(sa.schema.DropSchema(schema, if_exists=True))


def _drop_tables(conn: sa.Connection, catalog: Catalog, schema: str) -> None:
    names = list(relations(conn, catalog, schema))
    if not names:
        return
    driver = driver_of(conn)
    statement = sql.SQL("drop table {} restrict").format(
        sql.SQL(", ").join(sql.Identifier(schema, name) for name in names)
    )
    try:
        driver.execute(statement)
    except psycopg.Error as error:
        detail = error.diag.message_detail or first_line(error)
        raise TargetError(
            "M335",
            f"the version cannot be dropped ({detail.splitlines()[0]})",
            where=f"schema {schema}",
            fix="drop what is named, or end what uses it, then: memos-assets versions --prune",
        ) from error


def _drop(conn: sa.Connection, catalog: Catalog, number: int, schema: str) -> None:
    assert schema != catalog.schema, "the live version is never dropped"
    _drop_tables(conn, catalog, schema)
    drop_schema_if_empty(conn, schema)
    for table in BOOKS:
        conn.execute(sa.delete(table).where(table.c.target == schema))
    conn.execute(
        sa.update(tables.versions)
        .where(tables.versions.c.version == number)
        .values(state="dropped", dropped_at=sa.func.now())
    )


def free_schema(conn: sa.Connection, catalog: Catalog, number: int) -> str:
    """Return a schema for a version that goes aside; one that is not registered is in its place."""
    plain = f"{catalog.schema}_v{number}"
    wanted = [plain, *(f"{plain}_{n}" for n in range(1, 100))]
    return next(schema for schema in wanted if not relations(conn, catalog, schema))


def unbooked_schemas(conn: sa.Connection, catalog: Catalog) -> list[str]:
    """Return schemas of versions that no book names, such as after `migrate --to` and back."""
    version = tables.versions.c
    booked = set(
        conn.execute(sa.select(version.schema_name).where(version.state != "dropped")).scalars()
    )
    booked.add(catalog.schema)
    return [
        schema
        for schema in sa.inspect(conn).get_schema_names()
        if re.fullmatch(catalog.versions, schema)
        and schema not in booked
        and relations(conn, catalog, schema)
    ]


def version_is_complete(conn: sa.Connection, catalog: Catalog) -> Finding:
    """V14: the version that this connection works on is whole, and the others are as registered."""
    schema = schema_in(conn, catalog.schema)
    faults: list[str] = []
    stored = 0
    present = relations(conn, catalog, schema)
    inspector = sa.inspect(conn)
    entry = tables.chunks.c
    booked: dict[str, int] = {
        row.table_name: row.rows
        for row in conn.execute(
            sa.select(
                entry.table_name,
                sa.cast(sa.func.sum(entry.rows + entry.mirrored), sa.BigInteger).label("rows"),
            )
            .where(entry.target == schema)
            .group_by(entry.table_name)
        )
    }
    for table in tables_of(catalog).tables.values():
        name = table.name
        if name not in present:
            faults.append(f"{schema}.{name} is missing")
            continue
        key = inspector.get_pk_constraint(name, schema)["constrained_columns"]
        if key != [column.name for column in table.primary_key]:
            faults.append(f"{schema}.{name} has the key {', '.join(key) or 'none'}")
        rows = count_rows(conn, table, sa.true())
        stored += rows
        if rows != booked.get(name, 0):
            faults.append(f"{schema}.{name} holds {rows} rows, the ledger {booked.get(name, 0)}")
    faults += _faults_of_others(conn, catalog, set(inspector.get_schema_names()))
    rows = sum(booked.values())
    return Finding(
        not faults,
        expected=f"{len(catalog.tables)} tables with their keys and {rows} rows",
        observed="; ".join(faults) or f"{len(present)} tables and {stored} rows",
        evidence={"rows": stored, "faults": faults},
    )


def _faults_of_others(conn: sa.Connection, catalog: Catalog, schemas: set[str]) -> Iterator[str]:
    """Yield former versions whose tables are gone, and an unfinished shadow."""
    version = tables.versions.c
    left = version.made_at < sa.func.now() - sa.text(f"interval '{SHADOW_DAYS} day'")
    for row in conn.execute(
        sa.select(version.version, version.schema_name, version.state, left.label("left"))
        .where(version.state != "dropped", of_catalog(catalog))
        .order_by(version.version)
    ):
        if row.state == "previous" and row.schema_name not in schemas:
            yield f"version {row.version} has to be kept, and schema {row.schema_name} is gone"
        if row.state == "shadow" and row.left:
            yield f"version {row.version} was left in {row.schema_name} more than a day ago"
