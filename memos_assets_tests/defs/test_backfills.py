"""What Dagster shows of a backfill is what the ledger has: partitions, data versions, indexes."""

from collections.abc import Mapping

import dagster as dg
import pytest
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.data_version import CachingStaleStatusResolver
from dagster._core.definitions.temporal_context import TemporalContext
from dagster._time import get_current_datetime

from memos_assets.catalog import MEMOS
from memos_assets.defs import index_sensor
from memos_assets.defs.index_sensor import due_indexes
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import range_tags
from memos_assets.defs.schedules import due_keys
from memos_assets.defs.tags import RELOAD_TAG
from memos_assets.indexes import bulk_load
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import (
    KIND,
    QUIET,
    SPEC,
    World,
    failures,
    location,
    put_template,
    write_templates,
)

JOB = "migrate_meta_buffer"
TABLE = Keys(MEMOS.names).table(SPEC.name)
HNSW = Keys(MEMOS.names).index("thought_templates_embedding_768_hnsw")


def status(world: World, key: dg.AssetKey, partition: str | None = None) -> str:
    """Return whether Dagster shows an asset as MISSING, STALE or FRESH."""
    graph = location().get_repository_def().asset_graph
    view = AssetGraphView(
        temporal_context=TemporalContext(effective_dt=get_current_datetime(), last_event_id=None),
        instance=world.instance,
        asset_graph=graph,
    )
    resolver = CachingStaleStatusResolver(world.instance, graph, view)
    return resolver.get_status(key, partition).value


def data_versions(world: World) -> Mapping[str, str]:
    found = world.instance.fetch_materializations(TABLE, limit=99).records
    versions: dict[str, str] = {}
    for record in reversed(found):
        versions[str(record.partition_key)] = (record.event_log_entry.tags or {})[
            "dagster/data_version"
        ]
    return versions


def test_a_refused_chunk_leaves_the_others_materialised_as_the_ledger_has_them(
    world: World,
) -> None:
    write_templates(world.data / "a.db", [1, 2_048, 4_096])
    world.observe()
    world.execute(
        "alter table memos.thought_templates add constraint somebodys check (id <> 't2048')"
    )
    result = world.run(JOB, tags=range_tags("a/000", "a/002"))
    assert not result.success
    (said,) = failures(result)
    assert said.startswith("M310 memos.thought_templates a/001: ")
    events = result.asset_materializations_for_node("memos__thought_templates")
    assert [event.partition for event in events] == ["a/000", "a/002"]
    assert set(world.ledger()) == {"a/000", "a/002"}
    shown = world.instance.get_status_by_partition(
        TABLE, world.partitions(), dg.DynamicPartitionsDefinition(name="meta_buffer_chunks")
    )
    assert {key: one.value for key, one in (shown or {}).items() if one} == {
        "a/000": "MATERIALIZED",
        "a/001": "FAILED",
        "a/002": "MATERIALIZED",
    }


def test_a_partition_is_stale_before_a_scheduled_load_and_fresh_after_it(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1, 2_049])
    keys = ("meta_buffer/000", "meta_buffer/001")
    assert [status(world, TABLE, key) for key in keys] == ["FRESH", "FRESH"]
    put_template(world.data / "meta_buffer.db", "new", rowid=2_050)
    due, _ = due_keys(world.instance, MEMOS, KIND)
    assert due == ["meta_buffer/001"]
    assert [status(world, TABLE, key) for key in keys] == ["FRESH", "STALE"]
    assert world.run(JOB, partition_key="meta_buffer/001").success
    assert [status(world, TABLE, key) for key in keys] == ["FRESH", "FRESH"]
    digests = world.rows(
        "select source || '/' || to_char(chunk, 'FM000'), digest from memos_ops.chunks "
        "where table_name = 'thought_templates'"
    )
    assert data_versions(world) == dict(digests)


