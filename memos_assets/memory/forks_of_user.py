"""Forks of snapshots that name a user: an erasure drops them whole.

A fork is a copy to experiment in. Its memories cannot be told from those that an experiment made of
them, so nothing of it is kept; the snapshot, from which it can be made again, is rewritten.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.forks import drop, forks
from memos_assets.postgres.schema.agent import AGENT_SCHEMA
from memos_assets.postgres.user_rows import BY_USER, naming_columns

_COLUMNS = sa.text(
    "select c.relname::text as name, array_agg(a.attname::text) as columns "
    "from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped "
    "where n.nspname = :schema and c.relkind in ('r', 'p') group by 1 order by 1"
)


def find_forks(conn: sa.Connection, user: str) -> Mapping[str, int]:
    """Return fork -> rows in it that name a user; forks without any are left out.

    Args:
        conn: as the owner of the forks.
        user: their id.
    """
    found = {schema: _rows(conn, schema, user) for schema in forks(conn)}
    return {schema: rows for schema, rows in found.items() if rows}


def _rows(conn: sa.Connection, schema: str, user: str) -> int:
    rows = 0
    for table in conn.execute(_COLUMNS, {"schema": schema}).all():
        naming = naming_columns(AGENT_SCHEMA, table.name, table.columns)
        if not naming:
            continue
        conditions = sql.SQL(" or ").join(
            sql.SQL("{} = {}").format(
                sql.Identifier(column), sql.Literal(f"{BY_USER}{user}" if behind else user)
            )
            for column, behind in naming.items()
        )
        statement = sql.SQL("select count(*) from {} where ").format(
            sql.Identifier(schema, table.name)
        )
        (count,) = driver_of(conn).execute(statement + conditions).fetchone() or (0,)
        rows += int(count)
    return rows


def drop_forks(conn: sa.Connection, user: str) -> Mapping[str, int]:
    """Drop the forks that name a user, in the caller's transaction.

    Args:
        conn: as the owner of the forks.
        user: their id.

    Returns:
        What `places` returns of those that are gone.
    """
    found = find_forks(conn, user)
    for schema in found:
        drop(conn, schema)
    return places(found)


def places(found: Mapping[str, int]) -> dict[str, int]:
    """Return how counts of an erasure name forks -> rows that name the user."""
    return {f"fork {schema}, dropped whole": rows for schema, rows in found.items()}
