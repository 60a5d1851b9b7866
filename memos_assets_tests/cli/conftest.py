"""The command line in this process, on a database of its own."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.cli import display
from memos_assets.cli.main import run
from memos_assets.demo import write_demo
from memos_assets.postgres import target

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the settings to an empty home."""
    path = tmp_path / "home with space"
    monkeypatch.setenv("MEMOS_HOME", str(path))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return path


@pytest.fixture
def database(
    home: Path, database_url: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> Iterator[sa.Engine]:
    """Point the settings to a database of the test server, and return an engine on it."""
    assert home
    monkeypatch.setenv("MEMOS_DATABASE_URL", database_url.render_as_string(hide_password=False))
    monkeypatch.setattr(target, "_ready", set())
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def memos_assets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command; return exit code, output and errors."""
    monkeypatch.setattr(display.console, "width", 160)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def answers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have standard input be a terminal at which somebody answers."""
    monkeypatch.setattr("sys.stdin", _Terminal(f"{text}\n" if text else ""))


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small demo once; tests that change it copy it."""
    folder = tmp_path_factory.mktemp("demo") / "memOS"
    write_demo(folder, scale="small", seed=7)
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for root, _, names in os.walk(folder)
        for path in (Path(root) / name for name in names)
    }
