"""Chunks by themselves, in ranges, and by the job that the UI and backfills launch."""

import dagster as dg
import pytest
from dagster._core.events import HandledOutputData

from memos_assets.catalog import MEMOS
from memos_assets.defs.assets.tables import table_assets
from memos_assets.defs.io_managers import table_io_manager
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import (
    by_source,
    chunk_key,
    chunks_name,
    contiguous_ranges,
    parse_chunk_key,
    range_tags,
)
from memos_assets.defs.resources import Postgres
from memos_assets.errors import UsageError
from memos_assets_tests.defs.world import (
    DIMENSION,
    KIND,
    QUIET,
    SPEC,
    World,
    failures,
    location,
    write_templates,
)

JOB = "migrate_meta_buffer"
NAME = chunks_name(MEMOS.names, KIND)


@pytest.fixture
def observed(world: World) -> World:
    """Two files of five chunks in all, known and not loaded."""
    write_templates(world.data / "a.db", [1, 2_048, 4_096])
    write_templates(world.data / "b.db", [3, 2_050])
    world.observe()
    return world


def loaded(world: World) -> list[str]:
    rows = world.rows("select source, chunk from memos.thought_templates order by 1, 2")
    return [chunk_key(source, chunk) for source, chunk in rows]


def test_one_chunk_by_itself_loads_that_chunk(observed: World) -> None:
    result = observed.run(JOB, partition_key="a/001")
    assert result.success
    assert loaded(observed) == ["a/001"]
    assert observed.ledger() == {"a/001": result.run_id}


def test_dg_materialize_loads_one_chunk(observed: World) -> None:
    postgres = Postgres()
    asset = next(
        asset for asset in table_assets(MEMOS) if Keys(MEMOS.names).table(SPEC.name) in asset.keys
    )
    result = dg.materialize(
        [asset],
        instance=observed.instance,
        partition_key="b/001",
        resources={
            "postgres": postgres,
            "postgres_table": table_io_manager(postgres, [MEMOS]),
        },
    )
    assert result.success
    assert loaded(observed) == ["b/001"]


def test_a_range_of_chunks_is_one_run_with_an_event_per_chunk(observed: World) -> None:
    result = observed.run(JOB, tags=range_tags("a/001", "b/000"))
    assert result.success
    assert loaded(observed) == ["a/001", "a/002", "b/000"]
    events = result.asset_materializations_for_node("memos__thought_templates")
    assert {event.partition for event in events} == {"a/001", "a/002", "b/000"}
    for event in events:
        metadata = {key: value.value for key, value in event.metadata.items()}
        # Its own numbers, from the ledger.
        assert metadata["dagster/partition_row_count"] == metadata["source_rows"] == 1
        assert isinstance(metadata["source_bytes"], int)
        assert metadata["source_bytes"] > DIMENSION
        assert metadata["rows_rejected"] == metadata["rows_without_embedding"] == 0
        assert metadata["loaded_by_run"] == result.run_id
        # And none of the run, which are told once.
        assert "rows_copied" not in metadata
    (stored,) = (event for event in result.all_events if event.is_handled_output)
    assert isinstance(stored.event_specific_data, HandledOutputData)
    of_run = {key: value.value for key, value in stored.event_specific_data.metadata.items()}
    assert of_run["rows_copied"] == of_run["chunks_copied"] == 3
    assert of_run["chunks_up_to_date"] == 0


def test_a_chunk_that_is_up_to_date_is_not_copied_again(observed: World) -> None:
    first = observed.run(JOB, partition_key="a/001")
    again = observed.run(JOB, tags=range_tags("a/000", "a/001"))
    assert again.success
    assert observed.ledger() == {"a/000": again.run_id, "a/001": first.run_id}


def test_a_backfill_of_the_asset_as_the_ui_launches_it_loads_many_chunks_in_one_run(
    observed: World,
) -> None:
    node = location().resolve_asset_graph().get(Keys(MEMOS.names).table(SPEC.name))
    assert node.backfill_policy == dg.BackfillPolicy.single_run()
    result = (
        location()
        .resolve_implicit_global_asset_job_def()
        .execute_in_process(
            instance=observed.instance,
            asset_selection=[Keys(MEMOS.names).table(SPEC.name)],
            tags=range_tags("a/000", "b/001"),
            run_config=QUIET,
        )
    )
    assert result.success
    assert loaded(observed) == observed.partitions()


def test_a_key_of_an_unknown_source_ends_as_m526(observed: World) -> None:
    observed.instance.add_dynamic_partitions(NAME, ["nowhere/000"])
    result = observed.run(JOB, partition_key="nowhere/000")
    assert not result.success
    (said,) = failures(result)
    assert said.startswith("M526 nowhere: no such source; there are: a, b. Fix: ")


def test_a_key_that_is_not_a_chunk_ends_as_m530(observed: World) -> None:
    observed.instance.add_dynamic_partitions(NAME, ["a-000"])
    result = observed.run(JOB, partition_key="a-000")
    (said,) = failures(result)
    assert said.startswith("M530 a-000: not a chunk. Fix: use <source>/<nnn>")


def test_a_failure_carries_code_and_fix_as_metadata(observed: World) -> None:
    observed.instance.add_dynamic_partitions(NAME, ["nowhere/000"])
    result = observed.run(JOB, partition_key="nowhere/000")
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert data.metadata["code"].value == "M526"
    assert data.metadata["where"].value == "nowhere"
    assert data.metadata["more"].value == "memos-assets explain M526"


@pytest.mark.parametrize("key", ["", "a", "a/", "a/x", "a/-1", "a/1.5", "a/000 "])
def test_only_source_slash_number_is_a_chunk(key: str) -> None:
    with pytest.raises(UsageError, match=r"^M530 "):
        parse_chunk_key(key)


def test_keys_and_chunks_are_each_others_inverse() -> None:
    for source, chunk in [("a", 0), ("a.b-c", 63), ("x", 1_000)]:
        assert parse_chunk_key(chunk_key(source, chunk)) == (source, chunk)
    assert by_source(["b/001", "a/010", "a/002"]) == {"a": [2, 10], "b": [1]}


def test_ranges_hold_wanted_neighbours_and_nothing_else() -> None:
    known = ["a/000", "a/001", "a/002", "b/000", "a/003"]
    assert contiguous_ranges(known, []) == []
    assert contiguous_ranges(known, known) == [("a/000", "a/003")]
    assert contiguous_ranges(known, ["a/003", "a/000", "a/001"]) == [
        ("a/000", "a/001"),
        ("a/003", "a/003"),
    ]
    assert contiguous_ranges(known, ["a/002", "b/000"]) == [("a/002", "b/000")]


def test_a_range_goes_by_the_order_in_which_keys_became_known(world: World) -> None:
    write_templates(world.data / "a.db", [1])
    write_templates(world.data / "b.db", [2])
    world.observe()
    write_templates(world.data / "c.db", [3])
    (world.data / "a.db").unlink()
    write_templates(world.data / "a.db", [1, 2_048])
    world.execute("delete from memos_ops.consolidation_pins")
    world.observe()
    assert world.partitions() == ["a/000", "b/000", "a/001", "c/000"]
    assert world.run(JOB, tags=range_tags("b/000", "a/001")).success
    assert loaded(world) == ["a/001", "b/000"]
