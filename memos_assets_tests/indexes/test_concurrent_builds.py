"""Indexes of live tables: built beside their readers and writers, and again when one broke off."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.indexes.build import BuiltIndex, ensure_index
from memos_assets.indexes.definitions import SearchIndex, state_of
from memos_assets.postgres.engine import libpq_url
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters, search_index

NAME = "thought_templates_embedding_768_hnsw"
LIVE = replace(search_index(NAME), concurrently=True)


def ensure(engine: sa.Engine, index: SearchIndex = LIVE) -> BuiltIndex:
    return ensure_index(engine, index, maintenance_work_mem_mb=64)


@contextmanager
def writer(engine: sa.Engine) -> Iterator[psycopg.Connection]:
    """Hold a transaction that has written to the table and does not end."""
    with psycopg.connect(libpq_url(engine.url)) as conn:
        conn.execute("delete from memos.thought_templates where false")
        yield conn
        conn.rollback()


@contextmanager
def building(engine: sa.Engine) -> Iterator[tuple[Future[BuiltIndex], int]]:
    """Yield a build that waits for the writer, and the process that builds."""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(ensure, engine)
        with psycopg.connect(libpq_url(engine.url), autocommit=True) as conn:
            for _ in range(500):
                row = conn.execute(
                    "select pid from pg_stat_progress_create_index "
                    "where phase = 'waiting for writers before build'"
                ).fetchone()
                if row is not None:
                    break
                time.sleep(0.01)
        assert row is not None, "the build does not wait"
        yield future, row[0]


def is_valid(engine: sa.Engine) -> bool | None:
    with engine.connect() as conn:
        state = state_of(conn, NAME, "memos")
        return None if state is None else state.valid


@pytest.mark.parametrize("way", ["pg_cancel_backend", "pg_terminate_backend"])
def test_a_concurrent_build_that_breaks_off_is_m322_and_the_next_one_replaces_what_it_left(
    engine: sa.Engine, way: str
) -> None:
    put_clusters(engine, EVERY_INDEX[NAME])
    with writer(engine) as conn, building(engine) as (future, process):
        conn.execute(f"select {way}(%s)".encode(), (process,))
        with pytest.raises(TargetError, match=rf"^M322 memos\.{NAME}: .* Fix: run again"):
            future.result(timeout=10)
    assert is_valid(engine) is False
    built = ensure(engine)
    assert (built.built, built.rows, is_valid(engine)) == (True, 300, True)
    assert not ensure(engine).built


def test_a_concurrent_build_that_waits_too_long_is_m322(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memos_assets.indexes.build.CONCURRENT_PATIENCE_SECONDS", 1)
    with (
        writer(engine),
        pytest.raises(TargetError, match=r"^M322 .*lock timeout"),
    ):
        ensure(engine)
    assert is_valid(engine) is False


def test_two_sessions_do_not_build_one_index(engine: sa.Engine) -> None:
    with writer(engine) as conn, building(engine) as (future, process):
        with pytest.raises(TargetError, match=rf"^M321 memos\.{NAME}: .* process {process} "):
            ensure(engine)
        conn.rollback()
        assert future.result(timeout=10).built
    assert is_valid(engine)


def test_a_concurrent_build_leaves_the_session_as_it_was(engine: sa.Engine) -> None:
    shown = sa.text(
        "select current_setting('maintenance_work_mem'), current_setting('lock_timeout')"
    )
    with engine.connect() as conn:
        before = conn.execute(shown).one()
        process = conn.execute(sa.text("select pg_backend_pid()")).scalar_one()
    assert ensure(engine).built
    with engine.connect() as conn:
        assert conn.execute(sa.text("select pg_backend_pid()")).scalar_one() == process
        assert conn.execute(shown).one() == before


def test_a_table_that_is_locked_is_m323(engine: sa.Engine) -> None:
    impatient = sa.event.listens_for(engine, "begin")

    @impatient
    def _lock_timeout(conn: sa.Connection) -> None:
        conn.exec_driver_sql("set local lock_timeout = '200ms'")

    with (
        writer(engine),
        pytest.raises(TargetError, match=rf"^M323 memos\.{NAME}: .*locked .* Fix: let loads"),
    ):
        ensure(engine, replace(LIVE, concurrently=False))
    assert is_valid(engine) is None


def test_an_index_may_be_on_a_table_of_another_schema(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(
            sa.text("create table public.thought_templates (like memos.thought_templates)")
        )
    elsewhere = replace(LIVE, schema="public")
    assert ensure(engine, elsewhere).built
    assert not ensure(engine, elsewhere).built
    with engine.connect() as conn:
        assert state_of(conn, NAME, "memos") is None
        state = state_of(conn, NAME, "public")
    assert state is not None
    assert state.valid
