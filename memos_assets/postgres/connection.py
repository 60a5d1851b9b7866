"""What the rooms ask of any connection: its driver, counts, parameters, and a refusal in a line."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import psycopg
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session


def driver_of(conn: sa.Connection) -> psycopg.Connection:
    """Return the psycopg connection of a SQLAlchemy one, for statements inside its transaction."""
    # `driver_connection` is the same, but None once the connection is detached from its pool.
    driver = conn.connection.dbapi_connection
    assert isinstance(driver, psycopg.Connection)
    return driver


@contextmanager
def autocommit_connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection on which each statement is a transaction of its own.

    For statements that PostgreSQL runs in no transaction (VACUUM, CREATE INDEX CONCURRENTLY), and
    for sessions that last: an open transaction keeps dead rows and holds up concurrent builds.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        yield conn


def autocommit(session: Session) -> sa.Connection:
    """Return the connection of a session in no transaction: each statement is one of its own."""
    return session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})


def count_rows(
    conn: sa.Connection | Session, table: sa.Table, where: sa.ColumnElement[bool]
) -> int:
    """Count the rows of a table for which a condition holds."""
    statement = sa.select(sa.func.count()).select_from(table).where(where)
    return int(conn.execute(statement).scalar_one())


def has_rows(conn: sa.Connection, table: sql.Identifier) -> bool:
    """Whether there is anything in a table."""
    statement = sql.SQL("select exists (select from {})").format(table)
    row = driver_of(conn).execute(statement).fetchone()
    return row is not None and bool(row[0])


def server_time(conn: sa.Connection) -> float:
    """Return the time by the server's clock, seconds since 1970."""
    moment: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment.timestamp()


def in_force(conn: sa.Connection, names: Iterable[str]) -> dict[str, str]:
    """Return parameters by name as they are now, in the form that `put_in_force` takes."""
    return {
        name: str(conn.execute(sa.select(sa.func.current_setting(name))).scalar_one())
        for name in names
    }


def put_in_force(conn: sa.Connection, settings: Mapping[str, str], *, local: bool = True) -> None:
    """Set parameters by name, until the transaction ends or, if not ``local``, the session."""
    # `set` takes no bind parameters; set_config does.
    for name, value in settings.items():
        conn.execute(sa.select(sa.func.set_config(name, value, local)))


def first_line(error: Exception) -> str:
    """Return the first line of what the driver said; the rest repeats the statement."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


def database_identity(conn: sa.Connection) -> str:
    """Return what tells the database apart from every other one: of its cluster, then its own.

    A copy, a restored dump and a database of the same name on another server have another one. A
    role that may not ask for the cluster gets the name of the database in its place.
    """
    asked = "pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')"
    cluster = "pg_catalog.current_database()::text"
    if conn.execute(sa.text(f"select {asked}")).scalar_one():
        cluster = "(select system_identifier::text from pg_catalog.pg_control_system())"
    found = conn.execute(
        sa.text(
            f"select {cluster} || '/' || oid from pg_catalog.pg_database "
            "where datname = pg_catalog.current_database()"
        )
    )
    return str(found.scalar_one())
