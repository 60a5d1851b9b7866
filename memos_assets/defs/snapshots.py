"""Snapshots of memory between assets: the value that writes one, partitions, a typed I/O manager.

Another team's code location imports this module and nothing else of ours:

    from memos_assets.defs.snapshots import MEMORY, SnapshotIOManager, SnapshotReference

    @dg.asset(ins={"links": dg.AssetIn(MEMORY, metadata={"table": "agent.links"})})
    def degrees(links: pa.Table) -> None: ...

    dg.Definitions(assets=[..., snapshot_spec()], resources={"snapshots": SnapshotIOManager()})
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import dagster as dg
from pydantic import ValidationError

from memos_assets.asset_names import AssetNames
from memos_assets.defs.dagster_internals import materialized, without_events_of_dagster
from memos_assets.defs.failures import reported
from memos_assets.defs.row_handlers import SnapshotRows, read_as, written_as
from memos_assets.errors import SnapshotError
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings
from memos_assets.settings.retention import RetentionSettings
from memos_assets.snapshots import keep
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.reference import Selection, SnapshotReference
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import Written, write_snapshot

__all__ = [
    "IO_MANAGER",
    "MEMORY",
    "Selection",
    "Snapshot",
    "SnapshotIOManager",
    "SnapshotReference",
    "snapshot_partitions",
    "snapshot_spec",
]

#: Key of the resource that writes and reads snapshots.
IO_MANAGER: Final = "snapshots"
#: The asset of memOS whose partitions are snapshots.
MEMORY: Final = dg.AssetKey.from_user_string(AssetNames().snapshot("memory"))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An order to write a snapshot, which an asset returns to the I/O manager.

    Attributes:
        include_consolidated: whether consolidated tables are part of it.
        label: by which it is found and kept.
    """

    include_consolidated: bool = False
    label: str | None = None


def snapshot_partitions() -> dg.TimeWindowPartitionsDefinition:
    """Return the partitions of snapshots: days, or the periods between ticks of the setting.

    A partition is the memory as it was at its end. The current one is there, too, so that a
    snapshot can be written on demand; the schedule writes it again when the period has ended.

    Raises:
        SnapshotError: M834 the setting is not a cron expression that Dagster knows.
    """
    try:
        settings = RetentionSettings()
        minute, hour, *_ = settings.snapshots_cron.split()
        is_daily = minute.isdecimal() and hour.isdecimal()
        return dg.TimeWindowPartitionsDefinition(
            start=datetime.combine(settings.snapshots_first_day, datetime.min.time(), UTC),
            cron_schedule=settings.snapshots_cron,
            fmt="%Y-%m-%d" if is_daily else "%Y-%m-%d-%H:%M",
            timezone="UTC",
            end_offset=1,
        )
    except (ValidationError, ValueError, dg.DagsterError) as error:
        raise SnapshotError(
            "M834",
            "partitions of snapshots cannot be made of these settings",
            where="MEMOS_SNAPSHOTS_CRON and MEMOS_SNAPSHOTS_FIRST_DAY",
            fix="set a cron expression such as '0 0 * * *' and a day such as 2026-11-01, or unset "
            "them",
        ) from error


def snapshot_spec() -> dg.AssetSpec:
    """Return the asset of snapshots as another code location sees it."""
    return dg.AssetSpec(MEMORY, partitions_def=snapshot_partitions()).with_io_manager_key(
        IO_MANAGER
    )


