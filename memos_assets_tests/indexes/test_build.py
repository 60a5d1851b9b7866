"""Indexes: built once, rebuilt when invalid, dropped before most of a table is written."""

import json

import pytest
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import MEMOS
from memos_assets.errors import TargetError
from memos_assets.indexes import bulk_load as bulk
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.bulk_load import drop_before_bulk_load
from memos_assets.indexes.definitions import SearchIndex, search_indexes, state_of
from memos_assets_tests.indexes.rows import EVERY_INDEX, put, search_index

SPEC = MEMOS.table("thought_templates")
HNSW = "thought_templates_embedding_768_hnsw"
GIN = "thought_templates_domain_hints_gin"


def invalidate(engine: sa.Engine, name: str) -> None:
    """Leave an index as an interrupted concurrent build would."""
    with engine.begin() as conn:
        changed = conn.execute(
            sa.text(
                "update pg_index set indisvalid = false where indexrelid = cast(:i as regclass)"
            ),
            {"i": f"memos.{name}"},
        )
        assert changed.rowcount == 1


def identity(engine: sa.Engine, name: str) -> int | None:
    """Return the object id of an index, which a rebuilt one has not."""
    with engine.connect() as conn:
        found: int | None = conn.execute(
            sa.text("select to_regclass(:i)::oid::bigint"), {"i": f"memos.{name}"}
        ).scalar_one()
        return found


def ensure(engine: sa.Engine, name: str) -> bool:
    return ensure_index(engine, search_index(name), maintenance_work_mem_mb=64).built


def insert_rows(engine: sa.Engine, count: int) -> None:
    with engine.begin() as conn:
        conn.execute(
            sa.text(
                "insert into memos.thought_templates "
                "(source, id, embedding_reason, chunk, source_rowid) "
                "select 's', n::text, 'missing', 0, n from generate_series(1, :count) n"
            ),
            {"count": count},
        )


@pytest.mark.parametrize("name", [HNSW, GIN])
def test_a_valid_index_is_kept_and_an_invalid_one_is_rebuilt(engine: sa.Engine, name: str) -> None:
    assert ensure(engine, name)
    first = identity(engine, name)
    assert first is not None
    assert not ensure(engine, name)
    assert identity(engine, name) == first
    invalidate(engine, name)
    assert ensure(engine, name)
    assert identity(engine, name) not in (None, first)
    with engine.connect() as conn:
        state = state_of(conn, name, SPEC.schema)
    assert state is not None
    assert state.valid


def test_building_says_how_many_rows_the_index_serves(engine: sa.Engine) -> None:
    index = EVERY_INDEX[HNSW]
    put(engine, index, [json.dumps([1.0] * 768), json.dumps([2.0, *[1.0] * 767]), None])
    built = ensure_index(engine, search_index(HNSW), maintenance_work_mem_mb=64)
    assert (built.name, built.built, built.rows) == (HNSW, True, 2)
    assert built.bytes > 0
    assert ensure_index(engine, search_index(GIN), maintenance_work_mem_mb=64).rows == 0


def test_indexes_are_dropped_only_before_most_of_a_table_is_written(engine: sa.Engine) -> None:
    names = [index.name for index in search_indexes(SPEC.as_table)]
    assert drop_before_bulk_load(engine, SPEC, 1_000_000) == []
    for name in names:
        ensure(engine, name)
    assert drop_before_bulk_load(engine, SPEC, 999) == []
    insert_rows(engine, 2_001)
    assert drop_before_bulk_load(engine, SPEC, 1_000) == []
    assert [identity(engine, name) is None for name in names] == [False] * len(names)
    assert drop_before_bulk_load(engine, SPEC, 1_001) == names
    assert [identity(engine, name) for name in names] == [None] * len(names)
    assert [ensure(engine, name) for name in names] == [True] * len(names)


def test_an_index_that_cannot_be_built_is_m320_and_leaves_the_table_as_it_was(
    engine: sa.Engine,
) -> None:
    insert_rows(engine, 3)
    create = sql.SQL("create index {} on memos.thought_templates ((1 / (source_rowid - 2)))")

    def create_broken(schema: str, *, concurrently: bool) -> sql.Composed:
        assert (schema, concurrently) == ("memos", False)
        return create.format(sql.Identifier(GIN))

    broken = SearchIndex(GIN, SPEC.name, "broken", create_broken, SPEC.schema)
    with pytest.raises(TargetError, match=rf"^M320 memos\.{GIN}: .*division by zero.* Fix: "):
        ensure_index(engine, broken, maintenance_work_mem_mb=64)
    assert identity(engine, GIN) is None
    with engine.connect() as conn:
        assert conn.execute(sa.text("select count(*) from memos.thought_templates")).scalar() == 3


def test_every_index_of_the_catalog_can_be_built(engine: sa.Engine) -> None:
    for spec in MEMOS.tables:
        for index in search_indexes(spec.as_table):
            assert ensure(engine, index.name)


def test_indexes_stay_where_the_table_is_in_use(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "DROP_PATIENCE_MS", 50)
    names = [index.name for index in search_indexes(SPEC.as_table)]
    for name in names:
        ensure(engine, name)
    with engine.connect() as reader:
        reader.execute(sa.text("select count(*) from memos.thought_templates"))
        assert drop_before_bulk_load(engine, SPEC, 1_000_000) == []
    assert drop_before_bulk_load(engine, SPEC, 1_000_000) == names
