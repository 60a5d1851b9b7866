"""The retired files of each kind. Materialising reports them and moves nothing."""

from collections.abc import Sequence

import dagster as dg

from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.archive.checks import archived_by, group_of, groups_of
from memos_assets.consolidate.archive.manifests import Archived, read_archive
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.errors import UsageError
from memos_assets.settings import Settings

#: Run tags that moved files in earlier versions; anybody who reaches the UI can set a tag.
FORMER_TAGS = ("memos/retire", "memos/accept_open_rejects")


def _refuse_tags(run: dg.DagsterRun) -> None:
    """Say that a tag moves nothing.

    Raises:
        UsageError: M587.
    """
    for tag in FORMER_TAGS:
        if tag in run.tags:
            raise UsageError(
                "M587",
                "a tag moves nothing: files are moved by the job retire_files, with a confirmation "
                "in its configuration",
                where=f"tag {tag}",
                fix="memos-assets retire, or its --dry-run, which prints the confirmation",
            )


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
            _refuse_tags(context.run)
        entries, _ = read_archive(postgres.settings.archive_folder)
        mine = [e for e in archived_by(catalog, entries) if group_of(e) == group]
        return _reported(postgres.settings, mine)

    return _archive


def archive_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Return the assets of a catalog's retired files, one per kind and one for all others."""
    kinds = {kind.name: kind for kind in catalog.consolidated}
    return [_archive_of(catalog, group, kinds.get(group)) for group in groups_of(catalog)]
