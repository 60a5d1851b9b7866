"""What agents learned, lost and changed since the snapshot before, day by day.

Metadata has numbers, names of tables and of kinds: no key, no space, no text of a memory, which
`memos-assets snapshots diff` shows to those who may see them.
"""

from collections.abc import Iterator

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.defs.assets.snapshots import GROUP, POOL
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS
from memos_assets.defs.snapshots import SnapshotReference, snapshot_partitions
from memos_assets.report.render import picture
from memos_assets.report.snapshots import days_plot, diff_numbers, kind_records, table_records
from memos_assets.snapshots import keep
from memos_assets.snapshots.diff import diff
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.manifest import Manifest

#: Partitions that the plot shows.
_DAYS = 14


def snapshot_diff_assets(names: AssetNames) -> Iterator[dg.AssetsDefinition]:
    """Yield the asset."""
    key = dg.AssetKey.from_user_string(names.snapshot("diff"))

    @dg.asset(
        key=key,
        ins={"snapshot": dg.AssetIn(dg.AssetKey.from_user_string(names.snapshot("memory")))},
        partitions_def=snapshot_partitions(),
        group_name=names.job(GROUP),
        kinds={"duckdb"},
        owners=OWNERS,
        pool=POOL,
        description="What changed since the snapshot of the partition before, or the parent where "
        "there is none: rows of each table and kind, facts that ended, links, embeddings. Tables "
        "that did not change are not read. At the terminal: `memos-assets snapshots diff A B`.",
    )
    def _compared(
        context: dg.AssetExecutionContext, snapshot: SnapshotReference
    ) -> dg.MaterializeResult[None]:
        with reported():
            before = former(snapshot, context.partition_key)
            found = diff(snapshot.store, before or snapshot.manifest, snapshot.manifest)
        days = {**_days(context, key), context.partition_key: found.rows}
        tables, kinds = table_records(found), kind_records(found)
        shown: dict[str, dg.MetadataValue | int | str] = {
            "plot": dg.MetadataValue.md(picture(days_plot(days))),
            "snapshot": snapshot.id,
            "compared with": before.id if before is not None else "none: it is the first one",
            **diff_numbers(found),
        }
        for name, records in (("by table", tables), ("by kind", kinds)):
            if records:
                shown[name] = dg.MetadataValue.table([dg.TableRecord(one) for one in records])
        return dg.MaterializeResult(metadata=shown)

    yield _compared


def former(snapshot: SnapshotReference, partition: str) -> Manifest | None:
    """Return the snapshot with which that of a partition is compared; None: it is the first one.

    Args:
        snapshot: of the partition.
        partition: whose moments, and those after them, are left out.

    Raises:
        SnapshotError: M800, M801.
    """
    manifests = snapshot.store.manifests()
    dated = [
        one for one in keep.moments(manifests) if one[1].databases & snapshot.manifest.databases
    ]
    own = [at for at, _, named in dated if named == partition]
    for at, manifest, named in dated:
        if own and at < own[0] and named is not None and named != partition:
            return manifest
    parent = snapshot.manifest.parent
    return next((one for one in manifests if one.id == parent), None)


def _days(context: dg.AssetExecutionContext, key: dg.AssetKey) -> dict[str, Counts]:
    """Return the rows that differed on the days before, from what was materialised for them."""
    keys = list(snapshot_partitions().get_partition_keys())
    place = keys.index(context.partition_key)
    earlier = keys[max(0, place - _DAYS + 1) : place]
    found: dict[str, Counts] = {}
    if earlier:
        records = context.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=key, asset_partitions=earlier), limit=_DAYS * 4
        ).records
        for record in records:
            made = record.asset_materialization
            # The newest one of each partition comes first.
            if made is not None and made.partition is not None and made.partition not in found:
                found[made.partition] = Counts(
                    *(
                        _number(made.metadata.get(f"rows_{name}"))
                        for name in ("added", "removed", "changed")
                    )
                )
    return dict(sorted(found.items()))


def _number(value: dg.MetadataValue | None) -> int:
    said = None if value is None else value.value
    return said if isinstance(said, int) else 0
