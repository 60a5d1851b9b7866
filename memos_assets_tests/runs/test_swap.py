"""A consolidation into the shadow: all of it is proven there, or readers keep what they had."""

from datetime import datetime

import dagster as dg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS, Catalog
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources import registry
from memos_assets.defs.failures import said
from memos_assets.defs.keys import Keys
from memos_assets.defs.partitions import range_tags
from memos_assets.defs.tags import INTO_TAG
from memos_assets.errors import TargetError
from memos_assets.postgres.schema.tables import in_schema
from memos_assets.postgres.versions import swap as exchange
from memos_assets.postgres.versions.swap import Exchange, roll_back
from memos_assets.postgres.versions.versions import create_shadow, list_versions, sole_swap
from memos_assets.report.consolidation import Consolidation
from memos_assets.runs.consolidation import checklist
from memos_assets.runs.swap import consolidate_and_swap, swap_loaded
from memos_assets.search.queries import SEARCH_SETTINGS
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import (
    ONE_KIND,
    World,
    failures,
    location,
    put_template,
    write_templates,
)

IDS = "select id from memos.thought_templates order by id"


def swap(world: World, catalog: Catalog = ONE_KIND) -> Consolidation:
    return consolidate_and_swap(
        world.instance, world.engine, world.settings, catalog, world.roots, world.files()
    )


def states(world: World) -> list[str]:
    with world.engine.connect() as conn:
        return [f"{v.number} {v.state} {v.schema}" for v in list_versions(conn, MEMOS)][::-1]


def red(done: Consolidation) -> list[str]:
    return [outcome.check.label for outcome in done.checklist if not outcome.proven]


def test_every_registered_source_is_loaded_proven_and_goes_live_at_once(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1, 2_048])
    elsewhere = world.data.parent / "elsewhere" / "other.db"
    write_templates(elsewhere, [7])
    world.data, data = elsewhere.parent, world.data
    world.consolidate()
    world.data = data

    done = swap(world, MEMOS)
    assert done.failures == []
    assert done.proven
    assert done.stale_chunks == 3
    assert world.jobs_of(done) == ["migrate_meta_buffer", "index_check_report"]
    assert {world.tags_of(run)[INTO_TAG] for run in done.run_ids} == {MEMOS.shadow}
    assert world.rows(IDS) == [("t1",), ("t2048",), ("t7",)]
    assert world.rows("select id from memos_v1.thought_templates") == [("t7",)]
    assert states(world) == ["1 previous memos_v1", "2 live memos"]
    assert done.exchange is not None
    assert (done.exchange.live, done.exchange.previous, done.exchange.rows) == (2, 1, 3)

    event = world.instance.get_latest_materialization_event(Keys(MEMOS.names).live_version)
    assert event is not None
    assert event.asset_materialization is not None
    shown = event.asset_materialization.metadata
    assert shown["version"].value == 2
    assert shown["rows"].value == 3
    assert shown["previous_schema"].value == "memos_v1"
    assert shown["consolidation"].value == done.id
    assert isinstance(shown["previous_kept_until"], dg.TimestampMetadataValue)
    # What was proven of the shadow is what stands proven of the live tables.
    assert [o.check.label for o in checklist(world.engine, MEMOS) if not o.proven] == []
    again = world.consolidate()
    assert again.stale_chunks == 0
    assert again.proven


