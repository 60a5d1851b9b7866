"""Forks: schemas with tables of agents to experiment in, walled off as schema `agent` is.

A fork has functions and policies of its own, so a user sees in it what the grants within it say. It
is known by the comment on its schema.
"""

import re
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres import schemas
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.owned_rows import FUNCTIONS, Wall, agents_wall
from memos_assets.postgres.policy_states import (
    create_statement,
    enable_statement,
    owners_statement,
    read_states,
)
from memos_assets.postgres.service_role import ROLE, role_facts

#: Begins the comment of a fork's schema; the id of its snapshot ends it.
COMMENT: Final = "memos-assets: a fork of snapshot "
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FORKS = sa.text(
    "select n.nspname::text as name, pg_catalog.obj_description(n.oid, 'pg_namespace') as said "
    "from pg_catalog.pg_namespace n "
    "where starts_with(pg_catalog.obj_description(n.oid, 'pg_namespace'), :comment) order by 1"
)
_TABLES = sa.text(
    "select c.relname::text as name, c.oid::bigint as number from pg_catalog.pg_class c "
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = :schema and c.relkind in ('r', 'p') order by 1"
)


def is_possible_name(name: str) -> bool:
    """Whether a fork may be named so: statements on it need no quotes, and it is not one of ours.

    Args:
        name: of a schema.
    """
    ours = {schema.name for schema in schemas.SCHEMAS}
    return (
        _NAME.fullmatch(name) is not None
        and name not in ours
        and not name.startswith(("pg_", "memos"))
    )


def forks(conn: sa.Connection) -> dict[str, str]:
    """Return schema -> id of the snapshot that it is a fork of."""
    found = conn.execute(_FORKS, {"comment": COMMENT})
    return {row.name: row.said.removeprefix(COMMENT) for row in found}


def tables_in(conn: sa.Connection, schema: str) -> dict[str, int]:
    """Return name -> number of the tables of a schema, such as a fork or schema `agent`."""
    return {row.name: row.number for row in conn.execute(_TABLES, {"schema": schema})}


def fork_walls(conn: sa.Connection, schema: str) -> list[Wall]:
    """Return what services may do with the tables of a fork; conditions name schema `agent`."""
    described = [agents_wall(name) for name in tables_in(conn, schema)]
    return [Wall(schema, one.name, one.policies, one.rights) for one in described if one]


def wall_off(conn: sa.Connection, schema: str) -> None:
    """Wall the tables of a new fork off as those of schema `agent` are.

    Without the services' role nothing is done, and services are refused.

    Args:
        conn: in the transaction that made it, as its owner.
        schema: a name that needs no quotes.
    """
    if not role_facts(conn).there:
        return
    driver = driver_of(conn)
    for statement in FUNCTIONS.values():
        conn.exec_driver_sql(schemas.renamed(statement, schema))
    role = sql.Identifier(ROLE)
    driver.execute(sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(schema), role))
    found = fork_walls(conn, schema)
    states = read_states(conn, [wall.qualified for wall in found])
    for wall in found:
        table = sql.Identifier(schema, wall.name)
        for policy in wall.policies:
            conn.exec_driver_sql(
                schemas.renamed(create_statement(policy, table).as_string(), schema)
            )
        if wall.policies:
            driver.execute(owners_statement(wall, states[wall.qualified], table))
            driver.execute(enable_statement(table))
        if wall.rights:
            rights = sql.SQL(", ".join(wall.rights))
            driver.execute(sql.SQL("grant {} on {} to {}").format(rights, table, role))


def drop(conn: sa.Connection, schema: str) -> None:
    """Drop a fork with all that is in it, in the caller's transaction.

    Args:
        conn: as its owner.
        schema: of `forks`.
    """
    driver_of(conn).execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema)))
