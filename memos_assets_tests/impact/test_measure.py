"""Generated rows, loaded, indexed and searched in a schema that is gone afterwards."""

from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.errors import TargetError, UsageError
from memos_assets.impact import measure as measuring
from memos_assets.impact.latency import sizes
from memos_assets.impact.measure import (
    BETTER,
    INDEX,
    PLAN_INDEX,
    PLAN_QUERY,
    STORED,
    Impact,
    check_space,
    checked_rows,
    measure_impact,
)
from memos_assets.impact.trial_tables import (
    TRIAL_SCHEMA,
    Generated,
    build,
    forecast_bytes,
    index_for,
    load,
    trial_schema,
)

SPEC, INDEX_768 = index_for(MEMOS, 768)


def schemas(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_schema_names())


@pytest.fixture
def few_queries(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(measuring, "INDEX_QUERIES", 5)
    return 5


@pytest.fixture
def measured(engine: sa.Engine, few_queries: int) -> Impact:
    impact = measure_impact(engine, MEMOS, rows=[400, 50], dimension=768)
    assert {one.timing.queries for one in impact.measured} == {few_queries}
    return impact


def test_every_way_is_measured_at_every_row_count_and_leaves_nothing_behind(
    engine: sa.Engine, measured: Impact
) -> None:
    assert measured.row_counts == (50, 400)
    assert measured.ways == (
        STORED,
        INDEX,
        PLAN_INDEX,
        PLAN_QUERY,
        *(layout.scan for layout in BETTER),
    )
    assert len(measured.measured) == 12
    assert TRIAL_SCHEMA not in schemas(engine)
    with engine.connect() as conn:
        counted = sa.text(f"select count(*) from {SPEC.qualified}")
        assert conn.execute(counted).scalar_one() == 0


def test_scans_find_the_ground_truth_and_the_index_is_searched_as_production_searches_it(
    measured: Impact,
) -> None:
    for way in (STORED, PLAN_QUERY, BETTER[0].scan):
        assert measured.of(way, 400).timing.recall == 1.0
        assert measured.of(way, 400).served_by == "Seq Scan"
    index = measured.of(INDEX, 400)
    assert index.served_by == INDEX_768.name
    assert index.timing.recall >= 0.9
    assert index.timing.worst_recall <= index.timing.recall
    assert index.timing.p50_ms <= index.timing.p95_ms
    assert measured.ratio(measured.of(STORED, 50)) == 1.0
    assert measured.best_scan(400).is_scan


def test_embeddings_are_outside_of_their_rows_as_memos_stores_them_and_within_them_in_line(
    measured: Impact,
) -> None:
    stored, in_line = measured.of(STORED, 400).sizes, measured.of(BETTER[0].scan, 400).sizes
    assert stored.toast > 400 * 768 * 4 > stored.rows
    assert in_line.rows > 400 * 768 * 4 > in_line.toast
    assert measured.of(BETTER[1].scan, 400).sizes.rows < in_line.rows
    # The catalog's index is searched on the table as the catalog stores it.
    index = measured.of(INDEX, 400).sizes
    assert (index.rows, index.toast) == (in_line.rows, in_line.toast)
    assert index.indexes > 0


def test_rows_are_the_same_whenever_they_are_asked_for_and_others_for_another_seed() -> None:
    rows = Generated(SPEC, INDEX_768, 1_200)
    first, second = (np.concatenate(list(rows.batches())) for _ in range(2))
    assert first.shape == (1_200, 768)
    assert np.array_equal(first, second)
    assert np.allclose(np.linalg.norm(first, axis=1), 1)
    # Batches are around other centres: their rows at the same place have nothing in common.
    assert abs(np.sum(first[:200] * first[1_000:], axis=1).mean()) < 0.1
    other = np.concatenate(list(replace(rows, seed=2).batches()))
    assert not np.isclose(first, other).all(axis=1).any()
    assert not any((query == first).all(axis=1).any() for query in rows.queries(3))


def test_the_forecast_of_the_disk_is_what_is_taken(engine: sa.Engine) -> None:
    rows = Generated(SPEC, INDEX_768, 1_000)
    with trial_schema(engine, MEMOS) as trial:
        load(trial, rows)
        build(trial, rows.spec, rows.index)
        taken = sizes(trial, rows.spec)
    whole = taken.rows + taken.toast + taken.indexes
    assert whole < forecast_bytes(INDEX_768, 1_000) < 1.5 * whole


def test_a_disk_too_small_is_m365_before_anything_is_written(engine: sa.Engine) -> None:
    with pytest.raises(TargetError, match=r"M365 .* 100,000 rows .* 0\.1 GB are free. Fix: free"):
        measure_impact(engine, MEMOS, free_bytes=100_000_000)
    check_space(INDEX_768, 1_000, None)


@pytest.mark.parametrize("rows", [[], [0], [-1], [1_000, 9], [10**9]])
def test_row_counts_that_cannot_be_measured_are_m585(rows: list[int]) -> None:
    with pytest.raises(UsageError, match=r"M585 .* Fix: pass counts from 10"):
        checked_rows(rows)


def test_a_dimension_that_no_embedding_has_is_m586() -> None:
    with pytest.raises(UsageError, match=r"M586 dimension 20,000: .* 768, 1,024, 2,560, 4,096"):
        index_for(MEMOS, 20_000)


def test_a_second_measurement_is_m367_and_harms_nothing(engine: sa.Engine) -> None:
    with trial_schema(engine, MEMOS):
        with pytest.raises(TargetError, match=r"M367 .*another"), trial_schema(engine, MEMOS):
            pass
        assert TRIAL_SCHEMA in schemas(engine)


def test_a_measurement_that_fails_drops_its_schema_and_what_a_killed_one_left(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text(f"create schema {TRIAL_SCHEMA} create table left_over (a int)"))
    monkeypatch.setattr(measuring, "load", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        measure_impact(engine, MEMOS, rows=[50], dimension=768)
    assert TRIAL_SCHEMA not in schemas(engine)


@pytest.mark.usefixtures("few_queries")
def test_embeddings_that_fit_no_page_are_not_stored_in_line(engine: sa.Engine) -> None:
    wide = measure_impact(engine, MEMOS, rows=[20], dimension=4_096)
    assert wide.ways == (STORED, INDEX)
    assert wide.best_scan(20).way == STORED
    assert wide.of(INDEX, 20).timing.recall == 1.0
