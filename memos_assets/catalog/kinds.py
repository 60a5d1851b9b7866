"""Every kind of SQLite file memOS writes.

Source: the writer classes of the memOS server, checked against files that they wrote.
"""

from memos_assets.catalog.embedding_files import (
    EMBEDDING_AGGREGATOR,
    HYBRID,
    HYPERBOLIC,
    MIXED_PRECISION,
)
from memos_assets.catalog.memory_files import CORPUS, META_BUFFER, SEMANTIC_MEMORY
from memos_assets.catalog.tables import FileKind, TableSpec

CONTENT_CACHE = FileKind(
    name="content_cache",
    signature={
        "content_cache": frozenset({"url_hash", "expires_at"}),
        "query_cache": frozenset({"query_hash", "expires_at"}),
    },
    disposition="keep",
    about="Scraped pages and query results with an expiry; short-lived, stays where it is.",
    usual_names=("content_cache.db",),
)

SCRATCHPAD_CACHE = FileKind(
    name="scratchpad_cache",
    signature={
        "findings": frozenset({"content_hash", "cached_at"}),
        "subqueries": frozenset({"query_hash", "cached_at"}),
    },
    disposition="keep",
    about="Findings and sub-queries of past missions without expiry; stays where it is.",
    usual_names=("scratchpad_cache.db",),
)

CONSOLIDATED_KINDS: tuple[FileKind, ...] = (
    MIXED_PRECISION,
    HYBRID,
    CORPUS,
    EMBEDDING_AGGREGATOR,
    META_BUFFER,
    HYPERBOLIC,
    SEMANTIC_MEMORY,
)
KINDS: tuple[FileKind, ...] = (*CONSOLIDATED_KINDS, CONTENT_CACHE, SCRATCHPAD_CACHE)
KINDS_BY_NAME = {kind.name: kind for kind in KINDS}
TABLES: tuple[TableSpec, ...] = tuple(spec for kind in CONSOLIDATED_KINDS for spec in kind.tables)
TABLES_BY_NAME = {spec.name: spec for spec in TABLES}


def kind_of_table(name: str) -> FileKind:
    """Return the kind of file that ``memos.<name>`` is loaded from."""
    return next(
        kind for kind in CONSOLIDATED_KINDS if any(spec.name == name for spec in kind.tables)
    )


def identifying_columns(spec: TableSpec) -> frozenset[str]:
    """Return the columns of a table that name rows: its key, and both ends of links."""
    led_to = {link.key for table in TABLES for link in table.links if link.table == spec.name}
    return frozenset({*spec.key, *(link.column for link in spec.links), *led_to})
