"""One consolidation: observed, migrated, indexed, checked, and again with nothing changed."""

import json
import shutil
from pathlib import Path

import dagster as dg
import pytest

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.consolidate.sources.chunks import MOST_CHUNKS
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.defs.partitions import by_source, range_tags
from memos_assets.defs.tags import CONSOLIDATION_TAG, RELOAD_TAG, ROOTS_TAG
from memos_assets.demo import write_demo
from memos_assets.report.consolidation import Consolidation
from memos_assets.runs.consolidation import consolidate
from memos_assets_tests.defs.world import ONE_KIND, World, put_template, write_templates
from memos_assets_tests.runs.test_former_checkout import assert_as_the_former_checkout_loads

LEDGER = "table_name, source, chunk, run_id, rows, loaded_at"
PROOF = [check.label for check in CHECKLIST if check.group == "proof"]
MIGRATIONS = [f"migrate_{kind.name}" for kind in MEMOS.consolidated]


def test_every_check_of_the_demo_is_proven_and_a_second_time_copies_nothing(
    world: World,
) -> None:
    write_demo(world.data, scale="small", seed=1, factor=0.2)
    first = world.consolidate(MEMOS)
    _assert_all_proven(world, first)
    assert_as_the_former_checkout_loads(world)
    ledger = world.rows(f"select {LEDGER} from memos_ops.chunks order by 1, 2, 3")

    second = world.consolidate(MEMOS)
    assert second.proven
    assert second.stale_chunks == 0
    assert world.jobs_of(second) == ["index_check_report"]
    assert second.id != first.id
    assert world.rows(f"select {LEDGER} from memos_ops.chunks order by 1, 2, 3") == ledger


def test_every_check_of_files_that_memos_wrote_is_proven(world: World, samples: Path) -> None:
    shutil.copytree(samples, world.data, dirs_exist_ok=True)
    done = world.consolidate(MEMOS)
    _assert_all_proven(world, done)
    report = json.loads((world.settings.home / "reports" / f"{done.id}.json").read_text("utf-8"))
    assert report["consolidation"] == done.id
    assert {source["source"] for source in report["sources"]} == _consolidated(world)
    loaded = dict(
        world.rows("select table_name, sum(rows)::int from memos_ops.chunks group by table_name")
    )
    summed = dict.fromkeys(loaded, 0)
    for item in report["tables"]:
        summed[item["table"]] += item["rows"]
    assert summed == loaded
    assert [item["check"] for item in report["checklist"]] == PROOF
    assert [item["check"] for item in report["checklist"] if item["failed"]] == []
    assert [item["check"] for item in report["checklist"] if item["unproven"]] == []
    assert report["versions"]["pgvector"]


def _consolidated(world: World) -> set[str]:
    return {file.source for file in world.files() if file.treatment == "consolidate"}


def _assert_all_proven(world: World, done: Consolidation) -> None:
    assert done.failures == []
    assert [o.check.label for o in done.checklist] == PROOF
    assert [o.check.label for o in done.checklist if not o.proven] == []
    assert done.proven
    assert world.jobs_of(done) == [*MIGRATIONS, "index_check_report"]
    for run_id in done.run_ids:
        assert world.tags_of(run_id)[CONSOLIDATION_TAG] == done.id
        assert world.tags_of(run_id)[ROOTS_TAG] == str(world.data.resolve())
    chunks = [key for kind in MEMOS.consolidated for key in world.partitions(kind.name)]
    assert len(chunks) == done.stale_chunks
    assert set(by_source(chunks)) == _consolidated(world)


def test_only_the_chunks_of_a_replaced_row_are_loaded_again(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1, 2, 2_048, 4_096])
    write_templates(world.data / "other.db", [3])
    first = world.consolidate()
    assert world.partitions() == [
        "meta_buffer/000",
        "meta_buffer/001",
        "meta_buffer/002",
        "other/000",
    ]
    before = world.ledger()
    assert set(before.values()) == {first.run_ids[0]}

    put_template(path, "t2048", pattern="why not")
    second = world.consolidate()
    assert second.proven
    assert second.stale_chunks == 2
    again = {key for key, run in world.ledger().items() if run != before[key]}
    assert again == {"meta_buffer/001", "meta_buffer/002"}
    assert world.rows(
        "select id, chunk, source_rowid, query_pattern from memos.thought_templates "
        "where source = 'meta_buffer' order by source_rowid"
    ) == [
        ("t1", 0, 1, "why"),
        ("t2", 0, 2, "why"),
        ("t4096", 2, 4_096, "why"),
        ("t2048", 2, 4_097, "why not"),
    ]
    # The chunk that emptied stays known.
    assert "meta_buffer/001" in world.partitions()


