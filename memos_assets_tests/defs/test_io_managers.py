"""Typed values in and out of PostgreSQL, through real runs."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.reader import chunk_stream
from memos_assets.defs.assets.tables import stale_work, table_assets
from memos_assets.defs.io_managers import table_io_manager
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import (
    chunks_name,
    chunks_of,
    range_tags,
)
from memos_assets.defs.resources import Postgres
from memos_assets.defs.table_reference import TableReference
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets_tests.defs.world import (
    DIMENSION,
    KIND,
    QUIET,
    SPEC,
    World,
    failures,
    write_templates,
)

TEMPLATES = dg.AssetIn(Keys(MEMOS.names).table(SPEC.name))
PARTITIONS = chunks_of(MEMOS.names, KIND)


@pytest.fixture
def loaded(world: World) -> World:
    """Two files of three chunks in all, loaded."""
    write_templates(world.data / "a.db", [1, 2, 2_048])
    write_templates(world.data / "b.db", [3])
    world.observe()
    assert world.run("migrate_meta_buffer", tags=range_tags("a/000", "b/000")).success
    return world


def run(
    world: World,
    asset: dg.AssetsDefinition,
    *,
    partition_key: str | None = None,
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """Materialise one asset beside the tables, which are its upstream."""
    postgres = Postgres()
    return dg.materialize(
        [asset, *(one for one in table_assets(MEMOS) if not one.keys & asset.keys)],
        selection=[asset],
        instance=world.instance,
        partition_key=partition_key,
        tags=tags,
        resources={
            "postgres": postgres,
            "postgres_table": table_io_manager(postgres, [MEMOS]),
        },
        raise_on_error=False,
        run_config=QUIET,
    )


def test_a_consumer_gets_a_table_with_the_vectors_bit_for_bit(loaded: World) -> None:
    got: list[pa.Table] = []

    @dg.asset(ins={"rows": TEMPLATES})
    def consumer(rows: pa.Table) -> None:
        got.append(rows)

    assert run(loaded, consumer).success
    (table,) = got
    assert table.schema == table_schema(SPEC)
    assert sorted(table.column("id").to_pylist()) == ["t1", "t2", "t2048", "t3"]
    stored = dict(loaded.rows("select id || source, embedding::text from memos.thought_templates"))
    for row in table.to_pylist():
        text = stored[row["id"] + row["source"]]
        expected = np.array(text.strip("[]").split(","), dtype=np.float32)
        assert np.array_equal(np.array(row["embedding"], dtype=np.float32), expected)


def test_a_consumer_gets_a_stream_of_small_batches(loaded: World) -> None:
    loaded.execute(
        "insert into memos.thought_templates (source, id, embedding_reason, chunk, source_rowid) "
        "select 'a', 'g' || n, 'missing', 0, n from generate_series(10, 1509) n"
    )
    sizes: list[int] = []

    @dg.asset(ins={"rows": TEMPLATES})
    def consumer(rows: pa.RecordBatchReader) -> None:
        assert rows.schema == table_schema(SPEC)
        sizes.extend(batch.num_rows for batch in rows)

    assert run(loaded, consumer).success
    assert sum(sizes) == 1_504
    assert max(sizes) == 512


def test_a_stream_that_is_left_unread_keeps_no_connection(loaded: World) -> None:
    @dg.asset(ins={"rows": TEMPLATES})
    def consumer(rows: pa.RecordBatchReader) -> None:
        assert rows.read_next_batch().num_rows == 4

    assert run(loaded, consumer).success
    assert loaded.rows(
        "select count(*) from pg_stat_activity where datname = current_database() "
        "and state = 'idle in transaction'"
    ) == [(0,)]


def test_a_consumer_gets_a_frame(loaded: World) -> None:
    got: list[pd.DataFrame] = []

    @dg.asset(ins={"rows": TEMPLATES})
    def consumer(rows: pd.DataFrame) -> None:
        got.append(rows)

    assert run(loaded, consumer).success
    (frame,) = got
    assert sorted(frame["id"]) == ["t1", "t2", "t2048", "t3"]
    assert {len(vector) for vector in frame["embedding"]} == {DIMENSION}
    assert str(frame["created_at"].iloc[0]) == "2026-01-02 03:04:05+00:00"


def test_half_precision_arrives_in_half_precision(world: World) -> None:
    world.execute(
        "insert into memos.embeddings (source, doc_id, embedding, dimension, chunk, source_rowid) "
        "values ('m', 'd', '[1.5,-0.25]', 2, 0, 1)"
    )
    got: list[Any] = []

    @dg.asset(ins={"rows": dg.AssetIn(Keys(MEMOS.names).table("embeddings"))})
    def consumer(rows: pd.DataFrame) -> None:
        got.extend(rows["embedding"])

    world.instance.add_dynamic_partitions(
        chunks_name(MEMOS.names, MEMOS.kind("mixed_precision_embeddings")), ["m/000"]
    )
    assert run(world, consumer).success
    assert got[0].dtype == np.float16
    assert got[0].tolist() == [1.5, -0.25]


def test_a_reference_carries_no_rows_and_asks_the_database_nothing(loaded: World) -> None:
    got: list[TableReference] = []
    asked: list[str] = []

    @dg.asset(ins={"rows": TEMPLATES})
    def consumer(rows: TableReference) -> None:
        got.append(rows)

    def note(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        assert run(loaded, consumer).success
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert [statement for statement in asked if "memos." in statement] == []
    (reference,) = got
    assert reference.qualified == "memos.thought_templates"
    assert reference.spec is SPEC
    assert reference.chunks == (("a", (0, 1)), ("b", (0,)))
    with loaded.engine.connect() as conn:
        driver = driver_of(conn)
        assert len(driver.execute(reference.query()).fetchall()) == 4


def test_a_partitioned_consumer_gets_its_chunks_only(loaded: World) -> None:
    got: list[list[str]] = []

    @dg.asset(ins={"rows": TEMPLATES}, partitions_def=PARTITIONS)
    def consumer(rows: pa.Table) -> None:
        got.append(
            sorted(
                f"{source}/{name}"
                for source, name in zip(
                    rows.column("source").to_pylist(), rows.column("id").to_pylist(), strict=True
                )
            )
        )

    assert run(loaded, consumer, partition_key="a/001").success
    assert run(loaded, consumer, tags=range_tags("a/001", "b/000")).success
    assert got == [["a/t2048"], ["a/t2048", "b/t3"]]


def test_a_consumer_of_no_chunk_gets_no_row(loaded: World) -> None:
    got: list[int] = []

    @dg.asset(
        ins={"rows": dg.AssetIn(Keys(MEMOS.names).table(SPEC.name), partition_mapping=Nothing())},
        partitions_def=dg.StaticPartitionsDefinition(["x"]),
    )
    def consumer(rows: pa.Table) -> None:
        got.append(rows.num_rows)

    assert run(loaded, consumer, partition_key="x").success
    assert got == [0]


class Nothing(dg.SpecificPartitionsPartitionMapping):
    """Maps every partition to no chunk at all."""

    def __new__(cls) -> "Nothing":
        return super().__new__(cls, [])


def test_a_consumer_without_partitions_gets_all_rows_from_an_instance_that_knows_no_chunk(
    loaded: World,
) -> None:
    got: list[int] = []

    @dg.asset(ins={"rows": TEMPLATES})
    def consumer(rows: pa.Table) -> None:
        got.append(rows.num_rows)

    with dg.DagsterInstance.ephemeral() as instance:
        assert run(replace(loaded, instance=instance), consumer).success
    assert got == [4]


def test_a_consumer_without_an_annotation_gets_m531(loaded: World) -> None:
    @dg.asset(ins={"rows": TEMPLATES})
    def consumer(rows) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        raise AssertionError(rows)

    (said,) = failures(run(loaded, consumer))
    assert said == (
        "M531 memos.thought_templates: cannot be read as Any. Fix: annotate the input as "
        "pyarrow.Table, pyarrow.RecordBatchReader, pandas.DataFrame or TableReference"
    )


class DataFrame:
    """Called as pandas calls its own, and not that."""


def test_a_consumer_with_another_annotation_gets_m531(loaded: World) -> None:
    @dg.asset(ins={"rows": TEMPLATES})
    def listing(rows: list) -> None:
        raise AssertionError(rows)

    @dg.asset(ins={"rows": TEMPLATES})
    def framing(rows: DataFrame) -> None:
        raise AssertionError(rows)

    for asset, name in [(listing, "List"), (framing, "DataFrame")]:
        (said,) = failures(run(loaded, asset))
        assert said.startswith(f"M531 memos.thought_templates: cannot be read as {name}")


def test_a_consumer_of_an_asset_that_is_not_a_table_gets_m534(world: World) -> None:
    @dg.asset(key=["memos", "elsewhere"], io_manager_key="postgres_table")
    def elsewhere() -> pa.Table:
        return pa.table({"id": ["x"]})

    (said,) = failures(run(world, elsewhere))
    assert said.startswith("M534 memos/elsewhere: no table of the catalog. Fix: add a TableSpec")


def writer(value: object) -> dg.AssetsDefinition:
    """Return an asset that hands ``value`` on in the place of the table's own."""

    @dg.asset(
        key=Keys(MEMOS.names).table(SPEC.name),
        partitions_def=PARTITIONS,
        io_manager_key="postgres_table",
    )
    def _table() -> Any:
        return value

    return _table


