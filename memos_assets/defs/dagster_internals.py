"""Everything of Dagster that is used here and that Dagster does not call public.

Each was read in the version that `READ_IN` names, and says when it may go. A test holds that no
other module imports a private one; `postgres.dagster_storage` is a storage class by Dagster's own
interface, which is private as a whole.
"""

import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

# The result of the public `define_asset_job`, for annotations. May go when `dagster` exports it.
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

# What the backfill daemon works on. May go when a tick that fails can request runs.
from dagster._core.execution.backfill import PartitionBackfill

# What Dagster writes on a materialisation of its own: made from what, and by which code. May go
# when a run can give every partition a data version of its own.
from dagster._core.execution.plan.execute_step import (
    _build_data_version_tags,
    _get_code_version,
    _get_input_provenance_data,
)

# The status in a step's statistics. May go when `dagster` exports it.
from dagster._core.execution.stats import StepEventStatus

# The type of an entry of an asset check's history, with the event that Dagster's pages show. May go
# when `dagster` exports it.
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

__all__ = [
    "DATA_VERSION_TAG",
    "READ_IN",
    "AssetCheckExecutionRecord",
    "StepEventStatus",
    "UnresolvedAssetJobDefinition",
    "check_history",
    "free_pool_slots",
    "latest_check_executions",
    "latest_data_versions",
    "materialized",
    "request_backfill",
    "without_events_of_dagster",
]

#: Tag of the data version of an event.
DATA_VERSION_TAG = "dagster/data_version"
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


def latest_data_versions(
    instance: dg.DagsterInstance, key: dg.AssetKey, event_type: dg.DagsterEventType
) -> Mapping[str, str]:
    """Return partition -> the data version of its latest event of a type.

    May go when the instance answers for all partitions at once.
    """
    tags = instance.event_log_storage.get_latest_tags_by_partition(
        key, event_type, [DATA_VERSION_TAG]
    )
    return {partition: found[DATA_VERSION_TAG] for partition, found in tags.items()}


def materialized(
    context: dg.OutputContext, partition: str | None, data_version: str, metadata: Mapping[str, Any]
) -> dg.DagsterEvent:
    """Return the event that one partition of an output, or it, is materialised, to be yielded.

    It has the tags of Dagster's own, so whether the partition is stale is known from it.

    May go when `MaterializeResult` can be yielded once for each partition.
    """
    step, key = context.step_context, context.asset_key
    tags = _build_data_version_tags(
        dg.DataVersion(data_version),
        _get_code_version(key, step),
        _get_input_provenance_data(key, step),
        data_version_is_user_provided=True,
    )
    event = dg.AssetMaterialization(key, partition=partition, metadata=dict(metadata), tags=tags)
    return dg.DagsterEvent.asset_materialization(step, event)


def request_backfill(
    context: dg.ScheduleEvaluationContext,
    assets: Sequence[dg.AssetKey],
    partitions: Sequence[str],
    schedule: str,
) -> None:
    """Ask for a backfill at once, whatever becomes of the tick.

    May go when a tick that fails can request runs.
    """
    assert context.repository_def is not None
    with warnings.catch_warnings():
        # It calls a function of its own that it calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        backfill = PartitionBackfill.from_asset_partitions(
            backfill_id=uuid.uuid4().hex[:8],
            asset_graph=context.repository_def.asset_graph,
            partition_names=partitions,
            asset_selection=assets,
            backfill_timestamp=time.time(),
            tags={"dagster/schedule_name": schedule},
            dynamic_partitions_store=context.instance,
            all_partitions=False,
            title=None,
            description=None,
            run_config=None,
        )
    context.instance.add_backfill(backfill)


def without_events_of_dagster(context: dg.OutputContext) -> None:
    """Have Dagster write no materialisation of its own for an output, whose partitions have theirs.

    Its own come at the end, one for each partition of the run, with one data version for all.

    May go when `MaterializeResult` can be yielded once for each partition.
    """
    context._asset_key = None  # noqa: SLF001
