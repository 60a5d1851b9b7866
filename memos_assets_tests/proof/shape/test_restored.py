"""A database that was dumped and restored has other OIDs, and is judged like the one it was."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server import cluster
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.proof.shape.checks import bookkeeping_shape, consolidated_shape
from memos_assets.search.functions import functions_are_ours, install
from memos_assets.search.plans import index_is_valid
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database

INDEXES = [index for spec in MEMOS.tables[:3] for index in search_indexes(spec.as_table)]


@pytest.fixture
def restored(
    engine: sa.Engine, server: EmbeddedServer, settings: Settings, tmp_path: Path
) -> Iterator[sa.Engine]:
    with engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
    for index in INDEXES:
        ensure_index(engine, index, maintenance_work_mem_mb=16)
    programs, dump = cluster.programs() / "bin", tmp_path / "whole.dump"
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    run = [str(programs / "pg_dump"), "--format=custom", f"--file={dump}", libpq_url(engine.url)]
    subprocess.run(run, check=True, env=environment)
    with copied_database(server, "template0") as url:
        made = create_engine(url, settings, application_name="tests")
        with made.begin() as conn:
            # So that what is restored has other numbers than before.
            conn.exec_driver_sql("create table public.other (id integer); drop table public.other")
        run = [str(programs / "pg_restore"), "--exit-on-error", f"--dbname={libpq_url(url)}"]
        subprocess.run([*run, str(dump)], check=True, env=environment)
        yield made
        made.dispose()


def number_of(engine: sa.Engine) -> int:
    with engine.connect() as conn:
        query = "select 'memos.search_embeddings'::regproc::oid::bigint"
        return int(conn.exec_driver_sql(query).scalar_one())


def test_functions_tables_and_indexes_are_those_of_before(
    engine: sa.Engine, restored: sa.Engine
) -> None:
    assert number_of(engine) != number_of(restored)
    with restored.begin() as conn:
        functions = functions_are_ours(conn, MEMOS.schema, MEMOS.searchable)
        assert functions.passed, functions.observed
        assert install(conn, MEMOS.schema, MEMOS.searchable) == []
        assert bookkeeping_shape(conn, MEMOS).passed
        for spec in MEMOS.tables:
            shape = consolidated_shape(conn, MEMOS, spec)
            assert shape.passed, shape.evidence
        assert [i.name for i in INDEXES if not index_is_valid(conn, i).passed] == []
