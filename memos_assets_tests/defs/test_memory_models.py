"""Models of memory in Dagster: the embedder is observed, waiting memories and buckets embedded."""

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory import vector_indexes
from memos_assets.memory.acting import act_as
from memos_assets.memory.exchange import register_next
from memos_assets.memory.models import registered
from memos_assets.memory.service.crypto import key_ring
from memos_assets.memory.service.prepared import prepared
from memos_assets.memory.service.store import store_memory
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import load_settings
from memos_assets_tests.defs.world import QUIET, World, failures, location
from memos_assets_tests.memory.service.conftest import MXBAI
from memos_assets_tests.memory.test_outbox import outbox, remember

EMBEDDER = dg.AssetKey(["memos", "agent", "embedder"])


def run(
    world: World,
    job: str,
    partition: str | None = None,
    assets: list[dg.AssetKey] | None = None,
) -> dg.ExecuteInProcessResult:
    result = (
        location()
        .resolve_job_def(job)
        .execute_in_process(
            instance=world.instance,
            raise_on_error=False,
            run_config=QUIET,
            partition_key=partition,
            asset_selection=assets,
        )
    )
    assert failures(result) == []
    return result


def version(world: World) -> str:
    run(world, "observe_embedder")
    (record,) = world.instance.fetch_observations(EMBEDDER, limit=1).records
    observation = record.asset_observation
    assert observation is not None
    found = observation.data_version
    assert found is not None
    return found


def test_waiting_memories_are_embedded_and_another_embedder_is_another_version(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = world.engine
    monkeypatch.setenv("MEMOS_EMBEDDER", "deterministic")
    monkeypatch.setenv("MEMOS_EMBEDDER_MODEL", "one")
    monkeypatch.setenv("MEMOS_EMBEDDER_DIMENSION", "64")
    remember(engine, *(f"the pump {number}" for number in range(3)))
    schedule = location().resolve_schedule_def("embed_waiting_memories")

    def ticks() -> list[dg.RunRequest]:
        with dg.build_schedule_context(instance=world.instance) as context:
            return list(schedule.evaluate_tick(context).run_requests or ())

    assert len(ticks()) == 1
    (made,) = run(world, "embed_waiting_memories").asset_materializations_for_node(
        "memos__agent__outbox"
    )
    shown = {name: value.value for name, value in made.metadata.items()}
    assert (shown["embedded"], shown["waiting"], shown["reasons"]) == (3, 0, {})
    assert outbox(engine) == []
    assert ticks() == []
    run(world, "check_memory")

    first = version(world)
    assert version(world) == first
    monkeypatch.setenv("MEMOS_EMBEDDER_DIMENSION", "65")
    assert version(world) != first

    register_next(engine, DeterministicEmbedder(96, model="two"))
    monkeypatch.setenv("MEMOS_EMBEDDER_NEXT", "deterministic:two")
    monkeypatch.setattr(DeterministicEmbedder, "__init__", _with_96_elements)
    for bucket in ("01", "02", "03"):
        run(world, "__ASSET_JOB", bucket, [REEMBEDDING])
    with engine.connect() as conn:
        model = registered(conn)[1]
        assert conn.scalar(sa.select(sa.func.count()).select_from(model.table)) == 3


def test_rows_of_memos_own_table_are_embedded_by_the_same_job(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_EMBEDDER", "deterministic")
    schedule = location().resolve_schedule_def("embed_waiting_memories_of_memos")

    def ticks() -> int:
        with dg.build_schedule_context(instance=world.instance) as context:
            return len(schedule.evaluate_tick(context).run_requests or ())

    def embedded() -> object:
        (made,) = run(world, "embed_waiting_memories").asset_materializations_for_node(
            "memos__agent__outbox"
        )
        return made.metadata["embedded in public.memories"].value

    monkeypatch.setenv("MEMOS_ENCRYPTION_KEY", "a passphrase of theirs")
    keys = key_ring(load_settings())
    with Session(world.engine) as session, session.begin():
        act_as(session, user="u1")
        store_memory(session, "u1", prepared(keys, "My sponsor"))
    assert (ticks(), embedded()) == (0, 0)  # the embedder is of another model
    monkeypatch.setenv("MEMOS_EMBEDDER_MODEL", MXBAI)
    monkeypatch.delenv("MEMOS_ENCRYPTION_KEY")
    assert (ticks(), embedded()) == (0, 0)
    monkeypatch.setenv("MEMOS_ENCRYPTION_KEY", "a passphrase of theirs")
    assert (ticks(), embedded(), ticks()) == (1, 1, 0)


def test_the_daily_job_indexes_a_space_that_became_large(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_EMBEDDER", "deterministic")
    monkeypatch.setenv("MEMOS_EMBEDDER_MODEL", "one")
    monkeypatch.setenv("MEMOS_EMBEDDER_DIMENSION", "64")
    monkeypatch.setattr(vector_indexes, "FEWEST_INDEXED", 3)

    def indexes() -> list[int]:
        run(world, "maintain_memory_models")
        with world.engine.connect() as conn:
            (model,) = registered(conn)
            return [index.bound for index in vector_indexes.space_indexes(conn, model)]

    remember(world.engine, "the pump 1", "the pump 2")
    assert indexes() == []
    (last,) = remember(world.engine, "the pump 3")
    assert indexes() == [last]
    assert indexes() == [last]


REEMBEDDING = dg.AssetKey(["memos", "agent", "reembedding"])
_made = DeterministicEmbedder.__init__


def _with_96_elements(
    embedder: DeterministicEmbedder, dimension: int, *, model: str = "", seed: int = 0
) -> None:
    # The settings of a deterministic embedder that is next have no dimension.
    assert dimension == 1_024
    _made(embedder, 96, model=model, seed=seed)
