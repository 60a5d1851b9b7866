"""V14 on the live version; within a consolidation that swaps, on the shadow that is to be live."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.defs.assets.version import LIVE_VERSION
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.postgres.versions import version_is_complete

_CLAIM = "v14_live_version_is_complete"


@dg.multi_asset_check(
    name="version_checks", specs=[check_spec(_CLAIM, LIVE_VERSION)], can_subset=True
)
def version_check(
    context: dg.AssetCheckExecutionContext, postgres: Postgres
) -> Iterator[dg.AssetCheckResult]:
    """Count every table and compare it with its books."""
    with reported():
        with postgres.engine.connect() as conn:
            finding = version_is_complete(conn)
        yield from evaluated(context, postgres.engine, [(LIVE_VERSION, _CLAIM, finding)])
