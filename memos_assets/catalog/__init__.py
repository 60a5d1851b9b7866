"""The one description of what is migrated; assets, DDL, chunks, indexes and checks derive from it.

`columns` says how a stored value is read, `tables` what becomes of a table, `kinds` which files
there are. Nothing here opens a file or a connection.
"""

from memos_assets.catalog.columns import Column, VectorColumn, VectorIndex
from memos_assets.catalog.kinds import (
    CONSOLIDATED_KINDS,
    KINDS,
    KINDS_BY_NAME,
    TABLES,
    TABLES_BY_NAME,
    identifying_columns,
    kind_of_table,
)
from memos_assets.catalog.tables import FileKind, Link, TableSpec

__all__ = [
    "CONSOLIDATED_KINDS",
    "KINDS",
    "KINDS_BY_NAME",
    "TABLES",
    "TABLES_BY_NAME",
    "Column",
    "FileKind",
    "Link",
    "TableSpec",
    "VectorColumn",
    "VectorIndex",
    "identifying_columns",
    "kind_of_table",
]
