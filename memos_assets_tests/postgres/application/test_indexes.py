"""The memories get their indexes while memOS goes on writing, and searches are served by them."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.catalog.memos_tables import MEMORIES
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.maintenance.pending import scope_of
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import libpq_url
from memos_assets.search.api import search
from memos_assets.search.functions import install
from memos_assets.search.plans import containment_uses_index, index_is_valid, nearest_uses_index
from memos_assets_tests.postgres.application.memos import BEFORE, name
from memos_assets_tests.postgres.application.reading import AS_MEMOS, content, execute, rows

TABLE = MEMORIES.as_table
TABLE = MEMORIES.as_table
(HNSW,) = MEMORIES.vector_indexes
NAMES = ["memories_embedding_vector_hnsw", "memories_tags_gin", "memories_entities_gin"]
VALIDITY = "select indisvalid from pg_index where indexrelid = to_regclass('public.{}')"
QUERY = "array_fill(1::real, array[1024])::vector"


@pytest.fixture
def indexed(engine: sa.Engine) -> sa.Engine:
    migrations.upgrade(engine)
    ensure_all(engine)
    return engine


def ensure_all(engine: sa.Engine) -> list[bool]:
    return [
        ensure_index(engine, index, maintenance_work_mem_mb=64).built
        for index in search_indexes(TABLE)
    ]


def plan(engine: sa.Engine, query: str) -> str:
    with engine.begin() as conn:
        conn.exec_driver_sql(AS_MEMOS)
        conn.exec_driver_sql("set local enable_seqscan = off")
        found = conn.exec_driver_sql(f"explain (costs off) {query}").scalars()
        return "\n".join(found)


def test_the_memories_get_the_three_indexes_of_the_remediation_plan_once(
    indexed: sa.Engine,
) -> None:
    assert [index.name for index in search_indexes(TABLE)] == NAMES
    definitions = {
        str(key): str(value)
        for key, value in rows(
            indexed, "select indexname, indexdef from pg_indexes where tablename = 'memories'"
        )
    }
    assert [definitions[one].partition(" USING ")[2] for one in NAMES] == [
        "hnsw (embedding_vector vector_cosine_ops) WITH (m='16', ef_construction='64')",
        "gin (tags jsonb_path_ops)",
        "gin (entities jsonb_path_ops)",
    ]
    assert ensure_all(indexed) == [False, False, False]


def test_the_checks_of_indexes_pass_for_them(indexed: sa.Engine) -> None:
    with indexed.connect() as conn:
        for one in search_indexes(TABLE):
            assert index_is_valid(conn, one).passed
        assert nearest_uses_index(conn, TABLE, HNSW, rows=23).passed
        for column in TABLE.searched:
            assert containment_uses_index(conn, TABLE, column).passed
    execute(indexed, *(f"drop index {one}" for one in NAMES))
    with indexed.connect() as conn:
        assert index_is_valid(conn, search_indexes(TABLE)[0]).observed == "missing"
        assert not nearest_uses_index(conn, TABLE, HNSW, rows=23).passed
        assert not containment_uses_index(conn, TABLE, TABLE.searched[0]).passed


def test_the_operator_of_the_plans_own_check_cannot_use_the_index(indexed: sa.Engine) -> None:
    question = f"select id from memories order by embedding_vector {{}} {QUERY} limit 10"
    assert f"Index Scan using {NAMES[0]}" in plan(indexed, question.format("<=>"))
    ordered = plan(indexed, question.format("<->"))
    assert "Seq Scan on memories" in ordered
    assert NAMES[0] not in ordered


def test_gin_on_json_as_the_remediation_plan_has_it_cannot_be_built(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.ProgrammingError, match="json has no default operator class"):
        execute(engine, "create index plans on memories using gin (tags)")


def test_memos_reads_and_writes_while_an_index_is_built(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    with (
        psycopg.connect(libpq_url(engine.url)) as conn,
        ThreadPoolExecutor(1) as threads,
    ):
        conn.execute("update memories set access_count = 1")
        future = threads.submit(ensure_all, engine)
        wait_for_a_build(engine)
        execute(
            engine,
            "insert into quests (id, title, category) values (gen_random_uuid(), 'q', 'daily')",
            f"delete from memories where id = '{name('memory', 99)}'",
        )
        conn.execute("update memories set access_count = 2")
        conn.commit()
        assert future.result(timeout=20) == [True, True, True]
    assert rows(engine, "select distinct access_count from memories") == [(2,)]


def wait_for_a_build(engine: sa.Engine) -> None:
    for _ in range(500):
        if rows(engine, "select 1 from pg_stat_progress_create_index where phase ~ 'waiting'"):
            return
        time.sleep(0.01)
    raise AssertionError("no build waits")


@pytest.mark.parametrize("one", NAMES)
def test_an_index_that_a_broken_build_left_invalid_is_noticed_and_built_again(
    indexed: sa.Engine, one: str
) -> None:
    execute(indexed, f"update pg_index set indisvalid = false where indexrelid = '{one}'::regclass")
    with indexed.connect() as conn:
        assert index_is_valid(conn, scope_of(MEMOS).index_named(one).index).observed == "invalid"
    assert ensure_all(indexed) == [name == one for name in NAMES]
    assert rows(indexed, VALIDITY.format(one)) == [(True,)]


def test_search_finds_the_memories_that_memos_would_show_and_no_others(
    indexed: sa.Engine,
) -> None:
    with indexed.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
        vectors = {
            str(key): np.array(str(vector)[1:-1].split(","), dtype=np.float64)
            for key, vector in rows(
                indexed,
                "select id::text, embedding_vector::text from memories "
                "where embedding_vector is not null and vector_norm(embedding_vector) > 0",
            )
        }
        hidden = {str(name("memory", number)) for number in (4, 5, 6)}
        query = vectors[str(name("memory", 7))]
        near = sorted(vectors, key=lambda key: -float(vectors[key] @ query))
        hits = search(conn, "memories", query, k=30)
        assert [hit.key["id"] for hit in hits] == [key for key in near if key not in hidden]
        assert hits[0].text == "memory 7"


def test_the_downgrade_takes_the_indexes_away(indexed: sa.Engine, engine: sa.Engine) -> None:
    migrations.downgrade(indexed, BEFORE)
    assert rows(engine, f"select to_regclass('{NAMES[0]}')::text") == [(None,)]
    assert content(engine, ["memories"])["memories"][str(name("memory", 1))]["tags"] == '["a","b"]'
