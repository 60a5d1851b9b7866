"""The one description of what is migrated; assets, DDL, chunks, indexes and checks derive from it.

`columns` says how a stored value is read, `tables` what becomes of a table, `kinds` which files
there are, `application` which tables memOS has in PostgreSQL. Nothing here opens a file or a
connection.
"""

from memos_assets.catalog.application import APPLICATION_TABLES, ApplicationTable
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

#: A table that has search indexes.
IndexedTable = TableSpec | ApplicationTable

#: Every table with search indexes: consolidated ones, then those of memOS.
INDEXED: tuple[IndexedTable, ...] = (
    *(spec for spec in TABLES if spec.vector_indexes or spec.searched or spec.text_index),
    *(table for table in APPLICATION_TABLES if table.vector_indexes or table.searched),
)

#: Every table whose health we look after: consolidated ones, then those of memOS with our indexes.
MAINTAINED: tuple[IndexedTable, ...] = (
    *TABLES,
    *(spec for spec in INDEXED if isinstance(spec, ApplicationTable)),
)

__all__ = [
    "APPLICATION_TABLES",
    "CONSOLIDATED_KINDS",
    "INDEXED",
    "KINDS",
    "KINDS_BY_NAME",
    "MAINTAINED",
    "TABLES",
    "TABLES_BY_NAME",
    "ApplicationTable",
    "Column",
    "FileKind",
    "IndexedTable",
    "Link",
    "TableSpec",
    "VectorColumn",
    "VectorIndex",
    "identifying_columns",
    "kind_of_table",
]
