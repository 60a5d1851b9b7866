"""Everything of Dagster that is used here and that Dagster does not call public.

Each was read in the version that `READ_IN` names, and says when it may go. A test holds that no
other module imports a private one; `postgres.dagster_storage` is a storage class by Dagster's own
interface, which is private as a whole.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

# The result of the public `define_asset_job`, for annotations. May go when `dagster` exports it.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# The status in a step's statistics. May go when `dagster` exports it.
from dagster._core.execution.stats import StepEventStatus

# The type of an entry of an asset check's history, with the event that Dagster's pages show. May go
# when `dagster` exports it.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

__all__ = [
    "READ_IN",
    "AssetCheckExecutionRecord",
    "StepEventStatus",
    "UnresolvedAssetJobDefinition",
    "check_history",
    "free_pool_slots",
    "latest_check_executions",
]

#: The version of dagster in which all of this was read.
READ_IN = "1.13.27"


def latest_check_executions(
    instance: dg.DagsterInstance, keys: Sequence[dg.AssetCheckKey]
) -> Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]:
    """Return the latest execution of each check that has one.

    May go when the instance answers for many checks at once: its own method reads one evaluation,
    and does not say whether an execution has none yet.
    """
    return instance.event_log_storage.get_latest_asset_check_execution_by_key(keys)


def check_history(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, *, limit: int, before: int | None
) -> Sequence[AssetCheckExecutionRecord]:
    """Return executions of a check, the latest first, with ids below ``before``.

    May go when the instance has a method for it.
    """
    return instance.event_log_storage.get_asset_check_execution_history(
        key, limit=limit, cursor=before
    )


def free_pool_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Free the slots of pools that a run holds.

    May go when Dagster frees those of a run that is reported as failed, or the instance has a
    method for it.
    """
    storage = instance.event_log_storage
    if storage.supports_global_concurrency_limits:
        storage.free_concurrency_slots_for_run(run_id)
