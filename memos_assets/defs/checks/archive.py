"""V13 on the archive of every kind of file: one step reads all of it."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.consolidate.archive.checks import archived_files_are_whole, groups_of
from memos_assets.defs.checks.one_claim import checks_of_one_claim
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding


def archive_check(catalog: Catalog) -> dg.AssetChecksDefinition:
    """Return the checks of a catalog's retired files."""
    keys = Keys(catalog.names)

    def judge(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, Finding]]:
        """Read every archived file and compare its digest with its manifest's."""
        archive = postgres.settings.archive_folder
        found = archived_files_are_whole(postgres.engine, catalog, archive)
        for group, finding in found.items():
            yield keys.archive(group), finding

    return checks_of_one_claim(
        catalog,
        "archive_checks",
        "v13_archived_files_are_whole",
        [keys.archive(group) for group in groups_of(catalog)],
        judge,
    )
