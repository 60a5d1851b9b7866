"""Files where none should be: links, pipes, logs of others, copies that a program wrote to."""

import os
import shutil
import socket
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.cli.main import run
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.consolidate.sources.pins import fingerprint, take_pin
from memos_assets.errors import SourceError, TargetError, UsageError
from memos_assets.proof.rows.compare import prove_table
from memos_assets.sqlite import file as sqlite_file
from memos_assets_tests.consolidate import builders as b

NOBODY = 65_534


def memories(folder: Path, *numbers: int) -> Path:
    return b.write_kind(folder, "semantic_memory", memories=[b.memory(n) for n in numbers or (1,)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a root that holds one good file."""
    memories(tmp_path / "data")
    return tmp_path / "data"


@contextmanager
def an_ordinary_user() -> Iterator[Path]:
    """Yield an empty folder; permissions count meanwhile, which they do not for root."""
    with tempfile.TemporaryDirectory() as name:
        user, may_change = os.geteuid(), os.geteuid() == 0
        if may_change:
            os.chown(name, NOBODY, -1)
            os.seteuid(NOBODY)
        try:
            yield Path(name).resolve()
        finally:
            if may_change:
                os.seteuid(user)


def names(root: Path) -> list[str]:
    return [file.path.name for file in b.found(root)]


def test_links_that_lead_out_of_the_root_are_not_followed(folder: Path) -> None:
    elsewhere = memories(folder.with_name("elsewhere"))
    (folder / "file.db").symlink_to(elsewhere)
    (folder / "plain").symlink_to(elsewhere)
    (folder / "folder").symlink_to(elsewhere.parent)
    (folder / "relative.db").symlink_to("../elsewhere/semantic_memory.db")
    (folder / "chain.db").symlink_to("relative.db")
    assert names(folder) == ["semantic_memory.db"]


def test_links_in_a_circle_and_into_nowhere_are_left_out(folder: Path) -> None:
    (folder / "one.db").symlink_to("two.db")
    (folder / "two.db").symlink_to("one.db")
    (folder / "self.db").symlink_to("self.db")
    (folder / "up").symlink_to("..")
    (folder / "nowhere.db").symlink_to("missing.db")
    assert names(folder) == ["semantic_memory.db"]


def test_pipes_sockets_and_devices_are_not_opened(folder: Path) -> None:
    """Opening a pipe waits for a writer, reading /dev/zero never ends."""
    os.mkfifo(folder / "pipe.db")
    os.mkfifo(folder / "pipe")
    (folder / "zero.db").symlink_to("/dev/zero")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "folder.db").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.db"))
        assert names(folder) == ["semantic_memory.db"]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_that_is_passed_as_a_file_is_one_error(
    make: object, tmp_path: Path
) -> None:
    assert callable(make)
    path = memories(tmp_path / "data")
    kind = b.only(path).kind
    assert kind is not None
    path.unlink()
    make(path)
    for attempt in (
        lambda: fingerprint(path),
        lambda: take_pin("memory", kind, path, tmp_path / "pins"),
        lambda: sqlite_file.opened(path).__enter__(),
    ):
        with pytest.raises(SourceError, match=r"^M101 .*not a regular file"):
            attempt()
    assert not sqlite_file.is_sqlite(path)


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_log_that_is_a_link_or_a_pipe_is_not_read(suffix: str, folder: Path) -> None:
    path = folder / "semantic_memory.db"
    log = path.with_name(path.name + suffix)
    log.symlink_to("/dev/zero")
    assert "not a regular file" in b.only(path).why
    log.unlink()
    os.mkfifo(log)
    assert "not a regular file" in b.only(path).why
    with pytest.raises(SourceError, match=r"^M101 "):
        fingerprint(path)


def test_a_file_or_a_folder_that_may_not_be_read_is_named() -> None:
    with an_ordinary_user() as root:
        memories(root / "open")
        closed = memories(root / "closed")
        forbidden = memories(root / "forbidden")
        listed = memories(root / "listed")
        closed.chmod(0)
        forbidden.parent.chmod(0)
        listed.parent.chmod(0o400)
        try:
            found = {file.path: file.error for file in b.found(root)}
        finally:
            forbidden.parent.chmod(0o700)
            listed.parent.chmod(0o700)
    assert {path: error and error.code for path, error in found.items()} == {
        root / "open" / "semantic_memory.db": None,
        closed: "M101",
        forbidden.parent: "M101",
        listed: "M101",
    }


@pytest.mark.parametrize(
    "argument", ["x" * 5_000, "x=" + "y" * 5_000, "~nobody-of-that-name/x", "self"]
)
def test_an_argument_that_can_be_no_path_is_one_error(
    argument: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "self").symlink_to("self")
    with pytest.raises(UsageError, match=r"^M521 .{1,300}$"):
        Root.parse(argument)


@pytest.mark.parametrize("name", [b"bytes\xff.db", b"two\nlines.db", b"\x1b[2J.db"])
def test_a_path_that_cannot_be_printed_is_one_error(name: bytes, folder: Path) -> None:
    os.rename(folder / "semantic_memory.db", os.fsencode(folder) + b"/" + name)  # noqa: PTH104
    with pytest.raises(UsageError, match=r"^M522 [ -~]*$"):
        b.found(folder)


def test_a_name_that_rich_would_take_for_markup_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    b.change(folder / "semantic_memory.db", 'create table "[/red]" (a)')
    b.write_file(folder / "[/b] [bold].db", ['create table "[/red]" (a)'])
    assert run(["plan", "--data", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "[/b] [bold].db" in printed
    assert "not memOS's: tables [/red]" in printed


def test_a_second_name_of_the_same_file_is_not_loaded(folder: Path) -> None:
    path = folder / "semantic_memory.db"
    (folder / "a.db").hardlink_to(path)
    (folder / "z.db").hardlink_to(path)
    treatments = {file.path.name: file.treatment for file in b.found(folder)}
    assert treatments == {"a.db": "list", "semantic_memory.db": "consolidate", "z.db": "list"}
    assert str(path) in b.found(folder)[0].why
    named = b.found(folder, f"mine={folder / 'z.db'}")
    assert {file.source for file in named if file.treatment == "consolidate"} == {"mine"}
    (folder / "a.db-journal").touch()
    assert {file.path.name for file in b.found(folder) if file.treatment == "consolidate"} == {
        "a.db"
    }


def test_a_file_that_became_a_link_out_of_the_root_is_refused(tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    file = b.only(path)
    assert file.kind is not None
    elsewhere = memories(tmp_path / "elsewhere", 2)
    path.unlink()
    path.symlink_to(elsewhere)
    with pytest.raises(SourceError, match=r"^M101 .*the path leads to .*elsewhere"):
        take_pin(file.source, file.kind, path, tmp_path / "pins")
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(elsewhere.parent)
    with pytest.raises(SourceError, match=r"^M101 .*the path leads to .*elsewhere"):
        take_pin(file.source, file.kind, path, tmp_path / "pins")


def with_a_super_journal(path: Path, victim: Path) -> None:
    """Leave a hot journal beside a file that tells SQLite to delete another one."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma cache_size = 1")
        before = path.read_bytes()
        connection.execute("begin")
        connection.execute("update memories set content = hex(randomblob(90000))")
        connection.execute("insert into connections values ('a', 'b', 'c', 1, 1, null)")
        journal = path.with_name(path.name + "-journal").read_bytes()
        connection.execute("rollback")
    path.write_bytes(before)
    name = bytes(victim)
    path.with_name(path.name + "-journal").write_bytes(
        journal
        + struct.pack(">I", 2**30 // 4096 + 1)
        + name
        + struct.pack(">II", len(name), sum(name))
        + bytes.fromhex("d9d505f920a163d7")
    )


def test_a_journal_deletes_no_other_file(tmp_path: Path) -> None:
    path, victim = memories(tmp_path / "data"), tmp_path / "precious.txt"
    victim.write_text("precious")
    with_a_super_journal(path, victim)
    file = b.only(path)
    assert file.error is not None
    assert file.error.code == "M104"
    assert "transaction over several databases" in file.why
    assert victim.read_text() == "precious"
    # This is what it is refused for.
    copy = tmp_path / "copy.db"
    shutil.copy(path, copy)
    shutil.copy(f"{path}-journal", f"{copy}-journal")
    with closing(sqlite3.connect(copy)) as connection:
        connection.execute("select count(*) from memories").fetchone()
    assert not victim.exists()


def test_a_log_of_another_database_is_one_error(tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    other = memories(tmp_path / "other", 2, 3)
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("delete from memories where id = 'memory-2'")
        shutil.copy(f"{other}-wal", f"{path}-wal")
    # SQLite knows a log by its checksums alone, and puts its pages among those of this file.
    error = b.only(path).error
    assert error is not None
    assert error.code == "M104"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_pinned_copy_that_was_written_to_is_neither_loaded_nor_proven(
    replaced: bool,  # noqa: FBT001
    engine: sa.Engine,
    tmp_path: Path,
) -> None:
    path = memories(tmp_path / "data", 1, 2)
    pin = b.observe(engine, path)
    spec = MEMOS.table("semantic_memories")
    if replaced:
        other = Path(shutil.copy(pin.path, tmp_path / "copy.db"))
        b.change(other, "update memories set content = 'forged'")
        stamp = pin.path.stat()
        os.utime(other, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        other.replace(pin.path)
    else:
        stamp = pin.path.stat()
        b.change(pin.path, "update memories set content = 'forged'")
        os.utime(pin.path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises((SourceError, TargetError), match=r"^M109 .*content of the pinned copy"):
        b.load(engine, pin, spec, b.stale(engine, pin, spec.name))
    assert b.rows(engine, "select count(*) from memos.semantic_memories") == [(0,)]
    assert b.stale_chunks(engine, pin, spec.name) == [0]
    with (
        engine.connect() as conn,
        pytest.raises(
            SourceError, match=r"^M109 .*Fix: .*delete the copy, then: memos-assets observe"
        ),
    ):
        prove_table(conn, spec, pin)
    pin.path.unlink()
    again = b.consolidate(engine, path)
    assert again.digest == pin.digest
    assert b.red(engine, again) == {}


def test_a_file_that_is_deleted_before_it_is_opened_is_one_error(tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    root = Root.parse(str(path))
    path.unlink()
    (file,) = find_files(MEMOS, [root])
    assert file.error is not None
    assert file.error.code == "M101"
