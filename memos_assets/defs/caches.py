"""Jobs and schedules of the cache of agents."""

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.assets.caches import cache_key
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.dagster_internals import UnresolvedAssetJobDefinition
from memos_assets.defs.tags import UPKEEP

#: Names of the jobs.
CHECK, EVICT, CALIBRATE = "check_cache", "evict_cache", "calibrate_cache"
_CALIBRATION = "v52_wrong_hits_are_within_budget"


def cache_jobs(catalog: Catalog) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs about the cache, which belongs to an application."""
    names = catalog.names
    checks = check_keys(CHECKLIST.of_group("cache"), catalog)
    of_thresholds = [key for key in checks if key.name == _CALIBRATION]

    def asset(name: str) -> dg.AssetSelection:
        return dg.AssetSelection.assets(cache_key(names, name)).without_checks()

    return [
        dg.define_asset_job(
            names.job(CHECK),
            selection=asset("census") | dg.AssetSelection.checks(*checks),
            tags=UPKEEP,
            description="Count the cache and who asked it, and run every check of it.",
        ),
        dg.define_asset_job(
            names.job(EVICT),
            selection=asset("eviction"),
            description="Remove answers past their life, and those over the limits of a namespace.",
        ),
        dg.define_asset_job(
            names.job(CALIBRATE),
            selection=asset("calibration") | dg.AssetSelection.checks(*of_thresholds),
            tags=UPKEEP,
            description="Measure thresholds by labelled pairs, put them in force, and check them.",
        ),
    ]


def cache_schedules(catalog: Catalog) -> list[dg.ScheduleDefinition]:
    """Return the schedules of the cache."""
    names = catalog.names
    return [
        dg.ScheduleDefinition(
            name=names.job(f"{job}_{when}"),
            cron_schedule=cron,
            job_name=names.job(job),
            description=description,
        )
        for job, when, cron, description in (
            (EVICT, "often", "*/5 * * * *", "Removes answers past their life, and over limits."),
            (CHECK, "hourly", "35 * * * *", "Counts the cache, and runs every check of it."),
            (CALIBRATE, "daily", "55 6 * * *", "Measures thresholds by the labels of the day."),
        )
    ]
