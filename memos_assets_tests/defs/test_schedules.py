"""The schedule: missing and changed chunks, and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.definitions.schedule_definition import ScheduleExecutionData
from dagster._core.errors import ScheduleExecutionError

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.defs.jobs import FINISH, HEALTH
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import RANGE_END, RANGE_START
from memos_assets_tests.defs.world import KIND, SPEC, World, location, put_template, write_templates


@pytest.fixture
def world(world: World) -> Iterator[World]:
    """Give it an instance on disk: a schedule opens its own."""
    with dg.instance_for_test() as instance:
        yield replace(world, instance=instance)


def evaluate(world: World) -> ScheduleExecutionData:
    repository = location().get_repository_def()
    with dg.build_schedule_context(instance=world.instance, repository_def=repository) as context:
        return repository.get_schedule_def("backfill_meta_buffer").evaluate_tick(context)


def tick(world: World) -> tuple[list[dict[str, str]], str | None]:
    """Evaluate the schedule once; return the range of each requested run, and why there is none."""
    data = evaluate(world)
    wanted = {"start": RANGE_START, "end": RANGE_END}
    ranges = [
        {word: request.tags[name] for word, name in wanted.items()}
        for request in data.run_requests or []
    ]
    return ranges, data.skip_message


def request_tags(world: World) -> list[dict[str, str]]:
    return [dict(request.tags) for request in evaluate(world).run_requests or []]


def test_the_schedule_requests_missing_and_changed_chunks_and_nothing_more(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1, 2_048, 4_096])
    write_templates(world.data / "other.db", [3])
    assert tick(world) == ([], "every chunk is loaded as its file holds it")

    register_files(world.engine, world.files())
    assert tick(world) == ([{"start": "meta_buffer/000", "end": "other/000"}], None)

    # One request is one run, whatever it covers.
    (tags,) = request_tags(world)
    result = world.run("migrate_meta_buffer", tags=tags)
    assert result.success
    assert world.ledger() == dict.fromkeys(world.partitions(), result.run_id)
    assert tick(world) == ([], "every chunk is loaded as its file holds it")

    put_template(path, "t4097", rowid=4_097)
    assert tick(world) == ([{"start": "meta_buffer/002", "end": "meta_buffer/002"}], None)
    (tags,) = request_tags(world)
    assert world.run("migrate_meta_buffer", tags=tags).success
    assert tick(world) == ([], "every chunk is loaded as its file holds it")


def test_changed_chunks_that_are_not_neighbours_are_runs_of_their_own(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1, 2_048, 4_096])
    register_files(world.engine, world.files())
    (tags,) = request_tags(world)
    assert world.run("migrate_meta_buffer", tags=tags).success
    put_template(path, "t1")
    assert tick(world)[0] == [
        {"start": "meta_buffer/000", "end": "meta_buffer/000"},
        {"start": "meta_buffer/002", "end": "meta_buffer/002"},
    ]


def test_rows_that_vanished_from_postgresql_are_requested_again(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1, 2_048])
    register_files(world.engine, world.files())
    (tags,) = request_tags(world)
    assert world.run("migrate_meta_buffer", tags=tags).success
    world.execute("delete from memos.thought_templates where id = 't2048'")
    assert tick(world)[0] == [{"start": "meta_buffer/001", "end": "meta_buffer/001"}]


def test_a_file_that_is_gone_does_not_stop_the_others_of_its_kind(world: World) -> None:
    for rowid, name in enumerate(("meta_buffer", "never_pinned"), start=1):
        write_templates(world.data / f"{name}.db", [rowid])
    register_files(world.engine, world.files())
    (world.data / "never_pinned.db").unlink()
    assert tick(world) == ([{"start": "meta_buffer/000", "end": "meta_buffer/000"}], None)
    # Of one that was pinned the pin is left; V08 says that the file is gone.
    (world.data / "meta_buffer.db").unlink()
    assert tick(world) == ([{"start": "meta_buffer/000", "end": "meta_buffer/000"}], None)
    (tags,) = request_tags(world)
    assert world.run("migrate_meta_buffer", tags=tags).success
    nothing_due, why = tick(world)
    assert nothing_due == []
    assert why is not None
    assert why.startswith("nothing is loaded of files that are gone: meta_buffer (")
    assert "never_pinned (" in why


def test_a_file_that_cannot_be_read_ends_the_tick_with_its_code(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1])
    register_files(world.engine, world.files())
    path.write_bytes(b"not a database at all")
    with pytest.raises(ScheduleExecutionError) as raised:
        tick(world)
    assert isinstance(raised.value.__cause__, dg.Failure)
    said = str(raised.value.__cause__.description)
    assert re.match(r"M10\d .*meta_buffer\.db: .*\. Fix: ", said)


def test_files_that_cannot_be_read_are_all_named_and_the_others_are_loaded(world: World) -> None:
    for rowid, name in enumerate(("a", "bad", "c", "worse"), start=1):
        write_templates(world.data / f"{name}.db", [rowid])
    register_files(world.engine, world.files())
    (world.data / "bad.db").write_bytes(b"not a database at all")
    (world.data / "worse.db").write_bytes(b"neither is this")
    with pytest.raises(ScheduleExecutionError) as raised:
        tick(world)
    assert isinstance(raised.value.__cause__, dg.Failure)
    said = str(raised.value.__cause__.description)
    assert re.match(r"2 files cannot be read: M10\d .*bad\.db: .*; M10\d .*worse\.db: ", said)
    (backfill,) = world.instance.get_backfills()
    assert backfill.asset_selection == [Keys(MEMOS.names).table(SPEC.name)]
    assert backfill.tags["dagster/schedule_name"] == "backfill_meta_buffer"
    data = backfill.asset_backfill_data
    assert data is not None
    with partition_loading_context(dynamic_partitions_store=world.instance):
        wanted = {one.partition_key for one in data.target_subset.iterate_asset_partitions()}
    assert wanted == {"a/000", "c/000"}


def test_a_tick_observes_what_it_requests_once(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1])
    register_files(world.engine, world.files())
    source = Keys(MEMOS.names).source(KIND)

    def observed() -> list[str]:
        found = world.instance.fetch_observations(source, limit=9).records
        return [(one.event_log_entry.tags or {})["dagster/data_version"] for one in found]

    tick(world)
    tick(world)
    (first,) = observed()
    put_template(world.data / "meta_buffer.db", "t2")
    tick(world)
    second, again = observed()
    assert again == first != second


def test_the_checklist_and_the_health_of_indexes_are_checked_daily() -> None:
    repository = location().get_repository_def()
    for name, job, minute in (
        ("check_daily", FINISH, "30 4 * * *"),
        ("check_health_daily", HEALTH, "50 5 * * *"),
    ):
        schedule = repository.get_schedule_def(name)
        assert schedule.job_name == job
        assert schedule.cron_schedule == minute