@pytest.mark.parametrize("value", [[("a", 1)], pd.DataFrame({"id": ["x"]}), None])
def test_a_value_of_another_type_is_refused_with_m531(loaded: World, value: object) -> None:
    (said,) = failures(run(loaded, writer(value), partition_key="a/000"))
    assert said == (
        f"M531 memos.thought_templates: cannot be written from {type(value).__name__}. "
        "Fix: return a pyarrow.Table or a pyarrow.RecordBatchReader"
    )


@pytest.mark.parametrize("metadata", [None, {b"pandas": b"{}"}], ids=["none", "foreign"])
def test_rows_that_name_no_chunk_are_refused_with_m532(
    loaded: World, metadata: dict[bytes, bytes] | None
) -> None:
    table = pa.table({"id": ["x"]}).replace_schema_metadata(metadata)
    (said,) = failures(run(loaded, writer(table), partition_key="a/000"))
    assert said.startswith("M532 memos.thought_templates: the rows do not say which chunks they")
    assert loaded.rows("select count(*) from memos.thought_templates") == [(4,)]


@pytest.mark.parametrize("as_table", [False, True], ids=["stream", "table"])
def test_a_developer_writes_a_stream_or_a_table_and_never_chunks_of_another_run(
    loaded: World, *, as_table: bool
) -> None:
    work: list[Any] = []

    @dg.asset(
        key=Keys(MEMOS.names).table(SPEC.name),
        partitions_def=PARTITIONS,
        io_manager_key="postgres_table",
    )
    def own(context: dg.AssetExecutionContext, postgres: Postgres) -> Any:
        work[:] = stale_work(context, postgres, KIND, SPEC)
        stream = chunk_stream(SPEC, work)
        return stream.read_all() if as_table else stream

    loaded.execute("delete from memos.thought_templates")
    assert run(loaded, own, partition_key="a/000").success
    assert loaded.rows("select id from memos.thought_templates order by id") == [("t1",), ("t2",)]

    strays = chunk_stream(SPEC, work)
    (said,) = failures(
        run(loaded, writer(strays.read_all() if as_table else strays), partition_key="b/000")
    )
    assert said.startswith(
        "M533 memos.thought_templates: rows of the chunks a/000 in a run of other chunks. Fix: "
    )
    assert loaded.rows("select count(*) from memos.thought_templates") == [(2,)]


def test_a_stream_whose_reader_fails_leaves_the_old_rows(loaded: World) -> None:
    work: list[Any] = []

    @dg.asset(
        key=Keys(MEMOS.names).table(SPEC.name),
        partitions_def=PARTITIONS,
        io_manager_key="postgres_table",
    )
    def own(context: dg.AssetExecutionContext, postgres: Postgres) -> Any:
        work[:] = stale_work(context, postgres, KIND, SPEC)
        stream = chunk_stream(SPEC, work)

        def broken() -> Iterator[pa.RecordBatch]:
            yield stream.read_next_batch()
            raise OSError("the disk went away")

        return pa.RecordBatchReader.from_batches(stream.schema, broken())

    loaded.execute("delete from memos.thought_templates where id = 't2'")
    result = run(loaded, own, partition_key="a/000")
    assert not result.success
    assert loaded.rows("select id from memos.thought_templates where source = 'a' order by id") == [
        ("t1",),
        ("t2048",),
    ]
