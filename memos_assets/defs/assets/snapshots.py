"""Snapshots of memory as assets: written, verified by another reader, and kept for a while.

Partitions are days, never users. Ids, counts and sizes are shown: no text of a memory.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import dagster as dg
from pydantic import Field

from memos_assets.asset_names import AssetNames
from memos_assets.defs.dagster_internals import UnresolvedAssetJobDefinition
from memos_assets.defs.failures import failed_by, reported
from memos_assets.defs.keys import OWNERS
from memos_assets.defs.resources import Postgres
from memos_assets.defs.snapshots import (
    IO_MANAGER,
    Snapshot,
    SnapshotReference,
    snapshot_partitions,
)
from memos_assets.errors import SnapshotError
from memos_assets.settings.retention import RetentionSettings
from memos_assets.snapshots import keep, marks
from memos_assets.snapshots.keep import Policy
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.sole_writer import sole_writer
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.verify import verify

#: Group of assets about snapshots.
GROUP = "snapshots"
#: Names of jobs, and of their schedules.
WRITE, PRUNE, CHECK = "snapshot_memory", "prune_snapshots", "check_snapshots"
#: One step at a time writes to the store.
POOL = "memos_snapshots"


class SnapshotConfig(dg.Config):
    """What is written."""

    include_consolidated: bool = Field(
        default=False, description="Write the consolidated tables `memos.*` as well."
    )
    label: str | None = Field(
        default=None, description="Name by which the snapshot is found, and kept for good."
    )


class RetentionConfig(dg.Config):
    """Whether anything is deleted."""

    delete: bool = Field(
        default=False,
        description="Delete what the settings do not keep; unset: it is only listed.",
    )


def snapshot_assets(names: AssetNames) -> Iterator[dg.AssetsDefinition]:
    """Yield the assets about snapshots of memory."""
    partitions = snapshot_partitions()
    yield _memory(names, partitions)
    yield _verified(names, partitions)
    yield _retention(names)


def _key(names: AssetNames, name: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(names.snapshot(name))


def _memory(
    names: AssetNames, partitions: dg.TimeWindowPartitionsDefinition
) -> dg.AssetsDefinition:
    upstream = ("memories", "links", "spaces", "proposals", "seeds", "models", "outbox")

    @dg.asset(
        key=_key(names, "memory"),
        deps=[dg.AssetKey.from_user_string(names.agent(name)) for name in upstream],
        partitions_def=partitions,
        io_manager_key=IO_MANAGER,
        group_name=names.job(GROUP),
        kinds={"parquet"},
        owners=OWNERS,
        pool=POOL,
        description="What agents know, as Parquet files with an identity: one snapshot for each "
        "partition, which is the memory as it was at its end. A table that did not change is a "
        "reference to the former file. On demand: `memos-assets snapshots write`.",
    )
    def _snapshot(context: dg.AssetExecutionContext, config: SnapshotConfig) -> Snapshot:
        with reported():
            _refuse_past(context.partition_key, context.partition_time_window)
        return Snapshot(config.include_consolidated, config.label)

    return _snapshot


def _refuse_past(partition: str, window: dg.TimeWindow) -> None:
    """Refuse to write what is known now under a partition that was long ago.

    Raises:
        SnapshotError: M838.
    """
    latest = window.end + (window.end - window.start)
    if datetime.now(UTC) >= latest:
        raise SnapshotError(
            "M838",
            f"the partition ended at {window.end:%Y-%m-%d %H:%M} UTC, and a snapshot is of now",
            where=f"partition {partition}",
            fix="write the current partition; snapshots of former days are those in "
            "memos-assets snapshots list",
        )


def _verified(
    names: AssetNames, partitions: dg.TimeWindowPartitionsDefinition
) -> dg.AssetsDefinition:
    fresh = timedelta(hours=RetentionSettings().snapshots_fresh_hours)

    @dg.asset(
        key=_key(names, "verified"),
        ins={"snapshot": dg.AssetIn(_key(names, "memory"))},
        partitions_def=partitions,
        group_name=names.job(GROUP),
        kinds={"duckdb"},
        owners=OWNERS,
        pool=POOL,
        freshness_policy=dg.FreshnessPolicy.time_window(fail_window=fresh),
        description="A snapshot whose digests were computed again, from what DuckDB reads of its "
        "files. Retention keeps the one that was verified last.",
    )
    def _read_again(snapshot: SnapshotReference) -> dg.MaterializeResult[None]:
        with reported():
            found = verify(snapshot.store, snapshot.manifest)
            if found.is_whole:
                marks.mark_verified(snapshot.store, snapshot.id)
        if not found.is_whole:
            raise failed_by(found.damaged)
        return dg.MaterializeResult(
            metadata={
                "snapshot": snapshot.id,
                "tables": found.tables,
                "dagster/row_count": found.rows,
                "bytes": found.bytes,
                "seconds": round(found.seconds, 3),
            },
            data_version=dg.DataVersion(snapshot.id),
        )

    return _read_again


def _retention(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=_key(names, "retention"),
        deps=[_key(names, "memory")],
        group_name=names.job(GROUP),
        kinds={"parquet"},
        owners=OWNERS,
        pool=POOL,
        description="The snapshots that are kept, with the reasons, and what may be deleted. "
        "Materialising deletes nothing unless its configuration says so; the schedule's does. At "
        "the terminal: `memos-assets snapshots prune`.",
    )
    def _kept(config: RetentionConfig, postgres: Postgres) -> dg.MaterializeResult[None]:
        settings = postgres.settings
        store = open_store(settings.snapshots_location)
        with reported():
            policy = Policy.of(settings)
            if config.delete:
                with sole_writer(postgres.engine, store):
                    decided = keep.plan(store, policy)
                    keep.prune(store, decided)
            else:
                decided = keep.plan(store, policy)
            manifests = [*store.manifests(), *(decided.dropped if config.delete else ())]
            verified = marks.verified(store)
        records = [_record(one, decided, verified) for one in reversed(manifests)]
        return dg.MaterializeResult(
            metadata={
                "snapshots": len(decided.kept),
                "deleted" if config.delete else "may be deleted": len(decided.dropped),
                "files": len(decided.files),
                "bytes": decided.bytes,
                "files within the grace period": len(decided.waiting),
                **({"list": dg.MetadataValue.table(records)} if records else {}),
            }
        )

    return _kept


def _record(
    manifest: Manifest, decided: keep.Plan, verified: Mapping[str, datetime]
) -> dg.TableRecord:
    at = verified.get(manifest.id)
    return dg.TableRecord(
        {
            "snapshot": manifest.id[:12],
            "made at": manifest.made_at[:16],
            "last seen": manifest.latest.made_at[:16],
            "rows": manifest.rows,
            "verified": "" if at is None else f"{at:%Y-%m-%d %H:%M}",
            "kept because": ", ".join(decided.kept.get(manifest.id, ())),
        }
    )


def snapshot_jobs(
    names: AssetNames, checks: dg.AssetSelection, tags: dict[str, str]
) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs.

    Args:
        names: of the catalog.
        checks: of snapshots.
        tags: of the runs of checks.
    """
    group = dg.AssetSelection.groups(names.job(GROUP)).without_checks()
    retention = dg.AssetSelection.assets(_key(names, "retention")).without_checks()
    return [
        dg.define_asset_job(
            names.job(WRITE),
            selection=group - retention,
            description="Write a snapshot of memory, verify it, and compare it with its parent.",
        ),
        dg.define_asset_job(
            names.job(PRUNE),
            selection=retention,
            description="List the snapshots that are kept; the schedule has the others deleted.",
        ),
        dg.define_asset_job(
            names.job(CHECK),
            selection=checks,
            tags=tags,
            description="Restore yesterday's snapshot into a scratch schema, read every file of "
            "kept ones, look for erased users in them.",
        ),
    ]


