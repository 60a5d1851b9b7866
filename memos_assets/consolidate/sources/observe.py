"""Observe registered sources: pin the changed ones again."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import FileKind
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import FoundFile
from memos_assets.consolidate.sources.half_moved import refuse_half_moved
from memos_assets.consolidate.sources.pins import Pin, fingerprint, take_pin
from memos_assets.consolidate.sources.shrinkage import refuse_shrinkage, use_up
from memos_assets.errors import MemosAssetsError, UsageError
from memos_assets.progress import Progress, report


def register_files(engine: sa.Engine, files: Sequence[FoundFile]) -> list[str]:
    """Register the files to consolidate, all of them or none; return a note for each that moved.

    Raises:
        UsageError: as `registry.register`; M564 the rows of a demo would be mixed with others.
    """
    notes = []
    with engine.begin() as conn:
        registry.refuse_mixing(conn, files)
        for file in files:
            if file.treatment == "consolidate":
                former = registry.register(conn, file)
                if former is not None:
                    notes.append(f"{file.source} is {file.path} from now on, it was {former}")
    return notes


def observe_source(engine: sa.Engine, source: registry.Source, folder: Path) -> Pin:
    """Return a pin of the source as it is now; the former one when nothing changed.

    A retired source is final, and of a file that is gone only the former pin is left: V08 reports
    both.

    Args:
        engine: of the target database.
        source: the registered file.
        folder: of the pinned copies.

    Raises:
        SourceError: M101 to M106, as `take_pin`; M561 when a table lost most of its rows.
        TargetError: M370 its file is half moved into the archive.
    """
    with engine.connect() as conn:
        refuse_half_moved(conn, source.name)
        former = (
            registry.recorded_pin(conn, source, source.pin_digest) if source.pin_digest else None
        )
    origin = source.location
    if former is not None and (
        source.retired_to is not None
        or not origin.exists()
        or (former.origin == origin and fingerprint(origin) == former.fingerprint)
    ):
        return former
    size = origin.stat().st_size if origin.exists() else 0
    report(Progress("pin", source.name, total_bytes=size))
    pin = take_pin(
        source.name,
        source.kind,
        origin,
        folder,
        chunk_rows=former.chunk_rows if former else 0,
    )
    with engine.begin() as conn:
        if former is not None:
            try:
                refuse_shrinkage(conn, former, pin)
            except UsageError:
                if registry.recorded_pin(conn, source, pin.digest) is None:
                    pin.path.unlink(missing_ok=True)
                raise
        registry.record_pin(conn, pin)
        use_up(conn, source.name)
        superseded = registry.superseded_pins(conn, source.name)
    for path in superseded:
        if path != pin.path:
            path.unlink(missing_ok=True)
    report(Progress("pin", source.name, rows=sum(pin.rows.values()), bytes=size, done=True))
    return pin


def pin_for_run(
    engine: sa.Engine, source: registry.Source, folder: Path, consolidation: str
) -> Pin:
    """Return the pin that all steps of a consolidation work from; the first one chooses it.

    Where its copy is gone, the file is pinned again: equal content is the same pin, and for any
    other the consolidation is planned again, once for all its steps.
    """
    with engine.connect() as conn:
        chosen = registry.chosen_pin(conn, consolidation, source.name)
        if chosen is not None:
            pin = registry.recorded_pin(conn, source, chosen)
            if pin is not None:
                return pin
    pin = observe_source(engine, source, folder)
    with engine.begin() as conn:
        digest = registry.choose_pin(conn, consolidation, source.name, pin.digest, gone=chosen)
        return registry.recorded_pin(conn, source, digest) or pin


def pins_for(
    engine: sa.Engine, folder: Path, consolidation: str, sources: Iterable[registry.Source]
) -> list[Pin]:
    """Return the pins that all steps of a consolidation work from; missing ones are taken."""
    # Copying and hashing leave Python's lock alone, so two files are pinned in the time of one.
    with ThreadPoolExecutor(2, thread_name_prefix="pin") as pinners:
        futures = [
            pinners.submit(copy_context().run, pin_for_run, engine, source, folder, consolidation)
            for source in sources
        ]
        return [future.result() for future in futures]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the files of a kind found, each looked at for itself.

    Attributes:
        pins: of the files as they are now, of no consolidation; of one that is gone its last pin.
        unreadable: why the other files have none.
        gone: registered sources that were not retired and whose files are not there.
    """

    pins: Sequence[Pin]
    unreadable: Sequence[MemosAssetsError]
    gone: Sequence[registry.Source]


def look_at_files(engine: sa.Engine, folder: Path, kind: FileKind) -> Look:
    """Pin the files of a kind that changed; one that cannot be read does not stop the others."""
    with engine.connect() as conn:
        sources = observable_sources(conn, kind)
        registered = registry.registered_sources(conn, [kind])
    pins: list[Pin] = []
    unreadable: list[MemosAssetsError] = []
    for source in sources:
        try:
            pins.append(observe_source(engine, source, folder))
        except MemosAssetsError as error:
            unreadable.append(error)
    return Look(
        pins,
        unreadable,
        [one for one in registered if one.retired_to is None and not one.location.exists()],
    )


def observable_sources(conn: sa.Connection, kind: FileKind) -> list[registry.Source]:
    """Return the registered sources of a kind of which there is a file or a pinned copy."""
    return [
        source
        for source in registry.registered_sources(conn, [kind])
        if source.location.exists()
        or (source.pin_digest and registry.recorded_pin(conn, source, source.pin_digest))
    ]
