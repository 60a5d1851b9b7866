"""Index assets: fact beside forecast, a word about what goes on, and no load that waits."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.defs.assets.indexes import BUILD_POOL, index_assets, logged
from memos_assets.defs.assets.tables import WRITE_POOL
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.errors import TargetError
from memos_assets.indexes.build_progress import BuildStep
from memos_assets.indexes.ddl import create_hnsw
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.engine import create_engine
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.defs.world import QUIET, World
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters

HNSW = "thought_templates_embedding_768_hnsw"
GIN = "thought_templates_domain_hints_gin"


def build(world: World) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [index_assets(MEMOS)],
        selection=[Keys(MEMOS.names).index(HNSW), Keys(MEMOS.names).index(GIN)],
        resources={"postgres": Postgres()},
        instance=world.instance,
        run_config=QUIET,
    )


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    materialization = result.asset_materializations_for_node("search_indexes")
    found = next(m for m in materialization if m.asset_key == Keys(MEMOS.names).index(name))
    return {key: value.value for key, value in found.metadata.items()}


def test_a_build_says_what_it_took_and_what_it_was_to_take(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_MAINTENANCE_WORK_MEM_MB", "64")
    put_clusters(world.engine, EVERY_INDEX[HNSW])
    result = build(world)
    graph = metadata(result, HNSW)
    assert {name: graph[name] for name in ("built", "rows_served", "forecast_basis")} == {
        "built": True,
        "rows_served": 300,
        "forecast_basis": "rate",
    }
    assert graph["index_bytes"] == graph["forecast_index_bytes"]
    assert (graph["maintenance_work_mem_mb"], graph["parallel_workers"]) == (16, 0)
    assert graph["graph_in_memory"] is True
    assert float(str(graph["build_seconds"])) > 0
    assert float(str(graph["forecast_seconds"])) > 0
    assert "graph_in_memory" not in metadata(result, GIN)
    again = metadata(build(world), HNSW)
    assert again == {
        "built": False,
        "build_seconds": 0.0,
        "rows_served": 300,
        "index_bytes": graph["index_bytes"],
    }


def test_warnings_are_logged_at_once_and_progress_at_a_low_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[tuple[str, str]] = []

    class Log(dg.DagsterLogManager):
        def __init__(self) -> None:
            pass

        def info(self, msg: object, *_: object, **__: object) -> None:
            said.append(("info", str(msg)))

        def warning(self, msg: object, *_: object, **__: object) -> None:
            said.append(("warning", str(msg)))

    moments = iter([0.0, 1.0, 2.0, 5.0, 11.0, 11.0, 12.0])
    monkeypatch.setattr("time.monotonic", lambda: next(moments))
    tell = logged(Log())
    tell(BuildStep(HNSW, "forecast", 0, 9, 0, 40, warning="its graph needs 99 MB"))
    for rows in (1, 2, 3):
        tell(BuildStep(HNSW, "loading tuples", rows, 9, rows, 40))
    assert said == [
        ("warning", f"{HNSW}: forecast, 0 of 9 rows; 0 s of about 40 s; its graph needs 99 MB"),
        ("info", f"{HNSW}: loading tuples, 3 of 9 rows; 3 s of about 40 s"),
    ]


@contextmanager
def under_construction(engine: sa.Engine) -> Iterator[None]:
    """Hold what a build that is not done holds."""
    with engine.connect() as conn:
        driver = driver_of(conn)
        driver.execute(create_hnsw(EVERY_INDEX[HNSW], MEMOS.schema))
        yield
        driver.rollback()


def test_loads_and_builds_take_turns_among_themselves_and_not_with_each_other() -> None:
    assert (index_assets(MEMOS).op.pool, WRITE_POOL) == (BUILD_POOL, "postgres_write")
    assert BUILD_POOL != WRITE_POOL


def test_a_load_goes_on_beside_a_build_and_does_not_hang_at_the_table_that_is_indexed(
    world: World,
) -> None:
    impatient = create_engine(
        world.engine.url,
        world.settings.model_copy(update={"lock_timeout_ms": 100}),
        application_name="tests",
    )
    other = b.write_kind(world.data, "semantic_memory", memories=[b.memory(1, embedding=None)])
    same = b.write_kind(world.data, "meta_buffer", templates=[b.template(1)])
    with under_construction(world.engine):
        b.consolidate(impatient, other)
        with pytest.raises(TargetError, match=r"^M310 memos\.thought_templates .*lock timeout"):
            b.consolidate(impatient, same)
    b.consolidate(impatient, same)
    impatient.dispose()
