"""A red search fails its run and holds up what comes after it, and a person can read of it."""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from memos_assets.catalog import MEMOS
from memos_assets.check import Checklist
from memos_assets.defs.checks.steps import check_keys
from memos_assets.proof.search.checks import CHECKS
from memos_assets.report.consolidation import Consolidation
from memos_assets.report.render import reports_folder
from memos_assets.report.unchanged import results_if_unchanged
from memos_assets.runs.consolidation import verify
from memos_assets.runs.swap import consolidate_and_swap
from memos_assets.search.queries import SEARCH_SETTINGS
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import ONE_KIND, World, location, write_templates

HNSW = "thought_templates_embedding_768_hnsw"
REPORT = dg.AssetKey(["memos", "report"])
V16 = "v16_recall_is_exact_enough"


def report_of(world: World, done: Consolidation) -> dict[str, Any]:
    page: Path = reports_folder(world.settings) / f"{done.id}.json"
    written: dict[str, Any] = json.loads(page.read_text("utf-8"))
    return written


def red(done: Consolidation) -> list[str]:
    return [outcome.check.label for outcome in done.checklist if outcome.failed]


def poor_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search look at one candidate, and at no other."""
    monkeypatch.setitem(SEARCH_SETTINGS, "hnsw.ef_search", "1")
    monkeypatch.setitem(SEARCH_SETTINGS, "hnsw.iterative_scan", "off")


def test_a_red_recall_fails_the_run_and_the_report_is_written_by_a_run_of_its_own(
    consolidated: Consolidated, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = consolidated(range(1, 31))
    poor_search(monkeypatch)
    done = verify(world.instance, world.engine, ONE_KIND)
    assert not done.proven
    assert V16 in done.failures[0]
    assert "V16" in red(done)
    assert world.jobs_of(done) == ["verify_checklist", "write_report"]
    runs = [world.instance.get_run_by_id(run_id) for run_id in done.run_ids]
    assert [run.status.value for run in runs if run] == ["FAILURE", "SUCCESS"]
    report = report_of(world, done)
    assert not report["verdict"]["proven"]
    assert set(report["runs"]) == set(done.run_ids)
    subjects = [(todo["subject"], "V16" in todo["what"].upper()) for todo in report["to_do"]]
    assert ("failed step", True) in subjects
    assert ("failed check", True) in subjects


def test_assets_after_an_index_wait_in_the_run_of_a_failed_recall(
    consolidated: Consolidated, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = consolidated(range(1, 31))
    poor_search(monkeypatch)
    for job, catalog in (("index_check_report", ONE_KIND), ("verify_checklist", MEMOS)):
        result = world.run(job, catalog)
        assert not result.success
        started = {event.step_key for event in result.all_events if event.is_step_start}
        assert "meta_buffer_recall_checks" in started
        assert "memos__report" not in started
        # Every other index was judged all the same.
        seen = {e.asset_check_key for e in result.get_asset_check_evaluations()}
        assert set(check_keys(Checklist.gather(CHECKS), catalog)) <= seen
    assert world.run("write_report").success


def test_a_shadow_whose_searches_are_poor_is_not_swapped_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_templates(world.data / "meta_buffer.db", range(1, 31))
    poor_search(monkeypatch)
    done = consolidate_and_swap(
        world.instance, world.engine, world.settings, ONE_KIND, world.roots, world.files()
    )
    assert done.exchange is None
    assert done.schema == MEMOS.shadow
    assert world.rows("select count(*) from memos.thought_templates") == [(0,)]
    assert world.rows(f"select count(*) from {MEMOS.shadow}.thought_templates") == [(30,)]
    assert "write_report" in world.jobs_of(done)


def test_the_report_and_the_ui_show_searches_beside_exact_scans(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", range(1, 31))
    done = world.consolidate()
    assert done.proven
    (index,) = [item for item in report_of(world, done)["indexes"] if item["index"] == HNSW]
    assert index["recall"] == 1
    for way in ("search", "scan"):
        assert 0 < index[f"{way}_p50_ms"] <= index[f"{way}_p95_ms"]
    page = (reports_folder(world.settings) / f"{done.id}.html").read_text("utf-8")
    points = re.findall(r"<circle[^>]*><title>([^<]*)</title>", page)
    assert [point.partition(" rows: ")[2].split()[0] for point in points] == ["scan", "search"]
    assert [f">{name}</text>" in page for name in ("exact scan", "search by index")] == [True] * 2
    event = world.instance.get_latest_materialization_event(REPORT)
    assert event is not None
    assert event.asset_materialization is not None
    shown = str(event.asset_materialization.metadata["search_latency"].value)
    assert shown.startswith("![Median milliseconds of a search and of an exact scan")
    assert "data:image/svg+xml;base64," in shown
    assert f"| {HNSW} | 30 | 1.0 |" in shown


def test_searches_that_are_proven_stay_so_while_nothing_changes(consolidated: Consolidated) -> None:
    world = consolidated([1, 2])
    standing = results_if_unchanged(world.engine, ONE_KIND, world.files())
    assert standing is not None
    labels = {outcome.check.label for outcome in standing if outcome.proven}
    assert {"V16", "V17", "V18"} <= labels
    world.execute("update memos_ops.pins set pinned_at = now() + interval '1 hour'")
    assert results_if_unchanged(world.engine, ONE_KIND, world.files()) is None


def test_one_index_can_be_judged_by_itself(consolidated: Consolidated) -> None:
    world = consolidated([1, 2])
    wanted = dg.AssetCheckKey(dg.AssetKey(["memos", "indexes", HNSW]), V16)
    job = dg.define_asset_job("one", selection=dg.AssetSelection.checks(wanted))
    merged = dg.Definitions.merge(location(), dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("one").execute_in_process(instance=world.instance)
    assert [e.asset_check_key for e in result.get_asset_check_evaluations()] == [wanted]
