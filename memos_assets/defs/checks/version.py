"""V14 on the live version; within a consolidation that swaps, on the shadow that is to be live."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.defs.checks.one_claim import checks_of_one_claim
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.postgres.versions.versions import version_is_complete


def version_check(catalog: Catalog) -> dg.AssetChecksDefinition:
    """Return the check of a catalog's live version."""
    key = Keys(catalog.names).live_version

    def judge(postgres: Postgres) -> Iterator[tuple[dg.AssetKey, Finding]]:
        """Count every table and compare it with its books."""
        with postgres.engine.connect() as conn:
            yield key, version_is_complete(conn, catalog)

    return checks_of_one_claim(
        catalog, "version_checks", "v14_live_version_is_complete", [key], judge
    )
