"""The checks of indexes, passed and failed."""

import json
from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.finding import Finding
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.ddl import create_hnsw
from memos_assets.search import plans
from memos_assets.search.plans import containment_uses_index, index_is_valid, nearest_uses_index
from memos_assets_tests.indexes.rows import EVERY_INDEX, put, search_index
from memos_assets_tests.indexes.test_build import GIN, HNSW, SPEC, invalidate

OUTDATED = "valid, but built by another definition"
_CAST = "using hnsw ((embedding::public.vector(768))"
OTHER_CLASS = f"{_CAST} public.vector_l2_ops) where dimension = 768"
OTHER_ROWS = f"{_CAST} public.vector_cosine_ops) where dimension = 7"

TABLE = SPEC.as_table


@pytest.fixture
def built(engine: sa.Engine) -> sa.Engine:
    for name in (HNSW, GIN):
        ensure_index(engine, search_index(name), maintenance_work_mem_mb=64)
    return engine


def execute(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text("set local search_path = public"))
        for statement in statements:
            conn.execute(sa.text(statement))


def valid(engine: sa.Engine, name: str = HNSW) -> Finding:
    with engine.connect() as conn:
        return index_is_valid(conn, search_index(name))


def nearest(engine: sa.Engine, name: str = HNSW, *, rows: int = 0) -> Finding:
    with engine.connect() as conn:
        index = EVERY_INDEX[name]
        return nearest_uses_index(conn, MEMOS.table(index.table).as_table, index, rows)


def containment(engine: sa.Engine) -> Finding:
    with engine.connect() as conn:
        return containment_uses_index(conn, TABLE, SPEC.column("domain_hints"))


def test_the_checks_pass_for_indexes_as_the_catalog_builds_them(built: sa.Engine) -> None:
    assert valid(built).passed
    assert valid(built).observed == "valid"
    assert "USING hnsw" in valid(built).evidence["definition"]
    assert nearest(built).passed
    assert nearest(built).expected == f"{HNSW} usable"
    assert containment(built).passed


@pytest.mark.parametrize(
    "name", ["embeddings_embedding_1024_hnsw", "embeddings_embedding_4096_hnsw"]
)
def test_nearest_uses_the_index_of_its_dimension(engine: sa.Engine, name: str) -> None:
    assert not nearest(engine, name).passed
    for index in MEMOS.table("embeddings").vector_indexes:
        ensure_index(engine, search_index(index.name), maintenance_work_mem_mb=64)
    assert nearest(engine, name).passed


def test_v06_index_is_valid_fails_without_the_index(engine: sa.Engine) -> None:
    finding = valid(engine)
    assert (finding.passed, finding.expected, finding.observed) == (False, "valid", "missing")


def test_v06_index_is_valid_fails_when_invalid(built: sa.Engine) -> None:
    invalidate(built, HNSW)
    finding = valid(built)
    assert (finding.passed, finding.observed) == (False, "invalid")


def test_v06_index_is_valid_fails_when_the_catalog_defines_it_otherwise(built: sa.Engine) -> None:
    index = search_index(HNSW)
    finer = replace(EVERY_INDEX[HNSW], m=32)
    redefined = replace(index, create=partial(create_hnsw, finer))
    with built.connect() as conn:
        finding = index_is_valid(conn, redefined)
    assert (finding.passed, finding.observed) == (False, OUTDATED)
    ensure_index(built, redefined, maintenance_work_mem_mb=64)
    with built.connect() as conn:
        finding = index_is_valid(conn, redefined)
    assert finding.passed
    assert "m='32'" in finding.evidence["definition"]
    assert not ensure_index(built, redefined, maintenance_work_mem_mb=64).built
    # Rebuilding it beside its readers changes nothing of that.
    with built.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.text(f"reindex index concurrently memos.{HNSW}"))
        assert index_is_valid(conn, redefined).passed


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        (HNSW, OTHER_CLASS),
        (HNSW, OTHER_ROWS),
        (GIN, "using gin (domain_hints)"),
    ],
    ids=["operator class", "rows", "operator class of GIN"],
)
def test_v06_index_is_valid_fails_when_another_index_has_its_comment(
    built: sa.Engine, name: str, statement: str
) -> None:
    execute(
        built,
        f"drop index memos.{name}",
        f"create index {name} on memos.thought_templates {statement}",
        f"comment on index memos.{name} is '{search_index(name).mark}'",
    )
    assert (valid(built, name).passed, valid(built, name).observed) == (False, OUTDATED)


def test_v07_nearest_uses_index_fails_when_the_operator_class_is_another(
    built: sa.Engine,
) -> None:
    execute(
        built,
        f"drop index memos.{HNSW}",
        f"create index {HNSW} on memos.thought_templates {OTHER_CLASS}",
    )
    assert valid(built).observed == OUTDATED
    finding = nearest(built)
    assert not finding.passed
    assert finding.expected == f"{HNSW} usable"
    assert HNSW not in finding.observed


def test_v07_nearest_uses_index_fails_without_the_index(engine: sa.Engine) -> None:
    assert not nearest(engine).passed


def test_v07_nearest_uses_index_fails_where_many_rows_are_scanned_in_its_place(
    built: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(built, EVERY_INDEX[HNSW], [json.dumps([1.0] * 768)])
    execute(built, "analyze memos.thought_templates")
    monkeypatch.setattr(plans, "CHOSEN_FROM_ROWS", 1)
    with built.connect() as conn:
        conn.execute(sa.text("set local enable_indexscan = off"))
        finding = nearest_uses_index(conn, TABLE, EVERY_INDEX[HNSW], 1)
    assert not finding.passed
    assert finding.expected == f"{HNSW} chosen"


def test_v11_containment_uses_index_fails_without_the_index(built: sa.Engine) -> None:
    execute(built, f"drop index memos.{GIN}")
    finding = containment(built)
    assert not finding.passed
    assert finding.expected == f"{GIN} usable"


def test_v11_containment_uses_index_fails_when_the_index_is_on_another_column(
    built: sa.Engine,
) -> None:
    execute(
        built,
        f"drop index memos.{GIN}",
        f"create index {GIN} on memos.thought_templates using gin (example_queries jsonb_path_ops)",
    )
    assert valid(built, GIN).observed == OUTDATED
    assert not containment(built).passed


def test_asking_leaves_the_planner_as_it_was(built: sa.Engine) -> None:
    with built.connect() as conn:
        nearest_uses_index(conn, TABLE, EVERY_INDEX[HNSW], 0)
        containment_uses_index(conn, TABLE, SPEC.column("domain_hints"))
        for name in ("seqscan", "sort", "indexscan", "bitmapscan"):
            assert conn.execute(sa.text(f"show enable_{name}")).scalar() == "on"
