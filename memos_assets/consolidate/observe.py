"""Look at registered sources again: pin what changed, and say which chunks that concerns."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import KINDS_BY_NAME
from memos_assets.consolidate import ledger
from memos_assets.consolidate.discover import FoundFile
from memos_assets.consolidate.pin import Pin, fingerprint, take_pin
from memos_assets.consolidate.progress import Progress, report


def register_files(engine: sa.Engine, files: Sequence[FoundFile]) -> list[str]:
    """Register the files that are to be consolidated, all of them or none; say which moved."""
    notes = []
    with engine.begin() as conn:
        for file in files:
            if file.treatment == "consolidate":
                former = ledger.register(conn, file)
                if former is not None:
                    notes.append(f"{file.source} is {file.path} from now on, it was {former}")
    return notes


def observe_source(engine: sa.Engine, source: ledger.Source, folder: Path) -> Pin:
    """Return a pin of the source as it is now; the former one when nothing changed.

    Args:
        engine: of the target database.
        source: the registered file.
        folder: where pins lie.

    Raises:
        SourceError: M101 to M106, as `take_pin`.
    """
    with engine.connect() as conn:
        former = (
            ledger.recorded_pin(conn, source.name, source.pin_digest) if source.pin_digest else None
        )
    if (
        former is not None
        and former.origin == source.path
        and fingerprint(source.path) == former.fingerprint
    ):
        return former
    size = source.path.stat().st_size if source.path.exists() else 0
    report(Progress("pin", source.name, total_bytes=size))
    pin = take_pin(
        source.name,
        KINDS_BY_NAME[source.kind],
        source.path,
        folder,
        chunk_rows=former.chunk_rows if former else 0,
    )
    with engine.begin() as conn:
        ledger.record_pin(conn, pin)
        superseded = ledger.superseded_pins(conn, source.name)
    for path in superseded:
        if path != pin.path:
            path.unlink(missing_ok=True)
    report(Progress("pin", source.name, rows=sum(pin.rows.values()), bytes=size, done=True))
    return pin


def pin_for_run(engine: sa.Engine, source: ledger.Source, folder: Path, consolidation: str) -> Pin:
    """Return the pin that all steps of a consolidation work from; the first one chooses it."""
    with engine.connect() as conn:
        chosen = ledger.chosen_pin(conn, consolidation, source.name)
        if chosen is not None:
            pin = ledger.recorded_pin(conn, source.name, chosen)
            if pin is not None:
                return pin
    pin = observe_source(engine, source, folder)
    with engine.begin() as conn:
        digest = ledger.choose_pin(conn, consolidation, source.name, pin.digest)
        return ledger.recorded_pin(conn, source.name, digest) or pin
