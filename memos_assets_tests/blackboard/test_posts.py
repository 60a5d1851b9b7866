"""Posts are numbered without a gap; conflicts are typed; what is refused is in the audit."""

import pickle
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import Conflict, Request, SyncBoard
from memos_assets.errors import AgentError
from memos_assets.postgres.acting import set_acting
from memos_assets_tests.blackboard.spaces import share


def write(key: str, value: object, **more: object) -> Request:
    return Request(level="public", key=key, value=value, **more)  # type: ignore[arg-type]


def test_events_are_numbered_from_one_without_a_gap(board: SyncBoard, other: SyncBoard) -> None:
    for turn in range(3):
        board.post([write("a", turn), write("b", turn)])
        other.post([write("c", turn)])
    assert [event.seq for event in board.events()] == list(range(1, 10))
    assert [event.entry.agent for event in other.events(after=3)] == [
        *("one", "one", "two", "one", "one", "two"),
    ]
    assert [event.seq for event in board.events(after=7)] == [8, 9]
    assert board.state().values("public") == {"a": 2, "b": 2, "c": 2}


def test_a_stale_writer_gets_a_conflict_with_what_is_there(
    board: SyncBoard, other: SyncBoard
) -> None:
    board.write_public("plan", {"step": 1}, strategy="cas", expected=0)
    other.write_public("plan", {"step": 2}, expected=1)
    with pytest.raises(Conflict, match=r"^M912 ") as refused:
        board.write_public("plan", {"step": 3}, expected=1)
    again = pickle.loads(pickle.dumps(refused.value))
    for error in (refused.value, again):
        assert (error.code, error.version, error.current) == ("M912", 2, {"step": 2})
    with pytest.raises(Conflict):
        board.write_public("plan", {"step": 3})
    board.write_public("plan", {"step": 3}, expected=refused.value.version)
    assert board.read_public("plan") == {"step": 3}
    assert board.stats()["refused"] == {"conflict": 2}


def test_a_set_has_each_value_once_from_several_writers(board: SyncBoard, other: SyncBoard) -> None:
    board.write_public("sources", ["a", "b"], strategy="union")
    posted = other.write_public("sources", ["b", "c", {"d": 1}], strategy="union")
    assert [one.status for one in posted] == ["same", "added", "added"]
    assert board.read_public("sources") == ["a", "b", "c", {"d": 1}]
    assert board.head().seq == 4


def test_a_key_keeps_its_strategy(board: SyncBoard) -> None:
    board.write_public("k", 1)
    with pytest.raises(AgentError, match=r"^M913 .*\(last\)"):
        board.write_public("k", 2, strategy="cas", expected=1)
    board.write_public("k", 3)
    assert board.read_public("k") == 3


def test_what_is_reviewed_counts_when_another_agent_accepts_it(
    board: SyncBoard, other: SyncBoard
) -> None:
    board.write_public("answer", "first", strategy="review")
    board.write_public("answer", "second", strategy="review")
    assert board.read_public("answer", None) is None
    first, second = (one.item for one in board.state().level("public"))
    with pytest.raises(AgentError, match=r"^M917 "):
        board.review("answer", first, accept=True)
    other.review("answer", first, accept=True)
    other.review("answer", second, accept=False)
    assert board.read_public("answer") == "first"
    with pytest.raises(AgentError, match=r"^M916 "):
        other.review("answer", second, accept=True)
    assert [one.item for one in board.state().level("public")] == [""]


def test_a_post_is_stored_whole_or_not_at_all(board: SyncBoard) -> None:
    board.write_public("v", 1, strategy="cas", expected=0)
    with pytest.raises(Conflict):
        board.post([write("new", 1), write("v", 2, expected=7)])
    assert board.state().values("public") == {"v": 1}
    assert board.head().seq == 1


@pytest.mark.parametrize("more", [{"max_events": 3}, {"max_bytes": 20}])
def test_a_spent_budget_refuses_the_whole_post(
    sessions: sessionmaker[Session], user: str, more: dict[str, int]
) -> None:
    board = SyncBoard.open(sessions, "small", user=user, **more)  # type: ignore[arg-type]
    board.write_public("a", "12345678")
    with pytest.raises(AgentError, match=r"^M914 .*budget"):
        board.post([write(f"k{n}", "12345678") for n in range(3)])
    assert board.head().seq == 1
    assert board.stats()["refused"] == {"budget": 1}


