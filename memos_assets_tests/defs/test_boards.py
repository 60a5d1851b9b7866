"""Boards in Dagster: counted by day, checked, and archived once; no text and no user is shown."""

from datetime import UTC, datetime

import dagster as dg
from sqlalchemy.orm import sessionmaker

from memos_assets.blackboard import SyncBoard
from memos_assets.blackboard.archive import folder_of
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.boards import ARCHIVE, CHECK, COUNT
from memos_assets_tests.defs.world import World, failures

CANARY = "canary-5f1c of a board"


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    (made,) = result.asset_materializations_for_node(f"memos__agent__{name}")
    return {key: value.value for key, value in made.metadata.items()}


def test_boards_are_counted_checked_and_archived_once(world: World) -> None:
    sessions = sessionmaker(world.engine)
    board = SyncBoard.open(sessions, CANARY, user="user-4711")
    board.add_finding("q", CANARY, "source", 0.5)
    board.write_public("n", 1)
    board.write_public("n", 2)
    SyncBoard.open(sessions, "still open", user="user-4711")

    today = f"{datetime.now(UTC):%Y-%m-%d}"
    result = world.run(COUNT, partition_key=today)
    assert failures(result) == []
    counted = metadata(result, "boards")
    assert (counted["boards: open"], counted["events"], counted["findings"]) == (2, 4, 1)

    result = world.run(CHECK)
    assert failures(result) == []
    outcomes = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    assert outcomes == {check.name: True for check in CHECKLIST.of_group("boards")}
    said = "\n".join(str(event) for event in world.instance.all_logs(result.run_id))
    assert CANARY not in said
    assert "user-4711" not in said

    assert metadata(world.run(ARCHIVE), "board_archive")["dagster/row_count"] == 0
    board.complete()
    assert metadata(world.run(ARCHIVE), "board_archive") == {
        "dagster/row_count": 1,
        "events": 5,
        "emptied": 1,
    }
    assert metadata(world.run(ARCHIVE), "board_archive")["dagster/row_count"] == 0
    (path,) = folder_of(world.settings).glob("*.jsonl")
    assert path.stem == str(board.id)
    assert board.head().state == "archived"
    assert board.read_public("n") == 2

    other = SyncBoard.open(sessions, "broken", user="user-4711")
    other.write_public("n", 1)
    other.complete()
    world.execute("update agent.board_entries set value = '7' where key = 'n'")
    (failure,) = failures(world.run(ARCHIVE))
    assert failure.startswith("M928 ")
    assert other.head().state == "complete"
