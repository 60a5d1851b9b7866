"""Every check there is: what the code location shows, and what alerts are watched for."""

import dagster as dg

from memos_assets.defs.checks.application import application_check
from memos_assets.defs.checks.archive import archive_check
from memos_assets.defs.checks.checklist import checks
from memos_assets.defs.checks.health import health_check
from memos_assets.defs.checks.recall import checks as recall_checks
from memos_assets.defs.checks.search import search_functions_check
from memos_assets.defs.checks.version import version_check

CHECKS: tuple[dg.AssetChecksDefinition, ...] = (
    *checks,
    *recall_checks,
    application_check,
    archive_check,
    version_check,
    search_functions_check,
    health_check,
)