def test_what_is_not_proven_stays_in_the_shadow_and_readers_keep_what_they_had(
    consolidated: Consolidated, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = consolidated([1])
    path = world.data / "meta_buffer.db"
    before = world.rows("select source, pin_digest from memos_ops.sources")
    put_template(path, "t2")
    monkeypatch.setattr("memos_assets.search.plans.CHOSEN_FROM_ROWS", 0)
    monkeypatch.setitem(SEARCH_SETTINGS, "enable_indexscan", "off")
    done = swap(world)
    assert done.failures == []
    assert red(done) == ["V07"]
    assert not done.proven
    assert done.exchange is None
    assert done.schema == MEMOS.shadow
    assert any(note.startswith("not swapped: readers keep") for note in done.notes)
    assert states(world) == ["1 live memos", "2 shadow memos_shadow"]
    assert world.rows(IDS) == [("t1",)]
    assert world.rows(IDS.replace("memos.", f"{MEMOS.shadow}.")) == [("t1",), ("t2",)]
    # The live tables were judged again, against what they were loaded from.
    assert world.jobs_of(done)[-1] == "verify_checklist"
    assert INTO_TAG not in world.tags_of(done.run_ids[-1])
    assert world.rows("select source, pin_digest from memos_ops.sources") == before
    live = {o.check.label: o for o in checklist(world.engine, ONE_KIND)}
    assert live["V01"].proven
    assert live["V02"].proven
    assert not live["V08"].proven


def test_a_proven_shadow_that_readers_kept_out_goes_live_later_by_itself(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1])
    put_template(world.data / "meta_buffer.db", "new")
    world.settings = world.settings.model_copy(update={"swap_timeout_seconds": 0.2})
    with pytest.raises(TargetError, match=r"^M381 "):
        swap_loaded(world.instance, world.engine, world.settings, ONE_KIND)
    with world.engine.connect() as reader:
        reader.execute(sa.text("select from memos.thought_templates"))
        done = swap(world)
    (said,) = done.failures
    assert said.startswith("M333 ")
    assert "versions --swap" in said
    assert world.rows(IDS) == [("t1",)]

    live = swap_loaded(world.instance, world.engine, world.settings, ONE_KIND)
    assert (live.live, live.previous) == (2, 1)
    assert world.rows(IDS) == [("new",), ("t1",)]
    # It is proven as it is: nothing is loaded or compared again, and its pin is the current one.
    assert all(result.proven for result in checklist(world.engine, ONE_KIND))
    assert world.consolidate().stale_chunks == 0


def test_a_shadow_that_is_not_proven_does_not_go_live_later(consolidated: Consolidated) -> None:
    world = consolidated([1])
    create_shadow(world.engine, MEMOS, "half")
    with pytest.raises(TargetError, match=r"^M382 .*V01.* Fix: .*consolidate --swap$"):
        swap_loaded(world.instance, world.engine, world.settings, ONE_KIND)
    assert world.rows(IDS) == [("t1",)]


def test_a_load_that_fails_does_not_lead_to_a_swap(consolidated: Consolidated) -> None:
    world = consolidated([1])
    world.execute(
        "create function public.refuse() returns event_trigger language plpgsql as $$ begin if "
        "tg_tag = 'CREATE INDEX' then raise exception 'no index today'; end if; end $$"
    )
    world.execute(
        "create event trigger refuse on ddl_command_start execute function public.refuse()"
    )
    # The tables of the shadow have an index of their own, so nothing gets further than that.
    with pytest.raises(Exception, match="no index today"):
        swap(world)
    world.execute("drop event trigger refuse")
    assert states(world) == []
    assert world.rows(IDS) == [("t1",)]
    assert world.consolidate().proven


def test_a_source_that_is_gone_is_refused_before_anything_is_written(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1])
    write_templates(world.data / "other.db", [2])
    world.consolidate()
    path.unlink()
    with pytest.raises(TargetError, match=r"^M337 meta_buffer: its file is gone .*forget NAME"):
        swap(world)
    assert states(world) == []
    assert world.rows(IDS) == [("t1",), ("t2",)]


def test_objects_of_others_are_named_before_anything_is_loaded(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1])
    world.execute("create view public.theirs as select id from memos.thought_templates")
    with pytest.raises(TargetError, match=r"^M331 .*view public.theirs would stay"):
        swap(world)
    assert states(world) == []
    assert world.rows("select * from memos_ops.sources") == []


def test_a_second_swap_at_the_same_time_is_refused(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1])
    with sole_swap(world.engine), pytest.raises(TargetError, match=r"^M330 "):
        swap(world)


