"""The hooks of memOS's orchestrator, in the caller's transaction."""

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.errors import AgentError
from memos_assets.memory import Kept, SyncMemory
from memos_assets.memory import hooks as h
from memos_assets.memory.explicit_links import connect, disconnect
from memos_assets.memory.quality_signal import quality_signal

R = ("r-1", "Which robots stop by SRVO-063?")


def rows(session: Session, kind: str) -> list[Any]:
    found = session.execute(
        sa.text("select * from agent.memories where kind = :kind order by number"), {"kind": kind}
    )
    return list(found)


def sources(session: Session, kept: Kept) -> list[int]:
    statement = sa.text("select derived_from from agent.provenance where memory = :memory")
    return list(session.execute(statement, {"memory": kept.number}).scalars())


def embedding(session: Session, kept: Kept) -> list[str]:
    table = session.execute(sa.text("select 'agent.embeddings_' || max(id) from agent.models"))
    statement = sa.text(
        f"select embedding::text from {table.scalar_one()} where memory = :memory order by part"
    )
    return list(session.execute(statement, {"memory": kept.number}).scalars())


def test_a_content_is_remembered_with_its_sources_and_links(
    session: Session, memory: SyncMemory
) -> None:
    first = h.add_to_semantic_memory(session, "SRVO-063 is a fault of the RCAL.", "finding")
    second = h.add_to_semantic_memory(
        session,
        memory.prepare("Replace the RCAL fuse.", attributes={"page": 7}),
        "answer",
        attributes={"query": R[1]},
        source_ids=[first.id],
        explicit_connections=[(first.id, "answers")],
    )
    (answer,) = rows(session, "answer")
    assert answer.attributes == {"page": 7, "query": R[1]}
    assert sources(session, second) == [first.number]
    (link,) = session.execute(sa.text("select type, direction from agent.links")).all()
    assert link == ("answers", -1)
    # The text waits for the schedule of the outbox, what was prepared does not.
    assert (first.waits, second.waits) == (h.WAITS, None)
    assert session.execute(sa.text("select memory from agent.outbox")).all() == [(first.number,)]


def test_a_source_that_is_not_seen_keeps_the_content_out(
    session: Session, shared_sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    with shared_sessions.begin() as other:
        memory.act_as(other, user="somebody else")
        hidden = h.add_to_semantic_memory(other, "Nobody else reads this.", "finding")
    with pytest.raises(AgentError, match="M705"):
        h.add_to_semantic_memory(session, "Concluded.", "finding", source_ids=[hidden.id])
    assert rows(session, "finding") == []


def test_observations_of_two_requests_with_one_text_are_two(session: Session) -> None:
    said = ("A fuse is blown.", "document", "manual.pdf")
    kept = [h.record_observation(session, request, "q", *said) for request in ("a", "A", "b", "a")]
    assert [one.duplicate_of is None for one in kept] == [True, False, True, False]
    (first, _) = rows(session, "observation")
    assert (first.source, first.confidence, first.subject) == ("manual.pdf", 0.5, "request:a")
    assert first.attributes == {
        "request_id": "a",
        "query": "q",
        "observation_type": "document",
        "quality_score": 0.5,
        "is_relevant": True,
    }


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda s: h.record_observation(s, *R, "x", "rumour", "web"), "M782"),
        (lambda s: h.record_reasoning(s, *R, "x", "guess"), "M782"),
        (lambda s: h.record_observation(s, *R, "x", "document", "web", 1.1), "M732"),
        (lambda s: h.record_reasoning(s, *R, "x", "synthesis", float("nan")), "M732"),
        (lambda s: h.record_observation(s, *R, "", "document", "web"), "M730"),
        (lambda s: h.record_observation(s, "r", "q\0", "x", "document", "web"), "M732"),
        (lambda s: h.add_to_semantic_memory(s, "x", "semantic"), "M732"),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_stored(
    session: Session, call: Any, code: str
) -> None:
    with pytest.raises(AgentError, match=f"^{code} "):
        call(session)
    assert session.execute(sa.text("select count(*) from agent.memories")).scalar() == 0


def test_a_hook_without_act_as_is_refused(shared_sessions: sessionmaker[Session]) -> None:
    with shared_sessions() as session:
        for call in (
            lambda: h.record_observation(session, *R, "x", "document", "web"),
            lambda: h.get_quality_signal(session, "r"),
            lambda: h.promote_findings(session, "r"),
        ):
            with pytest.raises(AgentError, match=r"^M700 "):
                call()


