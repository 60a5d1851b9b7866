"""Checks of boards, and what makes each of them fail."""

from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard, checks, records
from memos_assets.postgres.acting import set_acting


@pytest.fixture(autouse=True)
def alone(owner: sa.Engine) -> None:
    """Start without boards of former tests."""
    with owner.begin() as conn:
        conn.execute(sa.text("delete from agent.boards"))


def remember(sessions: sessionmaker[Session], user: str) -> str:
    with sessions.begin() as session:
        set_acting(session, user, "")
        return str(
            session.execute(
                sa.text(
                    "insert into agent.memories (id, space_id, user_id, kind, content, "
                    "content_digest, words, source) select gen_random_uuid(), s.id, :user, "
                    "'finding', 'on', md5('on'), 1, 'test' from agent.spaces s "
                    "where s.owner = :user and s.private returning id"
                ),
                {"user": user},
            ).scalar_one()
        )


def test_v57_replay_equals_state_fails_when_rows_are_written_beside_the_function(
    board: SyncBoard, owner: sa.Engine
) -> None:
    board.write_public("a", 1)
    board.write_public("a", 2)
    for statement, what in (
        ("update agent.board_entries set value = '3'", "not that of its events"),
        ("delete from agent.board_entries", "not that of its events"),
        ("delete from agent.board_events where seq = 1", "1 events up to 2"),
        ("update agent.board_events set seq = 3 where seq = 2", "2 events up to 3"),
    ):
        with owner.connect() as conn:
            assert checks.replay_equals_state(checks.replayed(conn)).passed
            conn.execute(sa.text(statement))
            found = checks.replay_equals_state(checks.replayed(conn))
        assert not found.passed
        assert what in str(found.observed)


def test_v58_searches_recorded_findings_fails_when_a_search_recorded_none(
    board: SyncBoard, owner: sa.Engine
) -> None:
    question = board.add_question("q").key
    board.add_search(question, "no hits", 0)
    search = board.add_search(question, "two hits", 2).key
    lost = board.add_search(question, "lost hits", 2)
    board.add_finding(question, "found", "source", 0.5, of_search=search)
    assert lost.added
    with owner.connect() as conn:
        # Within the hour a search may be at work.
        assert checks.searches_recorded_findings(conn, None).passed
    board.complete()
    with owner.connect() as conn:
        found = checks.searches_recorded_findings(conn, None)
    assert (found.passed, found.observed) == (False, "1 of 2 searches recorded none")
    assert found.evidence["boards"] == [str(board.id)]


def test_v59_syntheses_name_open_contradictions_fails_when_one_is_left_out(
    board: SyncBoard, owner: sa.Engine
) -> None:
    finding = board.add_finding("q", "on", "a", 0.9).key
    first = board.add_contradiction("on", "off", "a", "b", score=0.9).key
    board.add_synthesis("both", cites=[finding], contradictions=[first])
    board.decide_contradiction(first, "resolved")
    board.add_synthesis("on", cites=[finding])
    with owner.connect() as conn:
        assert checks.syntheses_name_contradictions(conn, None).passed
    board.decide_contradiction(first, "open")
    # Past add_synthesis, which refuses it.
    board.post([records.synthesis("one side", [finding], [], 0.5, board.head().seq)])
    with owner.connect() as conn:
        found = checks.syntheses_name_contradictions(conn, None)
    assert not found.passed
    assert "1 left out" in str(found.observed)


def test_v60_memory_grew_with_promotions_fails_when_a_promoted_memory_is_missing(
    sessions: sessionmaker[Session], board: SyncBoard, owner: sa.Engine, user: str
) -> None:
    finding = board.add_finding("q", "on", "a", 0.9).key
    memory = remember(sessions, user)
    with sessions.begin() as session:
        set_acting(session, user, "one")
        assert board.promote(session, finding, memory)
    board.settle()
    with owner.connect() as conn:
        assert checks.memory_grew_with_promotions(conn, None).passed
    board.post([records.promotion(board.add_finding("q", "x", "y", 1).key, str(uuid4()), 1)])
    with owner.connect() as conn:
        found = checks.memory_grew_with_promotions(conn, None)
    assert (found.passed, found.observed) == (False, "1 memories")


def test_v61_no_promotion_with_an_open_contradiction_fails_when_one_was_known(
    sessions: sessionmaker[Session], board: SyncBoard, owner: sa.Engine, user: str
) -> None:
    finding = board.add_finding("q", "on", "a", 0.9).key
    memory = remember(sessions, user)
    board.post([records.promotion(finding, memory, board.head().seq)])
    board.add_contradiction("on", "off", "a", "b")
    with owner.connect() as conn:
        # It came later.
        assert checks.no_contradicted_promotions(conn, None).passed
    second = board.add_finding("q", "off", "b", 0.9).key
    board.post([records.promotion(second, memory, board.head().seq)])
    with owner.connect() as conn:
        found = checks.no_contradicted_promotions(conn, None)
    assert not found.passed


def test_checks_of_boards_have_their_numbers() -> None:
    assert [check.number for check in checks.CHECKS] == [57, 58, 59, 60, 61, 67]


@pytest.mark.parametrize(
    ("statement", "observed"),
    [
        (
            "delete from agent.board_entries where level = 'findings'",
            "{'questions': 1} is shown, and the events lead to",
        ),
        ("update agent.board_events set seq = 3 where seq = 2", "2 events up to 3"),
    ],
)
def test_v67_board_stats_show_usage_fails_when_rows_are_written_beside_the_function(
    board: SyncBoard, owner: sa.Engine, statement: str, observed: str
) -> None:
    question = board.add_question("q").key
    board.add_finding(question, "on", "a", 0.9)
    with owner.connect() as conn:
        found = checks.stats_show_usage(checks.replayed(conn))
        assert found.passed, found.observed
        assert "1 of them findings" in found.observed
        conn.execute(sa.text(statement))
        found = checks.stats_show_usage(checks.replayed(conn))
    assert not found.passed
    assert observed in found.observed
