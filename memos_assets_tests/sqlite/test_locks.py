"""Processes that have a file open or locked: real connections of another process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from memos_assets.sqlite.locks import locks_on, logs_beside, open_files
from memos_assets_tests.consolidate import builders as b

CHILD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchone()
print("ready", flush=True)
sys.stdin.readline()
"""


@contextmanager
def connected(path: Path, *statements: str) -> Iterator[int]:
    """Keep a connection of another process open after it ran the statements; yield its id."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), *statements],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        yield child.pid
        child.communicate("\n", timeout=20)


@pytest.mark.parametrize(
    ("statements", "locks"),
    [
        pytest.param(["select count(*) from templates"], [], id="idle"),
        pytest.param(["begin", "select count(*) from templates"], ["is being read"], id="reads"),
        pytest.param(["begin immediate"], ["is being written", "is being read"], id="writes"),
        pytest.param(
            ["begin exclusive"],
            ["is about to be written", "is being written", "is being read"],
            id="exclusive",
        ),
    ],
)
def test_a_connection_of_another_process_is_seen(
    tmp_path: Path, statements: list[str], locks: list[str]
) -> None:
    path = b.write_kind(tmp_path, "meta_buffer", templates=[b.template(1)])
    before = path.read_bytes()
    with connected(path, *statements) as pid:
        (process,) = open_files([path, tmp_path / "other.db"]).processes[path]
        assert process.endswith(f"({pid})")
        assert locks_on(path) == [f"{lock} by process {pid}" for lock in locks]
    assert open_files([path]).processes == {}
    assert locks_on(path) == []
    assert path.read_bytes() == before


def test_a_file_that_is_open_under_another_name_is_seen(tmp_path: Path) -> None:
    path = b.write_kind(tmp_path, "meta_buffer", templates=[b.template(1)])
    other = tmp_path / "other name.db"
    other.hardlink_to(path)
    with connected(other, "select count(*) from templates"):
        assert list(open_files([path]).processes) == [path]


def test_logs_beside_a_file_are_named(tmp_path: Path) -> None:
    path = b.write_kind(tmp_path, "meta_buffer", templates=[b.template(1)])
    assert logs_beside(path) == []
    with connected(path, "pragma journal_mode = wal", "select count(*) from templates"):
        assert logs_beside(path) == ["meta_buffer.db-wal", "meta_buffer.db-shm"]
