"""The definition of an index, as PostgreSQL has it and as its statement would make it."""

import re

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.shape.scratch import SCRATCH, scratch

_READ = """
select pg_get_indexdef(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relname = %s and c.relkind in ('i', 'I')
    and n.oid = case when %s then pg_my_temp_schema() else to_regnamespace(quote_ident(%s)) end
"""
_PLACE = re.compile(r'(?<= ON )(?:ONLY )?(?:"(?:[^"]|"")*"|\w+)\.')


def read_index(conn: sa.Connection, schema: str, name: str) -> str | None:
    """Return the definition of an index without the schema of its table; None without it."""
    with scratch(conn):
        driver = driver_of(conn)
        driver.execute("set local search_path = pg_catalog")
        row = driver.execute(_READ, (name, schema == SCRATCH, schema)).fetchone()
    return None if row is None else _PLACE.sub("", row[0], count=1)


def described_index(
    conn: sa.Connection, schema: str, table: str, name: str, statement: sql.Composed
) -> str | None:
    """Return the definition that PostgreSQL gives an index when it makes it on such a table.

    Args:
        conn: to the target database.
        schema: of the table.
        table: whose columns the index reads; it is not touched.
        name: of the index.
        statement: ``create index`` on the table of that name in `SCRATCH`.

    Returns:
        None where PostgreSQL makes none on such columns.
    """
    like = sql.SQL("create table {} (like {})").format(
        sql.Identifier(SCRATCH, table), sql.Identifier(schema, table)
    )
    with scratch(conn):
        try:
            driver = driver_of(conn)
            driver.execute(like)
            driver.execute(statement)
        except psycopg.Error:
            return None
        return read_index(conn, SCRATCH, name)
