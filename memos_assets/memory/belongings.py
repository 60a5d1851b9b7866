"""What belongs to a user in the database, by `postgres.user_rows`, as conditions of its tables."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import AgentError
from memos_assets.postgres import policy_states, schemas, user_rows
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.owned_rows import walls
from memos_assets.postgres.schema.agent import AGENT_SCHEMA

#: Tables of schema `agent` that are computed from memories -> the column that names one.
COMPUTED: Final = ("postings", "word_counts")
#: What a column names -> the condition on it, with parameters of `Belongings.values`.
_CONDITIONS: Final = {
    "user": "= %(user)s",
    "memory": "= any(%(numbers)s::bigint[])",
    "space": "= any(%(spaces)s::bigint[])",
}


@dataclass(frozen=True, slots=True)
class Part:
    """The rows of one table that belong to a user.

    Attributes:
        schema: of the table.
        table: its name.
        condition: of the rows, with parameters of `Belongings.values`.
        columns: name -> type in PostgreSQL, in the order of the table.
    """

    schema: str
    table: str
    condition: str
    columns: dict[str, str]

    @property
    def qualified(self) -> str:
        """Schema and name, for people."""
        return f"{self.schema}.{self.table}"

    @property
    def identifier(self) -> sql.Identifier:
        """Schema and name, for statements."""
        return sql.Identifier(self.schema, self.table)


@dataclass(frozen=True, slots=True)
class Belongings:
    """What belongs to a user.

    Attributes:
        user: their id.
        numbers: of their memories, ascending.
        spaces: ids of their private space; none or one.
        parts: the tables, those that name others first.
    """

    user: str
    numbers: Sequence[int]
    spaces: Sequence[int]
    parts: Sequence[Part]

    @property
    def values(self) -> dict[str, Any]:
        """Parameters of the conditions."""
        return {
            "user": self.user,
            "numbers": list(self.numbers),
            "spaces": list(self.spaces),
        }

    def count(self, conn: sa.Connection) -> dict[str, int]:
        """Return table -> rows; tables without any are left out."""
        driver, counts = driver_of(conn), {}
        for part in self.parts:
            statement = sql.SQL("select count(*) from {} where ").format(part.identifier)
            row = driver.execute(statement + sql.SQL(part.condition), self.values).fetchone()
            assert row is not None
            if row[0]:
                counts[part.qualified] = int(row[0])
        return counts


_COLUMNS = sa.text(
    """
    select n.nspname, c.relname, a.attname::text,
        pg_catalog.format_type(a.atttypid, null), t.typname::text
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_catalog.pg_type t on t.oid = a.atttypid
    where c.relkind in ('r', 'p') and n.nspname = any(:schemas) order by 1, 2, a.attnum
    """
)


def find_belongings(conn: sa.Connection, user: str) -> Belongings:
    """Return what belongs to a user.

    Args:
        conn: in a transaction, as the owner of the tables or as a superuser.
        user: their id, as `act_as` and memOS have it.

    Raises:
        AgentError: M770 row-level security hides rows from this user of the database.
    """
    _refuse_hidden(conn)
    driver = driver_of(conn)
    private = driver.execute(
        "select id from agent.spaces where owner = %s and private order by 1", (user,)
    )
    spaces = [row[0] for row in private]
    found = driver.execute(
        "select number from agent.memories where user_id = %s or space_id = any(%s::bigint[]) "
        "order by 1",
        (user, spaces),
    )
    return Belongings(user, [row[0] for row in found], spaces, list(_parts(conn)))


def _parts(conn: sa.Connection) -> Iterator[Part]:
    columns: dict[tuple[str, str], dict[str, str]] = {}
    known = {"schemas": [AGENT_SCHEMA, APPLICATION_SCHEMA, schemas.OPS.name]}
    for schema, table, name, spelt, plain in conn.execute(_COLUMNS, known):
        kind = plain if plain in ("vector", "halfvec", "sparsevec") else spelt
        columns.setdefault((schema, table), {})[name] = kind
    last = ("memories", "grants", "spaces")
    agents = sorted(
        (table for schema, table in columns if schema == AGENT_SCHEMA),
        key=lambda table: (last.index(table) if table in last else -1, table),
    )
    for table in agents:
        condition = _condition(AGENT_SCHEMA, table, columns[AGENT_SCHEMA, table])
        if condition:
            yield Part(AGENT_SCHEMA, table, condition, columns[AGENT_SCHEMA, table])
    for spec in reversed(MEMOS.application_tables):
        has = columns.get((APPLICATION_SCHEMA, spec.name), {})
        condition = _condition(APPLICATION_SCHEMA, spec.name, has)
        if condition:
            yield _originals(spec.name, spec.key, columns)
            yield Part(APPLICATION_SCHEMA, spec.name, condition, has)


def _condition(schema: str, table: str, columns: Collection[str]) -> str:
    owning = user_rows.owning_columns(schema, table, columns)
    return " or ".join(f"{column} {_CONDITIONS[names]}" for column, names in owning.items())


def _originals(table: str, key: str, columns: dict[tuple[str, str], dict[str, str]]) -> Part:
    """Return the spellings of JSON that the adoption kept for rows of a table of memOS."""
    named = sql.SQL(
        "table_name = {} and key in (select {}::text from {} where user_id = %(user)s)"
    ).format(sql.Literal(table), sql.Identifier(key), sql.Identifier(APPLICATION_SCHEMA, table))
    place = (schemas.OPS.name, "json_originals")
    return Part(*place, named.as_string(), columns[place])


def _refuse_hidden(conn: sa.Connection) -> None:
    """Refuse a user of the database from whom a policy hides rows, which would be left behind."""
    found = [wall.qualified for wall in walls(conn)[0] if wall.policies]
    states = policy_states.read_states(conn, found)
    hidden = sorted(name for name, state in states.items() if not state.may_change)
    if hidden:
        raise AgentError(
            "M770",
            f"{hidden[0]} belongs to {states[hidden[0]].owner}, and row-level security hides its "
            "rows from this user",
            where="MEMOS_DATABASE_URL",
            fix="run the command as the owner of the tables, or as a superuser",
        )


def nothing_found(user: str) -> AgentError:
    """Return the refusal of a user of whom there is nothing, M771."""
    return AgentError(
        "M771",
        "nothing in the database belongs to this user",
        where=f"user {user!r}",
        fix="write the id as memOS and act_as have it; ids are compared exactly",
    )
