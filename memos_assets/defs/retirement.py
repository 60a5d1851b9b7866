"""Retirement: which files would be moved and why not, and the op that moves them.

The op is the one way to move a file. It takes its files from the same search as the command, and a
confirmation that only a dry run of the same state prints.
"""

from collections.abc import Sequence

import dagster as dg
import sqlalchemy as sa
from pydantic import Field

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.confirmation import Plan, confirm, retirement_plan
from memos_assets.consolidate.archive.eligibility import (
    Candidate,
    CheckSeen,
    find_candidates,
    judge,
    manifest_of,
)
from memos_assets.consolidate.archive.manifests import Archived
from memos_assets.consolidate.sources.discover import FoundFile, Root, find_files
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.defs.tags import CONSOLIDATION_TAG
from memos_assets.errors import MemosAssetsError, SourceError, UsageError
from memos_assets.indexes.definitions import search_indexes
from memos_assets.report.evaluations import checklist_results
from memos_assets.report.formatting import moment
from memos_assets.report.outcomes import CheckResult, Evaluation
from memos_assets.settings import Settings


class Retirement(dg.Config):
    """What to retire."""

    data: list[str] = Field(
        default=[], description="Folders or files, as `--data` of `memos-assets retire`."
    )
    names: list[str] = Field(default=[], description="Files to retire; all if none is named.")
    accept_open_rejects: bool = Field(
        default=False, description="Retire sources that have open rejects, too."
    )
    confirmation: str = Field(
        default="",
        description="Printed by `memos-assets retire --dry-run` with the same options. It is of "
        "one state of the files, and works once.",
    )


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


def retire_step(names: AssetNames) -> str:
    """Return the name of the step that retires, under which it is configured."""
    return names.job("retire")


def retire_files(catalog: Catalog) -> dg.GraphDefinition:
    """Return the retirement of a catalog's files."""

    @dg.op(
        name=retire_step(catalog.names),
        out=dg.Out(dg.Nothing),
        description="Move proven files into the archive. Needs a confirmation that only a dry run "
        "of the same state prints; tags move nothing.",
    )
    def _retire(context: dg.OpExecutionContext, config: Retirement, postgres: Postgres) -> None:
        """Move every file that meets the conditions; the step fails at the end if one did not."""
        with reported():
            moved, errors = _moved(context.instance, postgres, catalog, config)
        for entry in moved:
            context.log.info(f"{entry.origin} is at {entry.file}")
        context.add_output_metadata({"files": len(moved)})
        if errors:
            raise dg.Failure(
                description="\n".join(map(str, errors)),
                metadata={"code": ", ".join(sorted({error.code for error in errors}))},
                allow_retries=False,
            )

    @dg.graph(name=catalog.names.job("retire_files"))
    def _retire_files() -> None:
        """Move proven files into the archive."""
        _retire()

    return _retire_files


def _moved(
    instance: dg.DagsterInstance, postgres: Postgres, catalog: Catalog, config: Retirement
) -> tuple[list[Archived], list[MemosAssetsError]]:
    """Judge again, compare the confirmation, and move; return what was moved and what failed."""
    engine, settings = postgres.engine, postgres.settings
    folder, declared = settings.archive_folder, postgres.declared(catalog)
    moved: list[Archived] = []
    errors: list[MemosAssetsError] = []
    with archive.locked(folder):
        roots = [Root.parse(argument) for argument in config.data or settings.data]
        files = find_files(declared, roots, none_will_do=True)
        candidates, _ = look(
            instance,
            engine,
            settings,
            declared,
            roots,
            files,
            config.names,
            accept_open_rejects=config.accept_open_rejects,
        )
        ready = [candidate for candidate in candidates if candidate.would_be_retired]
        plan = retirement_plan(ready, folder, accept_open_rejects=config.accept_open_rejects)
        _confirm(engine, plan, config, candidates)
        proven = {file["path"]: file["sha256"] for file in plan["files"]}
        for candidate in ready:
            try:
                manifest = manifest_of(engine, candidate)
                if manifest.sha256 != proven[manifest.path]:
                    raise SourceError(
                        "M110",
                        "not retired: the file changed after its check",
                        where=manifest.path,
                        fix="stop memOS, consolidate again, then retire it",
                    )
                moved.append(archive.store(engine, folder, manifest))
            except MemosAssetsError as error:
                errors.append(error)
    return moved, errors


def _confirm(
    engine: sa.Engine, plan: Plan, config: Retirement, candidates: Sequence[Candidate]
) -> None:
    """Compare the confirmation; where it is refused, name what is not ready by now, too."""
    try:
        confirm(engine, plan, config.confirmation)
    except UsageError as error:
        refused = [f"{one.name}: {one.unmet[0].what}" for one in candidates if one.unmet]
        if not refused:
            raise
        raise UsageError(
            error.code,
            f"{error.what}; not ready: {'; '.join(refused[:5])}",
            where=error.where,
            fix=error.fix,
        ) from error


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
                    evaluation.metadata.get("pins") if reads_pins else None,
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
