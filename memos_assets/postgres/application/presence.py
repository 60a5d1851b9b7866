"""Whether memOS's tables are in a database, and their adoption or creation when that comes later.

They are created only where some of them are, or on request: a database that has nothing to do with
memOS gets no table in `public`. So either all of them are there, or none.
"""

import logging
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.check import Judge, Value, by_connection
from memos_assets.errors import UsageError
from memos_assets.finding import Finding
from memos_assets.postgres import schemas
from memos_assets.postgres.application import adoption
from memos_assets.postgres.application.found_tables import find_table
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.schema.tables import application_tables

_log = logging.getLogger(__name__)

#: What checks, assets and searches say where memOS's tables are absent.
NOT_HERE = "memOS's tables are not in this database"

_THERE = sa.text(
    "select exists (select from pg_catalog.pg_class c"
    " join pg_catalog.pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = :schema and c.relname = any(:names) and c.relkind in ('r', 'p'))"
)


def application_is_there(conn: sa.Connection) -> bool:
    """Whether any table of memOS is in schema ``public``."""
    known = {"schema": APPLICATION_SCHEMA, "names": list(APPLICATION)}
    return bool(conn.execute(_THERE, known).scalar_one())


def unadopted(conn: sa.Connection) -> list[str]:
    """Return names of memOS's tables that were neither adopted nor created, there or not."""
    if not _has_bookkeeping(conn):
        return list(APPLICATION)
    taken = set(conn.execute(sa.select(application_tables.c.table_name)).scalars())
    return [name for name in APPLICATION if name not in taken]


def _has_bookkeeping(conn: sa.Connection) -> bool:
    book = f"{schemas.OPS.name}.{application_tables.name}"
    return conn.execute(sa.select(sa.func.to_regclass(book))).scalar_one() is not None


def application_is_absent(conn: sa.Connection) -> bool:
    """Whether no table of memOS is there or ever was; one that was adopted and is gone is lost."""
    return len(unadopted(conn)) == len(APPLICATION) and not application_is_there(conn)


def where_present(judge: Callable[[sa.Connection, Value], Finding]) -> Judge[Value]:
    """Return a judge that passes what is about memOS's own tables where these are absent.

    Args:
        judge: decides on a `Table`, a `SearchIndex`, or a tuple that begins with one.
    """

    def judged(conn: sa.Connection, value: Value) -> Finding:
        about: Any = value[0] if isinstance(value, tuple) else value
        if about.live and application_is_absent(conn):
            return absent_finding()
        return judge(conn, value)

    return by_connection(judged)


def absent_finding() -> Finding:
    """Return that a check passes because memOS's tables are absent."""
    return Finding(passed=True, expected="where memOS's tables are", observed=NOT_HERE)


def absent_error(where: str) -> UsageError:
    """Return the refusal to read or search a table of memOS where these are absent, M570."""
    return UsageError(
        "M570",
        NOT_HERE,
        where=where,
        fix="let memOS make them, or set MEMOS_APPLICATION_TABLES=create; then run "
        "`memos-assets migrate`",
    )


def take_over(conn: sa.Connection, *, create: bool) -> list[str]:
    """Adopt tables of memOS that came since revision 0004, with those beside them; or create all.

    Does nothing where that is done, or where there is nothing to adopt and no request.

    Args:
        conn: in the transaction of a migration, at the newest revision.
        create: create them on a database that has none.

    Returns:
        Names of the tables that were adopted or created.

    Raises:
        TargetError: M350 to M354, as `adoption.adopting` and `adoption.adopt`.
    """
    names = unadopted(conn) if _has_bookkeeping(conn) else []
    if not names or not (create or application_is_there(conn)):
        return []
    created = 0
    conn.execute(sa.schema.CreateSchema(APPLICATION_SCHEMA, if_not_exists=True))
    with adoption.adopting(conn, names):
        for name in names:
            table, found = APPLICATION[name], find_table(conn, name)
            if found is not None:
                adoption.adopt(conn, found, list(table.columns))
            else:
                table.create(conn, checkfirst=False)
                adoption.record_created(conn, name)
                created += 1
    _log.warning(
        "Adopted %d and created %d of memOS's tables in schema %s",
        len(names) - created,
        created,
        APPLICATION_SCHEMA,
    )
    return names
