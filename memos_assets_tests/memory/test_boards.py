"""Boards beside memory: what was known at an event, and what is left of an erased user."""

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import Request, SyncBoard, reading
from memos_assets.memory import SyncMemory, canary
from memos_assets.memory.erase import erase_rows, preview
from memos_assets.postgres.user_rows import ERASED

SAID = "The canary of the erased user, 4711."


def test_recall_answers_what_was_known_at_an_event_of_a_board(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> None:
    board = SyncBoard.open(shared_sessions, "the battery", user=user)
    first, second = memory.prepare("The battery is flat."), memory.prepare("The battery is new.")
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        memory.remember(session, first)
    seq = board.add_note("answered from memory").seq
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        memory.remember(session, second)
    asked = memory.query("battery")
    with shared_sessions() as session:
        memory.act_as(session, user=user)
        then = memory.recall(session, asked, known_at=board.time_of(seq))
        now = memory.recall(session, asked)
    assert [hit.content for hit in then] == ["The battery is flat."]
    assert len(now) == 2


def test_of_an_erased_user_a_shared_board_keeps_empty_events_alone(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, owner: sa.Connection
) -> None:
    erased, stays = "erased-4711", "stays-4711"
    with shared_sessions.begin() as session:
        memory.act_as(session, user=stays)
        memory.create_space(session, "shared-4711")
        memory.grant(session, "shared-4711", erased, "read_write")
    board = SyncBoard.open(shared_sessions, "together", user=stays, space="shared-4711")
    theirs = SyncBoard(shared_sessions, board.id, user=erased, agent=SAID)
    own = SyncBoard.open(shared_sessions, SAID, user=erased)
    own.add_note(SAID)
    board.write_public("register", "of others")
    board.write_public("set", ["a"], strategy="union")
    theirs.write_public("register", SAID)
    theirs.write_public("set", [SAID], strategy="union")
    theirs.write_public(SAID, 1)
    theirs.write_private(SAID, SAID)
    board.add_finding("q", "a finding that stays", "source", 0.5)
    with shared_sessions.begin() as session:
        memory.act_as(session, user=erased, agent="a", spaces=["shared-4711"])
        theirs.enqueue(session, [Request(level="public", key=SAID, value=SAID)])

    counts = preview(owner, erased)
    assert counts["agent.boards"] == 1
    assert counts["agent.board_entries"] == 4
    erasure = erase_rows(owner, erased, erased_by="test")
    assert erasure.counts["agent.board_events of others, by an erased user"] == 3
    owner.commit()

    events = board.events()
    assert [event.seq for event in events] == list(range(1, 8))
    empty = [event.entry for event in events if event.removed]
    assert [(one.seq, one.user, one.level, one.key, one.value) for one in empty] == [
        (seq, ERASED, "", "", None) for seq in (3, 4, 5)
    ]
    # A register is empty until somebody writes it: what was there before is out of date.
    assert board.state().values("public") == {"set": ["a"]}
    assert reading.same(board.state(), board.replay())
    found = canary.search(owner, canary.Places([]), [SAID, erased])
    assert {name for name in found.found if "board" in name} == set()
