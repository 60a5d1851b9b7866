"""The one description of what is migrated; assets, DDL, chunks, indexes and checks derive from it.

`columns` says how a stored value is read, `tables` what becomes of a table, `kinds` which files
there are, `application` which tables memOS has in PostgreSQL. Nothing here opens a file or a
connection.
"""

from memos_assets.catalog.application import (
    APPLICATION_ASSETS,
    APPLICATION_TABLES,
    ApplicationTable,
)
from memos_assets.catalog.catalog import Catalog, IndexedTable
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

#: What memOS writes, and where it goes.
MEMOS = Catalog(kinds=KINDS, application=APPLICATION_ASSETS)

#: Every table with search indexes: consolidated ones, then those of memOS.
INDEXED: tuple[IndexedTable, ...] = MEMOS.indexed

#: Every table whose health we look after: consolidated ones, then those of memOS with our indexes.
MAINTAINED: tuple[IndexedTable, ...] = MEMOS.maintained

__all__ = [
    "APPLICATION_TABLES",
    "CONSOLIDATED_KINDS",
    "INDEXED",
    "KINDS",
    "KINDS_BY_NAME",
    "MAINTAINED",
    "MEMOS",
    "TABLES",
    "TABLES_BY_NAME",
    "ApplicationTable",
    "Catalog",
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
