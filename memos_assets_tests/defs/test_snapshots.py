"""Snapshots of memory in Dagster: written, verified, kept."""

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.assets import snapshots as assets
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.resources import Postgres
from memos_assets.defs.snapshots import (
    MEMORY,
    SnapshotIOManager,
    snapshot_partitions,
)
from memos_assets.memory import SyncMemory
from memos_assets.settings import Settings
from memos_assets.snapshots import marks
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.defs.instances import ephemeral
from memos_assets_tests.defs.world import World, failures, location

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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ticks(at: datetime) -> list[str | None]:
        names = MEMOS.names
        location = dg.Definitions(
            assets=list(assets.snapshot_assets(names)),
            jobs=assets.snapshot_jobs(names, dg.AssetSelection.checks(), {})[:1],
            schedules=assets.snapshot_schedules(names)[:1],
            resources={"snapshots": SnapshotIOManager(), "postgres": Postgres()},
        )
        with (
            ephemeral() as instance,
            dg.build_schedule_context(
                instance=instance,
                scheduled_execution_time=at,
                repository_def=location.get_repository_def(),
            ) as context,
        ):
            schedule = location.resolve_schedule_def(assets.WRITE)
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
    schedule = location().resolve_schedule_def("prune_snapshots_daily")
    with dg.build_schedule_context(instance=world.instance) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or ()
    result = world.run(assets.PRUNE, ops=request.run_config["ops"])
    assert failures(result) == []
    assert shown(result, "retention")["deleted"] == 2
    assert len(store.ids()) == 1


def test_the_age_of_the_newest_verified_snapshot_is_checked_once_it_was_verified() -> None:
    (v47,) = [key for key in check_keys(CHECKLIST, MEMOS) if key.name.startswith("v47_")]
    assert v47.asset_key == dg.AssetKey(["memos", "snapshots", "verified"])


def test_the_jobs_have_every_asset_and_check_of_snapshots_and_no_other_job_has_one() -> None:
    keys = set(check_keys(CHECKLIST.of_group("snapshots"), MEMOS))
    assert {key.name.partition("_")[0] for key in keys} >= {"v46", "v47", "v48", "v49", "v50"}
    repository = location().get_repository_def()
    for job in repository.get_all_jobs():
        if not job.name.startswith("__"):
            checks = set(job.asset_layer.asset_graph.asset_check_keys)
            assert (checks >= keys) if job.name == assets.CHECK else not (checks & keys), job.name
    written = repository.get_job(assets.WRITE).asset_layer.executable_asset_keys
    assert {key.path[-1] for key in written} >= {"memory", "verified"}
