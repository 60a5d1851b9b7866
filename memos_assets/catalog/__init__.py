"""The one description of what is migrated; assets, DDL, chunks, indexes and checks derive from it.

`columns` says how a stored value is read, `tables` what becomes of a SQLite table and which files
there are, `application` which tables an application has in PostgreSQL, `table` what all of them
give to indexes, search and health. A `Catalog` is one application's; `memos` holds that of memOS.
Nothing here opens a file or a connection.
"""

from memos_assets.catalog.application import ApplicationTable
from memos_assets.catalog.catalog import Catalog
from memos_assets.catalog.columns import Column, VectorColumn, VectorIndex
from memos_assets.catalog.memos import MEMOS
from memos_assets.catalog.table import Sparse, Table
from memos_assets.catalog.tables import Encodings, FileKind, Link, TableSpec

__all__ = [
    "MEMOS",
    "ApplicationTable",
    "Catalog",
    "Column",
    "Encodings",
    "FileKind",
    "Link",
    "Sparse",
    "Table",
    "TableSpec",
    "VectorColumn",
    "VectorIndex",
]
