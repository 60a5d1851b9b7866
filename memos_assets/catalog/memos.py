"""The catalog of memOS: every kind of SQLite file that it writes, and its own tables.

Source: the writer classes of the memOS server, checked against files that they wrote.
"""

from memos_assets.catalog.catalog import Catalog
from memos_assets.catalog.embedding_files import (
    EMBEDDING_AGGREGATOR,
    HYBRID,
    HYPERBOLIC,
    MIXED_PRECISION,
)
from memos_assets.catalog.memory_files import CORPUS, META_BUFFER, SEMANTIC_MEMORY
from memos_assets.catalog.memos_tables import APPLICATION_ASSETS
from memos_assets.catalog.tables import FileKind

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

#: Everything that memOS writes, with its target.
MEMOS = Catalog(
    kinds=(
        MIXED_PRECISION,
        HYBRID,
        CORPUS,
        EMBEDDING_AGGREGATOR,
        META_BUFFER,
        HYPERBOLIC,
        SEMANTIC_MEMORY,
        CONTENT_CACHE,
        SCRATCHPAD_CACHE,
    ),
    application=APPLICATION_ASSETS,
)
