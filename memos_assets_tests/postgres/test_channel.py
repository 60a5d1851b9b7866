"""Every connection sets what it needs, whatever the environment, the database or a role says."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres import channel
from memos_assets.postgres.dagster_storage import _dagster_url
from memos_assets.postgres.engine import check_server, create_engine
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.postgres.transaction_pooler import transaction_pooler

TEXT = "café Ω 日本語 \U0001f600"
HOSTILE = {
    "client_encoding": "LATIN1",
    "DateStyle": "German",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "search_path": "nowhere",
    "extra_float_digits": "-15",
    "bytea_output": "escape",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "serializable",
    "gin_fuzzy_search_limit": "1",
    "statement_timeout": "150",
    "idle_in_transaction_session_timeout": "150",
    "transaction_timeout": "150",
}
AS_SENT = sa.text("select encode(convert_to(:text, 'UTF8'), 'hex')")
READ = "select U&'caf\\00E9 \\03A9 \\65E5\\672C\\8A9E \\+01F600', 0.1::float8, pg_sleep(0.2)"


def assert_whole(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        assert conn.execute(AS_SENT, {"text": TEXT}).scalar_one() == TEXT.encode().hex()
        assert tuple(conn.exec_driver_sql(READ).one())[:2] == (TEXT, 0.1)
        shown = {name: conn.exec_driver_sql(f"show {name}").scalar_one() for name in HOSTILE}
    ours = {**channel.SETTINGS, **channel.NO_TIMEOUTS, "transaction_timeout": "0"}
    assert shown == {name: ours[name] for name in HOSTILE}


@pytest.mark.parametrize("level", ["database {database}", "role {role}"])
def test_settings_of_a_database_or_a_role_do_not_change_a_connection(
    database_url: sa.URL, settings: Settings, level: str
) -> None:
    name = f"role_{database_url.database}"
    target = level.format(database=database_url.database, role=name)
    before = create_engine(database_url, settings, application_name="tests", pooled=False)
    with before.begin() as conn:
        conn.exec_driver_sql(f"create role {name} superuser login")
        for setting, value in HOSTILE.items():
            conn.exec_driver_sql(f"alter {target} set {setting} = '{value}'")
    engine = create_engine(
        database_url.set(username=name), settings, application_name="tests", pooled=False
    )
    try:
        assert_whole(engine)
    finally:
        with before.begin() as conn:
            conn.exec_driver_sql(f"drop owned by {name}")
            conn.exec_driver_sql(f"drop role {name}")


def test_the_environment_does_not_change_a_connection(
    database_url: sa.URL,
    settings: Settings,
    server: EmbeddedServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGDATESTYLE", "German")
    monkeypatch.setenv("PGTZ", "Asia/Kathmandu")
    options = " ".join(f"-c {name}={value}" for name, value in HOSTILE.items())
    monkeypatch.setenv("PGOPTIONS", options)
    assert_whole(create_engine(database_url, settings, application_name="tests", pooled=False))
    with server._connect("postgres") as conn:
        assert (conn.info.encoding, conn.execute("select 'é'").fetchone()) == ("utf-8", ("é",))
    dagster = sa.create_engine(_dagster_url(database_url), poolclass=sa.NullPool)
    with dagster.connect() as conn:
        assert conn.execute(AS_SENT, {"text": TEXT}).scalar_one() == TEXT.encode().hex()
        assert conn.exec_driver_sql("show search_path").scalar_one() == "dagster"
        assert conn.exec_driver_sql("show DateStyle").scalar_one() == "ISO, MDY"


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_of_another_encoding_is_refused_before_anything_is_written(
    server: EmbeddedServer, settings: Settings, encoding: str
) -> None:
    name = f"test_encoding_{encoding.lower()}"
    with server._connect("postgres") as administrator:
        administrator.execute(
            f"create database {name} template template0 encoding '{encoding}' locale 'C' "
            "locale_provider libc"
        )
        try:
            engine = create_engine(server.url(name), settings, application_name="t", pooled=False)
            with pytest.raises(TargetError, match=rf"^M308 .*{encoding}.*encoding UTF8"):
                check_server(engine)
        finally:
            administrator.execute(f"drop database {name}")


def test_triggers_that_are_switched_off_are_noticed(
    database_url: sa.URL, settings: Settings
) -> None:
    url = database_url.update_query_dict({"options": "-c session_replication_role=replica"})
    engine = create_engine(url, settings, application_name="tests", pooled=False)
    with pytest.raises(TargetError, match=r"^M309 .*session_replication_role is replica"):
        check_server(engine)


@contextmanager
def pooled(url: sa.URL) -> Iterator[sa.URL]:
    assert url.username is not None
    assert url.database is not None
    assert url.port is not None
    place = Path(str(url.query["host"]))
    with transaction_pooler(place, url.port, url.username, url.database) as port:
        yield sa.URL.create(
            "postgresql+psycopg",
            username=url.username,
            host="127.0.0.1",
            port=port,
            database=url.database,
        )


def test_a_pooler_in_transaction_mode_is_noticed_at_the_start(
    database_url: sa.URL, settings: Settings
) -> None:
    with pooled(database_url) as url:
        engine = create_engine(url, settings, application_name="tests", pooled=False)
        with pytest.raises(TargetError, match=r"^M312 .*transaction mode.*session mode"):
            check_server(engine)
