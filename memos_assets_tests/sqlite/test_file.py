"""Files that are written while they are read, and files whose names are words of errors."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.consolidate.sources.pins import file_digests, take_pin
from memos_assets.errors import SourceError
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.errors import LONGEST_ROW_BYTES
from memos_assets_tests.consolidate import builders as b

#: Adds and removes a pair of rows in one transaction, as fast as it can, and says when it began.
WRITER = """
import itertools, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute(f"pragma journal_mode = {sys.argv[2]}")
connection.execute("pragma synchronous = off")
connection.execute("pragma cache_size = 5")
for number in itertools.count(1):
    connection.execute("begin immediate")
    for part in "ab":
        connection.execute(
            "insert or replace into connections values (?, ?, 'written', 1, 1, null)",
            (f"{number % 50}{part}", "x" * 3000),
        )
    connection.execute("commit")
    if number == 20:
        print("writing", flush=True)
"""
MODES = ("delete", "truncate", "persist", "wal")


def memories(folder: Path) -> Path:
    return b.write_kind(folder, "semantic_memory", memories=[b.memory(n) for n in range(1, 40)])


@contextmanager
def written(path: Path, mode: str) -> Iterator[None]:
    """Have another process write into a file all the time."""
    command = [sys.executable, "-c", WRITER, str(path), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "writing\n"
            yield
            assert writer.poll() is None
        finally:
            writer.kill()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_is_written_all_the_time_is_read_at_one_moment(
    mode: str, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    with written(path, mode):
        for _ in range(20):
            (file,) = find_files(MEMOS, [Root.parse(str(path))])
            assert file.treatment == "consolidate", file.error
            with sqlite_file.opened(path) as connection:
                rows, whole = connection.execute(
                    "select count(*), (select count(*) from memories) from connections not indexed"
                ).fetchone()
                assert (rows % 2, whole) == (0, 39)
                assert connection.execute("pragma quick_check(connections)").fetchall() == [("ok",)]
            assert file_digests(path)
        assert file.kind is not None
        pin = take_pin(file.source, file.kind, path, tmp_path / "pins")
        assert pin.rows["memories"] == 39


@pytest.mark.parametrize("mode", MODES)
def test_the_last_commit_of_a_killed_writer_is_read_and_nothing_is_written_beside_it(
    mode: str, tmp_path: Path
) -> None:
    """Killed in midst of a transaction; what it left is copied, because its own end removes it."""
    path, left = memories(tmp_path / "writer"), tmp_path / "data"
    left.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"pragma journal_mode = {mode}")
        connection.execute("insert into connections values ('a', 'b', 'c', 1, 1, null)")
        connection.execute("pragma cache_size = 1")
        connection.execute("begin")
        connection.execute("update memories set content = hex(randomblob(9000))")
        connection.execute("delete from connections")
        for file in path.parent.iterdir():
            if not file.name.endswith("-shm"):
                shutil.copy(file, left / file.name)
        connection.execute("rollback")
    there = names(left)
    assert len(there) == 2
    copy = left / path.name
    before = file_digests(copy)
    with sqlite_file.opened(copy) as connection:
        assert connection.execute("select count(*) from connections").fetchone() == (1,)
        assert connection.execute("select max(length(content)) from memories").fetchone()[0] < 99
    assert names(left) == there
    assert file_digests(copy) == before


@pytest.mark.parametrize(
    "name",
    ["busy_memory", "locked", "malformed", "encrypted", "too big", "truncated", "no such table"],
)
def test_a_name_like_the_words_of_an_error_is_only_a_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    path = memories(folder).rename(folder / f"{name}.db")
    root = Root.parse(f"semantic={path}")
    assert find_files(MEMOS, [root])[0].treatment == "consolidate"
    path.write_bytes(b"x" * 5000)
    (file,) = find_files(MEMOS, [root])
    assert file.error is not None
    assert file.error.code == "M103"
    path.unlink()
    assert find_files(MEMOS, [root])[0].error.code == "M101"  # type: ignore[union-attr]


def test_errors_are_told_apart_by_their_codes_not_by_their_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_TIMEOUT_SECONDS", 0.1)

    def code(path: Path, statement: str = "select 1") -> str:
        with pytest.raises(SourceError) as refused, sqlite_file.opened(path) as connection:
            connection.execute(statement).fetchall()
        return refused.value.code

    path = memories(tmp_path / "data")
    for word in ("locked", "busy", "encrypted", "too big", "disk image is malformed"):
        assert code(path, f'select "a"."{word}"') == "M101"
        assert code(path, f'select * from "{word}"') == "M104"
    assert code(path, 'select "no such function"(1)') == "M105"
    assert code(path, "select id from memories order by id collate locked") == "M105"
    long = f"zeroblob({LONGEST_ROW_BYTES + 1})"
    b.change(path, f"update memories set content = {long} where rowid = 1")
    assert code(path, "select * from memories") == "M108"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin exclusive")
        assert code(path) == "M102"
    (path.parent / "cut.db").write_bytes(path.read_bytes()[:5000])
    assert code(path.parent / "cut.db") == "M104"


def test_out_of_memory_is_said_as_it_is(tmp_path: Path) -> None:
    """A sound file of one long row, read under a limit on the memory of the process."""
    path = memories(tmp_path / "data")
    b.change(path, "update memories set content = zeroblob(60000000) where rowid = 1")
    code = (
        "import resource, sys; from pathlib import Path; import psutil\n"
        "from memos_assets.sqlite import file; from memos_assets.errors import SourceError\n"
        "limit = psutil.Process().memory_info().vms + 50_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "try:\n"
        "    with file.opened(Path(sys.argv[1])) as connection:\n"
        "        connection.execute('select * from memories').fetchall()\n"
        "except SourceError as error: print(error)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("M120 ")
    assert "ran out of memory" in said
