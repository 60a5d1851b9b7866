"""A database that memOS does not use: consolidated without its tables, which are adopted later."""

import dagster as dg
import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.postgres import migrations, target
from memos_assets.postgres.application.presence import NOT_HERE
from memos_assets.postgres.engine import libpq_url
from memos_assets.report.unchanged import results_if_unchanged
from memos_assets_tests.defs.world import ONE_KIND, World, write_templates
from memos_assets_tests.postgres.application.memos import write_memos


def shown(world: World, asset: str) -> dict[str, object]:
    event = world.instance.get_latest_materialization_event(
        dg.AssetKey(["memos", *asset.split("/")])
    )
    assert event is not None
    assert event.asset_materialization is not None
    return {key: value.value for key, value in event.asset_materialization.metadata.items()}


def test_a_consolidation_makes_no_table_in_public_and_the_next_adopts_what_memos_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations.downgrade(world.engine, "base")
    monkeypatch.setattr(target, "_ready", set())
    write_templates(world.data / "meta_buffer.db", [1, 2])
    target.prepare_target(world.settings, "tests")
    done = world.consolidate()
    assert done.failures == []
    assert [o.check.label for o in done.checklist if not o.proven] == []
    assert sa.inspect(world.engine).get_table_names("public") == []
    assert shown(world, "memories")["tables"] == NOT_HERE
    assert shown(world, "indexes/memories_tags_gin")["table"] == NOT_HERE
    assert results_if_unchanged(world.engine, ONE_KIND, world.files()) is not None

    with psycopg.connect(libpq_url(world.engine.url)) as conn:
        write_memos(conn)
    monkeypatch.setattr(target, "_ready", set())
    target.prepare_target(world.settings, "tests")
    assert len(list((world.settings.home / "backups").glob("*.dump"))) == 1
    assert results_if_unchanged(world.engine, ONE_KIND, world.files()) is None
    again = world.consolidate()
    assert again.failures == []
    assert [o.check.label for o in again.checklist if not o.proven] == []
    assert shown(world, "memories")["embedded"] == 23
    assert shown(world, "indexes/memories_tags_gin")["built"] is True
