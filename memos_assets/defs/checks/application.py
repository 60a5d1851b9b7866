"""V25 on memOS's own tables."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.defs.checks.one_claim import checks_of_one_claim
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.postgres.application.checks import tables_are_whole


def application_checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Return the checks of the application's own tables; none where it has none."""
    keys = Keys(catalog.names)
    if not catalog.application:
        return []

    def judge(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, Finding]]:
        """Compare every table with the books of the adoption."""
        with postgres.engine.connect() as conn:
            for asset, specs in catalog.application.items():
                yield keys.table(asset), tables_are_whole(conn, specs)

    return [
        checks_of_one_claim(
            catalog,
            "application_checks",
            "v25_application_tables_are_whole",
            [keys.table(asset) for asset in catalog.application],
            judge,
        )
    ]
