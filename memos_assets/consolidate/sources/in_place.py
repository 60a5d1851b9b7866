"""Files that are observed in place: caches by their census, every other file by name."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from memos_assets.catalog import FileKind
from memos_assets.consolidate.sources.census import take_census
from memos_assets.consolidate.sources.discover import FoundFile

Record = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Observation:
    """Files as they were found.

    Attributes:
        records: one per table of a cache, or one per file.
        totals: sums over the records by name.
    """

    records: tuple[Record, ...]
    totals: Mapping[str, int]

    @property
    def version(self) -> str:
        """Digest of the records: equal records are the same data version."""
        return hashlib.sha256(repr(list(self.records)).encode()).hexdigest()[:32]


def census_of(kind: FileKind, files: Iterable[FoundFile], zone: str) -> Observation:
    """Return the census of the cache files of a kind; ``zone`` is that of times without offset."""
    records: list[Record] = [
        {
            "file": file.path.name,
            "table": table,
            "rows": census.rows,
            "expired": "no expiry" if census.expired is None else census.expired,
            "hits": "not counted" if census.hits is None else census.hits,
            "bytes": census.bytes,
            "oldest": _shown(census.oldest),
            "newest": _shown(census.newest),
            "without a time": census.unreadable,
        }
        for file in files
        if file.kind is not None and file.kind.name == kind.name and file.treatment == "keep"
        for table, census in take_census(file.path, ZoneInfo(zone)).items()
    ]
    totals = {
        name: sum(value for record in records if isinstance(value := record[name], int))
        for name in ("rows", "expired", "hits", "bytes")
    }
    return Observation(tuple(records), totals)


def _shown(instant: datetime | None) -> str:
    return "none" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def other_files(files: Sequence[FoundFile]) -> Observation:
    """List the files that are neither consolidated nor caches."""
    records: list[Record] = [
        {
            "file": str(file.path.relative_to(file.root) if file.root.is_dir() else file.path),
            "treatment": file.treatment,
            "why": file.why,
            "bytes": file.bytes,
        }
        for file in files
        if file.treatment in ("list", "unusable")
    ]
    return Observation(tuple(records), {"files": len(records)})
