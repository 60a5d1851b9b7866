"""V13: the archive agrees with its manifests and with the registry."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.consolidate.archive import records
from memos_assets.consolidate.archive.manifests import Archived, file_sha256, read_archive
from memos_assets.consolidate.sources import registry
from memos_assets.errors import SourceError
from memos_assets.finding import Finding

#: Test and legacy files of any kind.
OTHER_FILES = "other_files"


def groups_of(catalog: Catalog) -> tuple[str, ...]:
    """Return the groups in which a catalog's retired files are shown and checked."""
    return (*(kind.name for kind in catalog.consolidated), OTHER_FILES)


def archived_by(catalog: Catalog, entries: Iterable[Archived]) -> list[Archived]:
    """Return the retired files that are of a catalog's kinds; catalogs share the archive."""
    kinds = {kind.name for kind in catalog.kinds}
    return [entry for entry in entries if entry.manifest.kind in kinds]


def group_of(entry: Archived) -> str:
    """Return the kind whose archive a retired file belongs to; test and legacy files have one."""
    return entry.manifest.kind if entry.manifest.is_source else OTHER_FILES


def archived_files_are_whole(
    engine: sa.Engine, catalog: Catalog, archive: Path
) -> Mapping[str, Finding]:
    """Read every archived file and every manifest; return a Finding per kind."""
    entries, unreadable = read_archive(archive)
    entries = archived_by(catalog, entries)
    kinds = {kind.name for kind in catalog.kinds}
    with engine.connect() as conn:
        registered = registry.registered_sources(conn, catalog.consolidated)
        written = records.records_in(conn, archive)
    sources = {source.name: source for source in registered}
    faults: dict[str, list[str]] = defaultdict(list)
    faults[OTHER_FILES] += unreadable
    grouped: dict[str, list[Archived]] = defaultdict(list)
    for entry in entries:
        grouped[group_of(entry)].append(entry)
        row = written.get(entry.folder)
        if fault := _fault(entry, sources.get(entry.manifest.name), row):
            faults[group_of(entry)].append(f"{entry.manifest.name}: {fault}")
    there = {entry.folder for entry in entries}
    for folder, row in written.items():
        if folder not in there and row.kind in kinds:
            faults[row.kind if row.is_source else OTHER_FILES].append(
                f"{row.name}: its manifest in {folder.name} is gone or cannot be read"
            )
    described = {entry.file for entry in entries if entry.manifest.is_source}
    for source in sources.values():
        if source.retired_to is not None and source.retired_to not in described:
            faults[source.kind.name].append(
                f"{source.name}: the registry says that the file is at {source.retired_to}, "
                "which no manifest in the archive describes"
            )
    return {group: _finding(grouped[group], faults[group]) for group in groups_of(catalog)}


def _fault(entry: Archived, source: registry.Source | None, row: sa.Row[Any] | None) -> str | None:
    manifest = entry.manifest
    if row is not None and row.manifest_digest != manifest.digest:
        return "its manifest is not the one that was written when the file was retired"
    if manifest.state == "purged":
        if entry.file.exists():
            return "the file is purged, and still there"
        if row is not None and row.state not in ("purging", "purged"):
            return f"its manifest says purged, and the bookkeeping tables {row.state}"
        return None
    if manifest.state != "retired":
        if not (entry.file.exists() or entry.origin.exists()):
            return f"{manifest.state} it was interrupted; the file is at neither of its two paths"
        return f"{manifest.state} it was interrupted; run memos-assets retire to finish or undo it"
    return _changed(entry) or _misplaced(entry, source)


def _changed(entry: Archived) -> str | None:
    try:
        if not entry.file.is_file():
            return f"{entry.file} is gone"
        same_size = entry.file.stat().st_size == entry.manifest.size
        if not same_size or file_sha256(entry.file) != entry.manifest.sha256:
            return f"{entry.file} does not have the bytes that were retired"
    except (OSError, SourceError) as error:
        return str(error)
    return None


def _misplaced(entry: Archived, source: registry.Source | None) -> str | None:
    if entry.manifest.is_source and source is not None and source.path != entry.origin:
        return f"its manifest says {entry.origin}, and the registry {source.path}"
    if entry.manifest.is_source and (source is None or source.retired_to != entry.file):
        said = "lacks it" if source is None else f"says {source.retired_to or 'not retired'}"
        return f"the file is at {entry.file}, and the registry {said}"
    return None


def _finding(entries: list[Archived], faults: list[str]) -> Finding:
    kept = [entry for entry in entries if entry.manifest.state != "purged"]
    purged = [entry for entry in entries if entry.manifest.state == "purged"]
    names = ", ".join(entry.manifest.name for entry in purged)
    also = f", {len(purged)} purged on purpose ({names})" if purged else ""
    return Finding(
        not faults,
        expected=f"{len(kept)} files as they were retired",
        observed=("; ".join(faults) or f"{len(kept)} whole") + also,
        evidence={
            "files": [
                {
                    "name": entry.manifest.name,
                    "state": entry.manifest.state,
                    "bytes": entry.manifest.size,
                    "sha256": entry.manifest.sha256[:16],
                }
                for entry in entries
            ],
            "faults": faults,
        },
    )


def archives(catalog: Catalog) -> Iterator[Subject[str]]:
    """Yield the archive of each group."""
    for group in groups_of(catalog):
        yield Subject(catalog.names.archive(group), group, "archive_checks")


def _read(context: CheckContext, archive: Path) -> Mapping[str, Finding]:
    return archived_files_are_whole(context.engine, context.catalog, archive)


def _whole(context: CheckContext, group: str) -> Finding:
    return context.read_once(_read, context.settings.archive_folder)[group]


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=13,
        name="v13_archived_files_are_whole",
        title="Every retired file has the bytes that were retired, and nothing is half moved.",
        fix="memos-assets retire finishes what was interrupted; restore lost files from a backup",
        where="the archive of each kind of file",
        reads="every manifest; size and sha256 of every archived file; `retired_to` in the "
        "registry, and the digest of the manifest in `memos_ops.archived`",
        when_failed="Half moved: `memos-assets retire` finishes or undoes it. Lost or changed: put "
        "the file with the named sha256 back.",
        subjects=archives,
        judge=_whole,
    ),
)
