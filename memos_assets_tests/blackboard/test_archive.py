"""Boards in the archive: proven before they are marked, each once, without erased users."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard, archive, reading
from memos_assets.errors import AgentError
from memos_assets_tests.blackboard.spaces import share


def filled(board: SyncBoard) -> None:
    for number in range(5):
        board.write_public("n", number)
        board.write_public("set", [number % 2], strategy="union")
    board.add_finding("q", "found", "source", 0.5)


def test_a_complete_board_is_archived_once_and_read_back(
    board: SyncBoard, owner: sa.Engine, tmp_path: Path
) -> None:
    filled(board)
    with pytest.raises(AgentError, match=r"^M929 "):
        archive.archive(owner, tmp_path, board.id)
    board.complete()
    with owner.connect() as conn:
        assert board.id in archive.complete_boards(conn)
    done = archive.archive(owner, tmp_path, board.id)
    assert done is not None
    assert done.events == board.head().seq == 10
    assert done.path.stat().st_mode & 0o777 == 0o600
    assert [event.seq for event in archive.events_in(done.path)] == list(range(1, 11))
    assert archive.archive(owner, tmp_path, board.id) is None
    head = board.head()
    assert (head.state, head.archive_sha256) == ("archived", done.sha256)
    with owner.connect() as conn:
        assert board.id not in archive.complete_boards(conn)


def test_a_file_that_is_not_the_live_state_marks_nothing(
    board: SyncBoard, owner: sa.Engine, tmp_path: Path
) -> None:
    filled(board)
    board.complete()
    with owner.begin() as conn:
        conn.execute(
            sa.text("update agent.board_entries set value = '7' where board = :n and key = 'n'"),
            {"n": board.head().number},
        )
    with pytest.raises(AgentError, match=r"^M928 .*not the live one"):
        archive.archive(owner, tmp_path, board.id)
    assert board.head().state == "complete"
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentError, match=r"^M928 .*cannot be written"):
        archive.archive(owner, tmp_path / "file", board.id)


def test_a_compaction_keeps_the_state_and_frees_the_budget(
    board: SyncBoard, owner: sa.Engine, tmp_path: Path
) -> None:
    filled(board)
    before, size = board.state(), board.head().bytes
    assert archive.compact(owner, tmp_path, board.id) == 4
    assert reading.same(board.state(), before)
    assert reading.same(board.replay(), before)
    head = board.head()
    assert (head.seq, head.events, head.compacted_to) == (9, 5, 9)
    assert head.bytes < size
    with pytest.raises(AgentError, match=r"^M919 .*compacted"):
        board.replay(3)
    (path,) = tmp_path.glob("*.jsonl")
    assert next(archive.events_in(path)).entry.value == 0
    board.write_public("n", 9)
    assert board.replay(9).values("public")["n"] == 4


def test_an_erased_user_is_taken_out_of_the_archive(
    sessions: sessionmaker[Session], owner: sa.Engine, user: str, tmp_path: Path
) -> None:
    space = share(sessions, user, leaver="read_write")
    shared = SyncBoard.open(sessions, "together", user=user, space=space)
    theirs = SyncBoard(sessions, shared.id, user="leaver", agent="a")
    private = SyncBoard.open(sessions, "a secret", user="leaver")
    shared.write_public("a", "stays")
    theirs.write_public("b", "a secret")
    for one in (shared, private):
        one.complete()
        assert archive.archive(owner, tmp_path, one.id) is not None
    changed = archive.take_user_out(tmp_path, "leaver")
    assert set(changed) == {str(shared.id), str(private.id)}
    (path,) = tmp_path.glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert "secret" not in path.read_text()
    assert "leaver" not in path.read_text()
    assert [line["seq"] for line in lines[1:]] == [1, 2, 3]
    assert lines[1]["value"] == "stays"
    with owner.begin() as conn:
        archive.note_changed(conn, changed)
    assert shared.head().archive_sha256 == changed[str(shared.id)]
    assert archive.take_user_out(tmp_path, "leaver") == {}
