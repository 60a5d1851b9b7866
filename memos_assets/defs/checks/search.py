"""V15: the functions in the database are those that the other checks explain."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.defs.assets.search import FUNCTIONS_KEY
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.search.functions import functions_are_ours

_CLAIM = "v15_search_functions_are_ours"


@dg.multi_asset_check(
    name="search_functions_checks", specs=[check_spec(_CLAIM, FUNCTIONS_KEY)], can_subset=True
)
def search_functions_check(
    context: dg.AssetCheckExecutionContext, postgres: Postgres
) -> Iterator[dg.AssetCheckResult]:
    """Compare every function with what this checkout would make."""
    with reported():
        with postgres.engine.connect() as conn:
            finding = functions_are_ours(conn)
        yield from evaluated(context, postgres.engine, [(FUNCTIONS_KEY, _CLAIM, finding)])
