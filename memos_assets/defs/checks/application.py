"""V25 on memOS's own tables."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog.application import APPLICATION_ASSETS
from memos_assets.defs.assets.application import application_key
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.postgres.application_claims import tables_are_whole

_CLAIM = "v25_application_tables_are_whole"


@dg.multi_asset_check(
    name="application_checks",
    specs=[check_spec(_CLAIM, application_key(asset)) for asset in APPLICATION_ASSETS],
    can_subset=True,
)
def application_check(
    context: dg.AssetCheckExecutionContext, postgres: Postgres
) -> Iterator[dg.AssetCheckResult]:
    """Compare every table with the books of the adoption."""
    with reported():
        yield from evaluated(context, postgres.engine, _findings(postgres))


def _findings(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    with postgres.engine.connect() as conn:
        for asset, specs in APPLICATION_ASSETS.items():
            yield application_key(asset), _CLAIM, tables_are_whole(conn, specs)
