"""What is heard of a build while PostgreSQL is at it."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.indexes import build as builds
from memos_assets.indexes import build_progress as watch
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.build_many import build_indexes, schedule_builds
from memos_assets.indexes.build_progress import BuildStep
from memos_assets.indexes.build_settings import BuildSettings
from memos_assets.indexes.definitions import search_indexes
from memos_assets.indexes.forecast import Graph, forecast_graph
from memos_assets.progress import Progress, listening
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters, search_index

NAME = "thought_templates_embedding_768_hnsw"


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[BuildStep]:
    """Look at builds all the time, and keep what is told."""
    monkeypatch.setattr(watch, "INTERVAL_SECONDS", 0.005)
    return []


def test_a_build_reports_its_rows_while_it_goes_on(
    engine: sa.Engine, steps: list[BuildStep]
) -> None:
    put_clusters(engine, EVERY_INDEX[NAME], each=120)
    reports: list[Progress] = []
    with listening(reports.append):
        ensure_index(engine, search_index(NAME), maintenance_work_mem_mb=64, tell=steps.append)
    assert sum(report.rows for report in reports) == 1_200
    assert sum(report.total_rows for report in reports) == 1_200
    assert [report.done for report in reports] == [False] * (len(reports) - 1) + [True]
    assert len(reports) > 3, "nothing was reported between the first and the last"
    assert steps[0].phase == "forecast"
    assert {step.phase for step in steps[1:]} <= {"initializing", "loading tuples"}
    rows = [step.rows for step in steps]
    assert rows == sorted(rows)
    assert 0 < rows[-1] <= 1_200
    assert f"{NAME}: loading tuples, {rows[-1]:,} of 1,200 rows; " in steps[-1].line()


def test_an_index_that_is_there_is_reported_as_done(engine: sa.Engine) -> None:
    put_clusters(engine, EVERY_INDEX[NAME])
    ensure_index(engine, search_index(NAME), maintenance_work_mem_mb=64)
    reports: list[Progress] = []
    with listening(reports.append):
        built = ensure_index(engine, search_index(NAME), maintenance_work_mem_mb=64)
    assert (built.built, built.seconds, built.forecast) == (False, 0, None)
    assert sum(report.rows for report in reports) == 300


def test_a_listener_that_fails_does_not_fail_the_build(
    engine: sa.Engine, steps: list[BuildStep]
) -> None:
    put_clusters(engine, EVERY_INDEX[NAME], each=120)

    def tell(step: BuildStep) -> None:
        steps.append(step)
        if step.phase != "forecast":
            raise RuntimeError("nobody listens")

    assert ensure_index(engine, search_index(NAME), maintenance_work_mem_mb=64, tell=tell).built
    assert len(steps) == 2


def test_a_graph_that_outgrows_its_memory_is_foretold_noticed_and_built(
    engine: sa.Engine, steps: list[BuildStep]
) -> None:
    put_clusters(engine, EVERY_INDEX[NAME], each=120)
    built = ensure_index(engine, search_index(NAME), maintenance_work_mem_mb=2, tell=steps.append)
    assert "its graph needs 16 MB and goes to disk beyond 2 MB" in str(steps[0].warning)
    assert "set MEMOS_MAINTENANCE_WORK_MEM_MB=16" in str(steps[0].warning)
    assert any("no longer fits" in str(step.notice) for step in steps)
    assert (built.built, built.rows, built.in_memory) == (True, 1_200, False)
    assert built.settings is not None
    assert not built.settings.fits


def test_a_build_that_gets_no_shared_memory_is_done_by_one_process(
    engine: sa.Engine, steps: list[BuildStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_clusters(engine, EVERY_INDEX[NAME])

    def greedy(*_: object, budget_mb: int, workers: int) -> BuildSettings:
        # Two terabytes are refused wherever the tests run.
        return BuildSettings(2_000_000 if workers else budget_mb, workers)

    monkeypatch.setattr(builds, "settings_for", greedy)
    for concurrently in (False, True):
        index = replace(search_index(NAME), concurrently=concurrently)
        with engine.begin() as conn:
            conn.exec_driver_sql(f"drop index if exists memos.{NAME}")
        built = ensure_index(
            engine, index, maintenance_work_mem_mb=64, parallel_workers=1, tell=steps.append
        )
        assert built.built
        assert built.settings == BuildSettings(64, 0)
        assert "one process builds" in str(steps[-1].notice or steps[1].notice)


def test_workers_take_part_though_the_embeddings_are_stored_outside_of_their_rows(
    engine: sa.Engine, steps: list[BuildStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_clusters(engine, EVERY_INDEX[NAME], each=200)
    monkeypatch.setattr("memos_assets.indexes.build_settings._WORKERS_FROM_SECONDS", 0)
    workers = 0
    count = sa.text(
        "select count(*) from pg_stat_activity where backend_type = 'parallel worker' "
        "and datname = current_database()"
    )

    def tell(step: BuildStep) -> None:
        nonlocal workers
        with engine.connect() as conn:
            workers = max(workers, conn.execute(count).scalar_one())
        steps.append(step)

    built = ensure_index(
        engine, search_index(NAME), maintenance_work_mem_mb=64, parallel_workers=1, tell=tell
    )
    assert built.settings == BuildSettings(64, 1)
    assert workers == 1


def test_the_longest_build_is_first_and_has_the_cores_if_it_outweighs_the_others() -> None:
    indexes = search_indexes(MEMOS.table("thought_templates").as_table)[:2]
    short, long = (forecast_graph(Graph("vector", 768), rows) for rows in (100, 10_000))
    first, second = schedule_builds(list(zip(indexes, (short, long), strict=True)), cores=4)
    assert (first.index, first.workers) == (indexes[1], 3)
    assert (second.index, second.workers) == (indexes[0], 1)
    assert first.memory_mb > second.memory_mb


def test_every_index_of_a_table_is_built_within_one_budget(engine: sa.Engine) -> None:
    indexes = search_indexes(MEMOS.table("thought_templates").as_table)
    put_clusters(engine, EVERY_INDEX[NAME])
    names = {built.name for built in build_indexes(engine, indexes, budget_mb=16)}
    assert names == {index.name for index in indexes}
    assert not any(built.built for built in build_indexes(engine, indexes, budget_mb=16))