def test_the_quality_signal_is_memos_formula(session: Session) -> None:
    empty = h.get_quality_signal(session, "r-1")
    assert (empty.overall_quality, empty.coverage) == (0.0, 0.0)
    assert len(empty.uncertainty_indicators) == len(empty.recommendations) == 2
    for number, quality in enumerate((0.9, 0.7, 0.3)):
        h.record_observation(session, *R, f"fact {number}", "document", "web", quality)
    h.record_observation(session, *R, "noise", "document", "web", 1.0, is_relevant=False)
    h.record_observation(session, "r-2", "another", "other", "document", "web", 1.0)
    h.record_reasoning(session, *R, "so it is", "deduction", 0.4)
    h.record_reasoning(session, *R, "or not", "critique", 0.8)
    signal = h.get_quality_signal(session, "r-1")
    assert signal.evidence_quality == pytest.approx(0.8)
    assert signal.reasoning_quality == pytest.approx(0.6)
    assert signal.coverage == pytest.approx(0.8)
    assert signal.overall_quality == pytest.approx(0.4 * 0.8 + 0.4 * 0.6 + 0.2 * 0.8)
    assert signal.uncertainty_indicators == ["conclusions of low confidence: 1"]
    assert set(signal.to_dict()) == {
        *("overall_quality", "evidence_quality", "reasoning_quality", "coverage"),
        *("uncertainty_indicators", "recommendations"),
    }


def test_the_quality_signal_of_many_observations_covers_the_request_at_most() -> None:
    signal = quality_signal([(1.0, True)] * 50, [1.0], conflicts=1, failures=2)
    assert signal.overall_quality == pytest.approx(1.0)
    assert signal.coverage == 1.0
    assert signal.uncertainty_indicators == ["open contradictions: 1", "failed actions: 2"]


def test_good_steps_become_findings_once(session: Session, memory: SyncMemory) -> None:
    good = h.record_observation(
        session, *R, memory.prepare("The fuse F1 is blown."), "tool_output", "tool:ohm", 0.6
    )
    h.record_observation(session, *R, "Maybe dust.", "document", "web", 0.59)
    h.record_observation(session, *R, "An ad.", "document", "web", 0.9, is_relevant=False)
    concluded = h.record_reasoning(
        session, *R, "Replace F1.", "deduction", 0.9, "planner", [good.id]
    )
    assert sources(session, concluded) == [good.number]

    made = h.promote_findings(session, "r-1")
    assert [row.content for row in rows(session, "finding")] == [
        "The fuse F1 is blown.",
        "Replace F1.",
    ]
    first, second = made
    assert embedding(session, first) == embedding(session, good) != []
    assert (first.waits, second.waits) == (None, h.WAITS)
    assert (sources(session, first), sources(session, second)) == (
        [good.number],
        [concluded.number],
    )
    (row, _) = rows(session, "finding")
    assert (row.source, row.confidence, row.subject) == ("tool:ohm", 0.6, None)
    assert h.promote_findings(session, "r-1") == []

    # A finding that was wrong does not come back, from this request or another one.
    session.execute(sa.text("update agent.memories set retracted_at = now() where kind='finding'"))
    h.record_reasoning(session, "r-9", "q", "replace  f1.", "synthesis", 1.0)
    assert h.promote_findings(session, "r-1") == h.promote_findings(session, "r-9") == []


def test_a_step_that_is_contradicted_waits_until_the_contradiction_is_settled(
    session: Session,
) -> None:
    step = h.record_reasoning(session, *R, "F1 is blown.", "deduction", 0.9)
    other = h.add_to_semantic_memory(session, "F1 is intact.", "finding")
    connect(session, step.id, other.id, "contradicts")
    assert h.promote_findings(session, "r-1") == []
    assert (
        h.get_quality_signal(session, "r-1").uncertainty_indicators[-1] == "open contradictions: 1"
    )
    disconnect(session, step.id, other.id, "contradicts")
    connect(session, other.id, step.id, "contradicts")
    session.execute(
        sa.text("update agent.memories set retracted_at = now() where number = :number"),
        {"number": other.number},
    )
    assert [one.duplicate_of for one in h.promote_findings(session, "r-1")] == [None]


def test_two_promotions_at_once_make_one_finding(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> None:
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        h.record_reasoning(session, *R, "Replace F1.", "deduction", 0.9)
    both, made = threading.Barrier(2), []

    def promote() -> None:
        with shared_sessions.begin() as session:
            memory.act_as(session, user=user)
            both.wait()
            made.extend(h.promote_findings(session, "r-1"))

    threads = [threading.Thread(target=promote) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        assert len(rows(session, "finding")) == 1
        assert [one.duplicate_of for one in made] == [None]
