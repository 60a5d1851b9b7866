"""What was set on the live tables by hand, found before an exchange and made again after it.

Triggers, extended statistics, replica identities. Indexes are made in the shadow schema, owners,
options and privileges are carried over, and what cannot be made again is refused (`hanging`).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema.agent import AGENT_SCHEMA

#: Enabled as PostgreSQL notes it -> the words that say so; the usual way needs none.
_ENABLED: Final = {"D": "disable", "R": "enable replica", "A": "enable always"}
_TRIGGERS = sa.text(
    "select c.relname::text as table_name, t.tgname::text as name, "
    "pg_catalog.pg_get_triggerdef(t.oid) as definition, t.tgenabled::text as enabled "
    "from pg_catalog.pg_trigger t join pg_catalog.pg_class c on c.oid = t.tgrelid "
    "where not t.tgisinternal and t.tgrelid = any(:tables) order by 1, 2"
)
_STATISTICS = sa.text(
    "select n.nspname::text as schema, s.stxname::text as name, s.stxstattarget as target, "
    "pg_catalog.pg_get_userbyid(s.stxowner)::text as owner, "
    "pg_catalog.pg_get_statisticsobjdef(s.oid) as definition "
    "from pg_catalog.pg_statistic_ext s join pg_catalog.pg_namespace n on n.oid = s.stxnamespace "
    "where s.stxrelid = any(:tables) order by 1, 2"
)
#: As PostgreSQL notes it; with an index, its name.
_IDENTITIES = sa.text(
    "select c.relname::text as table_name, c.relreplident::text as kind, "
    "(select i.relname::text from pg_catalog.pg_index x join pg_catalog.pg_class i "
    "on i.oid = x.indexrelid where x.indrelid = c.oid and x.indisreplident) as index_name "
    "from pg_catalog.pg_class c where c.oid = any(:tables) and c.relreplident <> 'd' order by 1"
)


@dataclass(frozen=True, slots=True)
class ByHand:
    """What tables have beyond their description, as the catalog says it.

    Attributes:
        triggers: with their definitions, and how they are enabled.
        statistics: extended ones, with their definitions.
        identities: replica identities other than the primary key.
    """

    triggers: Sequence[sa.Row[Any]]
    statistics: Sequence[sa.Row[Any]]
    identities: Sequence[sa.Row[Any]]


def find(conn: sa.Connection, tables: Collection[int]) -> ByHand:
    """Return what tables have, by their numbers."""
    given = {"tables": list(tables)}
    found = (conn.execute(one, given).all() for one in (_TRIGGERS, _STATISTICS, _IDENTITIES))
    return ByHand(*found)


def make(conn: sa.Connection, found: ByHand) -> None:
    """Give it to the tables of the same names that are in schema `agent` now.

    Triggers fire for rows that come from now on; statistics are empty until the next ANALYZE.
    """
    driver = driver_of(conn)
    for row in found.triggers:
        driver.execute(sql.SQL(row.definition))
        if words := _ENABLED.get(row.enabled):
            change = sql.SQL("alter table {} {} trigger {}")
            name = sql.Identifier(row.name)
            driver.execute(change.format(_named(row.table_name), sql.SQL(words), name))
    for row in found.statistics:
        driver.execute(sql.SQL(row.definition))
        name = sql.Identifier(row.schema, row.name)
        change = sql.SQL("alter statistics {} owner to {}")
        driver.execute(change.format(name, sql.Identifier(row.owner)))
        if row.target is not None:
            change = sql.SQL("alter statistics {} set statistics {}")
            driver.execute(change.format(name, sql.Literal(row.target)))
    for row in found.identities:
        by_index = sql.SQL("using index {}").format(sql.Identifier(row.index_name or ""))
        how = {"f": sql.SQL("full"), "n": sql.SQL("nothing")}.get(row.kind, by_index)
        change = sql.SQL("alter table {} replica identity {}")
        driver.execute(change.format(_named(row.table_name), how))


def _named(table: str) -> sql.Identifier:
    return sql.Identifier(AGENT_SCHEMA, table)
