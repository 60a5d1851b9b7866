"""Retirement from a terminal: judge, run the job that moves, and show the archive as it is then."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.archive import records
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.confirmation import confirmation_of, retirement_plan
from memos_assets.consolidate.archive.eligibility import Candidate
from memos_assets.consolidate.archive.manifests import Archived, entry_named, read_archive
from memos_assets.consolidate.archive.repair import repair
from memos_assets.consolidate.sources.discover import Root
from memos_assets.consolidate.sources.registry import registered_sources
from memos_assets.defs.jobs import ARCHIVE, RETIRE
from memos_assets.defs.retirement import Retirement, retire_step
from memos_assets.defs.tags import CONSOLIDATION_TAG
from memos_assets.errors import MemosAssetsError, UsageError
from memos_assets.report.consolidation import Consolidation, new_consolidation
from memos_assets.runs.consolidation import run_job
from memos_assets.settings import Settings


def retire(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    roots: Sequence[Root],
    candidates: Sequence[Candidate],
    *,
    accept_open_rejects: bool = False,
) -> Consolidation:
    """Move the candidates that meet every condition, each judged again before it is moved.

    The confirmation that the run needs is of what the candidates were when they were judged.
    """
    done = new_consolidation(catalog.schema)
    ready = [candidate for candidate in candidates if candidate.would_be_retired]
    tags = {CONSOLIDATION_TAG: done.id}
    if ready:
        plan = retirement_plan(
            ready, settings.archive_folder, accept_open_rejects=accept_open_rejects
        )
        config = Retirement(
            data=[f"{r.name}={r.path}" if r.name else str(r.path) for r in roots],
            names=[candidate.name for candidate in ready],
            accept_open_rejects=accept_open_rejects,
            confirmation=confirmation_of(engine, plan),
        )
        ops = {retire_step(catalog.names): {"config": config.model_dump()}}
        run_job(instance, catalog, RETIRE, tags, done, ops)
    run_job(instance, catalog, ARCHIVE, tags, done)
    return done


def restore(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, catalog: Catalog, name: str
) -> tuple[Archived | None, list[str]]:
    """Put a retired file back; return it, None where it is back already, and notes.

    Raises:
        UsageError: M371 the archive is locked, M550 no such file, M551 several, M552 another file
            is at its original path.
        SourceError: M101, M113, M114, M372, M373 as `archive.restore`.
    """
    folder, roots = settings.archive_folder, known_roots(settings)
    with archive.locked(folder):
        repaired = repair(engine, folder, named=[name], roots=roots)
        said = [str(one) for one in repaired]
        if any(one.name == name and one.became == "restored" for one in repaired):
            entry = None
        elif back := _is_back(engine, folder, catalog, name):
            entry = None
            said.append(back)
        else:
            entry = entry_named(folder, name)
            records.require_known(engine, entry, roots)
            if note := archive.restore(engine, entry):
                said.append(f"{name}: {note}")
    show(instance, catalog)
    return entry, said


def _is_back(engine: sa.Engine, folder: Path, catalog: Catalog, name: str) -> str:
    """Say that a source which the archive does not have is at its path; "" where it is not so."""
    entries = [entry for entry in read_archive(folder)[0] if entry.manifest.state != "purged"]
    if any(name in (entry.folder.name, entry.manifest.name) for entry in entries):
        return ""
    with engine.connect() as conn:
        sources = registered_sources(conn, catalog.kinds)
    there = (source.path for source in sources if source.name == name and not source.retired_to)
    path = next(there, None)
    if path is None or not path.is_file():
        return ""
    return f"{name} is at {path}, and is not retired. Nothing was changed."


def known_roots(settings: Settings) -> list[Path]:
    """Return the folders of MEMOS_DATA, which files without a record may have come from."""
    roots = []
    for argument in settings.data:
        # A folder that is gone explains no path.
        with suppress(UsageError):
            roots.append(Root.parse(argument).path)
    return roots


def purge(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    folders: Sequence[str],
) -> tuple[list[str], list[MemosAssetsError]]:
    """Delete retired files; one that is deleted already is a note, one that fails stops no other.

    Args:
        instance: where the archive is shown.
        engine: of the target database.
        settings: where the archive is.
        catalog: whose archive is shown.
        folders: names of the files' folders in the archive.

    Returns:
        Notes, and the errors of files that are still there.
    """
    archived, roots = settings.archive_folder, known_roots(settings)
    errors: list[MemosAssetsError] = []
    with archive.locked(archived):
        said = [str(one) for one in repair(engine, archived, named=folders, roots=roots)]
        for entry in read_archive(archived)[0]:
            if entry.folder.name not in folders or entry.manifest.state == "purged":
                continue
            try:
                records.require_known(engine, entry, roots)
                archive.purge(engine, entry)
            except MemosAssetsError as error:
                errors.append(error)
    show(instance, catalog)
    return said, errors


def show(instance: dg.DagsterInstance, catalog: Catalog) -> Consolidation:
    """Materialise the archive's assets as they are; nothing is moved."""
    done = new_consolidation(catalog.schema)
    run_job(instance, catalog, ARCHIVE, {}, done)
    return done
