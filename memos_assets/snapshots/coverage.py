"""Which tables a snapshot holds: every table of our schemas and of memOS is in one of four classes.

A table that a migration adds without a line here fails a test, and is named in the manifests of
snapshots as left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.postgres import schemas
from memos_assets.postgres.migrations import VERSION_TABLE
from memos_assets.postgres.schema.agent import AGENT_SCHEMA, is_of_embeddings
from memos_assets.snapshots.columns import SnapshotTable, is_kept

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
    "boards": _ROWS,
    "board_events": _ROWS,
    "board_entries": _ROWS,
    "board_private": _ROWS,
    "board_outbox": _ROWS,
    "board_refusals": _ROWS,
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
    "tokens": Coverage("bookkeeping", "a restore gives nobody access back, and takes none away"),
    "token_uses": Coverage("bookkeeping", "of tokens"),
    "erasures": Coverage("bookkeeping", "tombstones of erased users must outlive a restore"),
}

#: Table of memOS -> how it is treated.
APPLICATION: Final[dict[str, Coverage]] = {
    table.name: (
        Coverage("bookkeeping", "specifications of models, not of any user")
        if table.name == "ollama_model_specs"
        else _ROWS
    )
    for table in MEMOS.application_tables
}
#: memOS's own, where its migrations are run.
APPLICATION["alembic_version"] = Coverage("bookkeeping", "the revision of memOS's own schema")

_LOADED: Final = Coverage("bookkeeping", "of sources and loads, which are not restored")

#: Bookkeeping table -> how it is treated.
OPS: Final = {
    "accepted_counts": _LOADED,
    "accepted_losses": _LOADED,
    "acknowledgements": _LOADED,
    "application_tables": Coverage("bookkeeping", "which tables of memOS were adopted"),
    "archived": _LOADED,
    "chunks": _LOADED,
    "confirmations": _LOADED,
    "consolidation_pins": _LOADED,
    "evaluations": Coverage("bookkeeping", "results of checks"),
    "json_originals": _LOADED,
    "pin_chunks": _LOADED,
    "pins": _LOADED,
    "rejects": _LOADED,
    "repairs": _LOADED,
    "sources": _LOADED,
    "versions": Coverage("bookkeeping", "versions of the consolidated tables"),
    VERSION_TABLE: Coverage("bookkeeping", "the schema's revision, which the manifest states"),
}

_CONSOLIDATED: Final = Coverage("derived", "consolidated from files; --include consolidated")


def coverage_of(schema: str, table: str) -> Coverage | None:
    """Return how a snapshot treats a table of our schemas or of memOS; None: nobody has decided."""
    if schema == AGENT_SCHEMA:
        return _ROWS if is_of_embeddings(table) else AGENT.get(table)
    if schema == MEMOS.schema:
        return _CONSOLIDATED
    if schema == schemas.OPS.name:
        return OPS.get(table)
    return APPLICATION.get(table) if schema == APPLICATION_SCHEMA else None


#: Schemas whose every table has a class.
COVERED: Final = (AGENT_SCHEMA, APPLICATION_SCHEMA, MEMOS.schema, schemas.OPS.name)


def undecided(tables: Iterable[SnapshotTable]) -> list[str]:
    """Return tables that have no class, and columns of snapshots of which rows would lose values.

    Args:
        tables: of the schemas `COVERED`.

    Returns:
        ``schema.table`` of each table, and ``schema.table.column: TYPE`` of each column.
    """
    found = []
    for table in tables:
        coverage = coverage_of(table.schema, table.name)
        if coverage is None:
            found.append(table.qualified)
        elif coverage.of == "snapshot" or coverage is _CONSOLIDATED:
            found += [
                f"{table.qualified}.{column}: {postgres}"
                for column, postgres in table.columns.items()
                if not is_kept(postgres)
            ]
    return found
