"""Functions that a stranger planted in `public` are not called; pgvector may be in any schema."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import check_server, create_engine
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.search import api
from memos_assets.search.functions import functions_are_ours, install
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database
from memos_assets_tests.consolidate import builders as b

#: Each matches a call of ours better than PostgreSQL's own function or operator.
PLANTED = {
    "set_config": ("a varchar, b varchar, c boolean", "text"),
    "to_regclass": ("a varchar", "regclass"),
    "concat_ws": ("a text, b text, c text", "text"),
    "format": ("a text, b text", "text"),
    "joined": ("a name, b name", "text"),
    "equals": ("a varchar, b varchar", "boolean"),
    "is_text": ("a text, b varchar", "boolean"),
}
OPERATORS = (
    "create operator public.|| (leftarg = name, rightarg = name, function = public.joined)",
    "create operator public.= (leftarg = varchar, rightarg = varchar, function = public.equals)",
    "create operator public.= (leftarg = text, rightarg = varchar, function = public.is_text)",
)


@pytest.fixture(params=["public", "extensions"])
def planted(
    server: EmbeddedServer, settings: Settings, request: pytest.FixtureRequest
) -> Iterator[sa.Engine]:
    with copied_database(server, "template0") as url:
        stranger = f"planter_{url.database}"
        engine = create_engine(url, settings, application_name="tests")
        with engine.begin() as conn:
            run = conn.exec_driver_sql
            run(f"create schema if not exists {request.param}")
            run(f"create extension vector schema {request.param}")
            run("create table public.called (what text)")
            run(f"create role {stranger}; grant create on schema public to {stranger}")
            run("grant insert on public.called to public")
            run(f"set local role {stranger}")
            for name, (arguments, returned) in PLANTED.items():
                run(
                    f"create function public.{name}({arguments}) returns {returned} language sql "
                    f"as $$ insert into public.called values ('{name}'); "
                    f"select null::{returned} $$"
                )
            for operator in OPERATORS:
                run(operator)
            run("reset role")
            run(f"alter database {url.database} set search_path = public, pg_catalog")
        yield engine
        with engine.begin() as conn:
            conn.exec_driver_sql(f"drop owned by {stranger}; drop role {stranger}")
        engine.dispose()


def test_a_load_its_proof_and_searches_call_none_of_them(
    planted: sa.Engine, tmp_path: Path
) -> None:
    check_server(planted)
    migrations.upgrade(planted)
    memories = [b.memory(number, content=f"SRVO-{number} stop") for number in range(1, 9)]
    pin = b.consolidate(planted, b.write_kind(tmp_path, "semantic_memory", memories=memories))
    spec = MEMOS.table("semantic_memories").as_table
    with planted.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
        assert functions_are_ours(conn, MEMOS.schema, MEMOS.searchable).passed
    for index in search_indexes(spec)[:2]:
        ensure_index(planted, index, maintenance_work_mem_mb=16)
    assert b.red(planted, pin) == {}
    query = np.random.default_rng(1).standard_normal(1_024)
    with planted.connect() as conn:
        assert len(api.match(conn, spec.name, "SRVO-3", 3)) == 1
        assert api.search(conn, spec.name, query, 3)
        assert api.hybrid(conn, spec.name, "stop", query, 3)
        assert conn.exec_driver_sql("select what from public.called").all() == []
