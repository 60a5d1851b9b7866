"""V66: nobody reads or writes the SQLite files that are retired."""

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, CheckContext
from memos_assets.consolidate.archive.checks import archived_by, archives, group_of, groups_of
from memos_assets.consolidate.archive.manifests import Archived, read_archive
from memos_assets.finding import Finding
from memos_assets.sqlite.locks import logs_beside, open_files


def retired_files_are_unused(catalog: Catalog, archive: Path) -> Mapping[str, Finding]:
    """Look for retired files at their former paths, and in processes; return a Finding per kind."""
    entries = [
        entry
        for entry in archived_by(catalog, read_archive(archive)[0])
        if entry.manifest.state in ("retired", "purged")
    ]
    places = {path for entry in entries for path in (entry.origin, entry.file) if path.exists()}
    seen = open_files(places)
    grouped: dict[str, list[Archived]] = defaultdict(list)
    faults: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        group = group_of(entry)
        grouped[group].append(entry)
        if entry.origin.exists():
            faults[group].append(f"{entry.origin} is there again")
        for path in (entry.origin, entry.file):
            if path in seen.processes:
                faults[group].append(f"{path} is open in {', '.join(seen.processes[path])}")
            faults[group] += [f"{name} is beside {path}" for name in logs_beside(path)]
    return {
        group: Finding(
            not faults[group],
            expected=f"none of {len(grouped[group])} retired files open, or at its former path",
            observed="; ".join(faults[group]) or "none",
            evidence={
                "retired": [entry.manifest.name for entry in grouped[group]],
                "used": faults[group],
                "processes of others that could not be seen": seen.unseen,
            },
        )
        for group in groups_of(catalog)
    }


def _read(context: CheckContext, archive: Path) -> Mapping[str, Finding]:
    return retired_files_are_unused(context.catalog, archive)


def _unused(context: CheckContext, group: str) -> Finding:
    return context.read_once(_read, context.settings.archive_folder)[group]


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=66,
        name="v66_retired_files_are_unused",
        title="No process has a retired SQLite file open, and none is at its former path again.",
        fix="have memOS use PostgreSQL in the named program; consolidate what it wrote since",
        where="the archive of each kind of file",
        reads="every manifest, the former path of each file, and the open files of the processes "
        "of this machine that the user may see",
        when_failed="The remediation plan's line *No SQLite I/O in production logs*. A program "
        "still reads or writes SQLite: what it writes is in no search until it is consolidated. "
        "The evidence counts processes of other users, whose files cannot be seen.",
        subjects=archives,
        judge=_unused,
        severity="warning",
        group="health",
    ),
)
