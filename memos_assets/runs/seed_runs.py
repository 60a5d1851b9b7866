"""Runs of the seed of agent memory, whose configuration in Dagster names a user."""

from collections.abc import Iterator

import dagster as dg

from memos_assets.asset_names import AssetNames

#: Job of runs of assets that were selected in the UI.
_OF_SELECTED_ASSETS = "__ASSET_JOB"
_BATCH = 500


def delete_seed_runs(instance: dg.DagsterInstance, names: AssetNames, user: str) -> int:
    """Delete the runs that seeded a user's memory, with their events; return how many.

    Args:
        instance: whose storage has the runs.
        names: of the catalog's assets and jobs.
        user: their id; ids are compared exactly, however short they are.
    """
    found = [
        run.run_id
        for job in (names.job("seed_memory"), _OF_SELECTED_ASSETS)
        for run in _runs(instance, job)
        if _user_of(run, names.agent("seed").replace("/", "__")) == user
    ]
    for run_id in found:
        instance.delete_run(run_id)
    return len(found)


def _runs(instance: dg.DagsterInstance, job: str) -> Iterator[dg.DagsterRun]:
    cursor = None
    while batch := instance.get_runs(dg.RunsFilter(job_name=job), cursor=cursor, limit=_BATCH):
        yield from batch
        cursor = batch[-1].run_id


def _user_of(run: dg.DagsterRun, step: str) -> object:
    """Return the user that the configuration of a run names for a step; None: it names none."""
    found: object = run.run_config
    for name in ("ops", step, "config", "user"):
        if not isinstance(found, dict):
            return None
        found = found.get(name)
    return found
