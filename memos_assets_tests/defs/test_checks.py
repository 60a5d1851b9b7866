"""The checklist as Dagster shows it: what was expected and observed, and what to do."""

import time

import dagster as dg
import pytest

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST, PROOF
from memos_assets.defs.checks.recording import as_result
from memos_assets.finding import Finding
from memos_assets.report.outcomes import describe
from memos_assets.runs.consolidation import checklist, verify
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import ONE_KIND, World, failures, location, write_templates

HNSW = "thought_templates_embedding_768_hnsw"


def evaluations(
    result: dg.ExecuteInProcessResult,
) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    return {(e.asset_key.path[-1], e.check_name): e for e in result.get_asset_check_evaluations()}


def test_a_red_check_makes_a_consolidation_not_proven_and_says_what_to_do(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1, 2])
    world.execute("alter table memos.thought_templates add constraint theirs check (chunk < 99)")
    done = world.consolidate()
    assert done.failures == []
    assert not done.proven
    (red,) = [outcome for outcome in done.checklist if not outcome.proven]
    assert red.check.label == "V26"
    assert red.passed == 1
    (failed,) = red.failed
    assert failed.asset == "memos/thought_templates"
    assert failed.observed == "constraint theirs is not described: CHECK ((chunk < 99))"
    assert failed.run_id in done.run_ids
    said = describe(red.check, failed.expected, failed.observed, passed=False)
    assert said == f"expected {failed.expected}; observed {failed.observed}. Fix: {red.check.fix}"

    # What the fix says, done by hand, and verified by the checklist alone.
    world.execute("alter table memos.thought_templates drop constraint theirs")
    again = verify(world.instance, world.engine, ONE_KIND)
    assert again.proven
    assert world.jobs_of(again) == ["verify_checklist"]


def test_a_client_whose_clock_is_ahead_takes_no_later_load_for_proven(
    consolidated: Consolidated, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = consolidated([1, 2])
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 86_400)
    assert verify(world.instance, world.engine, ONE_KIND).proven
    monkeypatch.undo()
    ((ahead,),) = world.rows(
        "select count(*) from memos_ops.evaluations where began_at > now() or evaluated_at > now()"
    )
    assert ahead == 0
    world.execute("update memos_ops.chunks set loaded_at = clock_timestamp()")
    stale = [r.check.label for r in checklist(world.engine, ONE_KIND) if not r.proven]
    assert {"V01", "V02", "V27"} <= {*stale}


def test_a_check_result_carries_expected_and_observed_first_and_then_its_evidence(
    world: World,
) -> None:
    write_templates(world.data / "meta_buffer.db", [1, 2])
    world.observe()
    assert world.run("migrate_meta_buffer", partition_key="meta_buffer/000").success
    world.execute("delete from memos.thought_templates where id = 't2'")
    result = world.run("verify_checklist")
    found = evaluations(result)
    assert len(found) == len(PROOF.places(MEMOS))
    for evaluation in found.values():
        assert list(evaluation.metadata)[:2] == ["expected", "observed"]
    red = found["thought_templates", "v01_row_counts_match"]
    assert not red.passed
    assert red.severity == dg.AssetCheckSeverity.ERROR
    assert red.metadata["expected"].value == "2 rows"
    assert str(red.metadata["observed"].value).startswith("1 loaded + 0 rejected")
    assert isinstance(red.metadata["sources"], dg.TableMetadataValue)
    assert red.metadata["source_rows"].value == 2
    assert red.description is not None
    assert red.description.startswith("expected 2 rows; observed 1 loaded + 0 rejected")
    assert red.description.endswith(". Fix: " + CHECKLIST.by_name["v01_row_counts_match"].fix)
    missing = found[HNSW, "v06_index_is_valid"]
    assert not missing.passed
    assert missing.metadata["observed"].value == "missing"
    # A red check is a finding, not a crash; those of searches hold up what comes after.
    (failure,) = failures(result)
    assert "blocking asset checks failed" in failure
    assert f"{HNSW}: v16_recall_is_exact_enough,v18_zero_and_null_never_surface" in failure


def test_a_green_check_offers_no_fix() -> None:
    check = CHECKLIST.by_name["v06_index_is_valid"]
    green = as_result(check, "x", Finding(passed=True, expected="valid", observed="valid"))
    assert green.description == "expected valid; observed valid"


def test_one_check_can_be_run_by_itself(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", [1])
    world.observe()
    wanted = dg.AssetCheckKey(dg.AssetKey(["sqlite", "meta_buffer"]), "v09_source_is_accounted_for")
    job = dg.define_asset_job("one", selection=dg.AssetSelection.checks(wanted))
    merged = dg.Definitions.merge(location(), dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("one").execute_in_process(instance=world.instance)
    assert [e.asset_check_key for e in result.get_asset_check_evaluations()] == [wanted]


def test_every_check_shows_its_title_and_its_fix_in_the_ui() -> None:
    graph = location().resolve_asset_graph()
    assert {key.name for key in graph.asset_check_keys} == set(CHECKLIST.by_name)
    for key in graph.asset_check_keys:
        spec = graph.get_check_spec(key)
        check = CHECKLIST.by_name[key.name]
        assert spec.description == f"{check.label}: {check.title}"
        assert spec.metadata["fix"] == check.fix
        assert spec.blocking == check.blocking
    blocking = [check.label for check in CHECKLIST if check.blocking]
    assert {"V16", "V17", "V18"} <= set(blocking)
