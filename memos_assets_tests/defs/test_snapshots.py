"""Snapshots of memory in Dagster: written, verified, kept; read by annotation, by others, too."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.definitions import defs
from memos_assets.defs.assets import snapshots as assets
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.snapshots import (
    MEMORY,
    Snapshot,
    SnapshotIOManager,
    SnapshotReference,
    snapshot_partitions,
    snapshot_spec,
)
from memos_assets.memory import SyncMemory
from memos_assets.settings import PROJECT_ROOT, Settings
from memos_assets.snapshots import marks
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.defs.world import QUIET, World, failures
from memos_assets_tests.snapshots.memories import fill

SECRET = "Anna's PIN is 4711 canary-7c1d"
LINKS = {"table": "agent.links"}


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def store_of(world: World) -> Store:
    return open_store(world.settings.snapshots_location)


def shown(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    (made,) = result.asset_materializations_for_node(f"memos__snapshots__{name}")
    return {key: value.value for key, value in made.metadata.items()}


def test_a_day_is_written_and_verified_and_an_unchanged_one_makes_nothing_stale(
    world: World,
) -> None:
    memory = SyncMemory(Settings())
    with Session(world.engine) as session, session.begin():
        memory.act_as(session, user="user-4711")
        memory.remember(session, memory.prepare(SECRET))
    result = world.run(assets.WRITE, partition_key=today())
    assert failures(result) == []
    store = store_of(world)
    (manifest,) = store.manifests()
    assert manifest.partition == today()
    assert manifest.run == result.run_id
    written = shown(result, "memory")
    assert (written["snapshot"], written["unchanged"]) == (manifest.id, False)
    rows = {one["table"]: one["rows"] for one in (r.data for r in written["tables"].records)}
    assert rows["agent.memories"] == 1
    assert shown(result, "verified")["snapshot"] == manifest.id
    assert set(marks.verified(store)) == {manifest.id}

    again = world.run(assets.WRITE, partition_key=today())
    assert (shown(again, "memory")["unchanged"], shown(again, "memory")["bytes written"]) == (
        True,
        0,
    )
    assert len(store.manifests()) == 1
    versions = {
        record.asset_materialization.tags["dagster/data_version"]
        for record in world.instance.fetch_materializations(MEMORY, limit=9).records
        if record.asset_materialization and record.asset_materialization.tags
    }
    assert versions == {manifest.id}
    for run in (result, again):
        said = "\n".join(str(event) for event in world.instance.all_logs(run.run_id))
        assert "canary-7c1d" not in said
        assert "user-4711" not in said


def test_a_partition_of_long_ago_is_not_written_from_what_is_known_now(world: World) -> None:
    then = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m-%d}"
    (said,) = failures(world.run(assets.WRITE, partition_key=then))
    assert said.startswith(f"M838 partition {then}: the partition ended at ")
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    assert failures(world.run(assets.WRITE, partition_key=yesterday)) == []
    assert [one.partition for one in store_of(world).manifests()] == [yesterday]


def test_the_schedule_asks_for_the_partition_that_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ticks(at: datetime) -> list[str | None]:
        schedule = defs().resolve_schedule_def(assets.WRITE)
        with dg.build_schedule_context(
            instance=world.instance,
            scheduled_execution_time=at,
            repository_def=defs().get_repository_def(),
        ) as context:
            requests = schedule.evaluate_tick(context).run_requests or ()
            return [one.partition_key for one in requests]

    assert ticks(datetime(2026, 11, 28, tzinfo=UTC)) == ["2026-11-27"]
    assert ticks(datetime(2026, 11, 1, tzinfo=UTC)) == []
    monkeypatch.setenv("MEMOS_SNAPSHOTS_CRON", "0 */6 * * *")
    monkeypatch.setenv("MEMOS_SNAPSHOTS_FIRST_DAY", "2026-11-27")
    assert ticks(datetime(2026, 11, 28, 12, tzinfo=UTC)) == ["2026-11-28-06:00"]
    monkeypatch.setenv("MEMOS_SNAPSHOTS_CRON", "30 3 * * *")
    assert ticks(datetime(2026, 11, 28, 3, 30, tzinfo=UTC)) == ["2026-11-27"]
    window = snapshot_partitions().time_window_for_partition_key("2026-11-27")
    assert (window.start.day, window.start.hour, window.end.day) == (27, 3, 28)


@pytest.mark.parametrize("cron", ["every day", "99 0 * * *", "* * * *"])
def test_a_cron_that_is_none_is_refused_with_m834(
    cron: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_SNAPSHOTS_CRON", cron)
    with pytest.raises(Exception, match=r"^M834 MEMOS_SNAPSHOTS_CRON"):
        snapshot_partitions()


def test_retention_lists_and_deletes_only_when_it_is_told(world: World) -> None:
    store = store_of(world)
    for count in range(3):
        world.execute(
            f"insert into agent.spaces (name, owner, private) values ('s{count}', 'a', false)"
        )
        write_snapshot(world.engine, store)
    listed = shown(world.run(assets.PRUNE), "retention")
    assert (listed["snapshots"], listed["may be deleted"], listed["files"]) == (1, 2, 0)
    assert len(store.ids()) == 3
    schedule = defs().resolve_schedule_def("prune_snapshots_daily")
    with dg.build_schedule_context(
        instance=world.instance, repository_def=defs().get_repository_def()
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    result = world.run(assets.PRUNE, ops=request.run_config["ops"])
    assert failures(result) == []
    assert shown(result, "retention")["deleted"] == 2
    assert len(store.ids()) == 1


def test_the_jobs_have_every_asset_and_check_of_snapshots_and_no_other_job_has_one() -> None:
    keys = set(check_keys(CHECKLIST.of_group("snapshots"), MEMOS))
    assert {key.name.partition("_")[0] for key in keys} >= {"v46", "v47", "v48", "v49", "v50"}
    repository = defs().get_repository_def()
    for job in repository.get_all_jobs():
        if not job.name.startswith("__"):
            checks = set(job.asset_layer.asset_graph.asset_check_keys)
            assert (checks >= keys) if job.name == assets.CHECK else not (checks & keys), job.name
    written = repository.get_job(assets.WRITE).asset_layer.executable_asset_keys
    assert {key.path[-1] for key in written} >= {"memory", "verified"}


# The I/O manager -------------------------------------------------------------------------------


@pytest.fixture
def filled(world: World) -> World:
    """A snapshot of 40 memories with links."""
    fill(world.engine, 40)
    write_snapshot(world.engine, store_of(world), partition="2026-11-26")
    return world


def run(
    world: World, asset: dg.AssetsDefinition, *, partition_key: str | None = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset, snapshot_spec()],
        selection=[asset],
        instance=world.instance,
        partition_key=partition_key,
        resources={"snapshots": SnapshotIOManager(url=world.settings.snapshots_location)},
        raise_on_error=False,
        run_config=QUIET,
    )


def consumer(
    kind: Any, got: list[Any], metadata: dict[str, Any] | None = None, **options: Any
) -> dg.AssetsDefinition:
    """Return an asset whose input is annotated as a type."""

    def _consume(rows: Any) -> None:
        got.append(rows)

    _consume.__annotations__["rows"] = kind
    made: dg.AssetsDefinition = dg.asset(
        name="consumer", ins={"rows": dg.AssetIn(MEMORY, metadata=metadata)}, **options
    )(_consume)
    return made


def test_a_reference_carries_no_rows_and_says_which_tables_there_are(filled: World) -> None:
    got: list[SnapshotReference] = []
    assert run(filled, consumer(SnapshotReference, got)).success
    (reference,) = got
    assert reference.manifest == store_of(filled).manifests()[0]
    assert "agent.memories" in reference.tables


PUSHED = {
    "table": "agent.links",
    "columns": ["weight", "a"],
    "filters": [("a", "<=", 3)],
}


def test_every_type_gets_the_selected_columns_of_the_selected_rows(filled: World) -> None:
    def got(kind: Any, metadata: dict[str, Any]) -> Any:
        values: list[Any] = []
        result = run(filled, consumer(kind, values, metadata))
        assert failures(result) == []
        return values[0]

    everything = got(pa.Table, LINKS)
    assert everything.num_rows == 39
    assert "a_space_id" in everything.column_names
    first = sorted(everything.column("a").to_pylist())[:3]
    metadata = PUSHED | {"filters": [("a", "<=", first[-1])]}

    table = got(pa.Table, metadata)
    assert table.column_names == ["weight", "a"]
    assert table.column("a").to_pylist() == first
    assert got(pa.RecordBatchReader, metadata).read_all().equals(table)
    frame = got(pd.DataFrame, metadata)
    assert list(frame.columns) == ["weight", "a"]
    assert frame["a"].tolist() == first
    dataset = got(ds.Dataset, metadata)
    assert dataset.schema.names == ["weight", "a"]
    assert dataset.to_table().equals(table)
    either = got(pa.Table, metadata | {"filters": [[("a", "=", n)] for n in first[:2]]})
    assert either.column("a").to_pylist() == first[:2]
    kept = got(ds.Dataset, metadata | {"columns": ["weight"]})
    assert kept.to_table(columns=["weight"]).num_rows == 3
    assert got(pa.Table, metadata | {"columns": ["weight"]}).column_names == ["weight"]


def test_columns_that_are_not_selected_are_not_read(filled: World) -> None:
    (manifest,) = store_of(filled).manifests()
    entry = manifest.entry("agent.memories")
    assert entry is not None
    path = store_of(filled).path(entry.file)
    names = [name for name, _ in entry.columns]
    column = pq.read_metadata(path).row_group(0).column(names.index("content"))
    with Path(path).open("r+b") as file:
        file.seek(column.dictionary_page_offset or column.data_page_offset)
        file.write(b"\xff" * column.total_compressed_size)
    got: list[pa.Table] = []
    selected = {"table": "agent.memories", "columns": ["kind"]}
    assert run(filled, consumer(pa.Table, got, selected)).success
    assert got[0].num_rows == 40
    (said,) = failures(run(filled, consumer(pa.Table, got, {"table": "agent.memories"})))
    assert said.startswith("M833 agent.memories of snapshot ")


def test_an_embedding_arrives_in_its_own_type(filled: World) -> None:
    got: list[pa.Table] = []
    assert run(filled, consumer(pa.Table, got, {"table": "agent.embeddings_1"})).success
    assert got[0].schema.field("embedding").type == pa.list_(pa.float16(), 8)
    assert got[0].column("embedding").null_count == 4


def test_a_partition_is_its_snapshot_and_another_consumer_gets_the_newest(filled: World) -> None:
    filled.execute("update agent.links set weight = 0.25")
    store = store_of(filled)
    newest = write_snapshot(filled.engine, store, partition="2026-11-27").manifest
    former = newest.parent
    got: list[SnapshotReference] = []
    daily = consumer(SnapshotReference, got, partitions_def=snapshot_partitions())
    for key in ("2026-11-26", "2026-11-27"):
        assert run(filled, daily, partition_key=key).success
    assert run(filled, consumer(SnapshotReference, got)).success
    assert [one.id for one in got] == [former, newest.id, newest.id]
    named = consumer(SnapshotReference, got, {"snapshot": str(former)[:8]})
    assert run(filled, named).success
    assert got[-1].id == former
    (said,) = failures(run(filled, daily, partition_key="2026-11-25"))
    assert said.startswith("M835 ")
    assert "2026-11-25: there is no such snapshot" in said


def test_a_consumer_whose_partition_means_several_snapshots_gets_m836(filled: World) -> None:
    got: list[Any] = []
    weekly = consumer(
        SnapshotReference,
        got,
        partitions_def=dg.WeeklyPartitionsDefinition("2026-11-01", end_offset=1),
    )
    (said,) = failures(run(filled, weekly, partition_key="2026-11-08"))
    assert said.startswith("M836 ")
    assert "this one means 7 partitions" in said


class DataFrame:
    """Called as pandas calls its own, and not that."""


@pytest.mark.parametrize(
    ("kind", "metadata", "said"),
    [
        (list, LINKS, "M531 memos/snapshots/memory: cannot be read as List"),
        (DataFrame, LINKS, "M531 memos/snapshots/memory: cannot be read as DataFrame"),
        (Any, LINKS, "M531 memos/snapshots/memory: cannot be read as Any"),
        (pa.Table, None, "M832 memos/snapshots/memory: the input does not say which table"),
        (pa.Table, {"table": "agent.none"}, "M832 agent.none of snapshot "),
        (pa.Table, LINKS | {"columns": ["none"]}, "M832 agent.links of snapshot "),
        (pa.Table, LINKS | {"columns": "weight"}, "M832 memos/snapshots/memory: columns are not"),
        (pa.Table, LINKS | {"filters": [("none", "=", 1)]}, "M832 agent.links of snapshot "),
        (pa.Table, LINKS | {"filters": [("a", "like", 1)]}, "M832 memos/snapshots/memory: a filte"),
        (pa.Table, LINKS | {"filters": [("a", ">", "x")]}, "M832 agent.links of snapshot "),
        (pa.Table, LINKS | {"filters": "a > 1"}, "M832 memos/snapshots/memory: filters are not"),
        (pa.Table, LINKS | {"snapshot": "abcdef12"}, "M802 snapshot abcdef12: "),
    ],
)
def test_an_input_that_means_no_rows_says_how_to_describe_them(
    filled: World, kind: Any, metadata: dict[str, Any] | None, said: str
) -> None:
    got: list[Any] = []
    (message,) = failures(run(filled, consumer(kind, got, metadata)))
    assert message.startswith(said)
    if said.startswith("M531"):
        assert message.endswith(
            "Fix: annotate the input as pyarrow.Table, pyarrow.RecordBatchReader, "
            "pyarrow.dataset.Dataset, pandas.DataFrame or SnapshotReference"
        )
    assert got == []


def test_a_store_without_snapshots_says_so(world: World) -> None:
    (said,) = failures(run(world, consumer(SnapshotReference, [])))
    assert said.startswith("M835 ")


def writer(value: Any, key: dg.AssetKey = MEMORY) -> dg.AssetsDefinition:
    @dg.asset(key=key, io_manager_key="snapshots")
    def _memory() -> Any:
        return value

    return _memory


@pytest.mark.parametrize("value", [{"a": 1}, pa.table({"id": [1]}), None])
def test_a_value_that_is_not_a_snapshot_is_refused_with_m531(world: World, value: Any) -> None:
    result = dg.materialize(
        [writer(value)],
        instance=world.instance,
        resources={"snapshots": SnapshotIOManager()},
        raise_on_error=False,
        run_config=QUIET,
    )
    (said,) = failures(result)
    assert said == (
        f"M531 memos/snapshots/memory: cannot be written from {type(value).__name__}. "
        "Fix: return a Snapshot"
    )


def test_a_labelled_snapshot_without_partitions_is_written_and_another_key_is_not_read(
    world: World,
) -> None:
    @dg.asset(ins={"rows": dg.AssetIn(["ours", "release"])})
    def reads(rows: SnapshotReference) -> None:
        raise AssertionError(rows)

    result = dg.materialize(
        [writer(Snapshot(label="release 1"), dg.AssetKey(["ours", "release"])), reads],
        instance=world.instance,
        resources={"snapshots": SnapshotIOManager()},
        raise_on_error=False,
        run_config=QUIET,
    )
    (said,) = failures(result)
    assert said.startswith("M837 ours/release: the asset does not write snapshots")
    assert store_of(world).manifest("release 1").partition is None


def test_the_code_location_of_another_team_reads_snapshots_without_a_database(
    filled: World, tmp_path: Path
) -> None:
    home = tmp_path / "their-dagster"
    home.mkdir()
    kept = ("PATH", "HOME", "PYTHONPATH")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "dagster", "asset", "materialize"),
            *("-m", "memos_assets_tests.defs.another_team", "--select", "ours/degrees"),
        ],
        cwd=PROJECT_ROOT,
        env={
            **{name: os.environ[name] for name in kept if name in os.environ},
            "DAGSTER_HOME": str(home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "MEMOS_SNAPSHOTS_URL": filled.settings.snapshots_location,
            "MEMOS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "DEGREES": str(home / "degrees.json"),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert (home / "degrees.json").read_text() == '{"links": 39, "weight": 0.9}'
