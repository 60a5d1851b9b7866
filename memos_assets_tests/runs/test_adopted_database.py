"""An adopted database in one consolidation: its content, its indexes and its checks."""

import json

import dagster as dg
import pytest

from memos_assets.postgres import target
from memos_assets.report.unchanged import results_if_unchanged
from memos_assets.runs.consolidation import verify
from memos_assets_tests.defs.world import ONE_KIND, World, write_templates
from memos_assets_tests.postgres.application.conftest import database_url
from memos_assets_tests.postgres.application.reading import content

__all__ = ["database_url"]


@pytest.fixture(autouse=True)
def _nothing_is_known_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_ready", set())


def shown(world: World, asset: str) -> dict[str, object]:
    event = world.instance.get_latest_materialization_event(dg.AssetKey(["memos", asset]))
    assert event is not None
    assert event.asset_materialization is not None
    return {key: value.value for key, value in event.asset_materialization.metadata.items()}


def test_a_consolidation_beside_memos_adopts_describes_indexes_and_proves_its_tables(
    world: World,
) -> None:
    before = content(world.engine, ["memories", "quests"])
    write_templates(world.data / "meta_buffer.db", [1, 2])
    target.prepare_target(world.settings, "tests")
    done = world.consolidate()
    assert done.failures == []
    assert [o.check.label for o in done.checklist if not o.proven] == []
    assert len(list((world.settings.home / "backups").glob("*.dump"))) == 1

    memories = shown(world, "memories")
    assert memories["dagster/row_count"] == len(before["memories"])
    assert (memories["embedded"], memories["zero_embeddings"]) == (23, 1)
    assert memories["users_spelt_twice"] == 1
    assert shown(world, "quests")["completed_without_milestone"] == 1
    assert shown(world, "model_specs")["dagster/row_count"] == 2
    (page,) = (world.settings.home / "reports").rglob("*.json")
    indexes = {index["index"]: index for index in json.loads(page.read_text())["indexes"]}
    hnsw = indexes["memories_embedding_vector_hnsw"]
    assert (hnsw["rows"], hnsw["valid"], hnsw["usable"]) == (23, True, True)

    # There is nothing to do a second time, unless an index of memOS's tables is gone.
    assert results_if_unchanged(world.engine, ONE_KIND, world.files()) is not None
    world.execute("alter index public.memories_tags_gin rename to renamed")
    assert results_if_unchanged(world.engine, ONE_KIND, world.files()) is None
    world.execute("alter index public.renamed rename to memories_tags_gin")

    # A check that fails is on the assets, in the alerts and in the verdict.
    world.execute("delete from memos_ops.json_originals where table_name = 'memories'")
    again = verify(world.instance, world.engine, ONE_KIND)
    (red,) = [outcome for outcome in again.checklist if not outcome.proven]
    assert red.check.label == "V25"
    assert [failed.asset for failed in red.failed] == ["memos/memories"]
    assert "original spellings are lost" in red.failed[0].observed
