"""The retired files of each kind. Materialising reports them; only a tagged run moves files."""

from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.checks import (
    OTHER_FILES,
    archived_by,
    group_of,
    groups_of,
)
from memos_assets.consolidate.archive.eligibility import (
    Candidate,
    CheckSeen,
    find_candidates,
    judge,
    manifest_of,
)
from memos_assets.consolidate.archive.manifests import Archived, read_archive
from memos_assets.consolidate.sources.discover import find_files
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.defs.tags import ACCEPT_TAG, CONSOLIDATION_TAG, RETIRE_TAG, roots_of
from memos_assets.errors import MemosAssetsError, SourceError
from memos_assets.indexes.definitions import search_indexes
from memos_assets.report.evaluations import checklist_results
from memos_assets.report.formatting import moment
from memos_assets.report.outcomes import CheckResult, Evaluation
from memos_assets.settings import Settings


def checks_seen(
    instance: dg.DagsterInstance, engine: sa.Engine, catalog: Catalog, kind: FileKind
) -> Sequence[CheckSeen]:
    """Return the latest evaluation of every check that concerns a kind of file."""
    names = catalog.names
    indexes = {
        names.index(index.name) for spec in kind.tables for index in search_indexes(spec.as_table)
    }
    assets = {*indexes, names.source(kind.name), *(names.table(spec.name) for spec in kind.tables)}
    with engine.connect() as conn:
        found = checklist_results(conn, catalog, assets)
    consolidations: dict[str, str] = {}
    seen = []
    for result in found:
        for evaluation in result.evaluations:
            if evaluation.run_id not in consolidations:
                run = instance.get_run_by_id(evaluation.run_id)
                tags = run.tags if run is not None else {}
                consolidations[evaluation.run_id] = tags.get(CONSOLIDATION_TAG, "")
            reads_pins = evaluation.asset not in indexes and evaluation.severity == "error"
            seen.append(
                _seen(
                    result,
                    evaluation,
                    consolidations[evaluation.run_id],
                    evaluation.metadata.get("pins", {}) if reads_pins else None,
                )
            )
        seen += [
            CheckSeen(result.check.label, asset, False, False, "", "", "", "", "", None)  # noqa: FBT003
            for asset in result.unproven
        ]
    return seen


def _seen(
    result: CheckResult,
    evaluation: Evaluation,
    consolidation: str,
    pins: dict[str, str] | None,
) -> CheckSeen:
    return CheckSeen(
        check=result.check.label,
        asset=evaluation.asset,
        passed=evaluation.status != "failed",
        proven=evaluation.status in ("proven", "open"),
        expected=evaluation.expected,
        observed=evaluation.observed,
        evaluated_at=moment(evaluation.timestamp),
        run_id=evaluation.run_id,
        consolidation=consolidation,
        pins=pins,
    )


def _asked_for(run: dg.DagsterRun) -> set[Path]:
    """Return the files that a run is to move.

    A run that is executed again, by a person in the UI or by a retry, is to move none.
    """
    if run.parent_run_id is not None:
        return set()
    lines = run.tags.get(RETIRE_TAG, "").split("\n")
    return {Path(line.partition("=")[2]) for line in lines if line}


def _candidates(
    run: dg.DagsterRun, postgres: Postgres, catalog: Catalog, group: str
) -> list[Candidate]:
    asked_for = _asked_for(run)
    if not asked_for:
        return []
    roots = roots_of(run, postgres.settings) if group == OTHER_FILES else []
    files = find_files(catalog, roots, none_will_do=True)
    with postgres.engine.connect() as conn:
        found = find_candidates(conn, catalog, files)
    return [
        candidate
        for candidate in found
        if candidate.path in asked_for
        and candidate.kind is not None
        and group == (candidate.kind.name if candidate.source else OTHER_FILES)
    ]


def _retire(
    context: dg.AssetExecutionContext, postgres: Postgres, catalog: Catalog, group: str
) -> None:
    """Move the files of a group that the run names, each after a last look at its conditions."""
    folder = postgres.settings.archive_folder
    errors: list[MemosAssetsError] = []
    for candidate in _candidates(context.run, postgres, catalog, group):
        try:
            with archive.locked(folder):
                (judged,), _ = judge(
                    postgres.engine,
                    [candidate],
                    archive=folder,
                    roots=roots_of(context.run, postgres.settings),
                    evaluations=lambda kind: checks_seen(
                        context.instance, postgres.engine, catalog, kind
                    ),
                    accept_open_rejects=context.run.tags.get(ACCEPT_TAG) == "true",
                )
                if judged.unmet:
                    raise SourceError(
                        "M110",
                        f"not retired: {judged.unmet[0].what}",
                        where=str(candidate.path),
                        fix=judged.unmet[0].fix,
                    )
                archive.store(postgres.engine, folder, manifest_of(postgres.engine, judged))
        except MemosAssetsError as error:
            context.log.error(str(error))
            errors.append(error)
    if errors:
        raise errors[0]


def _reported(settings: Settings, entries: Sequence[Archived]) -> dg.MaterializeResult[None]:
    retired = [entry for entry in entries if entry.manifest.state != "purged"]
    records = [
        dg.TableRecord(
            {
                "name": entry.manifest.name,
                "state": entry.manifest.state,
                "rows": entry.manifest.rows,
                "bytes": entry.manifest.size,
                "original path": entry.manifest.path,
                "retired at": entry.manifest.retired_at,
                "deletable from": entry.deletable_from(settings.archive_grace_days).isoformat(),
                "purged at": entry.manifest.purged_at or "",
            }
        )
        for entry in entries
    ]
    metadata: dict[str, dg.MetadataValue | int] = {
        "files": len(retired),
        "rows": sum(entry.manifest.rows for entry in retired),
        "bytes": sum(entry.manifest.size for entry in retired),
    }
    if records:
        metadata["archive"] = dg.MetadataValue.table(records)
    return dg.MaterializeResult(metadata=metadata)


def _archive_of(catalog: Catalog, group: str, kind: FileKind | None) -> dg.AssetsDefinition:
    keys = Keys(catalog.names)
    upstream = [keys.source(kind), *keys.tables(kind)] if kind is not None else []
    what = f"{group} files that are retired" if kind else "Test and legacy files that are retired"

    @dg.asset(
        key=keys.archive(group),
        deps=upstream,
        group_name=catalog.names.job("archive"),
        kinds={"sqlite"},
        owners=OWNERS,
        description=f"{what}: their original paths, when they were moved, and when they may be "
        "purged. Materialising moves nothing; `memos-assets retire` does.",
    )
    def _archive(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        with reported():
            _retire(context, postgres, postgres.declared(catalog), group)
        entries, _ = read_archive(postgres.settings.archive_folder)
        mine = [e for e in archived_by(catalog, entries) if group_of(e) == group]
        return _reported(postgres.settings, mine)

    return _archive


def archive_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Return the assets of a catalog's retired files, one per kind and one for all others."""
    kinds = {kind.name: kind for kind in catalog.consolidated}
    return [_archive_of(catalog, group, kinds.get(group)) for group in groups_of(catalog)]
