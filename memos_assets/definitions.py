"""The code location. Nothing here computes; it only gathers."""

import dagster as dg

from memos_assets.defs.assets.application import application_assets
from memos_assets.defs.assets.archive import archive_assets
from memos_assets.defs.assets.impact import impact
from memos_assets.defs.assets.indexes import index_assets
from memos_assets.defs.assets.report import report
from memos_assets.defs.assets.search import search_functions
from memos_assets.defs.assets.sources import source_assets
from memos_assets.defs.assets.tables import table_assets
from memos_assets.defs.assets.version import live_version
from memos_assets.defs.checks.all_checks import CHECKS
from memos_assets.defs.io_managers import PostgresTableIOManager
from memos_assets.defs.jobs import jobs
from memos_assets.defs.resources import Postgres, Webhook
from memos_assets.defs.schedules import schedules
from memos_assets.defs.sensors import sensors


@dg.definitions
def defs() -> dg.Definitions:
    """Everything, wired to the one database that `settings` names; loading needs neither."""
    postgres = Postgres()
    return dg.Definitions(
        assets=[
            *source_assets,
            *table_assets,
            application_assets,
            index_assets,
            *archive_assets,
            live_version,
            search_functions,
            report,
            impact,
        ],
        asset_checks=CHECKS,
        jobs=jobs,
        schedules=schedules,
        sensors=sensors,
        resources={
            "postgres": postgres,
            "postgres_table": PostgresTableIOManager(postgres=postgres),
            "webhook": Webhook(),
        },
        # A fresh interpreter per step costs seconds; parallelism is between runs.
        executor=dg.in_process_executor,
    )
