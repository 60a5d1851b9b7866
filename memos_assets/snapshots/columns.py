"""The tables of a database as a snapshot sees them, and the Arrow schema of each.

Embeddings are fixed-size lists of their own type, so that other programs read them as matrices.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import sqlalchemy as sa

from memos_assets.catalog.types import column_type
from memos_assets.errors import UsageError
from memos_assets.postgres.copy.arrow_schema import POSTGRES_TYPE

_VECTOR: Final = re.compile(r"(?P<type>vector|halfvec)\((?P<length>\d+)\)")
_ELEMENTS: Final = {"vector": pa.float32(), "halfvec": pa.float16()}
#: `format_type` spells types by the search path, which our connections have empty.
_TABLES = sa.text(
    """
    select n.nspname as schema, c.relname as name, a.attname as column,
        regexp_replace(pg_catalog.format_type(a.atttypid, a.atttypmod), '^[a-z_]+\\.', '') as type,
        coalesce(array_position(i.indkey::smallint[], a.attnum), -1) as key_place
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and a.attgenerated = ''
    left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
    where n.nspname = any(:schemas) and c.relkind in ('r', 'p') and not c.relispartition
    order by 1, 2, a.attnum
    """
)


@dataclass(frozen=True, slots=True)
class SnapshotTable:
    """A table as it is in the database.

    Attributes:
        schema: of the table.
        name: of the table.
        columns: name -> PostgreSQL type, as `catalog.types` spells it, in the table's order.
        key: columns of the primary key, by which rows are ordered; text by its bytes.
    """

    schema: str
    name: str
    columns: Mapping[str, str]
    key: tuple[str, ...]

    @property
    def qualified(self) -> str:
        """Schema and name, for people and manifests."""
        return f"{self.schema}.{self.name}"

    @property
    def arrow(self) -> pa.Schema:
        """The schema of its rows in a snapshot; each field names its PostgreSQL type.

        Raises:
            UsageError: M535 a column has a type that `catalog.types` does not have.
        """
        return pa.schema([_field(name, postgres) for name, postgres in self.columns.items()])


def _field(name: str, postgres: str) -> pa.Field:
    vector = _VECTOR.fullmatch(postgres)
    arrow = (
        pa.list_(_ELEMENTS[vector["type"]], int(vector["length"]))
        if vector
        else column_type(postgres).arrow
    )
    return pa.field(name, arrow, metadata={POSTGRES_TYPE: postgres.encode()})


def is_kept(postgres: str) -> bool:
    """Whether files have a type for values of a PostgreSQL type."""
    try:
        _field("", postgres)
    except UsageError:
        return False
    return True


def read_tables(conn: sa.Connection, *schemas: str) -> list[SnapshotTable]:
    """Return the tables of schemas by schema and name, without partitions and computed columns."""
    found: dict[tuple[str, str], tuple[dict[str, str], dict[int, str]]] = {}
    for row in conn.execute(_TABLES, {"schemas": list(schemas)}):
        columns, key = found.setdefault((row.schema, row.name), ({}, {}))
        columns[row.column] = row.type.replace("character varying", "varchar")
        if row.key_place >= 0:
            key[row.key_place] = row.column
    return [
        SnapshotTable(schema, name, columns, tuple(key[place] for place in sorted(key)))
        for (schema, name), (columns, key) in found.items()
    ]
