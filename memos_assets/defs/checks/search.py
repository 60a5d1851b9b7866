"""V15: the functions in the database are those that the other checks explain."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.defs.checks.one_claim import checks_of_one_claim
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.search.functions import functions_are_ours


def search_functions_check(catalog: Catalog) -> dg.AssetChecksDefinition:
    """Return the check of a catalog's search functions."""
    key = Keys(catalog.names).search_functions

    def judge(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, Finding]]:
        """Compare every function with what this checkout would make."""
        with postgres.engine.connect() as conn:
            yield key, functions_are_ours(conn, catalog.schema, catalog.searchable)

    return checks_of_one_claim(
        catalog, "search_functions_checks", "v15_search_functions_are_ours", [key], judge
    )