def test_reload_loads_every_chunk_of_a_named_file_again(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1, 2_048])
    root = Root.parse(f"mine={world.data / 'meta_buffer.db'}")
    where = (world.instance, world.engine, world.settings, ONE_KIND, [root])
    files = find_files(MEMOS, [root])
    before = consolidate(*where, files)
    assert before.proven
    assert world.partitions() == ["mine/000", "mine/001"]
    done = consolidate(*where, files, reload=Reload())
    assert done.proven
    assert done.stale_chunks == 2
    assert world.jobs_of(done) == ["migrate_meta_buffer", "index_check_report"]
    assert world.tags_of(done.run_ids[0])[ROOTS_TAG] == f"mine={root.path}"
    assert world.tags_of(done.run_ids[0])[RELOAD_TAG] == "true"
    assert set(world.ledger().values()) == {done.run_ids[0]}
    assert done.run_ids[0] not in before.run_ids


def test_a_failing_step_is_one_line_with_code_and_fix_and_the_others_still_load(
    world: World,
) -> None:
    write_demo(world.data, scale="small", seed=1, factor=0.1)
    for file in world.files():
        if file.kind is None or file.kind.name not in ("corpus", "meta_buffer"):
            file.path.unlink()
    world.execute(
        "create function public.refuse() returns trigger language plpgsql as "
        "$$ begin raise exception 'disk of corpora is full'; end $$"
    )
    world.execute(
        "create trigger refuse before insert on memos.corpora for each row "
        "execute function public.refuse()"
    )
    done = world.consolidate(MEMOS)
    assert not done.proven
    assert done.failures[0].startswith("M310 memos.corpora: 4 of 4 chunks ")
    assert "disk of corpora is full" in done.failures[0]
    assert ". Fix: " in done.failures[0]
    for line in done.failures:
        assert "\n" not in line
        assert "Traceback" not in line
    assert {"migrate_corpus", "migrate_meta_buffer"} < set(world.jobs_of(done))
    loaded = {name for (name,) in world.rows("select distinct table_name from memos_ops.chunks")}
    assert "corpora" not in loaded
    assert {"corpus_entities", "corpus_relations", "thought_templates"} <= loaded
    red = {outcome.check.label for outcome in done.checklist if not outcome.proven}
    assert "V01" in red


def test_a_step_that_fails_unforeseen_says_what_happened_on_one_line(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_templates(world.data / "meta_buffer.db", [1])

    def broken(*_: object) -> None:
        raise RuntimeError("the moon\nis full")

    monkeypatch.setattr("memos_assets.defs.assets.tables.chunk_stream", broken)
    done = world.consolidate()
    assert not done.proven
    assert done.failures[0] == "RuntimeError: the moon is full"


def test_a_source_never_has_more_than_64_chunks_and_grows_into_wider_ones(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [2_048 * number for number in range(MOST_CHUNKS)])
    world.observe()
    assert len(world.partitions()) == MOST_CHUNKS
    put_template(path, "beyond", rowid=2_048 * MOST_CHUNKS)
    world.execute("delete from memos_ops.consolidation_pins")
    world.observe()
    keys = world.partitions()
    assert len(keys) == MOST_CHUNKS
    assert world.run("migrate_meta_buffer", tags=range_tags(keys[0], keys[-1])).success
    assert world.rows("select max(chunk), count(*) from memos.thought_templates") == [(32, 65)]


def test_a_source_observation_carries_the_content_as_data_version(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1, 2_048])

    def versions() -> dict[str, str]:
        world.observe()
        key = dg.AssetKey(["sqlite", "meta_buffer"])
        records = world.instance.fetch_observations(key, limit=2).records
        found = {}
        for record in records:
            observation = record.asset_observation
            assert observation is not None
            assert observation.partition is not None
            assert observation.data_version is not None
            found[observation.partition] = observation.data_version
        return found

    before = versions()
    assert list(before) == ["meta_buffer/001", "meta_buffer/000"]
    put_template(path, "t2048", rowid=2_048, pattern="changed")
    world.execute("delete from memos_ops.consolidation_pins")
    after = versions()
    assert after["meta_buffer/000"] == before["meta_buffer/000"]
    assert after["meta_buffer/001"] != before["meta_buffer/001"]


def test_a_run_works_from_a_copy_while_memos_goes_on_writing(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1])
    world.observe()
    put_template(path, "t2")
    tags = {CONSOLIDATION_TAG: "observed-by-a-test"}
    assert world.run("migrate_meta_buffer", partition_key="meta_buffer/000", tags=tags).success
    assert world.rows("select id from memos.thought_templates") == [("t1",)]
    assert world.run("migrate_meta_buffer", partition_key="meta_buffer/000").success
    assert world.rows("select id from memos.thought_templates order by id") == [("t1",), ("t2",)]
