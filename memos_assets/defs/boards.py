"""Jobs and schedules of boards: counted and checked each day, complete ones archived each hour."""

from datetime import timedelta

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.assets.boards import board_key
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.dagster_internals import UnresolvedAssetJobDefinition
from memos_assets.defs.tags import UPKEEP

#: Names of the jobs.
COUNT, CHECK, ARCHIVE = "count_boards", "check_boards", "archive_boards"


def board_jobs(catalog: Catalog) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs about boards, which belong to an application."""
    names = catalog.names
    checks = check_keys(CHECKLIST.of_group("boards"), catalog)

    def asset(name: str) -> dg.AssetSelection:
        return dg.AssetSelection.assets(board_key(names, name)).without_checks()

    return [
        dg.define_asset_job(
            names.job(COUNT),
            selection=asset("boards"),
            description="Count the boards that were opened on a day.",
        ),
        dg.define_asset_job(
            names.job(CHECK),
            selection=dg.AssetSelection.checks(*checks),
            tags=UPKEEP,
            description="Replay boards, and check what reached syntheses and memory.",
        ),
        dg.define_asset_job(
            names.job(ARCHIVE),
            selection=asset("board_archive"),
            description="Archive boards that are complete, each once.",
        ),
    ]


def board_schedules(catalog: Catalog) -> list[dg.ScheduleDefinition]:
    """Return the schedules of boards."""
    names = catalog.names

    def schedule(job: str, when: str, cron: str, description: str) -> dg.ScheduleDefinition:
        return dg.ScheduleDefinition(
            name=names.job(f"{job}_{when}"),
            cron_schedule=cron,
            job_name=names.job(job),
            description=description,
        )

    @dg.schedule(
        name=names.job(f"{COUNT}_daily"),
        cron_schedule="10 0 * * *",
        job_name=names.job(COUNT),
        description="Counts the boards of the day that has ended.",
    )
    def _count(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        day = context.scheduled_execution_time - timedelta(days=1)
        return dg.RunRequest(partition_key=f"{day:%Y-%m-%d}")

    return [
        _count,
        schedule(CHECK, "daily", "40 6 * * *", "Replays boards, and runs every check of them."),
        schedule(ARCHIVE, "hourly", "25 * * * *", "Archives boards that are complete, each once."),
    ]
