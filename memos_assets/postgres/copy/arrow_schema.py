"""The Arrow schema of a target table: what travels from reader to loader, and to consumers."""

import pyarrow as pa

from memos_assets.catalog import TableSpec
from memos_assets.catalog.columns import ColumnKind

#: Field metadata key that names the PostgreSQL type of a field.
POSTGRES_TYPE = b"postgres"

_ARROW: dict[ColumnKind, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "real": pa.float64(),
    "real_or_float32": pa.float64(),
    "boolean": pa.bool_(),
    "json": pa.string(),
    "utc_text": pa.timestamp("us", "UTC"),
    "iso_offset": pa.timestamp("us", "UTC"),
    "unix_seconds": pa.timestamp("us", "UTC"),
    "text_array": pa.list_(pa.string()),
}

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


def _field(name: str, arrow: pa.DataType, postgres: str) -> pa.Field:
    return pa.field(name, arrow, metadata={POSTGRES_TYPE: postgres.encode()})


def table_schema(spec: TableSpec) -> pa.Schema:
    """Return the fields of ``memos.<table>``, in its column order, with their PostgreSQL types."""
    fields = [
        _field("source", pa.string(), "text"),
        *(_field(c.name, _ARROW[c.kind], c.postgres_type) for c in spec.columns),
    ]
    if spec.mirrored:
        fields.append(_field("reversed", pa.bool_(), "boolean"))
    for vector in spec.vectors:
        element = pa.float16() if vector.stored == "halfvec" else pa.float32()
        fields += [
            _field(vector.name, pa.list_(element), vector.stored),
            _field(vector.dimension_name, pa.int32(), "integer"),
            _field(vector.reason_name, pa.string(), "text"),
        ]
    if spec.has_loose_links:
        fields.append(_field("missing", pa.list_(pa.string()), "text[]"))
    fields += [
        _field("chunk", pa.int32(), "integer"),
        _field("source_rowid", pa.int64(), "bigint"),
    ]
    return pa.schema(fields)


def stream_schema(spec: TableSpec) -> pa.Schema:
    """Return the schema of a decoded chunk: the table's fields and the verdict on each row."""
    return table_schema(spec).append(REJECT)