class SnapshotIOManager(dg.ConfigurableIOManager):
    """Writes snapshots of memory, and reads them by the annotation of an input.

    An output is a `Snapshot`. An input is a `SnapshotReference`, a `pyarrow.dataset.Dataset`, a
    `pyarrow.Table`, a `pyarrow.RecordBatchReader` or a `pandas.DataFrame`. All but the first need
    metadata that names a table, and may name columns and filters, which alone are read:
    ``{"table": "agent.links", "columns": ["type"], "filters": [("weight", ">", 0.5)]}``.

    A partitioned input is the snapshot of its partition, another one the newest snapshot;
    ``{"snapshot": "ID or label"}`` names one. Reading needs the store alone, and no database.

    Attributes:
        url: of the store; Dagster shows it, so it must not contain a secret. None: it is
            `MEMOS_SNAPSHOTS_URL`, which nobody shows.
    """

    url: str | None = None

    @property
    def store(self) -> Store:
        """The store of snapshots.

        Raises:
            SnapshotError: M803.
        """
        return open_store(self.url or load_settings().snapshots_location)

    # Dagster takes a generator, which its annotation does not say.
    def handle_output(  # type: ignore[override]
        self, context: dg.OutputContext, obj: object
    ) -> Iterator[dg.DagsterEvent]:
        """Write the snapshot; its id is the data version, so an unchanged one makes nothing stale.

        Text of memories is neither logged nor part of the metadata.
        """
        where = context.asset_key.to_user_string()
        with reported():
            asked: Snapshot = written_as(obj, SnapshotRows, where)
            partition = context.asset_partition_key if context.has_asset_partitions else None
            with open_consolidated(load_settings(), f"memos_assets:{context.run_id[:8]}") as engine:
                written = write_snapshot(
                    engine,
                    self.store,
                    include_consolidated=asked.include_consolidated,
                    label=asked.label,
                    partition=partition,
                    run=context.run_id,
                )
        yield materialized(context, partition, written.manifest.id, described(written))
        without_events_of_dagster(context)

    def load_input(self, context: dg.InputContext) -> object:
        """Return what the consumer's annotation asks for."""
        where = context.asset_key.to_user_string()
        with reported():
            if list(context.asset_key.path[-2:]) != ["snapshots", "memory"]:
                raise SnapshotError(
                    "M837",
                    "the asset does not write snapshots",
                    where=where,
                    fix=f"read {MEMORY.to_user_string()}, or give the asset another I/O manager",
                )
            metadata = dict(context.definition_metadata)
            reference = SnapshotReference(self.store, _manifest(self.store, context, metadata))
            rows = SnapshotRows(reference, lambda: Selection.of(metadata, where=where))
            return read_as(context.dagster_type.typing_type, rows, where)


def described(written: Written) -> dict[str, Any]:
    """Return the metadata of a snapshot that was written: ids, counts and sizes."""
    manifest = written.manifest
    reused = set(written.reused)
    return {
        "dagster/row_count": manifest.rows,
        "snapshot": manifest.id,
        "parent": manifest.parent or "none",
        "made at": manifest.latest.made_at,
        "unchanged": written.unchanged,
        "bytes": sum(entry.bytes for entry in manifest.tables),
        "bytes written": written.bytes,
        "tables written": len(manifest.tables) - len(reused),
        "seconds": round(written.seconds, 3),
        "tables": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "table": entry.qualified,
                        "rows": entry.rows,
                        "bytes": entry.bytes,
                        "file": "as before" if entry.qualified in reused else "written",
                    }
                )
                for entry in manifest.tables
            ]
        ),
    }


def _manifest(store: Store, context: dg.InputContext, metadata: dict[str, Any]) -> Manifest:
    """Return the snapshot that an input means.

    Raises:
        SnapshotError: M800 to M802.
        SnapshotError: M835 there is none; M836 there are several.
    """
    named = metadata.get("snapshot")
    if named is not None:
        return store.manifest(str(named))
    dated = keep.moments(store.manifests())
    if not context.has_asset_partitions or context.step_context.entity_partitions_def is None:
        found, which = dated, "any"
    else:
        keys = list(context.asset_partition_keys)
        which = ", ".join(sorted(keys)) or "no partition"
        if len(keys) > 1:
            raise SnapshotError(
                "M836",
                f"an input is one snapshot, and this one means {len(keys)} partitions",
                where=which,
                fix="map each partition of the consumer to one partition of the snapshots",
            )
        found = [one for one in dated if one[2] in keys]
    if not found:
        raise SnapshotError(
            "M835",
            "there is no such snapshot: it was never written, or retention has deleted it",
            where=f"{store.url}, {which}",
            fix="materialise the partition while it lasts; memos-assets snapshots list shows "
            "those that are kept",
        )
    return found[0][1]
