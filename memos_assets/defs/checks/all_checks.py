"""Every check of a catalog: what the code location shows, and what alerts are watched for."""

from functools import lru_cache

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.defs.checks.application import application_checks
from memos_assets.defs.checks.archive import archive_check
from memos_assets.defs.checks.checklist import checks
from memos_assets.defs.checks.health import health_check
from memos_assets.defs.checks.recall import checks as recall_checks
from memos_assets.defs.checks.search import search_functions_check
from memos_assets.defs.checks.version import version_check


@lru_cache(maxsize=16)
def proof_of(catalog: Catalog) -> tuple[dg.AssetChecksDefinition, ...]:
    """Return the checks that prove a consolidation."""
    return (
        *checks(catalog),
        *recall_checks(catalog),
        *application_checks(catalog),
        archive_check(catalog),
        version_check(catalog),
        search_functions_check(catalog),
    )


@lru_cache(maxsize=16)
def health_of(catalog: Catalog) -> dg.AssetChecksDefinition:
    """Return the checks of the days after it."""
    return health_check(catalog)


def checks_of(catalog: Catalog) -> tuple[dg.AssetChecksDefinition, ...]:
    """Return every check of a catalog."""
    return (*proof_of(catalog), health_of(catalog))
