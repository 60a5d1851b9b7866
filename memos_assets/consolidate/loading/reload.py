"""Which chunks are loaded again although the ledger says that they are up to date."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

#: The text of a reload of everything, in the tag of a run.
_ALL: Final = "true"


@dataclass(frozen=True, slots=True)
class Reload:
    """A choice of chunks; an empty collection chooses all.

    Attributes:
        tables: in PostgreSQL, without their schema.
        sources: names of sources.
        chunks: as ``source/003``, or ``003`` for that chunk of every chosen source.
    """

    tables: Collection[str] = ()
    sources: Collection[str] = ()
    chunks: Collection[str] = ()

    def takes(self, table: str, source: str, chunk: int) -> bool:
        """Whether a chunk of a table is loaded again."""
        number = f"{chunk:03d}"
        return (
            (not self.tables or table in self.tables)
            and (not self.sources or source in self.sources)
            and (not self.chunks or not {number, f"{source}/{number}"}.isdisjoint(self.chunks))
        )

    @property
    def text(self) -> str:
        """The choice as the tag of a run; `parse` reads it."""
        parts = {"tables": sorted(self.tables), "sources": sorted(self.sources)}
        if not (self.tables or self.sources or self.chunks):
            return _ALL
        return json.dumps({**parts, "chunks": sorted(self.chunks)})

    @classmethod
    def parse(cls, text: str | None) -> "Reload | None":
        """Return the choice of a tag; None where the run has none."""
        if text is None:
            return None
        return cls() if text == _ALL else cls(**json.loads(text))
