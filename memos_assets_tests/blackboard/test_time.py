"""States of a board at each event, what expires, and what is private."""

import random
import time
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import Request, State, SyncBoard, reading
from memos_assets.errors import AgentError
from memos_assets.postgres.acting import set_acting


def test_a_replay_is_the_state_that_was_live(board: SyncBoard, other: SyncBoard) -> None:
    rng = random.Random(16)
    was: list[State] = [board.state()]
    for turn in range(60):
        who = rng.choice([board, other])
        key = rng.choice("abc")
        kind = rng.choice(["last", "cas", "union", "review", "once", "drop"])
        level = f"{kind if kind != 'drop' else 'last'} registers"
        old = board.state().get(level, key)
        request = Request(
            level=level,
            key=key,
            value=None if kind == "drop" else {"turn": turn // 3},
            strategy=kind,  # type: ignore[arg-type]
            expected=(0 if old is None else old.version) if kind == "cas" else None,
        )
        with suppress(AgentError):  # there is nothing to drop
            who.post([request])
        now = board.state()
        if now.seq == len(was):
            was.append(now)
    assert len(was) > 30
    for seq, state in enumerate(was):
        replayed = board.replay(seq)
        assert reading.same(replayed, state)
        assert replayed.at == state.at
    times = [board.time_of(seq) for seq in range(1, len(was))]
    assert times == sorted(set(times))


@pytest.mark.parametrize("seq", [-1, 2, "1"])
def test_an_event_that_is_not_there_is_not_replayed(board: SyncBoard, seq: int) -> None:
    board.write_public("a", 1)
    with pytest.raises(AgentError, match=r"^M919 .*the last event is 1"):
        board.replay(seq)
    with pytest.raises(AgentError, match=r"^M919 "):
        board.time_of(0)
    assert board.replay(0).entries == ()


def test_the_time_of_an_event_is_between_the_calls_around_it(board: SyncBoard) -> None:
    before = datetime.now(UTC)
    board.write_public("a", 1)
    assert before <= board.time_of(1) <= datetime.now(UTC)


def test_an_expired_key_is_an_error_that_says_when(board: SyncBoard) -> None:
    board.write_public("soon", 1, ttl=2)
    assert board.read_public("soon") == 1
    board.write_private("mine", 1, ttl=0.05)
    time.sleep(2)
    with pytest.raises(AgentError, match=r"^M921 .*public key has expired"):
        board.read_public("soon")
    with pytest.raises(AgentError, match=r"^M921 .*private key has expired"):
        board.read_private("mine")
    assert board.read_public("soon", "default") == "default"
    with pytest.raises(AgentError, match=r"^M920 "):
        board.read_public("never")
    assert board.state().values("public") == {}
    # It was live at its event, and is not any more.
    assert board.replay(1).values("public") == {"soon": 1}
    board.write_public("soon", 2)
    assert board.state().get("public", "soon").version == 2  # type: ignore[union-attr]


def test_an_expired_version_is_that_of_no_value(board: SyncBoard) -> None:
    board.write_public("lease", "one", strategy="cas", expected=0, ttl=0.03)
    time.sleep(0.04)
    board.write_public("lease", "two", expected=0, ttl=60)
    assert board.read_public("lease") == "two"


def test_private_keys_are_of_one_agent_of_one_user(
    sessions: sessionmaker[Session], board: SyncBoard, other: SyncBoard
) -> None:
    board.write_private("plan", "mine")
    other.write_private("plan", "theirs")
    assert (board.read_private("plan"), other.read_private("plan")) == ("mine", "theirs")
    assert board.read_private("nothing") is None
    with pytest.raises(AgentError, match=r"^M922 "):
        board.read_private("plan", agent="two")
    assert board.stats()["refused"] == {"private": 1}
    assert board.head().seq == 0
    with sessions() as session:
        for agent, seen in (("one", ["mine"]), ("two", ["theirs"]), ("", []), ("three", [])):
            set_acting(session, board.who.user, agent)
            rows = session.execute(sa.text("select value from agent.board_private")).scalars()
            assert rows.all() == seen


def test_a_follower_sees_events_as_they_come_and_ends_with_the_board(board: SyncBoard) -> None:
    for number in range(3):
        board.write_public("n", number)
    follower = board.follow(after=1, seconds=5)
    assert [next(follower).seq, next(follower).seq] == [2, 3]
    board.write_public("n", 3)
    assert next(follower).entry.value == 3
    board.complete()
    assert [event.entry.level for event in follower] == ["board"]
    assert list(board.follow(after=5)) == []


def test_what_was_enqueued_is_numbered_after_its_commit_and_by_any_reader(
    sessions: sessionmaker[Session], board: SyncBoard, other: SyncBoard
) -> None:
    def request(key: str) -> Request:
        return Request(level="public", key=key, value=1)

    with sessions() as session:
        set_acting(session, board.who.user, "one")
        board.enqueue(session, [request("late")])
        other.write_public("meanwhile", 1)
        assert [event.entry.key for event in other.events()] == ["meanwhile"]
        session.commit()
    follower = other.follow(after=1, seconds=0)
    assert next(follower).entry.key == "late"
    with sessions() as session:
        set_acting(session, board.who.user, "one")
        board.enqueue(session, [request("never")])
        session.rollback()
    assert board.settle() == (0, 0)
    with sessions.begin() as session:
        set_acting(session, board.who.user, "one")
        board.enqueue(
            session, [Request(level="public", key="late", value=2, strategy="cas", expected=9)]
        )
    other.write_public("then", 1)
    assert board.stats()["refused"] == {"strategy": 1}
    assert board.stats()["waiting"] == 0
    assert board.read_public("late") == 1


def test_nothing_is_enqueued_without_a_user_or_on_a_complete_board(
    sessions: sessionmaker[Session], board: SyncBoard
) -> None:
    request = Request(level="public", key="k", value=1)
    with sessions() as session, pytest.raises(AgentError, match=r"^M910 "):
        board.enqueue(session, [request])
    board.complete()
    with sessions() as session:
        set_acting(session, board.who.user, "one")
        with pytest.raises(AgentError, match=r"^M911 "):
            board.enqueue(session, [request])
