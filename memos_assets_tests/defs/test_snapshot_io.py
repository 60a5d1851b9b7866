"""Snapshots into and out of assets by annotation, through real runs."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from memos_assets.defs.snapshots import (
    MEMORY,
    Snapshot,
    SnapshotIOManager,
    SnapshotReference,
    snapshot_partitions,
    snapshot_spec,
)
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.defs import another_team
from memos_assets_tests.defs.instances import ephemeral
from memos_assets_tests.defs.world import QUIET, World, failures
from memos_assets_tests.snapshots.memories import fill

LINKS = {"table": "agent.links"}


@dataclass(frozen=True, slots=True)
class Reader:
    """Dagster and a store of snapshots: reading needs no database."""

    instance: dg.DagsterInstance
    store: Store


@pytest.fixture(scope="module")
def written(shared_engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two snapshots of 40 memories with links, which differ in the weights of links."""
    folder = tmp_path_factory.mktemp("store") / "snapshots"
    store = open_store(str(folder))
    fill(shared_engine, 40)
    write_snapshot(shared_engine, store, partition="2026-11-26")
    with shared_engine.begin() as conn:
        conn.exec_driver_sql("update agent.links set weight = 0.25")
    write_snapshot(shared_engine, store, partition="2026-11-27")
    return folder


@pytest.fixture
def filled(written: Path, tmp_path: Path) -> Iterator[Reader]:
    """A store of its own with these snapshots."""
    shutil.copytree(written, tmp_path / "snapshots")
    with ephemeral() as instance:
        yield Reader(instance, open_store(str(tmp_path / "snapshots")))


def run(
    reader: Reader, asset: dg.AssetsDefinition, *, partition_key: str | None = None
) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [asset, snapshot_spec()],
        selection=[asset],
        instance=reader.instance,
        partition_key=partition_key,
        resources={"snapshots": SnapshotIOManager(url=reader.store.root)},
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


def test_a_reference_carries_no_rows_and_says_which_tables_there_are(filled: Reader) -> None:
    got: list[SnapshotReference] = []
    assert run(filled, consumer(SnapshotReference, got)).success
    (reference,) = got
    assert reference.manifest == filled.store.manifests()[-1]
    assert "agent.memories" in reference.tables


PUSHED = {
    "table": "agent.links",
    "columns": ["weight", "a"],
    "filters": [("a", "<=", 3)],
}


def test_every_type_gets_the_selected_columns_of_the_selected_rows(filled: Reader) -> None:
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


def test_columns_that_are_not_selected_are_not_read(filled: Reader) -> None:
    entry = filled.store.manifests()[-1].entry("agent.memories")
    assert entry is not None
    path = filled.store.path(entry.file)
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


def test_an_embedding_arrives_in_its_own_type(filled: Reader) -> None:
    got: list[pa.Table] = []
    assert run(filled, consumer(pa.Table, got, {"table": "agent.embeddings_1"})).success
    assert got[0].schema.field("embedding").type == pa.list_(pa.float16(), 8)
    assert got[0].column("embedding").null_count == 4


def test_a_partition_is_its_snapshot_and_another_consumer_gets_the_newest(filled: Reader) -> None:
    former, newest = [one.id for one in filled.store.manifests()]
    got: list[SnapshotReference] = []
    daily = consumer(SnapshotReference, got, partitions_def=snapshot_partitions())
    for key in ("2026-11-26", "2026-11-27"):
        assert run(filled, daily, partition_key=key).success
    assert run(filled, consumer(SnapshotReference, got)).success
    assert [one.id for one in got] == [former, newest, newest]
    named = consumer(SnapshotReference, got, {"snapshot": former[:8]})
    assert run(filled, named).success
    assert got[-1].id == former
    (said,) = failures(run(filled, daily, partition_key="2026-11-25"))
    assert said.startswith("M835 ")
    assert "2026-11-25: there is no such snapshot" in said


def test_a_consumer_whose_partition_means_several_snapshots_gets_m836(filled: Reader) -> None:
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
    filled: Reader, kind: Any, metadata: dict[str, Any] | None, said: str
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


def test_a_store_without_snapshots_says_so(tmp_path: Path) -> None:
    with ephemeral() as instance:
        reader = Reader(instance, open_store(str(tmp_path)))
        (said,) = failures(run(reader, consumer(SnapshotReference, [])))
    assert said.startswith("M835 ")


def writer(value: Any, key: dg.AssetKey = MEMORY) -> dg.AssetsDefinition:
    @dg.asset(key=key, io_manager_key="snapshots")
    def _memory() -> Any:
        return value

    return _memory


@pytest.mark.parametrize("value", [{"a": 1}, pa.table({"id": [1]}), None])
def test_a_value_that_is_not_a_snapshot_is_refused_with_m531(value: Any) -> None:
    with ephemeral() as instance:
        result = dg.materialize(
            [writer(value)],
            instance=instance,
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
    assert open_store(world.settings.snapshots_location).manifest("release 1").partition is None


def test_the_code_location_of_another_team_reads_snapshots_without_a_database(
    filled: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_SNAPSHOTS_URL", filled.store.root)
    monkeypatch.setenv("MEMOS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("DEGREES", str(tmp_path / "degrees.json"))
    dg.Definitions.validate_loadable(another_team.defs)
    job = another_team.defs.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=filled.instance, raise_on_error=False, run_config=QUIET
    )
    assert failures(result) == []
    assert (tmp_path / "degrees.json").read_text() == '{"links": 39, "weight": 0.25}'
