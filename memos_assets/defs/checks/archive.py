"""V13 on the archive of every kind of file: one step reads all of it."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.consolidate.archive_proof import GROUPS, archived_files_are_whole
from memos_assets.defs.assets.sources import archive_key
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres

_CLAIM = "v13_archived_files_are_whole"


@dg.multi_asset_check(
    name="archive_checks",
    specs=[check_spec(_CLAIM, archive_key(group)) for group in GROUPS],
    can_subset=True,
)
def archive_check(
    context: dg.AssetCheckExecutionContext, postgres: Postgres
) -> Iterator[dg.AssetCheckResult]:
    """Read every archived file and compare its digest with its manifest's."""
    with reported():
        findings = archived_files_are_whole(postgres.engine, postgres.settings.archive_folder)
        yield from evaluated(
            context,
            postgres.engine,
            ((archive_key(group), _CLAIM, finding) for group, finding in findings.items()),
        )
