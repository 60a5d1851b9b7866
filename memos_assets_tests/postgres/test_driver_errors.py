"""Refusals of PostgreSQL that users cause: each has a code and a fix, wherever it is met."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres import channel
from memos_assets.postgres.driver_errors import is_full, refusal
from memos_assets.postgres.engine import check_server, create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.conftest import FAST

STATEMENTS = {
    "set statement_timeout = 10; select pg_sleep(1)": "M314",
    "deallocate gone": "M312",
    "prepare twice as select 1; prepare twice as select 1": "M312",
    "select '[1]'::vector": "M315",
    "select '[1]'::halfvec(1)": "M315",
    "select vector_dims(null)": "M315",
    "set role powerless; select rolpassword from pg_catalog.pg_authid": "M316",
    "set transaction read only; create table public.t ()": "M317",
    "set lock_timeout = 1; lock table memos.corpora": "M318",
    "select * from memos.gone": "M319",
    "select gone from memos.corpora": "M319",
}


def run(conn: sa.Connection, statements: str) -> None:
    for one in statements.split("; "):
        conn.exec_driver_sql(one)


@pytest.fixture(scope="module")
def _powerless(server: EmbeddedServer) -> Iterator[None]:
    with server._connect("postgres") as conn:
        conn.execute("create role powerless")
        yield
        conn.execute("drop role powerless")


@pytest.mark.usefixtures("_powerless")
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_refusal_has_a_code_and_a_fix(shared_engine: sa.Engine, statement: str) -> None:
    with shared_engine.connect() as other, shared_engine.connect() as conn:
        other.exec_driver_sql("lock table memos.corpora in access exclusive mode")
        if "memos.corpora" in statement and "lock" not in statement:
            other.rollback()
        with pytest.raises(sa.exc.DBAPIError) as raised:
            run(conn, statement)
        conn.invalidate()
    known = refusal(raised.value, "here")
    assert known is not None
    assert (known.code, known.where) == (STATEMENTS[statement], "here")
    assert "\n" not in str(known)


@pytest.mark.parametrize(
    "setting",
    ["idle_in_transaction_session_timeout", "transaction_timeout", "idle_session_timeout"],
)
def test_a_session_that_a_timeout_ended_is_told_apart_from_a_lost_server(
    shared_engine: sa.Engine, setting: str
) -> None:
    with channel.connect(libpq_url(shared_engine.url)) as conn:
        conn.autocommit = setting == "idle_session_timeout"
        conn.execute(f"set {setting} = 20")
        time.sleep(0.2)
        with pytest.raises(psycopg.Error) as raised:
            conn.execute("select 1")
    known = refusal(raised.value)
    assert known is not None
    assert known.code == "M314"


def test_a_path_does_not_decide_what_an_error_is() -> None:
    with pytest.raises(psycopg.OperationalError) as raised:
        psycopg.connect(host="/tmp/sorry, too many clients already", dbname="x")
    assert not is_full(raised.value)
    known = refusal(raised.value)
    assert known is not None
    assert known.code == "M306"


def test_a_server_without_a_free_connection_is_not_down(tmp_path: Path) -> None:
    """Roles of others find none; our commands still do, until all are in use."""
    small = {"max_connections": "6", "superuser_reserved_connections": "2"}
    with_walls = EmbeddedServer(tmp_path / "home", settings={**FAST, **small})
    with_walls.start()
    opened = []
    try:
        with with_walls._connect("memos") as conn:
            conn.execute("create role stranger login")
        for user in ["stranger"] * 4:
            url = with_walls.url().set(username=user)
            opened.append(create_engine(url, Settings(), application_name="t").connect())
        stranger = create_engine(
            with_walls.url().set(username="stranger"), Settings(), application_name="t"
        )
        with pytest.raises(TargetError, match=r"^M313 .*every connection"):
            check_server(stranger)
        assert with_walls.status().running
        with_walls.start()
        ours = create_engine(with_walls.url(), Settings(), application_name="t")
        opened += [ours.connect(), ours.connect()]
        for ask in (with_walls.status, with_walls.start):
            with pytest.raises(TargetError, match=r"^M313 .*every connection"):
                ask()
    finally:
        for connection in opened:
            connection.close()
        for engine in {connection.engine for connection in opened}:
            engine.dispose()
        with_walls.stop()
