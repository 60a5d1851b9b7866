"""Forecasts of memory, disk and seconds, against what PostgreSQL then takes."""

import math
from dataclasses import replace

import pytest
import sqlalchemy as sa

from memos_assets.indexes import build_sample as sample
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.build_settings import MemoryBudget, memory_needed_mb, settings_for
from memos_assets.indexes.definitions import state_of
from memos_assets.indexes.forecast import (
    Graph,
    IndexForecast,
    extrapolated,
    forecast_gin,
    forecast_graph,
    graph_of,
)
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters, search_index

NAME = "thought_templates_embedding_768_hnsw"


@pytest.mark.parametrize(
    ("graph", "seen"),
    [
        (Graph("vector", 768), 3_785),
        (Graph("halfvec", 768), 2_250),
        (Graph("vector", 768, m=32), 4_297),
    ],
)
def test_memory_per_row_is_what_pgvector_was_seen_to_take(graph: Graph, seen: int) -> None:
    assert graph.row_bytes == pytest.approx(seen, rel=0.015)


@pytest.mark.parametrize(
    ("graph", "rows", "seen_per_row"),
    [
        (Graph("vector", 384), 1_000, 2_056),
        (Graph("vector", 768), 20_000, 4_096),
        (Graph("vector", 1_024), 20_000, 8_192),
        (Graph("vector", 2_000), 300, 16_411),
        (Graph("halfvec", 768), 2_000, 2_052),
        (Graph("halfvec", 1_024), 2_000, 2_736),
        (Graph("halfvec", 4_000), 300, 16_411),
        (Graph("bits", 768), 3_000, 401),
        (Graph("bits", 1_024), 3_000, 437),
        (Graph("bits", 4_096), 20_000, 833),
    ],
)
def test_disk_is_what_pgvector_was_seen_to_take(graph: Graph, rows: int, seen_per_row: int) -> None:
    assert forecast_graph(graph, rows).disk_bytes == pytest.approx(rows * seen_per_row, rel=0.03)


@pytest.mark.parametrize(
    "name",
    [
        NAME,
        "domain_embeddings_embedding_1024_hnsw",
        "domain_embeddings_embedding_4096_hnsw",
        "embeddings_embedding_2560_hnsw",
    ],
)
def test_an_index_takes_the_disk_and_the_memory_of_its_forecast(
    engine: sa.Engine, name: str
) -> None:
    put_clusters(engine, EVERY_INDEX[name], each=60)
    built = ensure_index(engine, search_index(name), maintenance_work_mem_mb=64)
    assert built.forecast is not None
    assert built.bytes == pytest.approx(built.forecast.disk_bytes, rel=0.05)
    assert built.in_memory


def test_a_sample_foretells_the_measured_seconds_of_many_rows() -> None:
    # One core, seconds of 500 and of 20,000 rows (docs/benchmarks.md).
    for few, many in ((0.09, 5.95), (0.10, 7.12), (0.26, 14.03), (0.06, 3.86)):
        assert extrapolated(few, 500, 20_000) == pytest.approx(many, rel=0.25)


def test_a_rate_foretells_the_measured_seconds() -> None:
    for graph, seconds in (
        (Graph("vector", 768), 2.30),
        (Graph("vector", 1_024), 3.20),
        (Graph("halfvec", 2_560), 6.21),
        (Graph("bits", 4_096), 1.78),
    ):
        assert forecast_graph(graph, 10_000).seconds == pytest.approx(seconds, rel=0.25)


def test_workers_shorten_a_build_and_too_little_memory_lengthens_it() -> None:
    forecast = IndexForecast(1_000, memory_bytes=100, disk_bytes=0, seconds=10)
    assert forecast.seconds_with(0, 100) == 10
    assert forecast.seconds_with(1, 100) < 7
    assert forecast.seconds_with(0, 50) == pytest.approx(25)


def test_the_prefix_of_an_embedding_is_a_graph_of_halfvec() -> None:
    strategy = replace(EVERY_INDEX[NAME], method="prefix", dimension=4_096, prefix=1_024)
    assert graph_of(strategy) == Graph("halfvec", 1_024)


def test_a_build_asks_for_what_its_graph_needs_and_not_for_its_budget() -> None:
    small = forecast_graph(Graph("vector", 1_024), 2_000)
    assert settings_for(small, budget_mb=512, workers=0).maintenance_work_mem_mb == 16
    large = forecast_graph(Graph("vector", 1_024), 100_000)
    chosen = settings_for(large, budget_mb=1_024, workers=1)
    assert (chosen.parallel_workers, chosen.fits) == (1, True)
    assert chosen.maintenance_work_mem_mb == math.ceil(large.memory_bytes / 2**20) + 4


def test_a_graph_beyond_the_budget_takes_all_of_it() -> None:
    large = forecast_graph(Graph("vector", 1_024), 100_000)
    chosen = settings_for(large, budget_mb=128, workers=1)
    assert (chosen.maintenance_work_mem_mb, chosen.parallel_workers) == (128, 1)
    assert not chosen.fits


def test_workers_are_left_out_where_their_memory_would_drive_the_graph_out() -> None:
    medium = forecast_graph(Graph("vector", 1_024), 8_400)
    assert memory_needed_mb(medium, 0) < 48 < memory_needed_mb(medium, 1) == 64
    chosen = settings_for(medium, budget_mb=48, workers=1)
    assert (chosen.parallel_workers, chosen.fits) == (0, True)


def test_workers_are_left_out_of_a_build_that_is_over_at_once() -> None:
    assert settings_for(forecast_gin(100, 1_000), budget_mb=512, workers=3).parallel_workers == 0


def test_builds_share_one_budget() -> None:
    budget = MemoryBudget(100)
    with budget.part(70) as first, budget.part(30) as second:
        assert (first, second) == (70, 30)
    with budget.part(1_000) as all_of_it:
        assert all_of_it == 100


def test_only_large_tables_are_sampled_and_only_a_few_rows_of_them() -> None:
    assert [sample.sample_rows(rows) for rows in (0, 9_999, 10_000, 40_000, 1_000_000)] == [
        0,
        0,
        200,
        500,
        1_000,
    ]


def test_a_sample_is_built_from_the_tables_own_rows_and_leaves_nothing(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "SAMPLED_FROM_ROWS", 300)
    put_clusters(engine, EVERY_INDEX[NAME])
    built = ensure_index(engine, search_index(NAME), maintenance_work_mem_mb=64)
    assert built.forecast is not None
    assert built.forecast.basis == "sample"
    assert 0 < built.forecast.seconds < 30
    with engine.connect() as conn:
        left = conn.execute(
            sa.text("select count(*) from pg_class where relname = :name"), {"name": NAME}
        ).scalar_one()
        state = state_of(conn, NAME, "memos")
    assert left == 1
    assert state is not None


def test_a_sample_that_the_server_refuses_leaves_the_forecast_to_the_rate(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "SAMPLED_FROM_ROWS", 300)
    put_clusters(engine, EVERY_INDEX[NAME])
    without_its_dimension = replace(search_index(NAME), reads=("embedding",))
    built = ensure_index(engine, without_its_dimension, maintenance_work_mem_mb=64)
    assert built.built
    assert built.forecast is not None
    assert built.forecast.basis == "rate"
