"""The manifest is input: damaged ones, foreign ones, links, and manifests of earlier versions."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.archive import lock, records
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.checks import archived_files_are_whole
from memos_assets.consolidate.archive.manifests import Archived, entry_named, read_archive
from memos_assets.errors import TargetError, UsageError
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.consolidate.archive.conftest import Archive


def edited(entry: Archived, **values: object) -> None:
    """Write other values into a manifest; a value of None removes the key."""
    path = entry.folder / "manifest.json"
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None or k in KEPT}))


KEPT = ("pin_digest", "purged_at")
BAD: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "name is a number": ({"name": 7}, "name: Input should be a valid string"),
    "missing key": ({"sha256": None}, "sha256: Field required"),
    "unknown key": ({"extra": 1}, "extra: Unexpected keyword argument"),
    "naive date": ({"retired_at": "2026-01-02T03:04:05"}, "retired_at: Value error, is not a time"),
    "no date": ({"retired_at": "yesterday"}, "retired_at: Value error, Invalid isoformat"),
    "date is a number": ({"retired_at": 1.7e9}, "retired_at: Input should be a valid string"),
    "first year": ({"retired_at": "0001-01-01T00:00:00+14:00"}, "retired_at: Value error"),
    "last year": ({"retired_at": "9999-12-31T23:59:59-14:00"}, "retired_at: Value error"),
    "detour": ({"path": "/data/../etc/meta_buffer.db"}, "path: Value error, is not an absolute"),
    "relative": ({"path": "meta_buffer.db"}, "path: Value error, is not an absolute path"),
    "nul": ({"path": "/data/a\0b"}, "path: Value error, is not an absolute path"),
    "root": ({"path": "/"}, "path: Value error, is not the path of a file"),
    "manifest itself": ({"path": "/data/manifest.json"}, "path: Value error, is not the path"),
    "size": ({"size": -1}, "size: Input should be greater than or equal to 0"),
    "size is true": ({"size": True}, "size: Input should be a valid integer"),
    "digest": ({"sha256": "x" * 64}, "sha256: String should match pattern"),
    "state": ({"state": "gone"}, "state: Input should be 'moving', 'retired'"),
    "of another file": ({"sha256": "0" * 64}, "it is the manifest of meta_buffer-000000000000"),
}


@pytest.mark.parametrize(("values", "said"), BAD.values(), ids=BAD)
def test_a_manifest_of_another_form_is_one_line(
    retired: Archived, values: Mapping[str, Any], said: str
) -> None:
    edited(retired, **values)
    entries, (line,) = read_archive(retired.folder.parent)
    assert entries == []
    assert line.startswith(f"{retired.folder.name}/manifest.json cannot be read ({said}")
    assert "\n" not in line
    assert str(records.damaged(line)).startswith("M374 archive: ")


@pytest.fixture
def retired(tmp_path: Path) -> Archived:
    """Write a manifest by itself, without a file and without a database."""
    from memos_assets.consolidate.archive.manifests import Manifest, write

    manifest = Manifest(
        name="meta_buffer",
        kind="meta_buffer",
        is_source=True,
        path="/data/meta_buffer.db",
        size=1,
        modified_ns=1,
        mode=0o600,
        sha256="ab" * 32,
        tables={"templates": 1},
        retired_at="2026-11-23T08:00:00+00:00",
        state="retired",
    )
    entry = Archived(tmp_path / "archive" / f"meta_buffer-{'ab' * 6}", manifest)
    entry.folder.mkdir(parents=True)
    write(entry)
    ((read,), unreadable) = read_archive(entry.folder.parent)
    assert (read.manifest.digest, unreadable) == (manifest.digest, [])
    return entry


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"[]", id="list"),
        pytest.param(b"\xff\xfe\x00", id="binary"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b" " * (17 << 20), id="huge"),
    ],
)
def test_a_manifest_that_is_none_is_one_line(retired: Archived, content: bytes) -> None:
    (retired.folder / "manifest.json").write_bytes(content)
    entries, (line,) = read_archive(retired.folder.parent)
    assert entries == []
    assert "/manifest.json cannot be read (" in line
    assert len(line) < 400


def test_a_damaged_manifest_does_not_stop_other_files(retiring: Archive) -> None:
    other = b.write_kind(retiring.path.parent, "semantic_memory", memories=[b.memory(1)])
    b.consolidate(retiring.engine, other)
    entry, second = retiring.store(), retiring.store("semantic_memory")
    edited(entry, name=7)
    (said,) = retiring.repair(everything=True)
    assert said.startswith(f"M374 archive: {entry.folder.name}/manifest.json cannot be read (name")
    with archive.locked(retiring.folder):
        archive.restore(retiring.engine, entry_named(retiring.folder, "semantic_memory"))
    assert (other.exists(), second.folder.exists()) == (True, False)
    found = archived_files_are_whole(retiring.engine, MEMOS, retiring.folder)
    assert found["meta_buffer"].observed.startswith("meta_buffer: its manifest in meta_buffer-")


def refused(retiring: Archive, entry: Archived, said: str) -> None:
    (read,) = read_archive(retiring.folder)[0]
    with pytest.raises(TargetError, match=rf"^M373 .*{said}"):
        records.require_known(retiring.engine, read)
    assert not archived_files_are_whole(retiring.engine, MEMOS, retiring.folder)[
        "meta_buffer"
    ].passed
    assert entry.file.exists()


def test_a_manifest_that_was_edited_is_not_believed(retiring: Archive, tmp_path: Path) -> None:
    entry = retiring.store()
    for values in (
        {"path": str(tmp_path / "elsewhere" / "meta_buffer.db")},
        {"retired_at": "2020-01-01T00:00:00+00:00"},
        {"is_source": False},
    ):
        written = (entry.folder / "manifest.json").read_text()
        edited(entry, **values)
        refused(retiring, entry, "its manifest is not the one that was written")
        (entry.folder / "manifest.json").write_text(written)
    records.require_known(retiring.engine, entry)


def test_a_manifest_of_an_earlier_version_is_taken_over_where_the_registry_explains_it(
    retiring: Archive, tmp_path: Path
) -> None:
    entry = retiring.store()
    b.execute(retiring.engine, "delete from memos_ops.archived")
    written = (entry.folder / "manifest.json").read_text()
    edited(entry, path=str(tmp_path / "elsewhere" / "meta_buffer.db"))
    refused(retiring, entry, f"its manifest says {tmp_path}/elsewhere/meta_buffer.db, and the reg")
    assert retiring.repair("meta_buffer")[0].startswith("M373 ")
    assert retiring.states() == []
    (entry.folder / "manifest.json").write_text(written)
    (said,) = retiring.repair()
    assert said.startswith("meta_buffer: the manifest was written by a version that kept no digest")
    assert retiring.states() == [("meta_buffer", "retired")]
    assert retiring.repair() == []
    edited(entry, retired_at="2020-01-01T00:00:00+00:00")
    refused(retiring, entry, "its manifest is not the one that was written")


def test_a_former_manifest_of_a_test_file_stays_in_known_folders(
    retiring: Archive, tmp_path: Path
) -> None:
    entry = retiring.store()
    b.execute(retiring.engine, "delete from memos_ops.archived")
    elsewhere = tmp_path / "elsewhere"
    edited(entry, is_source=False, path=str(elsewhere / "meta_buffer.db"))
    (read,) = read_archive(retiring.folder)[0]
    with pytest.raises(TargetError, match=r"^M373 .*nor MEMOS_DATA explains its path"):
        records.require_known(retiring.engine, read)
    records.require_known(retiring.engine, read, [elsewhere])
    edited(entry, is_source=False, path=str(retiring.path))
    records.require_known(retiring.engine, read_archive(retiring.folder)[0][0])


def links_folder(entry: Archived, outside: Path) -> None:
    shutil.move(entry.folder, outside)
    entry.folder.symlink_to(outside)


def links_file(entry: Archived, outside: Path) -> None:
    shutil.move(entry.file, outside)
    entry.file.symlink_to(outside)


def links_manifest(entry: Archived, outside: Path) -> None:
    shutil.move(entry.folder / "manifest.json", outside)
    (entry.folder / "manifest.json").symlink_to(outside)


@pytest.mark.parametrize("link", [links_folder, links_file, links_manifest])
def test_a_link_in_the_archive_is_not_followed(
    retiring: Archive, tmp_path: Path, link: Callable[[Archived, Path], None]
) -> None:
    entry = retiring.store()
    link(entry, tmp_path / "outside")
    entries, (line,) = read_archive(retiring.folder)
    assert (entries, entry.folder.name in line) == ([], True)
    with pytest.raises(UsageError, match=r"^M550 "):
        entry_named(retiring.folder, "meta_buffer")
    assert (tmp_path / "outside").exists()
    assert not archived_files_are_whole(retiring.engine, MEMOS, retiring.folder)[
        "meta_buffer"
    ].passed


def test_an_archive_that_is_a_link_is_refused(retiring: Archive, tmp_path: Path) -> None:
    entry = retiring.store()
    link = tmp_path / "link"
    link.symlink_to(retiring.folder)
    with pytest.raises(TargetError, match=rf"^M372 .*Fix: .*MEMOS_ARCHIVE={retiring.folder}"):
        archive.locked(link).__enter__()
    assert read_archive(link) == ([], [f"{link} is a link, which is not followed"])
    assert entry.file.exists()


def test_a_file_is_not_restored_through_a_link(retiring: Archive, tmp_path: Path) -> None:
    from memos_assets.errors import SourceError

    entry = retiring.store()
    shutil.move(retiring.path.parent, tmp_path / "elsewhere")
    retiring.path.parent.symlink_to(tmp_path / "elsewhere")
    with archive.locked(retiring.folder), pytest.raises(SourceError, match=r"^M101 .*leads to"):
        archive.restore(retiring.engine, entry)
    assert entry.file.exists()
    assert retiring.states() == [("meta_buffer", "retired")]


def test_a_stranger_who_keeps_the_lock_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "archive"
    with archive.locked(folder):
        pass
    program = (
        "import fcntl, sys, time; file = open(sys.argv[1]); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('.', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, folder / ".memos-assets-archive"], stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.read(1)
        monkeypatch.setattr(lock, "WAIT_SECONDS", 0.3)
        began = time.monotonic()
        with pytest.raises(TargetError, match=rf"^M371 .*locked \(.*\({stranger.pid}\)\); nothing"):
            archive.locked(folder).__enter__()
        assert time.monotonic() - began < 5
        stranger.kill()
    with archive.locked(folder), (folder / ".memos-assets-archive").open() as marker:
        with pytest.raises(BlockingIOError):
            fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.fstat(marker.fileno()).st_mode & 0o077 == 0


def test_a_purge_that_was_interrupted_is_finished_and_a_second_one_finds_that(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = retiring.store()

    def gone(*_: object) -> None:
        raise sa.exc.OperationalError("", {}, Exception("the server went away"))

    with monkeypatch.context() as patched:
        patched.setattr(archive, "finish_purge", gone)
        with archive.locked(retiring.folder), pytest.raises(sa.exc.OperationalError):
            archive.purge(retiring.engine, entry)
    assert retiring.states() == [("meta_buffer", "purging")]
    (said,) = retiring.repair("meta_buffer")
    assert said == "meta_buffer is purged; a run that was interrupted had deleted it"
    assert retiring.repair("meta_buffer") == []
    assert retiring.states() == [("meta_buffer", "purged")]
