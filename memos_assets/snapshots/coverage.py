"""Which tables a snapshot holds: every table of our schemas and of memOS is in one of four classes.

A table that a migration adds without a line here fails a test, and is named in the manifests of
snapshots as left out.
"""

from dataclasses import dataclass
from typing import Final, Literal

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.postgres.schema.agent import AGENT_SCHEMA, is_of_embeddings

Class = Literal["snapshot", "derived", "cache", "bookkeeping"]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How a snapshot treats a table.

    Attributes:
        of: ``snapshot``: its rows are in it; ``derived``: computed anew from rows that are;
            ``cache``: empty after a restore; ``bookkeeping``: stays as it is.
        why: for people, of a table that is left out.
    """

    of: Class
    why: str = ""


_ROWS: Final = Coverage("snapshot")

#: Table of schema `agent` -> how it is treated. Tables of embeddings are ``snapshot``.
AGENT: Final = {
    "spaces": _ROWS,
    "grants": _ROWS,
    "memories": _ROWS,
    "revisions": _ROWS,
    "links": _ROWS,
    "provenance": _ROWS,
    "proposals": _ROWS,
    "accesses": _ROWS,
    "outbox": _ROWS,
    "models": _ROWS,
    "seeds": _ROWS,
    "seed_ids": _ROWS,
    "postings": Coverage("derived", "words of memories, computed from their text"),
    "word_counts": Coverage("derived", "sums of the words of memories"),
    "cache_entries": Coverage("cache", "answers that are computed again"),
    "cache_embeddings": Coverage("cache", "of answers that are computed again"),
    "cache_sources": Coverage("cache", "of answers that are computed again"),
    "cache_uses": Coverage("cache", "of answers that are computed again"),
    "cache_counts": Coverage("cache", "what the cache did lately"),
    "cache_leases": Coverage("cache", "who computes at this moment"),
    "cache_pairs": Coverage("bookkeeping", "what was said of answers outlives a restore"),
    "cache_thresholds": Coverage("bookkeeping", "measured by the calibration of the cache"),
    "erasures": Coverage("bookkeeping", "tombstones of erased users must outlive a restore"),
}

#: Table of memOS -> how it is treated.
APPLICATION: Final = {
    table.name: (
        Coverage("bookkeeping", "specifications of models, not of any user")
        if table.name == "ollama_model_specs"
        else _ROWS
    )
    for table in MEMOS.application_tables
}


def coverage_of(schema: str, table: str) -> Coverage | None:
    """Return how a snapshot treats a table of `agent` or of memOS; None: nobody has decided."""
    if schema == AGENT_SCHEMA:
        return _ROWS if is_of_embeddings(table) else AGENT.get(table)
    return APPLICATION.get(table) if schema == APPLICATION_SCHEMA else None