def v06(world: World) -> tuple[bool, str]:
    """Return V06 of the graph as the database keeps it; Dagster has to show the same."""
    ((passed, observed),) = world.rows(
        "select passed, observed from memos_ops.evaluations "
        f"where claim like 'v06%' and asset = '{HNSW.to_user_string()}'"
    )
    key = dg.AssetCheckKey(HNSW, "v06_index_is_valid")
    shown = world.instance.get_latest_asset_check_evaluation_record(key)
    assert shown is not None
    event = shown.event
    assert event is not None
    assert event.dagster_event is not None
    assert event.dagster_event.asset_check_evaluation_data.passed == passed
    return passed, observed


@pytest.mark.parametrize("tampered", [False, True])
def test_v33_loaded_chunks_match_fails_on_chunks_of_the_run_and_no_others(
    consolidated: Consolidated, *, tampered: bool
) -> None:
    world = consolidated([1, 2_049])
    # The whole table is for the daily check, which is red on this.
    world.execute("update memos.thought_templates set query_pattern = 'x' where id = 't1'")
    if tampered:
        world.execute(
            "create function memos.spoil() returns trigger language plpgsql as "
            "$$begin new.query_pattern := 'x'; return new; end$$",
            "create trigger spoil before insert on memos.thought_templates "
            "for each row execute function memos.spoil()",
        )
    tags = {RELOAD_TAG: "true", **range_tags("meta_buffer/001", "meta_buffer/001")}
    job = location().resolve_implicit_global_asset_job_def()
    as_the_ui_does = job.get_subset(asset_selection=frozenset([TABLE]))
    for launched in (as_the_ui_does, location().resolve_job_def(JOB)):
        result = launched.execute_in_process(
            instance=world.instance, tags=tags, run_config=QUIET, raise_on_error=False
        )
        (evaluation,) = result.get_asset_check_evaluations()
        assert evaluation.check_name == "v33_loaded_chunks_match"
        assert evaluation.passed is not tampered
        assert evaluation.metadata["source_rows"].value == 1
    faults = evaluation.metadata["faults"].value
    assert ("meta_buffer: differs: " in str(faults)) is tampered


def tick(world: World) -> dg.RunRequest:
    repository = location().get_repository_def()
    sensor = repository.get_sensor_def("build_due_indexes")
    with dg.build_sensor_context(instance=world.instance, repository_def=repository) as context:
        (request,) = sensor.evaluate_tick(context).run_requests or []
    return request


def build(world: World, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
    job = location().resolve_implicit_global_asset_job_def()
    return job.get_subset(
        asset_selection=frozenset(request.asset_selection or ()),
        asset_check_selection=frozenset(request.asset_check_keys or ()),
    ).execute_in_process(instance=world.instance, tags=request.tags, run_config=QUIET)


@pytest.mark.parametrize("fails", [False, True])
def test_an_index_that_a_load_drops_is_red_and_stale_at_once(
    consolidated: Consolidated, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    world = consolidated([1, 2_049])
    monkeypatch.setattr(bulk_load, "LEAST_ROWS", 1)
    assert (v06(world)[0], status(world, HNSW)) == (True, "FRESH")
    if fails:
        world.execute(
            "alter table memos.thought_templates add constraint somebodys "
            "check (id <> 't1') not valid"
        )
    # The content is the same, so no data version says that the index is gone.
    tags = {RELOAD_TAG: "true", **range_tags("meta_buffer/000", "meta_buffer/000")}
    assert world.run(JOB, tags=tags).success is not fails
    assert v06(world) == (False, "dropped for a load of 1 rows, and not built again")
    assert status(world, HNSW) == "STALE"

    # The next tick waits until no load is at work, and then asks for what is missing or stale.
    due, why = due_indexes(world.instance, MEMOS)
    assert (due, why) == ([], "thought_templates was loaded less than 60 seconds ago")
    monkeypatch.setattr(index_sensor, "QUIET_SECONDS", 0)
    request = tick(world)
    assert request.asset_selection is not None
    assert HNSW in request.asset_selection
    built = build(world, request)
    assert built.success
    assert v06(world)[0]
    assert status(world, HNSW) == "FRESH"
    assert due_indexes(world.instance, MEMOS)[0] == []
