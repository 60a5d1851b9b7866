"""up, down, status and url; secrets stay secret; a bug is one line."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.cli import server
from memos_assets.installation import PROJECT_ROOT
from memos_assets.postgres.migrations import head
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets_tests.cli.conftest import Command


def test_up_starts_status_tells_url_connects_and_down_stops(
    memos_assets: Command, home: Path
) -> None:
    assert memos_assets("status")[0] == 1
    try:
        code, out, _ = memos_assets("up")
        assert code == 0
        assert "with pgvector 0.8.5 is up" in out
        assert "Note: the database holds no consolidation. Fix: " in out
        assert memos_assets("migrate")[0] == 0
        code, out, _ = memos_assets("url")
        address = out.strip().splitlines()[-1]
        engine = sa.create_engine(address.replace("postgresql:", "postgresql+psycopg:", 1))
        with engine.connect() as conn:
            assert conn.exec_driver_sql("select count(*) from memos.embeddings").scalar_one() == 0
        engine.dispose()
        code, out, _ = memos_assets("status")
        assert code == 0
        assert f"schema revision {head()} of {head()}" in out
    finally:
        code, out, _ = memos_assets("down")
        EmbeddedServer(home).stop()
    assert (code, out.strip()) == (0, "Stopped.")
    assert memos_assets("down")[1].strip() == "The embedded PostgreSQL was not running."


@pytest.mark.usefixtures("database")
def test_a_foreign_server_is_not_stopped(memos_assets: Command) -> None:
    assert "does not stop that server" in memos_assets("down")[1]
    assert "is up" in memos_assets("up")[1]
    assert "0 sources" in memos_assets("status")[1]


@pytest.mark.parametrize(
    ("command", "user"),
    [("status", "u:***@"), ("url", "u@"), ("up", "u:***@"), ("verify", "u:***@")],
)
def test_a_password_is_not_shown(
    memos_assets: Command, home: Path, monkeypatch: pytest.MonkeyPatch, command: str, user: str
) -> None:
    assert home
    monkeypatch.setenv("MEMOS_DATABASE_URL", "postgresql://u:sekret@127.0.0.1:1/memos")
    code, out, err = memos_assets(command)
    assert code == (0 if command == "url" else 2)
    assert "sekret" not in out + err
    assert f"{user}127.0.0.1" in out + err


def test_a_password_is_shown_where_it_is_asked_for(
    memos_assets: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home
    monkeypatch.setenv("MEMOS_DATABASE_URL", "postgresql://u:sekret@127.0.0.1:1/memos")
    assert "u:sekret@127.0.0.1:1/memos" in memos_assets("url", "--password")[1]


def test_a_bug_is_one_line_and_its_traceback_a_file(
    memos_assets: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_settings: object) -> sa.URL:
        raise ZeroDivisionError("ouch")

    monkeypatch.setattr(server, "database_url", broken)
    code, out, err = memos_assets("url")
    assert (code, out) == (1, "")
    assert err.startswith("M599 memos-assets: ZeroDivisionError, which is a bug.")
    assert err.count("\n") == 1
    (crash,) = home.glob("crash-*.txt")
    assert "ouch" in crash.read_text()


def test_a_schema_goes_back_and_forth(
    memos_assets: Command, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = memos_assets("migrate", "--to", "base")
    assert (code, out, err.split()[0], err.count("\n")) == (2, "", "M508", 1)
    code, out, _ = memos_assets("migrate", "--to", "base", "--dry-run")
    assert (code, out.startswith(f"Would take back {head()}, ")) == (0, True)
    assert "base" in memos_assets("migrate", "--to", "base", "--yes")[1]
    assert "Would apply 0001, " in memos_assets("migrate", "--dry-run")[1]
    with database.connect() as conn:
        assert conn.exec_driver_sql("select to_regnamespace('memos')").scalar_one() is None
    files = (PROJECT_ROOT / "sql" / "migrations" / "versions").glob("*.py")
    applied = memos_assets("migrate")[1].strip().removeprefix("Applied ").rstrip(".").split(", ")
    # In the order of the chain, which is not that of their numbers.
    assert sorted(applied) == sorted(file.name[:4] for file in files)
    assert memos_assets("migrate")[1].strip() == "Nothing to apply."
    monkeypatch.setenv("MEMOS_APPLICATION_TABLES", "create")
    out = memos_assets("migrate")[1]
    assert out.startswith("memOS's tables are adopted or created: ")
    assert "memories" in out.strip().rstrip(".").split(": ")[1].split(", ")
    assert memos_assets("migrate")[1].strip() == "Nothing to apply."


def test_a_database_that_goes_away_is_one_line_and_no_bug(
    memos_assets: Command, home: Path, database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(_settings: object) -> sa.URL:
        # What dagster-postgres writes at each of its attempts.
        logging.warning("Retrying failed database connection: %s", "refused")
        with database.connect() as conn:
            conn.exec_driver_sql("select pg_terminate_backend(pg_backend_pid())")
        return database.url

    monkeypatch.setattr(server, "database_url", ended)
    code, out, err = memos_assets("url")
    assert (code, out) == (1, "")
    assert err.startswith("M306 database: the server stopped serving this command (terminating")
    assert ". Fix: " in err
    assert err.count("\n") == 1
    assert not list(home.glob("crash-*.txt"))


def test_no_command_imports_pandas() -> None:
    program = (
        "import sys, pyarrow as pa\n"
        "from memos_assets.cli import main\n"
        "try: main(['plan', '--data', '/no/such'])\n"
        "except SystemExit: pa.array(['a']); sys.exit('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.returncode, done.stderr[:5]) == (0, b"M521 ")


def test_an_interrupted_command_is_one_line_and_exit_code_130(
    memos_assets: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_settings: object) -> sa.URL:
        raise KeyboardInterrupt

    assert home
    monkeypatch.setattr(server, "database_url", interrupted)
    code, out, err = memos_assets("url")
    assert (code, out) == (130, "")
    assert err.startswith("Interrupted. Loaded chunks stay loaded;")
    assert err.count("\n") == 1
