"""Engines on a real server: addresses, secrets, versions, and connections that die."""

import traceback

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from memos_assets.errors import MemosAssetsError, TargetError, UsageError
from memos_assets.postgres import engine as engine_module
from memos_assets.postgres.engine import (
    check_server,
    create_engine,
    database_url,
    libpq_url,
    parse_url,
    shown,
)
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings

PASSWORD = "s3kr t/@:%&é'"
ENCODED = "s3kr%20t%2F%40%3A%25%26%C3%A9%27"


def assert_hidden(text: str) -> None:
    for part in ("s3kr", ENCODED, PASSWORD):
        assert part not in text


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"]
)
def test_every_usual_spelling_of_a_url_is_taken(scheme: str) -> None:
    url = parse_url(f"{scheme}://user:{ENCODED}@host:5433/memos?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.database, url.password) == ("host", 5433, "memos", PASSWORD)
    assert url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("user:s3kret@host/memos", id="no scheme"),
        pytest.param("mysql://user:s3kret@host/memos", id="another system"),
        pytest.param(
            "postgresql://user:s3kret@host:s3kret/memos", id="a port that is not a number"
        ),
        pytest.param("postgresql://user:s3k@s3kret@host/memos", id="a password with an @"),
        pytest.param("postgresql://user:s3kret@host", id="no database"),
        pytest.param("postgresql://user@host/memos?sslpassword=s3kret", id="another secret"),
    ],
)
def test_a_bad_url_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(UsageError, match=r"^M502 MEMOS_DATABASE_URL: ") as raised:
        database_url(Settings(database_url=SecretStr(value)))
    assert "s3k" not in "".join(traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(f"postgresql://user:{ENCODED}@host/memos", id="before the @"),
        pytest.param(f"postgresql://user@host/memos?password={ENCODED}", id="in the query"),
    ],
)
def test_a_password_is_masked_wherever_it_was_written(value: str) -> None:
    url = parse_url(value)
    engine = create_engine(url, Settings(), application_name="tests")
    for text in (shown(url), repr(url), str(url), repr(engine), str(engine.url), libpq_url(url)):
        assert_hidden(text)
    assert shown(url) == "postgresql://user:***@host/memos"
    assert libpq_url(url, password=True) == f"postgresql://user:{ENCODED}@host/memos"
    given = psycopg.conninfo.conninfo_to_dict(libpq_url(url, password=True))
    assert given["password"] == PASSWORD


def test_a_server_that_refuses_us_is_named_without_the_password(server: EmbeddedServer) -> None:
    """The server's own complaint is made to contain the password, percent-encoded and plain."""
    url = server.url(f"no {PASSWORD} {ENCODED}").set(password=PASSWORD)
    engine = create_engine(url, Settings(), application_name="tests", pooled=False)
    with pytest.raises(TargetError, match=r"^M304 .*does not exist") as raised:
        check_server(engine)
    assert raised.value.__cause__ is None
    assert PASSWORD not in raised.value.what
    assert ENCODED not in raised.value.what


def test_nobody_listening_is_named(settings: Settings) -> None:
    url = parse_url("postgresql://user:s3kret@127.0.0.1:1/memos")
    engine = create_engine(url, settings, application_name="tests", pooled=False)
    with pytest.raises(TargetError, match=r"^M304 postgresql://user:\*\*\*@127") as raised:
        check_server(engine)
    assert "s3kret" not in "".join(traceback.format_exception(raised.value))


def test_psql_and_psycopg_accept_a_socket_path_with_spaces() -> None:
    url = sa.URL.create(
        "postgresql+psycopg", "postgres", port=5432, database="memos", query={"host": "/a b/it's"}
    )
    written = libpq_url(url)
    assert written == "postgresql://postgres@/memos?host=/a%20b/it%27s&port=5432"
    assert psycopg.conninfo.conninfo_to_dict(written) == {
        "user": "postgres",
        "dbname": "memos",
        "host": "/a b/it's",
        "port": "5432",
    }


def test_without_a_url_the_embedded_server_is_started(server: EmbeddedServer) -> None:
    """Here it runs already; starting it is idempotent, and its own settings stay."""
    assert database_url(Settings(home=server.home)) == server.url()


