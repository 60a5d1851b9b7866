"""What keeps us from writing is found before the backup and the first write, in one line."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from pydantic import SecretStr

from memos_assets.errors import TargetError
from memos_assets.postgres import target
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import prepare_target
from memos_assets.settings import Settings

NAME = "of_others"
#: A role that is neither a superuser nor a member of one, for a test.
OTHER, OURS = "memos_tests_other", "memos_tests_ours"


@pytest.fixture(autouse=True)
def _nothing_is_known_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_ready", set())


@pytest.fixture(scope="module")
def administrator(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as conn:
        for role in (OTHER, OURS):
            conn.execute(sql.SQL("create role {} login").format(sql.Identifier(role)))
        yield conn
        for role in (OTHER, OURS):
            conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))


@pytest.fixture
def database(server: EmbeddedServer, administrator: psycopg.Connection) -> Iterator[sa.URL]:
    """A database that holds a table of others, which would be dumped before the first write."""
    administrator.execute(f"create database {NAME} template template0 strategy file_copy")
    with psycopg.connect(libpq_url(server.url(NAME))) as conn:
        conn.execute("create table public.theirs (n int)")
    yield server.url(NAME)
    administrator.execute(f"drop database {NAME} with (force)")


def refused(url: sa.URL, home: Path, *statements: str) -> TargetError:
    """Run statements, try to prepare the database, and return the refusal; nothing has changed."""
    with psycopg.connect(libpq_url(url.set(username="postgres")), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)
    before = objects(url)
    with pytest.raises(TargetError) as raised:
        prepare_target(Settings(home=home, database_url=SecretStr(libpq_url(url))), "tests")
    assert objects(url) == before
    assert "\n" not in str(raised.value)
    return raised.value


def objects(url: sa.URL) -> list[tuple[str]]:
    """Return everything that pg_class, pg_namespace and pg_extension list."""
    with psycopg.connect(libpq_url(url.set(username="postgres"))) as conn:
        return conn.execute(
            "select oid::text || relname from pg_class union all select oid::text || nspname "
            "from pg_namespace union all select oid::text || extname from pg_extension order by 1"
        ).fetchall()


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("create table memos.embeddings (id int)", "table memos.embeddings"),
        ("create view memos.x as select 1 as one", "view memos.x"),
        (
            "create function memos.search_documents(text) returns int language sql as 'select 1'",
            "function memos.search_documents(text)",
        ),
        ("create type memos.kind as enum ('a')", "type memos.kind"),
        ("create materialized view memos.m as select 1 as one", "materialized view memos.m"),
        ("create sequence memos.s", "sequence memos.s"),
        ("create foreign table memos.f (n int) server s", "foreign table memos.f"),
    ],
)
def test_objects_of_others_in_our_schemas_are_named(
    database: sa.URL, tmp_path: Path, statements: str, named: str
) -> None:
    before = ["create schema memos"]
    if "foreign" in named:
        before += ["create foreign data wrapper w", "create server s foreign data wrapper w"]
    error = refused(database, tmp_path, *before, statements)
    assert error.code == "M344"
    assert error.what.endswith(f"in our schemas: {named}")
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize("schema", ["memos", "memos_ops", "dagster"])
def test_a_schema_that_another_role_made_is_not_accepted_even_from_a_superuser(
    database: sa.URL, tmp_path: Path, schema: str
) -> None:
    error = refused(database, tmp_path, f"create schema {schema} authorization {OTHER}")
    assert error.code == "M345"
    assert error.what.startswith(f"schema {schema} belongs to role {OTHER}")
    assert not (tmp_path / "backups").exists()


@pytest.mark.parametrize(
    ("statements", "code", "said"),
    [
        (
            [f"alter database {NAME} set default_transaction_read_only = on"],
            "M346",
            "default_transaction_read_only is on",
        ),
        (["create table public.memories (id int)"], "M350", "its primary key is not"),
    ],
)
def test_refusals_come_before_the_dump(
    database: sa.URL, tmp_path: Path, statements: list[str], code: str, said: str
) -> None:
    error = refused(database, tmp_path, *statements)
    assert (error.code, said in error.what) == (code, True)
    assert not (tmp_path / "backups").exists()


def test_a_user_without_rights_is_told_before_the_dump(database: sa.URL, tmp_path: Path) -> None:
    error = refused(database.set(username=OURS), tmp_path, "create extension vector")
    assert error.code == "M307"
    assert "it may not create schemas in this database" in error.what
    assert not (tmp_path / "backups").exists()


def test_schemas_of_a_role_that_we_are_a_member_of_are_ours(
    database: sa.URL, tmp_path: Path, administrator: psycopg.Connection
) -> None:
    administrator.execute(f"create role memos_tests_group; grant memos_tests_group to {OURS}")
    try:
        with psycopg.connect(libpq_url(database)) as conn:
            conn.execute("create extension vector; drop table public.theirs")
            conn.execute(f"grant create on database {NAME} to {OURS}")
            conn.execute(f"grant create on schema public to {OURS}")
            conn.execute("create schema memos authorization memos_tests_group")
        url = libpq_url(database.set(username=OURS))
        prepare_target(Settings(home=tmp_path, database_url=SecretStr(url)), "tests")
        with psycopg.connect(libpq_url(database)) as conn:
            found = conn.execute("select count(*) from memos.embeddings").fetchone()
        assert found == (0,)
    finally:
        administrator.execute(f"drop database {NAME} with (force)")
        administrator.execute(f"create database {NAME}")
        administrator.execute("drop role memos_tests_group")


def test_an_event_trigger_that_refuses_a_change_is_named(database: sa.URL, tmp_path: Path) -> None:
    error = refused(
        database,
        tmp_path,
        "create extension vector",
        "create function public.no() returns event_trigger language plpgsql as "
        "'begin raise exception ''not without a ticket''; end'",
        "create event trigger ticket on ddl_command_end when tag in ('CREATE TABLE') "
        "execute function public.no()",
    )
    assert error.code == "M347"
    assert "(ticket) refuses a change: not without a ticket" in error.what
