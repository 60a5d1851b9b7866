"""The health of tables and indexes in Dagster: checked by a job of its own, mended by another."""

from collections.abc import Mapping

import dagster as dg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.check import Group
from memos_assets.checklist import CHECKLIST, PROOF
from memos_assets.defs.jobs import FINISH, HEALTH, MAINTAIN, VERIFY
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.bulk_load import analyze
from memos_assets.indexes.definitions import search_indexes
from memos_assets.maintenance.checks import former_use
from memos_assets.report.consolidation import new_consolidation
from memos_assets.runs.consolidation import run_job
from memos_assets_tests.defs.world import SPEC, World, failures, location, write_templates
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters

HNSW = "thought_templates_embedding_768_hnsw"
HEALTH_CHECKS = CHECKLIST.of_group("health")


@pytest.fixture
def filled(world: World) -> World:
    """A world with 302 rows and its indexes, as a load leaves them."""
    put_clusters(world.engine, EVERY_INDEX[HNSW])
    analyze(world.engine, SPEC)
    for spec in MEMOS.maintained:
        for index in search_indexes(spec):
            ensure_index(world.engine, index, maintenance_work_mem_mb=64)
    return world


def kill_rows(world: World) -> None:
    with world.engine.begin() as conn:
        conn.execute(
            sa.text(
                "update memos.thought_templates set source_rowid = -1 - source_rowid "
                "where source_rowid < 90"
            )
        )
        conn.execute(sa.text("select pg_stat_force_next_flush()"))


def check(world: World) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    result = world.run(HEALTH)
    assert failures(result) == []
    return {
        (e.asset_key.to_user_string(), e.check_name): e
        for e in result.get_asset_check_evaluations()
    }


def red(found: Mapping[tuple[str, str], dg.AssetCheckEvaluation]) -> list[tuple[str, str]]:
    return [place for place, evaluation in found.items() if not evaluation.passed]


def test_everything_is_healthy_right_after_a_consolidation(world: World) -> None:
    write_templates(world.data / "meta_buffer.db", range(1, 61))
    done = world.consolidate(MEMOS)
    assert done.proven
    # What nobody checked yet does not stand in the way of the verdict.
    assert {outcome.check.group for outcome in done.checklist} == {"proof"}
    found = check(world)
    assert sorted(found) == sorted(HEALTH_CHECKS.places(MEMOS))
    assert red(found) == []
    statistics = found["memos/thought_templates", "v23_statistics_are_there"].metadata
    assert statistics["observed"].value == "0 of 60 rows changed since"
    with world.engine.connect() as conn:
        assert former_use(conn, MEMOS, HNSW)["rows"] == 60


def test_what_a_check_of_use_saw_is_carried_on_to_the_next(filled: World) -> None:
    check(filled)
    filled.execute(
        "update memos_ops.evaluations set evidence = jsonb_set(evidence, '{watched_since}', "
        "to_jsonb(now() - interval '31 days')) where claim = 'v24_indexes_are_used'"
    )
    found = check(filled)
    use = "v24_indexes_are_used"
    # Nobody wrote JSON into it, so the third of its indexes serves no rows.
    assert red(found) == [
        (f"memos/indexes/{HNSW}", use),
        ("memos/indexes/thought_templates_search_text_gin", use),
    ]
    assert found[f"memos/indexes/{HNSW}", use].severity == dg.AssetCheckSeverity.WARN
    # The search for stored rows in the same step does not count as use.
    assert red(check(filled)) == red(found)


@pytest.mark.parametrize("job_name", [FINISH, VERIFY, HEALTH])
def test_health_has_a_job_of_its_own(job_name: str) -> None:
    job = location().resolve_job_def(job_name)
    expected = HEALTH_CHECKS if job_name == HEALTH else PROOF
    assert {
        (key.asset_key.to_user_string(), key.name)
        for key in job.asset_layer.asset_graph.asset_check_keys
    } == set(expected.places(MEMOS))


def test_maintenance_mends_what_the_checks_found_and_shows_what_it_did(
    filled: World,
) -> None:
    kill_rows(filled)
    result = filled.run(MAINTAIN)
    assert failures(result) == []
    (output,) = [e for e in result.all_events if e.event_type_value == "STEP_OUTPUT"]
    metadata = output.step_output_data.metadata
    assert metadata["objects"].value == 1
    done = metadata["done"]
    assert isinstance(done, dg.TableMetadataValue)
    (record,) = done.records
    assert (record.data["action"], record.data["object"], record.data["error"]) == (
        "vacuum",
        "memos.thought_templates",
        "",
    )
    assert red(check(filled)) == []


def test_maintenance_that_fails_says_why_in_one_line(filled: World) -> None:
    done = new_consolidation(MEMOS.schema)
    config = {"maintain": {"config": {"names": ["no_such"]}}}
    run_job(filled.instance, MEMOS, MAINTAIN, {}, done, config)
    (failure,) = done.failures
    assert failure.startswith("M360 no_such: no table or search index of the catalog. Fix: ")


def test_the_health_of_one_index_can_be_checked_by_itself(filled: World) -> None:
    wanted = dg.AssetCheckKey(dg.AssetKey(["memos", "indexes", HNSW]), "v21_recall_has_not_drifted")
    job = dg.define_asset_job("one", selection=dg.AssetSelection.checks(wanted))
    merged = dg.Definitions.merge(location(), dg.Definitions(jobs=[job]))
    result = merged.resolve_job_def("one").execute_in_process(instance=filled.instance)
    assert [e.asset_check_key for e in result.get_asset_check_evaluations()] == [wanted]


def test_every_check_belongs_to_one_group() -> None:
    groups: tuple[Group, ...] = ("load", "memory", "snapshots", "cache", "boards")
    others = [check for group in groups for check in CHECKLIST.of_group(group)]
    assert sorted([*HEALTH_CHECKS, *PROOF, *others], key=lambda check: check.number) == list(
        CHECKLIST
    )
