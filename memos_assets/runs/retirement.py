"""Retirement from a terminal: judge, run the job that moves, and show the archive as it is then."""

from collections.abc import Sequence

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.eligibility import Candidate, find_candidates, judge
from memos_assets.consolidate.archive.manifests import Archived, entry_named
from memos_assets.consolidate.sources.discover import FoundFile, Root
from memos_assets.defs.assets.archive import checks_seen
from memos_assets.defs.jobs import ARCHIVE
from memos_assets.defs.tags import ACCEPT_TAG, CONSOLIDATION_TAG, RETIRE_TAG, ROOTS_TAG
from memos_assets.errors import UsageError
from memos_assets.report.consolidation import Consolidation, new_consolidation
from memos_assets.runs.consolidation import run_job
from memos_assets.settings import Settings


def look(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    roots: Sequence[Root],
    files: Sequence[FoundFile],
    names: Sequence[str] = (),
    *,
    accept_open_rejects: bool = False,
) -> tuple[list[Candidate], int]:
    """Return every candidate with its unmet conditions, and how many processes were not seen.

    Args:
        instance: that knows what was checked.
        engine: of the target database.
        settings: where the archive is.
        catalog: whose files are retired.
        roots: the folders that files may be taken from.
        files: what was found in them.
        names: of the candidates meant; all of them if there are none.
        accept_open_rejects: retire sources although some of their rows are in the rejects.

    Raises:
        UsageError: M553 when a name is none of a candidate.
    """
    with engine.connect() as conn:
        found = find_candidates(conn, catalog, files)
    known = {candidate.name for candidate in found}
    for name in names:
        if name not in known:
            raise UsageError(
                "M553",
                f"no such file to retire; there are: {', '.join(sorted(known)) or 'none'}",
                where=name,
                fix="see them: memos-assets retire --dry-run",
            )
    return judge(
        engine,
        [candidate for candidate in found if not names or candidate.name in names],
        archive=settings.archive_folder,
        roots=roots,
        evaluations=lambda kind: checks_seen(instance, engine, catalog, kind),
        accept_open_rejects=accept_open_rejects,
    )


def retire(
    instance: dg.DagsterInstance,
    catalog: Catalog,
    roots: Sequence[Root],
    candidates: Sequence[Candidate],
    *,
    accept_open_rejects: bool = False,
) -> Consolidation:
    """Move the candidates that meet every condition, each judged again before it is moved."""
    done = new_consolidation(catalog.schema)
    tags = {
        CONSOLIDATION_TAG: done.id,
        ROOTS_TAG: "\n".join(str(root.path) for root in roots),
        RETIRE_TAG: "\n".join(f"{c.name}={c.path}" for c in candidates if c.would_be_retired),
    }
    if accept_open_rejects:
        tags[ACCEPT_TAG] = "true"
    run_job(instance, catalog, ARCHIVE, tags, done)
    return done


def restore(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, catalog: Catalog, name: str
) -> tuple[Archived | None, list[str]]:
    """Put a retired file back; return it, None where a repair already did, and what was repaired.

    Raises:
        UsageError: M550 no such file, M551 several, M552 another file is at its original path.
        SourceError: M112 to M114, as `archive.restore`.
    """
    with archive.locked(settings.archive_folder):
        said = archive.repair(engine, settings.archive_folder)
        if any(line.startswith(f"{name} is restored") for line in said):
            entry = None
        else:
            entry = entry_named(settings.archive_folder, name)
            archive.restore(engine, entry)
    show(instance, catalog)
    return entry, said


def show(instance: dg.DagsterInstance, catalog: Catalog) -> Consolidation:
    """Materialise the archive's assets as they are; nothing is moved."""
    done = new_consolidation(catalog.schema)
    run_job(instance, catalog, ARCHIVE, {}, done)
    return done
