"""V25 on memOS's own tables."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog.application import APPLICATION_ASSETS
from memos_assets.defs.checks.one_claim import checks_of_one_claim
from memos_assets.defs.keys import application_key
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.postgres.application.checks import tables_are_whole


def _judge(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, Finding]]:
    """Compare every table with the books of the adoption."""
    with postgres.engine.connect() as conn:
        for asset, specs in APPLICATION_ASSETS.items():
            yield application_key(asset), tables_are_whole(conn, specs)


application_check = checks_of_one_claim(
    "application_checks",
    "v25_application_tables_are_whole",
    [application_key(asset) for asset in APPLICATION_ASSETS],
    _judge,
)
