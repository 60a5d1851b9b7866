"""The pins of one consolidation, taken once and handed on as a value.

Steps of runs that Dagster starts by itself are handed nothing: they know their consolidation by a
tag, and `observe.pins_for` finds its pins in the bookkeeping tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import FoundFile, Root
from memos_assets.consolidate.sources.observe import pins_for
from memos_assets.consolidate.sources.pins import Pin


@dataclass(frozen=True, slots=True)
class Pinned:
    """The files that one consolidation works from.

    Attributes:
        consolidation: its id; the bookkeeping tables bind the pins to it.
        roots: the folders that were searched.
        files: every SQLite file found there.
        pins: one per source that is loaded, by name.
    """

    consolidation: str
    roots: tuple[Root, ...]
    files: tuple[FoundFile, ...]
    pins: tuple[Pin, ...]

    def of_kind(self, kind: FileKind) -> list[Pin]:
        """Return the pins of one kind of file."""
        return [pin for pin in self.pins if pin.kind.name == kind.name]


def pin_sources(
    engine: sa.Engine,
    folder: Path,
    catalog: Catalog,
    consolidation: str,
    roots: Sequence[Root],
    files: Sequence[FoundFile],
    *,
    every_source: bool = False,
) -> Pinned:
    """Pin the sources of a consolidation; call it once, after `register_files`.

    Args:
        engine: of the target database.
        folder: of the pinned copies.
        catalog: whose sources are pinned.
        consolidation: id that the pins are bound to.
        roots: the folders that were searched.
        files: from `find_files`. Their sources are pinned, and retired ones, whose pins are final.
        every_source: pin every registered source, whether or not its file was found.

    Raises:
        SourceError: M101 to M106, as `take_pin`.
    """
    found = {file.source for file in files if file.treatment == "consolidate"}
    with engine.connect() as conn:
        sources = [
            source
            for source in registry.registered_sources(conn, catalog.consolidated)
            if every_source or source.name in found or source.retired_to is not None
        ]
    pins = pins_for(engine, folder, consolidation, sources)
    return Pinned(consolidation, tuple(roots), tuple(files), tuple(pins))