def snapshot_schedules(names: AssetNames) -> list[dg.ScheduleDefinition]:
    """Return the schedules."""
    return [
        _write_schedule(names),
        dg.ScheduleDefinition(
            name=names.job("check_snapshots_daily"),
            cron_schedule="40 6 * * *",
            job_name=names.job(CHECK),
            description="Restores yesterday's snapshot into a scratch schema, and runs every "
            "check of snapshots.",
        ),
        dg.ScheduleDefinition(
            name=names.job("prune_snapshots_daily"),
            cron_schedule="10 7 * * *",
            job_name=names.job(PRUNE),
            run_config={"ops": {_op(names, "retention"): {"config": {"delete": True}}}},
            description="Deletes the snapshots that the settings do not keep, and files that "
            "nothing refers to. After the checks, which may fail before.",
        ),
    ]


def _op(names: AssetNames, name: str) -> str:
    return names.snapshot(name).replace("/", "__")


def _write_schedule(names: AssetNames) -> dg.ScheduleDefinition:
    partitions = snapshot_partitions()

    @dg.schedule(
        name=names.job(WRITE),
        cron_schedule=partitions.cron_schedule,
        execution_timezone="UTC",
        job_name=names.job(WRITE),
        description="Writes the snapshot of the partition that has just ended.",
    )
    def _tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        keys = partitions.get_partition_keys(current_time=context.scheduled_execution_time)
        ended = [former for former, _ in pairwise(keys)]
        if not ended:
            return dg.SkipReason("no partition has ended yet: see MEMOS_SNAPSHOTS_FIRST_DAY")
        return dg.RunRequest(run_key=ended[-1], partition_key=ended[-1])

    return _tick
