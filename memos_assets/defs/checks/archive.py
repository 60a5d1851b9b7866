"""V13 on the archive of every kind of file: one step reads all of it."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.consolidate.archive.checks import GROUPS, archived_files_are_whole
from memos_assets.defs.checks.one_claim import checks_of_one_claim
from memos_assets.defs.keys import archive_key
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding


def _judge(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, Finding]]:
    """Read every archived file and compare its digest with its manifest's."""
    found = archived_files_are_whole(postgres.engine, postgres.settings.archive_folder)
    for group, finding in found.items():
        yield archive_key(group), finding


archive_check = checks_of_one_claim(
    "archive_checks",
    "v13_archived_files_are_whole",
    [archive_key(group) for group in GROUPS],
    _judge,
)
