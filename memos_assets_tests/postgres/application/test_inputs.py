"""memOS's own tables as inputs of assets, through real runs."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from memos_assets.catalog import MEMOS
from memos_assets.catalog.memos_tables import MEMORIES, USER_QUESTS
from memos_assets.defs.assets.application import application_assets
from memos_assets.defs.io_managers import table_io_manager
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.defs.table_reference import TableReference
from memos_assets.postgres import migrations
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets_tests.defs.conftest import world
from memos_assets_tests.defs.world import QUIET, World, failures
from memos_assets_tests.postgres.application.memos import PERSON, name

__all__ = ["world"]

KEY = Keys(MEMOS.names).table("memories")
QUESTS = Keys(MEMOS.names).table("quests")


@pytest.fixture
def adopted(world: World) -> World:
    migrations.upgrade(world.engine)
    return world


def run(
    world: World, *assets: dg.AssetsDefinition, alone: bool = True
) -> dg.ExecuteInProcessResult:
    """Materialise assets beside those of memOS, which are their upstream."""
    postgres = Postgres()
    return dg.materialize(
        [*assets, *application_assets(MEMOS)],
        selection=list(assets) if alone else None,
        instance=world.instance,
        resources={
            "postgres": postgres,
            "postgres_table": table_io_manager(postgres, [MEMOS]),
        },
        raise_on_error=False,
        run_config=QUIET,
    )


def consumer(
    got: list[Any], wanted: object, key: dg.AssetKey = KEY, **metadata: str
) -> dg.AssetsDefinition:
    def take(rows: Any) -> None:
        got.append(rows.read_all() if isinstance(rows, pa.RecordBatchReader) else rows)

    take.__annotations__["rows"] = wanted
    read = dg.AssetIn(key, metadata=metadata)
    return dg.asset(name="consumer", ins={"rows": read})(take)


@pytest.mark.parametrize("wanted", [pa.Table, pa.RecordBatchReader])
def test_a_consumer_gets_memories_as_arrow_with_every_type(adopted: World, wanted: type) -> None:
    got: list[pa.Table] = []
    assert run(adopted, consumer(got, wanted)).success
    (table,) = got
    assert table.schema == table_schema(MEMORIES)
    assert table.num_rows == 24
    rows = {row["id"]: row for row in table.to_pylist()}
    row = rows[name("memory", 7)]
    began = datetime(2025, 12, 1, 8, 30, 15, 123456)  # noqa: DTZ001  memOS's are naive
    assert isinstance(row["id"], UUID)
    assert row["user_id"] == PERSON
    assert row["encrypted_content"] == b"gAAAAA\x00\xff\x07"
    assert row["created_at"] == began + timedelta(hours=7)
    assert (row["consent_given"], row["access_count"], row["deleted_at"]) == (True, 7, None)
    assert row["therapeutic_relevance"] == 0.1 + 7 / 3
    assert row["tags"] == "null"
    ((text,),) = adopted.rows(
        f"select embedding_vector::text from public.memories where id = '{row['id']}'"
    )
    stored = np.array(text.strip("[]").split(","), np.float32)
    assert np.array_equal(np.array(row["embedding_vector"], np.float32), stored)
    assert rows[name("memory", 0)]["embedding_vector"] is None


def test_a_consumer_gets_memories_as_a_frame(adopted: World) -> None:
    got: list[pd.DataFrame] = []
    assert run(adopted, consumer(got, pd.DataFrame)).success
    (frame,) = got
    frame = frame.set_index("id").sort_values("created_at")
    assert frame.index[7] == name("memory", 7)
    assert str(frame["created_at"].dtype) == "datetime64[us]"
    assert frame["embedding_vector"].iloc[7].dtype == np.float32
    assert frame["embedding_vector"].iloc[0] is None


def test_an_input_names_a_table_of_an_asset_of_several(adopted: World) -> None:
    for table, column, value in [
        ("user_quests", "completed_at", None),
        ("user_quest_stats", "last_activity_date", date(2025, 12, 1)),
    ]:
        got: list[pa.Table] = []
        assert run(adopted, consumer(got, pa.Table, QUESTS, table=table)).success
        assert got[0].num_rows == 3
        assert value in got[0].column(column).to_pylist()
    references: list[TableReference] = []
    named = consumer(references, TableReference, QUESTS, table="user_quests")
    assert run(adopted, named).success
    assert references == [TableReference(USER_QUESTS)]
    assert references[0].qualified == "public.user_quests"


def test_a_table_that_is_not_of_the_asset_gets_m534(adopted: World) -> None:
    (said,) = failures(run(adopted, consumer([], pa.Table, QUESTS, table="memories")))
    assert said.startswith(
        "M534 memos/quests: no table 'memories' of it in the catalog. "
        "Fix: add a TableSpec to memos_assets/catalog; there are: quests, quest_tasks, "
    )


def test_a_date_that_arrow_does_not_hold_names_its_column(adopted: World) -> None:
    adopted.execute("update public.memories set expires_at = 'infinity' where access_count = 4")
    for wanted in (pa.Table, pa.RecordBatchReader, pd.DataFrame):
        (said,) = failures(run(adopted, consumer([], wanted)))
        assert "M202 column expires_at: a value of type timestamp without time zone" in said


def test_materialising_memos_tables_with_their_consumer_writes_nothing(adopted: World) -> None:
    got: list[pa.Table] = []
    before = adopted.rows("select * from public.memories order by id")
    result = run(adopted, consumer(got, pa.Table), alone=False)
    assert result.success
    assert {event.asset_key for event in result.get_asset_materialization_events()} >= {KEY, QUESTS}
    assert got[0].num_rows == 24
    assert adopted.rows("select * from public.memories order by id") == before


def owned(make: Callable[[], object]) -> dg.AssetsDefinition:
    @dg.asset(key=KEY, io_manager_key="postgres_table")
    def _memories() -> Any:
        return make()

    return _memories


def test_an_asset_that_returns_rows_for_a_table_of_memos_gets_m537(adopted: World) -> None:
    postgres = Postgres()
    result = dg.materialize(
        [owned(lambda: pa.table({"id": ["x"]}))],
        instance=adopted.instance,
        resources={"postgres_table": table_io_manager(postgres, [MEMOS])},
        raise_on_error=False,
        run_config=QUIET,
    )
    (said,) = failures(result)
    assert said == (
        "M537 public.memories: the application alone writes its tables. "
        "Fix: return no value from this asset, or write through the application"
    )
