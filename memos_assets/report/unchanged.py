"""Whether everything is as it was when every check passed, so that there is nothing to do.

The files' bytes, the ledger, the row counts, the indexes and the evaluations are compared. Rows are
not read again; `memos-assets verify` reads them.
"""

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import FoundFile
from memos_assets.consolidate.sources.pins import Pin, fingerprint
from memos_assets.errors import SourceError
from memos_assets.indexes.definitions import search_indexes, state_of
from memos_assets.postgres.application.presence import application_is_absent
from memos_assets.report.evaluations import checklist_results
from memos_assets.report.outcomes import CheckResult


def results_if_unchanged(
    engine: sa.Engine, catalog: Catalog, files: Sequence[FoundFile]
) -> list[CheckResult] | None:
    """Return the results of the checklist where nothing changed since every check passed.

    Args:
        engine: of the target database.
        catalog: whose tables.
        files: files to consolidate.

    Returns:
        None where a file, a chunk, an index or a check is not as it was, or a file is not
        registered: then there is something to do.
    """
    wanted = {file.source: file.path for file in files if file.treatment == "consolidate"}
    with engine.connect() as conn:
        sources = registry.registered_sources(conn, catalog.consolidated)
        known = {source.name: source.location for source in sources}
        if not wanted.items() <= known.items():
            return None
        results = checklist_results(conn, catalog)
        if not all(result.proven for result in results):
            return None
        pins = [
            registry.recorded_pin(conn, source, source.pin_digest) if source.pin_digest else None
            for source in sources
        ]
        current = [pin for pin in pins if pin is not None]
        if len(current) < len(pins) or not _is_up_to_date(conn, catalog, current):
            return None
    return results if _are_unchanged(current) else None


def _is_up_to_date(conn: sa.Connection, catalog: Catalog, pins: Collection[Pin]) -> bool:
    """Whether every chunk is loaded as its pin holds it and every index is built."""
    for pin in pins:
        if any(ledger.stale_tasks(conn, spec, pin) for spec in registry.specs_in(pin)):
            return False
    absent = application_is_absent(conn)
    return all(
        index.is_built(state_of(conn, index.name, index.schema))
        for spec in catalog.indexed
        if not (spec.live and absent)
        for index in search_indexes(spec)
    )


def _are_unchanged(pins: Collection[Pin]) -> bool:
    """Whether every file has the bytes it had when it was pinned."""

    def is_same(pin: Pin) -> bool:
        try:
            return fingerprint(pin.origin) == pin.fingerprint
        except SourceError:
            return False

    # Hashing leaves Python's lock alone.
    with ThreadPoolExecutor(2, thread_name_prefix="fingerprint") as readers:
        return all(readers.map(is_same, pins))
