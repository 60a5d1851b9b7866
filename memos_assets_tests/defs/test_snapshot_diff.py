"""What changed since the snapshot before, in Dagster: numbers alone."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from memos_assets.defs.assets import snapshots as assets
from memos_assets_tests.defs.world import World, failures, location
from memos_assets_tests.snapshots.memories import fill

DIFF = dg.AssetKey(["memos", "snapshots", "diff"])


def shown(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (made,) = result.asset_materializations_for_node("memos__snapshots__diff")
    return {key: value.value for key, value in made.metadata.items()}


def test_each_day_is_compared_with_the_one_before_and_shows_numbers_alone(world: World) -> None:
    now = datetime.now(UTC)
    yesterday, today = (f"{now - timedelta(days=days):%Y-%m-%d}" for days in (1, 0))
    fill(world.engine, 5)
    first = world.run(assets.WRITE, partition_key=yesterday)
    assert failures(first) == []
    assert shown(first)["compared with"] == "none: it is the first one"
    assert shown(first)["rows_added"] == 0
    with world.engine.begin() as conn:
        conn.exec_driver_sql("update agent.memories set retracted_at = now() where number = 2")
        conn.exec_driver_sql("update agent.links set weight = 0.8 where a < 3")
    # A second write of a day is compared with the day before, too.
    for _ in range(2):
        second = world.run(assets.WRITE, partition_key=today)
        assert failures(second) == []
        told = shown(second)
        assert (told["memories_retracted"], told["links_reweighted"]) == (1, 2)
        assert (told["rows_added"], told["rows_changed"], told["tables_changed"]) == (0, 3, 2)
    plot = str(told["plot"])
    assert plot.startswith("![Rows added, changed and removed, by day")
    by_kind = [record.data for record in told["by kind"].records]  # type: ignore[attr-defined]
    assert {
        "table": "agent.memories",
        "kind": "finding",
        "added": 0,
        "removed": 0,
        "changed": 1,
    } in (by_kind)
    kept = world.instance.fetch_materializations(DIFF, limit=9).records
    said = "\n".join(str(record) for record in kept)
    assert not any(word in said for word in ("Fact", "team", "ann", "mail:"))
    assert DIFF in location().resolve_asset_graph().get_all_asset_keys()
