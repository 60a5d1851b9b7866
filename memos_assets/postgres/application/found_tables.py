"""What stands in schema ``public`` under the name of a table of memOS, and whether it is that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql

from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.postgres.vector_names import type_without_schema

#: What PostgreSQL calls types -> what they hold, where several hold the same to us.
_FAMILIES = {
    "varchar": "text",
    "character varying": "text",
    "character": "text",
    "jsonb": "json",
    "smallint": "integer",
    "bigint": "integer",
    "real": "double precision",
    "numeric": "double precision",
    "timestamp without time zone": "time stamp",
    "timestamp with time zone": "time stamp",
}

_FOUND = sa.text(
    """
    select c.oid::bigint as number, c.relkind in ('r', 'p') as is_table,
        coalesce((
            select array_agg(a.attname::text order by a.attname) from pg_index i
            join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
            where i.indrelid = c.oid and i.indisprimary
        ), '{}') as key,
        (
            select coalesce(json_object_agg(
                a.attname, format_type(a.atttypid, a.atttypmod) order by a.attnum
            ), '{}')
            from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        ) as columns,
        coalesce((
            select array_agg(quote_ident(x.relname) order by 1)
            from pg_index i join pg_class x on x.oid = i.indexrelid where i.indrelid = c.oid
        ), '{}') as indexes
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = :schema and c.relname = :name
    """
)


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A relation in schema ``public``; ``columns`` are names and types as PostgreSQL has them."""

    name: str
    number: int
    is_table: bool
    key: tuple[str, ...]
    columns: Mapping[str, str]
    indexes: tuple[str, ...]

    @property
    def where(self) -> str:
        """Its qualified name, for people."""
        return f"{APPLICATION_SCHEMA}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its qualified name, for statements."""
        return sql.Identifier(APPLICATION_SCHEMA, self.name)


def find_table(conn: sa.Connection, name: str) -> FoundTable | None:
    """Return what has this name in schema ``public``, whatever it is; None where nothing has."""
    row = conn.execute(_FOUND, {"schema": APPLICATION_SCHEMA, "name": name}).one_or_none()
    if row is None:
        return None
    columns = {column: type_without_schema(conn, spelt) for column, spelt in row.columns.items()}
    return FoundTable(name, row.number, row.is_table, tuple(row.key), columns, tuple(row.indexes))


def differences_from(table: FoundTable, columns: Sequence[sa.Column[Any]]) -> list[str]:
    """Say in what a table differs from the one that is described, as far as it matters.

    Further columns do not, nor do lengths; the key does, and what columns hold.
    """
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    differences = [] if table.is_table else ["it is not a table"]
    if table.is_table and table.key != (columns[0].name,):
        differences.append(f"its primary key is not ({columns[0].name})")
    for column in columns:
        expected = column.type.compile(dialect).lower()
        found = table.columns.get(column.name)
        if found is None:
            differences.append(f"column {column.name} is missing")
        elif _family(found) != _family(expected):
            differences.append(f"column {column.name} is {found}, not {expected}")
    return differences


def _family(type_name: str) -> str:
    """Return what a type holds. Lengths do not matter, except the dimension of a vector."""
    if type_name.startswith("vector"):
        return type_name
    plain = type_name.partition("(")[0] + type_name.partition(")")[2]
    return _FAMILIES.get(plain, plain)
