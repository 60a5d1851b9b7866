"""The commands board list, show, replay and archive."""

import json
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from memos_assets.blackboard import SyncBoard
from memos_assets_tests.cli.conftest import Command


def test_boards_are_listed_shown_replayed_and_archived_once(
    database: sa.Engine, memos_assets: Command
) -> None:
    assert memos_assets("migrate")[0] == 0
    board = SyncBoard.open(sessionmaker(database), "find [out]", user="ann", agent="one")
    board.add_finding("What fails?", "The battery.", "manual", 0.8)
    board.add_contradiction("on", "off", "a", "b")
    board.write_public("n", 1)
    board.write_public("n", 2)

    code, shown, _ = memos_assets("board", "list", "--state", "open")
    assert (code, str(board.id) in shown) == (0, True)
    code, shown, _ = memos_assets("board", "show", str(board.id))
    assert code == 0
    assert "find [out] (open, event 5)" in shown
    assert "open: on (a) / off (b)" in shown
    code, shown, _ = memos_assets("board", "replay", str(board.id), "--at", "4", "--json", "-")
    assert code == 0
    said = json.loads(shown[shown.index("{\n") :])
    assert [one["value"] for one in said["entries"] if one["level"] == "public"] == [1]

    code, _, error = memos_assets("board", "archive", str(board.id))
    assert (code, error.startswith("M929 ")) == (1, True)
    board.complete()
    code, shown, _ = memos_assets("board", "archive")
    assert (code, shown.startswith("Archived 1 boards in ")) == (0, True)
    assert memos_assets("board", "archive")[1].startswith("Archived 0 boards in ")
    for arguments in (("show", str(uuid4())), ("replay", "no id"), ("archive", str(uuid4()))):
        code, _, error = memos_assets("board", *arguments)
        assert code != 0
        assert error.startswith("M910 ")
