"""V15: the functions in the database are those that the other checks explain."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.defs.checks.one_claim import checks_of_one_claim
from memos_assets.defs.keys import SEARCH_FUNCTIONS
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.search.functions import functions_are_ours


def _judge(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, Finding]]:
    """Compare every function with what this checkout would make."""
    with postgres.engine.connect() as conn:
        yield SEARCH_FUNCTIONS, functions_are_ours(conn)


search_functions_check = checks_of_one_claim(
    "search_functions_checks", "v15_search_functions_are_ours", [SEARCH_FUNCTIONS], _judge
)
