"""Maintenance: pending work is done beside readers and writers; failed work is finished later."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.errors import TargetError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.bulk_load import analyze
from memos_assets.maintenance import maintain as maintenance
from memos_assets.maintenance import recall_drift as drift
from memos_assets.maintenance.maintain import Done, described
from memos_assets.maintenance.pending import pending_work, scope_of
from memos_assets.postgres.engine import libpq_url
from memos_assets_tests.indexes.rows import EVERY_INDEX, put, put_clusters, search_index
from memos_assets_tests.indexes.test_build import GIN, HNSW, SPEC, identity, invalidate
from memos_assets_tests.maintenance.test_health import (
    INDEX,
    TABLE,
    change,
    invalid,
    statistics,
    vacuumed,
)
from memos_assets_tests.maintenance.test_health import drift as drifted


@pytest.fixture
def loaded(engine: sa.Engine) -> sa.Engine:
    """Return a database of 302 rows as a load leaves them, with two indexes."""
    put_clusters(engine, INDEX)
    analyze(engine, SPEC)
    for name in (HNSW, GIN):
        ensure_index(engine, search_index(name), maintenance_work_mem_mb=64)
    return engine


def maintain(engine: sa.Engine, *names: str, rebuild: bool = False) -> list[Done]:
    scope = scope_of(MEMOS, names, rebuild=rebuild)
    return list(maintenance.maintain(engine, scope, maintenance_work_mem_mb=64))


def actions(engine: sa.Engine, *names: str) -> list[tuple[str, str]]:
    return [(work.action, work.what) for work in pending_work(engine, scope_of(MEMOS, names))]


def kill_rows(engine: sa.Engine) -> None:
    change(engine, f"update memos.{TABLE} set source_rowid = source_rowid where source_rowid < 100")


def leave_behind(engine: sa.Engine) -> str:
    name = f"{HNSW}_ccnew"
    change(engine, f"create index {name} on memos.{TABLE} (source_rowid)")
    invalidate(engine, name)
    return f"memos.{name}"


@contextmanager
def session(engine: sa.Engine) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(engine.url)) as conn:
        yield conn
        conn.rollback()


@contextmanager
def rebuilding(engine: sa.Engine) -> Iterator[tuple[psycopg.Connection, Future[list[Done]], int]]:
    """Yield a writer, a rebuild that waits for it to end, and the process that rebuilds."""
    with session(engine) as writer, ThreadPoolExecutor(1) as threads:
        writer.execute(f"delete from memos.{TABLE} where false".encode())
        future = threads.submit(maintain, engine, HNSW, rebuild=True)
        with psycopg.connect(libpq_url(engine.url), autocommit=True) as conn:
            for _ in range(500):
                row = conn.execute("select pid from pg_stat_progress_create_index").fetchone()
                if row is not None:
                    break
                time.sleep(0.01)
        assert row is not None, "the rebuild does not wait"
        yield writer, future, row[0]
        writer.rollback()


def test_no_work_is_pending_after_a_load(loaded: sa.Engine) -> None:
    assert pending_work(loaded, scope_of(MEMOS)) == []
    assert maintain(loaded) == []


def test_all_pending_work_is_done_in_order_and_reports_its_outcome(
    loaded: sa.Engine,
) -> None:
    kill_rows(loaded)
    behind = leave_behind(loaded)
    invalidate(loaded, GIN)
    table, other = f"memos.{TABLE}", "memos.semantic_memories"
    put(loaded, EVERY_INDEX["semantic_memories_embedding_768_hnsw"], [json.dumps([1.0] * 768)])
    todo = [("drop", behind), ("vacuum", table), ("analyze", other), ("reindex", f"memos.{GIN}")]
    assert actions(loaded) == todo
    done = maintain(loaded)
    assert [(one.work.action, one.work.what) for one in done] == todo
    assert [one.error for one in done] == [None] * 4
    assert [one.work.why for one in done] == [
        "left by a REINDEX CONCURRENTLY that broke off",
        "100 of 402 row versions dead (24.9%)",
        done[2].work.why,
        "invalid",
    ]
    assert done[2].work.why.startswith("statistics: none of source, ")
    assert done[0].bytes_before > done[0].bytes_after == 0
    assert all(one.seconds > 0 for one in done)
    assert described(done[0]).startswith(f"drop {behind}: left by a REINDEX CONCURRENTLY that ")
    assert maintain(loaded) == []
    for finding in (vacuumed(loaded), invalid(loaded), statistics(loaded), drifted(loaded)):
        assert finding.passed


def hide_rows(engine: sa.Engine) -> None:
    """Bring rows into the table that its index does not know."""
    switch = "update pg_index set indisready = {} where indexrelid = 'memos.{}'::regclass"
    change(engine, switch.format("false", HNSW))
    put_clusters(engine, INDEX, seed=8)
    change(engine, switch.format("true", HNSW))
    analyze(engine, SPEC)


def test_an_index_that_has_drifted_is_rebuilt_and_finds_its_rows_again(
    loaded: sa.Engine,
) -> None:
    hide_rows(loaded)
    assert not drifted(loaded).passed
    (done,) = maintain(loaded)
    assert (done.work.action, done.work.what, done.error) == ("reindex", f"memos.{HNSW}", None)
    assert done.work.why.startswith("recall 0.")
    assert done.bytes_after > done.bytes_before
    assert drifted(loaded).passed
    assert maintain(loaded) == []


def test_only_named_objects_are_maintained_and_a_rebuild_needs_no_fault(
    loaded: sa.Engine,
) -> None:
    kill_rows(loaded)
    assert actions(loaded, HNSW) == []
    assert actions(loaded, f"memos.{TABLE}") == [("vacuum", f"memos.{TABLE}")]
    before = identity(loaded, HNSW), identity(loaded, GIN)
    (done,) = maintain(loaded, HNSW, rebuild=True)
    assert (done.work.action, done.work.why) == ("reindex", "requested")
    after = identity(loaded, HNSW), identity(loaded, GIN)
    assert after[0] not in (None, before[0])
    assert after[1] == before[1]


@pytest.mark.parametrize(("names", "rebuild"), [(["no_such"], False), ([], True)])
def test_a_name_that_is_not_in_the_catalog_is_m360(names: list[str], rebuild: bool) -> None:  # noqa: FBT001
    with pytest.raises(TargetError, match=r"^M360 (no_such|maintain): .* Fix: name tables or"):
        scope_of(MEMOS, names, rebuild=rebuild)


def test_rows_are_written_and_searched_while_an_index_is_rebuilt(loaded: sa.Engine) -> None:
    query = json.dumps([3.0, *[1.0] * 767])
    search = (
        f"select id from memos.{TABLE} where dimension = 768 "
        "order by public.l2_normalize(embedding)::public.halfvec(768) "
        "operator(public.<=>) %s limit 1"
    )
    with rebuilding(loaded) as (writer, future, _), session(loaded) as other:
        other.execute("set lock_timeout = '1s'")
        other.execute("set enable_seqscan = off")
        other.execute(
            f"insert into memos.{TABLE} (source, id, embedding, dimension, chunk, source_rowid) "
            "values ('live', 'inserted', %s, 768, 0, 0)".encode(),
            (query,),
        )
        other.commit()
        assert other.execute(search.encode(), (query,)).fetchone() == ("inserted",)
        other.execute(f"delete from memos.{TABLE} where id = 'r7'".encode())
        other.commit()
        assert not future.done()
        writer.rollback()
        (done,) = future.result(timeout=10)
    assert done.error is None
    with session(loaded) as after:
        after.execute("set enable_seqscan = off")
        assert after.execute(search.encode(), (query,)).fetchone() == ("inserted",)
    assert drifted(loaded).passed


def test_a_rebuild_that_waits_too_long_is_m362_and_the_next_maintenance_clears_up(
    loaded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "CONCURRENT_PATIENCE_SECONDS", 0.2)
    with rebuilding(loaded) as (_, future, _):
        (done,) = future.result(timeout=10)
    assert str(done.error).startswith(
        f"M362 memos.{HNSW}: reindex waited too long for other transactions on "
    )
    assert invalid(loaded).evidence["invalid"] == [f"memos.{HNSW}_ccnew"]
    assert drifted(loaded).passed
    assert [(one.work.action, one.error) for one in maintain(loaded)] == [("drop", None)]
    assert invalid(loaded).passed


@pytest.mark.parametrize("way", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_rebuild_that_is_broken_off_is_m363_and_leaves_nothing_behind(
    loaded: sa.Engine, way: str
) -> None:
    with rebuilding(loaded) as (writer, future, process):
        with psycopg.connect(libpq_url(loaded.url), autocommit=True) as conn:
            conn.execute(f"select {way}(%s)".encode(), (process,))
        time.sleep(0.05)
        writer.rollback()
        (done,) = future.result(timeout=10)
    assert str(done.error).startswith(f"M363 memos.{HNSW}: reindex broke off (")
    assert invalid(loaded).passed
    assert drifted(loaded).passed


def test_work_that_fails_does_not_stop_the_rest(
    loaded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "CONCURRENT_PATIENCE_SECONDS", 0.2)
    leave_behind(loaded)
    kill_rows(loaded)
    with session(loaded) as writer:
        writer.execute(f"delete from memos.{TABLE} where false".encode())
        dropped, cleaned = maintain(loaded)
    assert dropped.error is not None
    assert (dropped.error.code, cleaned.work.action, cleaned.error) == ("M362", "vacuum", None)


def test_dead_rows_that_an_open_transaction_keeps_are_m364_and_name_it(
    loaded: sa.Engine,
) -> None:
    with session(loaded) as reader:
        reader.execute("set transaction isolation level repeatable read")
        (process,) = reader.execute("select pg_backend_pid()").fetchall()
        kill_rows(loaded)
        (done,) = maintain(loaded)
    assert str(done.error).startswith(f"M364 memos.{TABLE}: still 100 of 402 row versions dead ")
    assert f"; process {process[0]} (" in str(done.error)
    assert [one.error for one in maintain(loaded)] == [None]


def test_a_rebuild_that_does_not_help_is_m364(
    loaded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "LEAST_RECALL", 1.1)
    (done,) = maintain(loaded)
    assert str(done.error).startswith(f"M364 memos.{HNSW}: recall is 1.000 after the rebuild too")


def test_a_table_of_another_owner_is_m361_and_is_not_skipped(loaded: sa.Engine) -> None:
    kill_rows(loaded)
    role = "visitor_of_maintenance"
    change(
        loaded,
        f"create role {role} login",
        f"grant usage on schema memos, memos_ops to {role}",
        f"grant select on all tables in schema memos, memos_ops, public to {role}",
    )
    visitor = sa.create_engine(loaded.url.set(username=role))
    try:
        cleaned, analysed = maintain(visitor)
    finally:
        visitor.dispose()
        change(loaded, f"drop owned by {role}", f"drop role {role}")
    assert str(cleaned.error).startswith(f"M361 memos.{TABLE}: {TABLE} belongs to ")
    assert "may not vacuum it" in str(cleaned.error)
    assert "may not analyze it" in str(analysed.error)
    assert not vacuumed(loaded).passed