def test_a_complete_board_takes_no_more(board: SyncBoard) -> None:
    board.write_public("a", 1)
    board.complete("done")
    for attempt in (lambda: board.write_public("a", 2), lambda: board.write_private("a", 2)):
        with pytest.raises(AgentError, match=r"^M911 .*complete"):
            attempt()
    assert board.head().state == "complete"
    assert board.read_public("a") == 1


def test_an_unknown_board_and_one_of_another_user_are_the_same_error(
    sessions: sessionmaker[Session], board: SyncBoard
) -> None:
    unknown = SyncBoard(sessions, uuid4(), user=board.who.user)
    foreign = SyncBoard(sessions, board.id, user="somebody else")
    for one in (unknown, foreign):
        for attempt in (
            lambda one=one: one.write_public("a", 1),
            lambda one=one: one.state(),
            lambda one=one: one.stats(),
            lambda one=one: one.replay(),
            lambda one=one: one.read_private("a"),
            lambda one=one: list(one.follow(seconds=0)),
        ):
            with pytest.raises(AgentError, match=r"^M910 ") as refused:
                attempt()
            assert board.who.user not in str(refused.value)
        assert one.events() == []
    with pytest.raises(AgentError, match=r"^M910 "):
        SyncBoard(sessions, "no id", user="x")
    with pytest.raises(AgentError, match=r"^M910 "):
        SyncBoard.open(sessions, "g", user=board.who.user, space="nowhere")


def test_who_may_read_a_board_does_not_write_it(sessions: sessionmaker[Session], user: str) -> None:
    space = share(sessions, user, reader="read", writer="read_write")
    board = SyncBoard.open(sessions, "shared", user=user, space=space)
    reader = SyncBoard(sessions, board.id, user="reader")
    writer = SyncBoard(sessions, board.id, user="writer")
    writer.write_public("a", 1)
    assert reader.read_public("a") == 1
    with pytest.raises(AgentError, match=r"^M918 "):
        reader.write_public("a", 2)
    with pytest.raises(AgentError, match=r"^M918 "):
        SyncBoard.open(sessions, "mine", user="reader", space=space)
    assert board.stats()["refused"] == {"read only": 1}
    assert [one.id for one in reader.boards()] == [board.id]


def test_services_write_events_by_the_function_alone(
    sessions: sessionmaker[Session], board: SyncBoard
) -> None:
    board.write_public("a", 1)
    for statement in (
        "update agent.board_events set value = '2'",
        "delete from agent.board_events",
        "insert into agent.board_entries select * from agent.board_entries",
        "update agent.boards set state = 'complete'",
        "select agent.board_append(1, 'x', '', '[]')",
    ):
        with sessions() as session:
            set_acting(session, board.who.user, "one")
            with pytest.raises(sa.exc.ProgrammingError, match="permission denied"):
                session.execute(sa.text(statement))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (write("a", None), "M923"),
        (write("a", float("nan")), "M923"),
        (write("a", {1, 2}), "M923"),
        (write("a", "\0"), "M923"),
        (write("a", "\ud800"), "M923"),
        (write("a", {"b": ["\0"]}), "M923"),
        (write("a", "x" * 70_000), "M923"),
        (write("", 1), "M923"),
        (write("k" * 301, 1), "M923"),
        (write("a", 1, ttl=0), "M923"),
        (write("a", 1, ttl=-1), "M923"),
        (write("a", 1, ttl=float("inf")), "M923"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_sent(
    board: SyncBoard, request_: Request, code: str
) -> None:
    with pytest.raises(AgentError, match=rf"^{code} ") as refused:
        board.post([write("before", 1), request_])
    assert "\n" not in str(refused.value)
    assert board.head().seq == 0


def test_ten_thousand_writes_are_not_one_post(board: SyncBoard) -> None:
    with pytest.raises(AgentError, match=r"^M927 "):
        board.post([write(f"k{n}", n) for n in range(10_000)])
    with pytest.raises(AgentError, match=r"^M923 "):
        board.post([])
    assert board.head().seq == 0
    board.post([write(f"k{n}", n) for n in range(1_000)])
    assert board.head().seq == 1_000
