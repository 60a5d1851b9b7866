"""The Arrow schema of a target table: what travels from reader to loader, and to consumers."""

import pyarrow as pa

from memos_assets.catalog import ApplicationTable, TableSpec
from memos_assets.catalog.types import column_type

#: Field metadata key that names the PostgreSQL type of a field.
POSTGRES_TYPE = b"postgres"

#: Set on rows that cannot be loaded as they are; never a column of a table. ``resolution`` is the
#: rule that settled the row, ``faults`` every reason that was found.
REJECT = pa.field(
    "reject",
    pa.struct(
        [
            ("reason", pa.string()),
            ("detail", pa.string()),
            ("key", pa.string()),
            ("row_digest", pa.string()),
            ("columns", pa.list_(pa.string())),
            ("row", pa.binary()),
            ("resolution", pa.string()),
            ("faults", pa.list_(pa.string())),
        ]
    ),
)


def postgres_type(field: pa.Field) -> str:
    """Return the PostgreSQL type that a field names."""
    return str(field.metadata[POSTGRES_TYPE].decode())


def typed_field(name: str, postgres: str) -> pa.Field:
    """Return the field of a column of a PostgreSQL type; see `catalog.types`."""
    arrow = column_type(postgres).arrow
    return pa.field(name, arrow, metadata={POSTGRES_TYPE: postgres.encode()})


def table_schema(spec: TableSpec | ApplicationTable) -> pa.Schema:
    """Return the fields of a table, in its column order, with their PostgreSQL types."""
    return pa.schema([typed_field(name, postgres) for name, postgres in spec.column_types.items()])


def stream_schema(spec: TableSpec) -> pa.Schema:
    """Return the schema of a decoded chunk: the table's fields and the verdict on each row."""
    return table_schema(spec).append(REJECT)
