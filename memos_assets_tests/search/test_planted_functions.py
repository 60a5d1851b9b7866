"""Functions that a stranger planted in `public` are not called; pgvector may be in any schema."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import check_server, create_engine, libpq_url
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


#: Operators that the functions of revision 0003 called by the path of the role that inserts a row.
OF_THE_PATH = {"<=": "integer", "~": "text", "=": "text", "||": "tsvector"}


def test_a_row_that_others_write_calls_none_of_them_for_its_words(
    server: EmbeddedServer, template: str
) -> None:
    with copied_database(server, template) as url:
        with psycopg.connect(libpq_url(url), autocommit=True) as stranger:
            stranger.execute("create table public.called (what text)")
            for number, (operator, type_name) in enumerate(OF_THE_PATH.items()):
                stranger.execute(
                    f"create function public.planted_{number}(a {type_name}, b {type_name}) "
                    f"returns {'tsvector' if operator == '||' else 'boolean'} language plpgsql "
                    f"as $$ begin insert into public.called values ('{operator}'); "
                    f"return {'a' if operator == '||' else 'true'}; end $$"
                )
                stranger.execute(
                    f"create operator public.{operator} (leftarg = {type_name}, "
                    f"rightarg = {type_name}, function = public.planted_{number})"
                )
            stranger.execute(
                "create collation public.\"C\" (provider = builtin, locale = 'C.UTF-8')"
            )
        # A client of its own, whose path is not ours.
        with psycopg.connect(libpq_url(url), autocommit=True) as client:
            client.execute("set search_path = public, pg_catalog")
            client.execute(
                "insert into memos.semantic_memories (source, id, content, embedding_reason, "
                "chunk, source_rowid) values ('s', 'a', 'SRVO-062 ÄB-1', 'missing', 0, 1)"
            )
            (words,) = client.execute("select search_text::text from memos.semantic_memories")
            called = client.execute("select what from public.called").fetchall()
    assert called == []
    assert words == ("'-062':2 '-1':4 'b-1' 'srvo':1 'srvo-062' 'äb':3",)
