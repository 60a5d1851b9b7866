"""What memOS writes is never taken: moves that were interrupted, and what happened meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.archive import records
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.forget import forget
from memos_assets.consolidate.archive.manifests import read_archive
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.observe import observe_source, register_files
from memos_assets.errors import SourceError, TargetError
from memos_assets.sqlite.locks import kept_from_writers, locks_on
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.consolidate.archive.conftest import Archive
from memos_assets_tests.consolidate.archive.test_store import Crash, crash_at


def add_row(path: Path) -> None:
    """Write to a file as memOS does."""
    b.change(path, "update templates set query_pattern = 'written since'")


def halved(retiring: Archive, monkeypatch: pytest.MonkeyPatch, *, restoring: bool = False) -> Path:
    """Leave a move cut in half: the file is at its new place, and the tables do not know."""
    entry = retiring.store() if restoring else None
    with monkeypatch.context() as patched:
        if entry is None:
            crash_at(patched, "finish_store", after=False)
            with pytest.raises(Crash):
                retiring.store()
        else:
            crash_at(patched, "_mirror", after=False)
            with pytest.raises(Crash), archive.locked(retiring.folder):
                archive.restore(retiring.engine, entry)
    (entry,) = read_archive(retiring.folder)[0]
    return entry.file


def test_a_file_that_memos_wrote_to_after_an_interrupted_restoration_stays_where_it_is(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = b.write_kind(retiring.path.parent, "semantic_memory", memories=[b.memory(1)])
    b.consolidate(retiring.engine, other)
    halved(retiring, monkeypatch, restoring=True)
    add_row(retiring.path)
    with closing(sqlite3.connect(retiring.path)) as memos:
        memos.execute("begin immediate")
        # Days later, another file is retired.
        (said,) = retiring.repair("semantic_memory")
        assert said.startswith("meta_buffer is restored; ")
        assert said.endswith("; it was written to since it is back: consolidate it again")
        memos.execute("delete from templates where rowid = 1")
        memos.commit()
    assert retiring.path.stat().st_mode & 0o200
    assert (retiring.retired_to, read_archive(retiring.folder)) == (None, ([], []))
    assert retiring.states() == []
    # It is a source again, and what was written is loaded.
    pin = b.consolidate(retiring.engine, retiring.path)
    assert pin.rows["templates"] == 1
    assert retiring.store("semantic_memory").file.exists()


def test_a_restoration_of_a_file_that_is_written_to_at_once_leaves_it_there(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = retiring.store()
    whole = archive._move_back

    def written(moved: object) -> None:
        whole(moved)  # type: ignore[arg-type]
        add_row(retiring.path)

    monkeypatch.setattr(archive, "_move_back", written)
    with archive.locked(retiring.folder):
        assert "it was written to" in archive.restore(retiring.engine, entry)
    assert retiring.path.exists()
    assert (retiring.retired_to, read_archive(retiring.folder)) == (None, ([], []))


@pytest.mark.parametrize("anew", ["empty", "missing"])
def test_nothing_is_loaded_over_a_source_that_is_half_moved(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch, anew: str
) -> None:
    moved = halved(retiring, monkeypatch)
    assert retiring.states() == [("meta_buffer", "moving")]
    if anew == "empty":
        b.write_kind(retiring.path.parent, "meta_buffer", templates=[])
        with pytest.raises(TargetError, match=r"^M370 meta_buffer: .*Fix: .*retire meta_buffer "):
            register_files(retiring.engine, b.found(retiring.path))
    with retiring.engine.connect() as conn:
        source = registry.source_named(conn, MEMOS.kinds, "meta_buffer")
    with pytest.raises(TargetError, match=r"^M370 meta_buffer: "):
        observe_source(retiring.engine, source, retiring.path.parent.with_name(".pins"))
    with pytest.raises(TargetError, match=r"^M370 meta_buffer: "):
        forget(retiring.engine, MEMOS, "meta_buffer", with_rows=True)
    loaded = "select count(*) from memos.thought_templates"
    assert b.rows(retiring.engine, loaded) == [(2,)]

    assert retiring.repair("meta_buffer") == [
        "meta_buffer is retired; a run that was interrupted had moved it"
    ]
    assert retiring.retired_to == str(moved)
    assert b.rows(retiring.engine, loaded) == [(2,)]


def test_a_source_whose_move_never_began_is_loaded_as_before(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        crash_at(patched, "write", after=False)
        with pytest.raises(Crash):
            retiring.store()
    assert retiring.states() == [("meta_buffer", "moving")]
    add_row(retiring.path)
    b.consolidate(retiring.engine, retiring.path)
    assert retiring.repair() == []
    assert retiring.states() == []


def test_only_a_command_that_names_a_half_moved_file_moves_it_back(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = halved(retiring, monkeypatch)
    add_row(moved)
    (said,) = retiring.repair("another")
    assert said.startswith("meta_buffer is half moved (the file changed while it was moved); ")
    assert moved.exists()
    (said,) = retiring.repair("meta_buffer")
    assert said.startswith(f"M112 {retiring.path}: the file changed while it was moved; it is at")
    assert (moved.exists(), retiring.path.exists()) == (False, True)
    assert retiring.states() == []


def test_changes_in_a_log_are_not_left_behind(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = archive._rename

    def logged(source: Path, place: Path) -> None:
        source.with_name(f"{source.name}-wal").write_bytes(b"frames")
        whole(source, place)

    monkeypatch.setattr(archive, "_rename", logged)
    with pytest.raises(SourceError, match=r"^M112 .*meta_buffer.db-wal is at its original path, "):
        retiring.store()
    assert retiring.path.exists()
    with pytest.raises(SourceError, match=r"^M112 .*meta_buffer.db-wal is beside the file; it was"):
        retiring.store()
    assert retiring.states() == []


def test_no_process_commits_to_a_file_while_it_is_moved(retiring: Archive) -> None:
    with kept_from_writers(retiring.path) as kept:
        assert kept
        with closing(sqlite3.connect(retiring.path, timeout=0)) as memos:
            memos.execute("update templates set query_pattern = 'x'")
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                memos.commit()
    assert locks_on(retiring.path) == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        pytest.param("create table notes as select 1 as id", "table notes with 1 rows", id="table"),
        pytest.param(
            "alter table templates add column extra text default 'x'",
            "templates columns extra",
            id="column",
        ),
    ],
)
def test_what_was_added_after_the_proof_is_neither_moved_nor_called_accounted_for(
    retiring: Archive, statement: str, named: str
) -> None:
    from memos_assets.proof.rows.sources import source_accounted_for

    with retiring.engine.connect() as conn:
        source = registry.source_named(conn, MEMOS.kinds, "meta_buffer")
        pin = registry.pin_required(conn, source)
    assert source_accounted_for([pin]).passed
    b.change(retiring.path, statement)
    finding = source_accounted_for([pin])
    assert finding.observed == f"meta_buffer: {named}"
    with pytest.raises(SourceError, match=rf"^M110 .*holds {named}, which nothing loads"):
        retiring.store()
    assert retiring.path.exists()


def test_a_database_that_goes_away_before_a_move_leaves_everything_as_it_was(
    retiring: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise sa.exc.OperationalError("", {}, Exception("the server went away"))

    with monkeypatch.context() as patched:
        patched.setattr(records, "enter", gone)
        with pytest.raises(sa.exc.OperationalError):
            retiring.store()
    assert retiring.path.exists()
    entry = retiring.store()
    with monkeypatch.context() as patched:
        patched.setattr(records, "enter", gone)
        for action in (archive.restore, archive.purge):
            with archive.locked(retiring.folder), pytest.raises(sa.exc.OperationalError):
                action(retiring.engine, entry)
    assert entry.file.exists()
    assert retiring.repair() == []
    assert retiring.retired_to == str(entry.file)
