"""Moving into the archive and back: crashes, refusals, and V13."""

import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.archive import manifests
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.checks import archived_files_are_whole
from memos_assets.consolidate.archive.eligibility import Candidate, find_candidates, manifest_of
from memos_assets.consolidate.archive.forget import forget
from memos_assets.consolidate.archive.manifests import Archived, entry_named, read_archive
from memos_assets.consolidate.archive.repair import Repaired
from memos_assets.consolidate.archive.repair import repair as repair_archive
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.observe import observe_source, register_files
from memos_assets.errors import SourceError, UsageError
from memos_assets.finding import Finding
from memos_assets.proof.rows.sources import source_unchanged
from memos_assets_tests.consolidate import builders as b

WHEN = 1_700_000_000_123_456_789


@pytest.fixture
def engine(shared_engine: sa.Engine) -> Iterator[sa.Engine]:
    """Give each test the module's database without a source."""
    yield shared_engine
    b.execute(shared_engine, "update memos_ops.sources set retired_to = null")
    forget(shared_engine, MEMOS, "meta_buffer", with_rows=True)
    assert b.rows(shared_engine, "select 1 from memos_ops.chunks") == []
    assert b.rows(shared_engine, "select 1 from memos.thought_templates") == []


@pytest.fixture
def path(engine: sa.Engine, tmp_path: Path) -> Path:
    """Write and load a file with a time and a mode of its own."""
    path = b.write_kind(tmp_path / "data", "meta_buffer", templates=[b.template(1), b.template(2)])
    path.chmod(0o640)
    os.utime(path, ns=(WHEN, WHEN))
    b.consolidate(engine, path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def candidate(engine: sa.Engine) -> Candidate:
    with engine.connect() as conn:
        (found,) = find_candidates(conn, MEMOS, [])
    return found


def store(engine: sa.Engine, folder: Path) -> Archived:
    with archive.locked(folder):
        return archive.store(engine, folder, manifest_of(engine, candidate(engine)))


def repair(
    engine: sa.Engine, folder: Path, *, named: Sequence[str] | None = None
) -> list[Repaired]:
    with archive.locked(folder):
        return repair_archive(engine, folder, named=named)


def retired_to(engine: sa.Engine) -> str | None:
    ((place,),) = b.rows(engine, "select retired_to from memos_ops.sources")
    return place  # type: ignore[no-any-return]


def v13(engine: sa.Engine, folder: Path) -> Finding:
    return archived_files_are_whole(engine, MEMOS, folder)["meta_buffer"]


def test_a_file_is_moved_and_comes_back_as_it_was(
    engine: sa.Engine, path: Path, folder: Path
) -> None:
    before, inode = path.read_bytes(), path.stat().st_ino
    entry = store(engine, folder)
    assert not path.exists()
    assert entry.file == folder / f"meta_buffer-{entry.manifest.sha256[:12]}" / "meta_buffer.db"
    assert entry.file.stat().st_ino == inode
    assert retired_to(engine) == str(entry.file)
    written = json.loads((entry.folder / "manifest.json").read_text())
    assert written["state"] == "retired"
    assert (written["tables"], written["size"]) == ({"templates": 2}, len(before))
    assert (written["modified_ns"], written["mode"]) == (WHEN, 0o640)
    assert set(written["versions"]) == {"memos-assets", "postgresql", "pgvector"}
    assert v13(engine, folder).passed

    with archive.locked(folder):
        archive.restore(engine, entry)
    status = path.stat()
    assert path.read_bytes() == before
    assert (status.st_ino, status.st_mtime_ns, status.st_mode & 0o777) == (inode, WHEN, 0o640)
    assert status.st_nlink == 1
    assert retired_to(engine) is None
    assert read_archive(folder) == ([], [])
    assert [p.name for p in folder.iterdir()] == [".memos-assets-archive"]


STEPS = ["_rename", "sync", "file_sha256", "with_state", "_mirror"]


class Crash(BaseException):
    """Ends everything, as a kill does."""


def crash_at(monkeypatch: pytest.MonkeyPatch, step: str, *, after: bool, skip: int = 0) -> None:
    """Have a step of a move raise once, before or after it did its work."""
    whole: Callable[..., object] = getattr(archive, step)
    calls = 0

    def crashing(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls != skip + 1:
            return whole(*arguments)
        if after:
            whole(*arguments)
        raise Crash

    monkeypatch.setattr(archive, step, crashing)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["write", *STEPS])
def test_a_crash_at_any_step_of_a_retirement_is_finished_or_undone(
    engine: sa.Engine,
    path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    *,
    after: bool,
) -> None:
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        crash_at(patched, step, after=after)
        with pytest.raises(Crash):
            store(engine, folder)
    # Wherever it came to: the bytes are in one place, and nothing else says otherwise.
    entries, unreadable = read_archive(folder)
    assert unreadable == []
    files = [p for p in (path, *(e.file for e in entries)) if p.exists()]
    assert [p.read_bytes() for p in files] == [before]

    repair(engine, folder)
    assert repair(engine, folder) == []
    assert v13(engine, folder).passed
    if path.exists():
        assert retired_to(engine) is None
        store(engine, folder)
    (entry,) = read_archive(folder)[0]
    assert entry.manifest.state == "retired"
    assert entry.file.read_bytes() == before
    assert retired_to(engine) == str(entry.file)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", ["_move_back", "with_state", "_mirror", "discard", "sync"])
def test_a_crash_at_any_step_of_a_restoration_is_finished_or_undone(
    engine: sa.Engine,
    path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    *,
    after: bool,
) -> None:
    before = path.read_bytes()
    entry = store(engine, folder)
    with monkeypatch.context() as patched:
        crash_at(patched, step, after=after)
        with pytest.raises(Crash), archive.locked(folder):
            archive.restore(engine, entry)
    repair(engine, folder)
    assert repair(engine, folder) == []
    assert v13(engine, folder).passed
    if not path.exists():
        with archive.locked(folder):
            archive.restore(engine, entry_named(folder, "meta_buffer"))
    assert path.read_bytes() == before
    assert path.stat().st_nlink == 1
    assert (retired_to(engine), read_archive(folder)) == (None, ([], []))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("skip", [0, 1], ids=["purging", "purged"])
def test_a_crash_while_purging_keeps_the_file_or_its_manifest(
    engine: sa.Engine,
    path: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    skip: int,
    *,
    after: bool,
) -> None:
    assert path.exists()
    entry = store(engine, folder)
    with monkeypatch.context() as patched:
        crash_at(patched, "with_state", after=after, skip=skip)
        with pytest.raises(Crash), archive.locked(folder):
            archive.purge(engine, entry)
    repair(engine, folder)
    (left,) = read_archive(folder)[0]
    assert left.manifest.state == ("retired" if entry.file.exists() else "purged")
    assert entry.file.exists() == (skip == 0)
    assert v13(engine, folder).passed


def test_another_file_system_is_refused_and_leaves_nothing(
    engine: sa.Engine, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        with pytest.raises(SourceError, match=r"^M111 .*Fix: point MEMOS_ARCHIVE to a folder on"):
            store(engine, folder)
    assert path.exists()
    assert read_archive(folder) == ([], [])
    assert len(list(folder.iterdir())) == 1


def test_a_file_that_changes_or_is_opened_while_it_is_moved_comes_back(
    engine: sa.Engine, path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = archive._rename

    def written(source: Path, place: Path) -> None:
        whole(source, place)
        with place.open("ab") as file:
            file.write(b"!")

    with monkeypatch.context() as patched:
        patched.setattr(archive, "_rename", written)
        with pytest.raises(SourceError, match=r"^M112 .*changed while it was moved; it is at its"):
            store(engine, folder)
    assert path.read_bytes().endswith(b"!")
    os.truncate(path, path.stat().st_size - 1)
    manifest = manifest_of(engine, candidate(engine))
    with path.open("rb"), archive.locked(folder), pytest.raises(SourceError) as caught:
        archive.store(engine, folder, manifest)
    assert "another process opened it while it was moved" in caught.value.what
    assert path.exists()
    assert (retired_to(engine), read_archive(folder)) == (None, ([], []))


def test_a_restoration_replaces_nothing_and_takes_no_other_bytes(
    engine: sa.Engine, path: Path, folder: Path
) -> None:
    entry = store(engine, folder)
    path.write_bytes(b"made anew")
    with archive.locked(folder):
        with pytest.raises(UsageError, match=r"^M552 .*another file is at the original path"):
            archive.restore(engine, entry)
        # As if the file had appeared after the test for it.
        with pytest.raises(FileExistsError):
            archive._move_back(entry)
        assert path.read_bytes() == b"made anew"
        path.unlink()
        with entry.file.open("ab") as file:
            file.write(b"!")
        for refused in (
            lambda: archive.restore(engine, entry),
            lambda: archive.purge(engine, entry),
        ):
            with pytest.raises(SourceError, match=r"^M114 .*not those that were retired"):
                refused()
        entry.file.unlink()
        with pytest.raises(SourceError, match=r"^M114 .*the archive lacks the file"):
            archive.restore(engine, entry)
    assert not path.exists()


def test_a_retired_source_is_final_and_proven_from_its_pin(
    engine: sa.Engine, path: Path, folder: Path
) -> None:
    store(engine, folder)
    with engine.connect() as conn:
        source = registry.source_named(conn, MEMOS.kinds, "meta_buffer")
        pin = registry.pin_required(conn, source)
    assert observe_source(engine, source, path.parent.with_name(".pins")) == pin
    assert b.red(engine, pin) == {}
    assert source_unchanged([pin]).observed == "1 unchanged"
    pin.path.unlink()
    assert observe_source(engine, source, path.parent.with_name(".pins")).digest == pin.digest

    # What memOS makes anew under the old name is another file; the same bytes are not.
    b.write_kind(path.parent, "meta_buffer", templates=[b.template(9)])
    with pytest.raises(UsageError, match=r"^M529 .*Fix: .*--data meta_buffer_2="):
        register_files(engine, b.found(path))
    path.write_bytes(source.location.read_bytes())
    assert register_files(engine, b.found(path)) == []
    assert retired_to(engine) == str(source.location)


def test_the_archive_is_not_searched_for_sources(
    engine: sa.Engine, path: Path, folder: Path
) -> None:
    other = b.write_kind(path.parent / "x", "semantic_memory")
    store(engine, folder)
    assert [file.path for file in b.found(folder.parent)] == [other]


def test_a_name_of_several_retired_files_is_refused_and_their_folders_are_told_apart(
    engine: sa.Engine, path: Path, folder: Path
) -> None:
    entry = store(engine, folder)
    twin = path.parent / "tests" / "meta_buffer.db"
    twin.parent.mkdir()
    twin.write_bytes(entry.file.read_bytes())
    with engine.connect() as conn:
        found = find_candidates(conn, MEMOS, b.found(path.parent))
    (other,) = [one for one in found if one.path == twin]
    assert other.role == "other"
    with archive.locked(folder):
        second = archive.store(engine, folder, manifest_of(engine, other))
    assert second.folder.name == f"{entry.folder.name}-2"
    with pytest.raises(UsageError, match=r"^M551 meta_buffer: several retired files"):
        entry_named(folder, "meta_buffer")
    assert entry_named(folder, second.folder.name).file == second.file
    with pytest.raises(UsageError, match=r"^M550 nobody: no retired file of this name"):
        entry_named(folder, "nobody")
    assert archived_files_are_whole(engine, MEMOS, folder)["other_files"].observed == "1 whole"


@pytest.mark.parametrize(
    ("harm", "observed"),
    [
        pytest.param(lambda e: e.file.unlink(), "is gone", id="gone"),
        pytest.param(lambda e: e.file.write_bytes(b"x"), "does not have the bytes", id="bytes"),
        pytest.param(lambda e: manifests.with_state(e, "moving"), "interrupted", id="half"),
        pytest.param(
            lambda e: manifests.with_state(e, "purged"),
            "the file is purged, and still there",
            id="purged",
        ),
        pytest.param(lambda e: (e.folder / "manifest.json").unlink(), "no manifest", id="manifest"),
    ],
)
def test_v13_archived_files_are_whole_fails_when_the_archive_is_not_as_it_was_left(
    engine: sa.Engine,
    path: Path,
    folder: Path,
    harm: Callable[[Archived], object],
    observed: str,
) -> None:
    assert path.exists()
    entry = store(engine, folder)
    assert v13(engine, folder).observed == "1 whole"
    harm(entry)
    finding = v13(engine, folder)
    assert finding.passed is False
    assert observed in finding.observed


def test_v13_archived_files_are_whole_fails_when_the_registry_says_otherwise(
    engine: sa.Engine, path: Path, folder: Path
) -> None:
    assert path.exists()
    store(engine, folder)
    b.execute(engine, "update memos_ops.sources set retired_to = null")
    assert v13(engine, folder).observed.endswith("and the registry says not retired")
    repair(engine, folder)
    assert v13(engine, folder).passed
    broken = folder / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    others = archived_files_are_whole(engine, MEMOS, folder)["other_files"]
    assert others.passed is False
    assert "broken/manifest.json cannot be read" in others.observed


def test_purged_files_are_named_and_their_sources_stay_proven(
    engine: sa.Engine, path: Path, folder: Path
) -> None:
    assert path.exists()
    entry = store(engine, folder)
    with archive.locked(folder):
        archive.purge(engine, entry)
    assert v13(engine, folder).observed == "0 whole, 1 purged on purpose (meta_buffer)"
    with engine.connect() as conn:
        pin = registry.pin_required(conn, registry.source_named(conn, MEMOS.kinds, "meta_buffer"))
    unchanged = source_unchanged([pin])
    assert unchanged.passed
    assert unchanged.observed == "0 unchanged, meta_buffer purged from the archive"
    assert b.red(engine, pin) == {}
