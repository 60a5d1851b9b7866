"""Values that are too large, or say that they are: one error names the row, memory stays low."""

import resource
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.consolidate.loading.dry_run import forecast_file
from memos_assets.consolidate.sources.pins import take_pin
from memos_assets.errors import SourceError
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.errors import LONGEST_ROW_BYTES
from memos_assets_tests.consolidate import builders as b

MEMORY = 1024 if sys.platform == "linux" else 1


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MEMORY


def refusal(path: Path, pins: Path) -> SourceError:
    """Return the error that refuses a file, when it is found or when it is pinned."""
    file = b.only(path)
    if file.error is not None:
        assert isinstance(file.error, SourceError)
        return file.error
    assert file.kind is not None
    with pytest.raises(SourceError) as refused:
        take_pin(file.source, file.kind, path, pins)
    with pytest.raises(SourceError):
        forecast_file(file)
    assert not list(pins.glob("*.db"))
    return refused.value


@pytest.mark.parametrize("column", ["content", "embedding"])
def test_a_row_that_is_too_large_is_named_and_never_read_into_memory(
    column: str, tmp_path: Path
) -> None:
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1), b.memory(9)])
    b.change(path, f"update memories set {column} = zeroblob(300000000) where rowid = 9")
    before = peak_bytes()
    error = refusal(path, tmp_path / "pins")
    assert error.code == "M108"
    assert f"more than {LONGEST_ROW_BYTES:,} bytes" in error.what
    assert error.where == str(path)
    if column == "content":
        assert "memories rowid 9" in error.what
    assert peak_bytes() - before < 100_000_000


def test_a_row_of_16_megabytes_is_loaded(engine: sa.Engine, tmp_path: Path) -> None:
    text = "x" * (LONGEST_ROW_BYTES // 4)
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1, content=text)])
    pin = b.consolidate(engine, path)
    assert b.rows(engine, "select length(content) from memos.semantic_memories") == [(len(text),)]
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize("size_bytes", [b"\xbf\xff\xff\x7f", b"\x84\x80\x80\x00", b"\xff" * 9])
def test_a_small_file_that_states_a_huge_row_is_one_error(
    size_bytes: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "data" / "semantic_memory.db"
    path.parent.mkdir()
    b.write_kind(path.parent, "semantic_memory", memories=[b.memory(1, content="y" * 100)])
    with closing(sqlite3.connect(path)) as connection:
        page, size = connection.execute(
            "select rootpage, (select page_size from pragma_page_size) from sqlite_master"
            " where name = 'memories'"
        ).fetchone()
    content = bytearray(path.read_bytes())
    start = (page - 1) * size
    cell = start + int.from_bytes(content[start + 8 : start + 10], "big")
    content[cell : cell + len(size_bytes)] = size_bytes
    path.write_bytes(content)
    before = peak_bytes()
    assert refusal(path, tmp_path / "pins").code in ("M104", "M108")
    assert peak_bytes() - before < 100_000_000


def test_a_header_that_states_more_pages_than_there_are_is_one_error(tmp_path: Path) -> None:
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1)])
    content = bytearray(path.read_bytes())
    content[28:32] = (2**31).to_bytes(4, "big")
    path.write_bytes(content)
    assert refusal(path, tmp_path / "pins").code == "M104"


def test_a_name_of_a_megabyte_is_shortened_where_it_is_shown(tmp_path: Path) -> None:
    path = b.write_file(tmp_path / "other.db", [f'create table "{"n" * 500_000}" (a)'])
    with closing(sqlite3.connect(path)) as connection:
        for number in range(100):
            connection.execute(f"create table t{number} (a)")
    assert len(b.only(path).why) < 1_000


def test_a_read_that_stops_at_the_limit_leaves_the_connection_usable(tmp_path: Path) -> None:
    path = b.write_file(tmp_path / "a.db", ["create table t (a)"])
    b.change(path, "insert into t values (zeroblob(70000000))")
    with sqlite_file.opened(path) as connection:
        with pytest.raises(sqlite3.DataError):
            connection.execute("select a from t").fetchone()
        assert connection.execute("select length(a) from t").fetchone() == (70_000_000,)
