"""The report as an asset: what was read, on both sides, when, and what speaks against it."""

import json
from typing import Any

import dagster as dg
import pytest

from memos_assets.catalog import MEMOS
from memos_assets.report.consolidation import Consolidation
from memos_assets.report.render import find_report, reports_folder
from memos_assets.runs.consolidation import verify
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import ONE_KIND, World, location, put_template, write_templates

KEY = dg.AssetKey(["memos", "report"])
HNSW = "thought_templates_embedding_768_hnsw"


def report_of(world: World, done: Consolidation) -> tuple[dict[str, Any], str]:
    """Return both files of a consolidation's report."""
    page = find_report(reports_folder(world.settings), done.id)
    assert page is not None
    content: dict[str, Any] = json.loads(page.with_suffix(".json").read_text("utf-8"))
    return content, page.read_text("utf-8").replace("<wbr>", "")


def item(report: dict[str, Any], label: str) -> dict[str, Any]:
    (found,) = [one for one in report["checklist"] if one["check"] == label]
    return dict(found)


def test_a_report_says_what_was_loaded_from_which_bytes_and_how_it_was_proven(
    world: World,
) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1, 2, 3])
    put_template(path, "nul\0character")
    write_templates(world.data / "tests" / "meta_buffer.db", [1])
    (world.data / "empty.db").touch()
    done = world.consolidate()
    assert done.failures == []
    assert done.proven
    report, page = report_of(world, done)

    assert report["verdict"]["proven"] is True
    assert "4 source rows = 3 loaded + 1 rejected" in report["verdict"]["sentence"]
    (source,) = report["sources"]
    assert source["path"] == str(path)
    assert (source["rows"], source["newer"], source["state"]) == (4, False, "as it was pinned")
    ((pinned,),) = world.rows("select fingerprint from memos_ops.pins")
    assert source["fingerprint"] == pinned
    (table,) = report["tables"]
    assert (table["table"], table["source_rows"], table["rows"]) == ("thought_templates", 4, 3)
    assert table["rejects"] == {"nul_character": 1}
    assert table["compared_rows"] == 3
    assert table["digest_in_sqlite"] == table["digest_in_postgresql"]
    assert not table["stale"]
    for digest in (source["content_digest"], source["file_sha256"], table["digest_in_sqlite"]):
        assert len(digest) >= 16
        assert digest in page

    phases = [phase["phase"] for phase in report["timings"]["phases"]]
    assert phases[0] == "find and pin files"
    assert {"load", "index", "check"} <= set(phases)
    assert [step["what"] for step in report["timings"]["steps"] if step["phase"] == "other"] == []
    spent = sum(phase["seconds"] for phase in report["timings"]["phases"])
    assert spent == pytest.approx(report["timings"]["total_seconds"], abs=0.1)
    assert {step["run"] for step in report["timings"]["steps"]} == set(done.run_ids)
    (index,) = [item for item in report["indexes"] if item["index"] == HNSW]
    assert (index["rows"], index["valid"], index["usable"]) == (3, True, True)
    assert index["build_seconds"] > 0
    assert index["forecast_seconds"] is not None
    # The rejected row is left to do, and makes nothing unproven.
    assert item(report, "V12")["status"] == "open"
    assert [(todo["subject"], todo["what"].split(":")[0]) for todo in report["to_do"]] == [
        ("open check", "V12 on memos/thought_templates"),
        ("open rejects", "1 row, nul_character"),
    ]
    assert {(file["file"], file["becomes"]) for file in report["other_files"]} == {
        ("empty.db", "left alone"),
        ("tests/meta_buffer.db", "left alone"),
    }
    assert all(file["seen_at"] for file in report["other_files"])

    latest = world.instance.get_latest_materialization_event(KEY)
    assert latest is not None
    materialization = latest.asset_materialization
    assert materialization is not None
    metadata = {name: value.value for name, value in materialization.metadata.items()}
    assert metadata["verdict"] == report["verdict"]["sentence"]
    assert str(metadata["path"]).endswith(f"{done.id}.html")
    assert "data:image/svg+xml;base64," in str(metadata["summary"])
    assert len(str(metadata["summary"])) < 10_000


def test_a_report_names_the_failed_check_and_its_asset_and_that_nothing_is_proven_by_it(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1, 2])
    world.execute("update memos.thought_templates set query_pattern = 'other' where id = 't1'")
    done = verify(world.instance, world.engine, ONE_KIND)
    assert not done.proven
    report, page = report_of(world, done)
    assert not report["verdict"]["proven"]
    assert "Reasons: 1 check failed." in report["verdict"]["sentence"]
    (failed,) = item(report, "V02")["failed"]
    assert failed["asset"] == "memos/thought_templates"
    assert "1 values differ" in failed["observed"]
    (table,) = report["tables"]
    assert table["digest_in_sqlite"] != table["digest_in_postgresql"]
    assert table["digest_in_sqlite"] in page
    assert table["digest_in_postgresql"] in page
    assert report["to_do"][0]["subject"] == "failed check"
    # Built by the consolidation before, which is looked up.
    (index,) = [item for item in report["indexes"] if item["index"] == HNSW]
    assert index["build_seconds"] > 0


def test_what_was_checked_before_the_last_load_is_stale_and_not_proven(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1, 2])
    path = world.data / "meta_buffer.db"
    put_template(path, "t3")
    world.observe()
    assert world.run("migrate_meta_buffer", partition_key="meta_buffer/000").success
    put_template(path, "t4")
    job = location().resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(instance=world.instance, asset_selection=[KEY])
    assert result.success
    report, page = report_of(world, Consolidation(result.run_id, MEMOS.schema))
    assert report["consolidation"] == result.run_id
    assert not report["verdict"]["proven"]
    assert "older than the loaded rows" in report["verdict"]["sentence"]
    for label in ("V01", "V02", "V04", "V07", "V08"):
        stale = {item["asset"].rpartition("/")[2] for item in item(report, label)["stale"]}
        assert stale & {"thought_templates", "meta_buffer", HNSW}, label
    (table,) = report["tables"]
    assert (table["rows"], table["compared_rows"], table["stale"]) == (3, 2, True)
    (source,) = report["sources"]
    assert (source["newer"], source["file_sha256"]) == (True, None)
    subjects = [todo["subject"] for todo in report["to_do"]]
    assert "stale" in subjects
    assert "source is newer" in subjects
    assert "holds other rows than were pinned" in page


def test_a_step_that_failed_is_in_the_report_and_makes_it_unproven(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_templates(world.data / "meta_buffer.db", [1])

    def broken(*_: object) -> None:
        raise RuntimeError("the moon\nis full")

    monkeypatch.setattr("memos_assets.defs.assets.tables.chunk_stream", broken)
    report, page = report_of(world, world.consolidate())
    assert not report["verdict"]["proven"]
    assert report["to_do"][0] == {
        "subject": "failed step",
        "what": "RuntimeError: the moon is full",
        "fix": "see the run in the UI, then run it again",
    }
    assert "RuntimeError: the moon is full" in page
