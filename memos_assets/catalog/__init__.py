"""The one description of what is migrated; assets, DDL, chunks, indexes and checks derive from it.

`columns` describes how a stored value is read, `tables` SQLite tables with their targets and kinds
of file, `application` the tables that an application has in PostgreSQL, `table` the description
that indexes, search and health use. A `Catalog` belongs to one application; `memos` has memOS's.
Nothing here opens a file or a connection.
"""

from memos_assets.catalog.application import ApplicationTable
from memos_assets.catalog.catalog import Catalog
from memos_assets.catalog.columns import Column, VectorColumn, VectorIndex
from memos_assets.catalog.memos import MEMOS
from memos_assets.catalog.table import Fusion, Sparse, Table
from memos_assets.catalog.tables import Encodings, FileKind, Link, TableSpec

__all__ = [
    "MEMOS",
    "ApplicationTable",
    "Catalog",
    "Column",
    "Encodings",
    "FileKind",
    "Fusion",
    "Link",
    "Sparse",
    "Table",
    "TableSpec",
    "VectorColumn",
    "VectorIndex",
]