def test_the_pool_is_as_configured(database_url: sa.URL) -> None:
    default = create_engine(database_url, Settings(), application_name="tests").pool
    assert isinstance(default, sa.QueuePool)
    assert (default.size(), default._max_overflow) == (10, 20)
    assert (default._recycle, default._timeout, default._pre_ping) == (1800, 5, True)
    chosen = Settings(pool_size=2, max_overflow=3, pool_recycle_seconds=4, pool_timeout_seconds=5)
    small = create_engine(database_url, chosen, application_name="tests").pool
    assert isinstance(small, sa.QueuePool)
    assert (small.size(), small._max_overflow, small._recycle, small._timeout) == (2, 3, 4, 5)
    unpooled = create_engine(database_url, chosen, application_name="tests", pooled=False)
    assert isinstance(unpooled.pool, sa.NullPool)


def test_a_connection_says_who_it_is_and_speaks_utc(database_url: sa.URL) -> None:
    url = database_url.update_query_dict({"options": "-c work_mem=12MB"})
    settings = Settings(lock_timeout_ms=1234)
    engine = create_engine(url, settings, application_name="tests:who", pooled=False)
    wanted = ("application_name", "lock_timeout", "timezone", "work_mem")
    with engine.connect() as conn:
        found = [conn.exec_driver_sql(f"show {name}").scalar_one() for name in wanted]
    assert found == ["tests:who", "1234ms", "UTC", "12MB"]


def test_the_next_query_succeeds_after_the_server_closed_idle_connections(
    engine: sa.Engine, database_url: sa.URL, settings: Settings
) -> None:
    opened = [engine.connect() for _ in range(3)]
    before = {conn.exec_driver_sql("select pg_backend_pid()").scalar_one() for conn in opened}
    for conn in opened:
        conn.close()
    other = create_engine(database_url, settings, application_name="other", pooled=False)
    with other.connect() as conn:
        closed = conn.execute(
            sa.text("select count(pg_terminate_backend(pid, 5000)) from unnest(:pids) as pid"),
            {"pids": list(before)},
        ).scalar_one()
    assert closed == 3
    with engine.connect() as conn:
        assert conn.exec_driver_sql("select pg_backend_pid()").scalar_one() not in before


def test_a_usable_server_tells_its_versions_and_gets_the_extension(
    server: EmbeddedServer, database_url: sa.URL, settings: Settings
) -> None:
    engine = create_engine(database_url, settings, application_name="tests", pooled=False)
    with engine.begin() as conn:
        conn.exec_driver_sql("drop extension vector cascade")
    facts = check_server(engine)
    assert facts == check_server(engine)
    assert facts.server == server.status().version
    assert facts.pgvector == "0.8.5"
    with engine.connect() as conn:
        distance = conn.exec_driver_sql(
            "select '[1,2]'::public.vector operator(public.<->) '[1,4]'"
        ).scalar_one()
    assert distance == 2


def test_an_old_server_is_refused(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MINIMUM_SERVER", 99)
    with pytest.raises(TargetError, match=r"^M301 .*PostgreSQL 18.*, 99 or newer is needed"):
        check_server(engine)


def test_an_old_pgvector_is_refused_and_the_fix_is_to_install_a_newer_one(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MINIMUM_PGVECTOR", (9, 0))
    with pytest.raises(TargetError, match=r"^M302 .*0\.8\.5 is installed, 9\.0 .*install pgvector"):
        check_server(engine)


def test_an_old_extension_beside_a_newer_library_has_to_be_updated(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "update pg_extension set extversion = '0.7.4' where extname = 'vector'"
        )
    with pytest.raises(TargetError, match=r"^M302 .*0\.7\.4 is installed.*alter extension vector"):
        check_server(engine)


def test_a_user_without_the_right_to_create_the_extension_is_told_who_may(
    engine: sa.Engine, database_url: sa.URL, settings: Settings
) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql("drop extension vector cascade")
        conn.exec_driver_sql("create role powerless login")
    try:
        powerless = create_engine(
            database_url.set(username="powerless"), settings, application_name="t", pooled=False
        )
        with pytest.raises(TargetError, match=r"^M303 .*may not create .*superuser") as raised:
            check_server(powerless)
    finally:
        with engine.begin() as conn:
            conn.exec_driver_sql("drop role powerless")
    assert isinstance(raised.value, MemosAssetsError)