def test_chunks_that_a_schedule_loads_meanwhile_are_due_again_after_the_swap(
    consolidated: Consolidated, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = consolidated([1, 2_048])
    path = world.data / "meta_buffer.db"

    def written_after_the_gate(
        engine: sa.Engine,
        catalog: Catalog,
        consolidation: str,
        *,
        filled_at: datetime,
        timeout_seconds: float,
    ) -> Exchange:
        put_template(path, "t2048", rowid=2_048, pattern="changed")
        tags = range_tags("meta_buffer/001", "meta_buffer/001")
        assert world.run("migrate_meta_buffer", tags=tags).success
        return exchange.swap(
            engine, catalog, consolidation, filled_at=filled_at, timeout_seconds=timeout_seconds
        )

    monkeypatch.setattr("memos_assets.runs.swap.swap", written_after_the_gate)
    done = swap(world)
    assert done.exchange is not None
    pattern = "select query_pattern from {}.thought_templates where id = 't2048'"
    assert world.rows(pattern.format("memos_v1")) == [("changed",)]
    assert world.rows(pattern.format("memos")) == [("why",)]
    again = world.consolidate()
    assert again.stale_chunks == 1
    assert again.proven
    assert world.rows(pattern.format("memos")) == [("changed",)]


def test_after_a_rollback_the_next_consolidation_loads_what_differs(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1, 2_048])
    path = world.data / "meta_buffer.db"
    put_template(path, "t2048", rowid=2_048, pattern="changed")
    assert swap(world).proven
    roll_back(world.engine, ONE_KIND, timeout_seconds=10)
    done = world.consolidate()
    assert done.stale_chunks == 1
    assert done.proven


def test_a_pin_of_a_kept_version_is_not_removed(consolidated: Consolidated) -> None:
    world = consolidated([1])
    path = world.data / "meta_buffer.db"
    put_template(path, "t2")
    assert swap(world).proven
    world.execute("update memos_ops.pins set pinned_at = now() - interval '3 days'")
    with world.engine.begin() as conn:
        assert registry.superseded_pins(conn, "meta_buffer") == []
    world.execute("delete from memos_ops.chunks where target = 'memos_v1'")
    with world.engine.begin() as conn:
        (gone,) = registry.superseded_pins(conn, "meta_buffer")
    assert gone.exists()


def test_a_run_that_is_to_load_into_a_shadow_that_is_not_there_says_so(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1])
    world.observe()
    tags = {INTO_TAG: MEMOS.shadow}
    result = world.run("migrate_meta_buffer", partition_key="meta_buffer/000", tags=tags)
    assert not result.success
    (failure,) = [said(event) for event in result.all_events if event.is_run_failure]
    assert "M336 schema memos_shadow: there is no such shadow" in failure
    create_shadow(world.engine, MEMOS, "one")
    for schema, success in (("public", False), (MEMOS.shadow, True)):
        tags = {INTO_TAG: schema}
        result = world.run("migrate_meta_buffer", partition_key="meta_buffer/000", tags=tags)
        assert result.success is success, failures(result)
    assert world.rows(IDS) == []
    assert world.rows(IDS.replace("memos.", f"{MEMOS.shadow}.")) == [("t1",)]
    with in_schema(world.engine, MEMOS.schema, MEMOS.shadow).connect() as conn:
        assert list(
            ledger.loaded_chunks(conn, "meta_buffer", MEMOS.table("thought_templates"))
        ) == [0]


def test_materialising_the_live_version_describes_it_and_changes_nothing(world: World) -> None:
    job = dg.define_asset_job(
        "one", selection=dg.AssetSelection.assets(Keys(MEMOS.names).live_version)
    )
    merged = dg.Definitions.merge(location(), dg.Definitions(jobs=[job]))
    assert merged.resolve_job_def("one").execute_in_process(instance=world.instance).success
    event = world.instance.get_latest_materialization_event(Keys(MEMOS.names).live_version)
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["version"].value == 1
    assert states(world) == ["1 live memos"]
