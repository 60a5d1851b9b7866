"""memOS's scratchpad under its names, in memory and over a board."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.memos_face.agentic_scratchpad import (
    AgenticScratchpad,
    FindingType,
    QuestionStatus,
)
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database


@pytest.fixture(scope="module")
def sessions(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sessionmaker[Session]]:
    home: Path = tmp_path_factory.mktemp("scratchpad")
    with copied_database(server, template) as url:
        settings = Settings(home=home, database_url=SecretStr(libpq_url(url)))
        with open_sync_memory_sessions(settings) as made:
            yield made


@pytest.fixture(params=["in memory", "over a board"])
def pad(request: pytest.FixtureRequest, sessions: sessionmaker[Session]) -> AgenticScratchpad:
    given = None if request.param == "in memory" else sessions
    return AgenticScratchpad.create("why?", user_id="ann", sessions=given)


def test_memos_names_and_those_of_the_remediation_plan_work(pad: AgenticScratchpad) -> None:
    pad.set_mission(["What fails?"], {"q1": "name the part"})
    first = pad.add_finding("q1", "The battery.", "manual", "Manual", FindingType.FACT, 0.6)
    second = pad.add_finding(
        question="What fails?", finding="Not the battery.", source="forum", confidence=0.5
    )
    assert pad.add_finding("q1", "the  BATTERY.", "manual", confidence=0.9) == first
    assert [len(key) for key in pad.findings] == [8, 8]
    assert pad.questions["q1"].findings == [first, second]
    assert pad.questions["q1"].status is QuestionStatus.PARTIAL
    assert pad.questions["q1"].confidence == 0.6
    pad.add_contradiction(first, second, "battery or not")
    pad.add_contradiction(claim_a="on", claim_b="off", source_a="a", source_b="b")
    assert pad.findings[first].conflicts_with == [second]
    assert [one["type"] for one in pad.peek_next_actions()] == ["resolve_contradiction"] * 2
    assert set(pad.contradictions[0]) == {
        *("finding_1", "finding_2", "description", "resolved", "timestamp"),
    }
    assert pad.add_finding(question="Another?", finding="x", source="y") in pad.findings
    assert pad.questions["q2"].question_text == "Another?"
    status = pad.get_completion_status()
    assert status["unresolved_contradictions"] == 2
    assert status["questions"]["q1"]["findings_count"] == 2
    if (board := pad.board()) is not None:
        assert len(board.state().level("findings")) == 3
        assert len(board.contradictions()) == 2


@pytest.mark.parametrize("confidence", [-0.1, 1.1])
def test_a_confidence_out_of_range_is_refused_and_nothing_is_kept(
    pad: AgenticScratchpad, confidence: float
) -> None:
    with pytest.raises(ValidationError):
        pad.add_finding("q1", "text", "source", confidence=confidence)
    with pytest.raises(ValidationError):
        pad.add_finding("q1", "text")
    assert pad.findings == {}


def test_the_public_space_is_of_all_and_private_ones_are_of_one_agent(
    pad: AgenticScratchpad,
) -> None:
    pad.write_public("one", "shared", {"n": 1})
    pad.write_private("one", "mine", [1])
    assert pad.read_public("shared") == {"n": 1}
    assert pad.read_public("never") is None
    assert pad.read_private("one", "mine") == [1]
    assert pad.read_private("two", "mine") is None
    assert pad.get_agent_context("one")["public"] == {"shared": {"n": 1}}
    pad.notify_agent_update("searcher", "search_complete", data={"results": 5})
    assert pad.read_public("last_update_searcher")["data"] == {"results": 5}


def test_an_expired_public_key_is_none_and_not_in_a_context() -> None:
    pad = AgenticScratchpad.create("why?")
    pad.write_public("one", "k", 1)
    pad.public_space["k"]["timestamp"] = (datetime.now(UTC) - timedelta(minutes=31)).isoformat()
    assert pad.get_agent_context("one")["public"] == {}
    assert pad.read_public("k") is None
    assert pad.public_space == {}


def test_json_round_trips_everything(pad: AgenticScratchpad) -> None:
    pad.set_mission(["What fails?"], {})
    found = pad.add_finding("q1", "The battery.", "manual", confidence=0.9)
    pad.add_contradiction(found, "unknown", "d")
    pad.add_entity({"id": "R-2000", "aliases": ["R2"], "roles": ["robot"]})
    pad.add_entity({"id": "R-2000", "aliases": ["R2", "R-2"]})
    pad.add_entity_relation({"source": "R-2000", "type": "has", "target": "battery"})
    pad.add_agent_note("analyzer", "a", "o", "r", "searcher")
    pad.write_public("one", "k", 1)
    pad.record_search("battery")
    pad.record_scrape("http://x")
    pad.mark_question_partial("q1", ["no date"])
    again = AgenticScratchpad.model_validate_json(pad.model_dump_json())
    assert again == pad or again.model_dump() == pad.model_dump()
    assert AgenticScratchpad.from_memory_content(pad.to_memory_content()).findings == pad.findings
    assert again.get_entity_stats()["top_entities"][0]["mentions"] == 2
    assert again.get_gaps() == [{"question_id": "q1", "question": "What fails?", "gap": "no date"}]
    assert again.has_searched("battery")
    assert again.has_scraped("http://x")
    assert [note.for_agent for note in again.get_notes_for_agent("searcher")] == [None, "searcher"]
    assert again.should_continue()


def test_over_a_board_another_process_sees_what_was_written(
    sessions: sessionmaker[Session],
) -> None:
    pad = AgenticScratchpad.create("why?", user_id="ann", sessions=sessions)
    pad.write_public("one", "k", 1)
    again = AgenticScratchpad.model_validate_json(pad.model_dump_json())
    assert again.board() is None
    again.attach(sessions).write_public("two", "k", 2)
    assert pad.read_public("k") == 2
    pad.mark_complete()
    assert pad.board_id is not None
    board = SyncBoard(sessions, pad.board_id, user="ann")
    assert board.head().state == "complete"
    assert not pad.should_continue()


def test_the_next_agent_is_chosen_by_the_state() -> None:
    def made() -> AgenticScratchpad:
        return AgenticScratchpad.create("why?")

    assert made().select_next_agent() == "analyzer"
    pad = made()
    pad.contradictions.append({"test": "data"})
    assert pad.select_next_agent() == "verifier"
    assert pad.select_next_agent(["searcher", "synthesizer"]) == "searcher"
    assert pad.select_next_agent([]) is None
    for kind, agent in (("search", "searcher"), ("scrape", "scraper")):
        pad = made()
        pad.next_actions.append({"type": kind})
        assert pad.select_next_agent() == agent
    pad = made()
    pad.set_mission(["q"], {})
    assert pad.select_next_agent() == "searcher"
    pad.add_finding("q1", "x", "y", confidence=0.4)
    assert pad.select_next_agent() == "scraper"
    pad.mark_question_answered("q1", 0.4)
    pad.overall_confidence = 0.4
    assert pad.select_next_agent() == "verifier"
    pad.overall_confidence = 0.8
    assert pad.select_next_agent() == "synthesizer"
    pad.overall_confidence = 0.6
    pad.add_agent_note("analyzer", "a", "o", "search for each", "searcher")
    assert pad.select_next_agent() == "searcher"
    summary = pad.get_agent_state_summary()
    assert (summary["questions_total"], summary["questions_answered"]) == (1, 1)
    assert (summary["findings_count"], summary["overall_confidence"]) == (1, 0.6)
    assert pad.get_stats()["notes"] == 2
