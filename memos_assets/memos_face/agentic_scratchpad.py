"""memOS's `agentic.scratchpad`: `AgenticScratchpad`, in memory, or over a board of ours.

A pydantic model with memOS's fields, so `model_dump_json` of either reads the other's. Given what
makes sessions, each write is also an event of a board, which all processes see and which outlives
the request. The remediation plan's keyword names work beside memOS's. A finding is one for its
question, text and source, where memOS added it again.

Source: the memOS server, agentic/scratchpad.py.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard
from memos_assets.blackboard.records import QuestionState, finding_key
from memos_assets.blackboard.views import COMPLETE_FROM
from memos_assets.memos_face.scratchpad_agents import AgentSide
from memos_assets.memos_face.scratchpad_fields import (
    SHORT,
    AgentNote,
    FindingType,
    QuestionProgress,
    QuestionStatus,
    ScratchpadFinding,
    now,
)

__all__ = [
    "AgentNote",
    "AgenticScratchpad",
    "FindingType",
    "QuestionProgress",
    "QuestionStatus",
    "ScratchpadFinding",
]


class AgenticScratchpad(AgentSide):
    """memOS's blackboard of one request."""

    @classmethod
    def create(
        cls,
        query: str,
        request_id: str | None = None,
        user_id: str | None = None,
        *,
        sessions: sessionmaker[Session] | None = None,
        space: str | None = None,
    ) -> "AgenticScratchpad":
        """Make a scratchpad for a query.

        Args:
            query: of the user.
            request_id: None: a new one.
            user_id: of the user; a board needs one.
            sessions: makes sessions; None: the scratchpad is in memory alone, as memOS's.
            space: name of a shared space for the board; None: the user's own.

        Raises:
            AgentError: as `Board.open`.
        """
        given = {} if request_id is None else {"request_id": request_id}
        made = cls(original_query=query, user_id=user_id, **given)
        if sessions is not None:
            opened = SyncBoard.open(sessions, query, user=user_id or "", space=space)
            made.board_id = str(opened.id)
            made._sessions = sessions
        return made

    def set_mission(
        self, decomposed_questions: Sequence[str], completion_criteria: dict[str, str]
    ) -> None:
        """Add the questions q1, q2 ... that the query is decomposed into."""
        for number, text in enumerate(decomposed_questions, 1):
            key = f"q{number}"
            criteria = completion_criteria.get(key, "Find relevant information")
            self._ask(key, text, criteria)
        self.add_agent_note(
            "analyzer",
            f"Decomposed query into {len(decomposed_questions)} questions",
            f"Questions: {list(decomposed_questions)}",
            "Begin searching for Q1 first",
        )

    def _ask(self, key: str, text: str, criteria: str = "") -> None:
        self.questions[key] = QuestionProgress(
            question_id=key, question_text=text, completion_criteria=criteria
        )
        if (board := self.board()) is not None:
            board.add_question(text)

    def _text_of(self, key: str) -> str:
        return self.questions[key].question_text if key in self.questions else key

    def add_finding(
        self,
        question_id: str | None = None,
        content: str | None = None,
        source_url: str | None = None,
        source_title: str = "",
        finding_type: FindingType = FindingType.FACT,
        confidence: float = 0.5,
        *,
        question: str | None = None,
        finding: str | None = None,
        source: str | None = None,
    ) -> str:
        """Add a finding; the same text of the same source to the same question is one finding.

        Args:
            question_id: of the question; or ``question``: its id or its text, which is added.
            content: of the finding; or ``finding``.
            source_url: of the source; or ``source``.
            source_title: of the source.
            finding_type: what it is.
            confidence: 0 to 1.
            question: the remediation plan's name of ``question_id``.
            finding: the remediation plan's name of ``content``.
            source: the remediation plan's name of ``source_url``.

        Returns:
            Its id.

        Raises:
            pydantic.ValidationError: the confidence is out of range, or an argument is missing.
            AgentError: as `Board.add_finding`, where there is a board.
        """
        key = question_id if question_id is not None else question
        if question_id is None and question is not None:
            key = self._question(question)
        text = content if content is not None else finding
        url = source_url if source_url is not None else source
        made = ScratchpadFinding(
            question_id=key,
            finding_type=finding_type,
            content=text,
            source_url=url,
            source_title=source_title,
            confidence=confidence,
        )
        digest = finding_key(made.question_id, made.content, made.source_url)
        made.id = digest[:SHORT]
        there = self.findings.get(made.id)
        if there is not None:
            known = finding_key(there.question_id, there.content, there.source_url)
            if known == digest:
                return made.id
            made.id = digest
        if (board := self.board()) is not None:
            board.add_finding(
                self._text_of(made.question_id),
                made.content,
                made.source_url,
                confidence,
                kind=finding_type.value,
                title=source_title,
            )
        self.findings[made.id] = made
        if made.question_id in self.questions:
            asked = self.questions[made.question_id]
            asked.findings.append(made.id)
            asked.status = QuestionStatus.PARTIAL
            asked.confidence = max(asked.confidence, confidence)
        self._touch()
        return made.id

    def _question(self, said: str) -> str:
        if said in self.questions:
            return said
        for key, one in self.questions.items():
            if one.question_text == said:
                return key
        key = f"q{len(self.questions) + 1}"
        self._ask(key, said)
        return key

    def add_contradiction(
        self,
        finding_id_1: str | None = None,
        finding_id_2: str | None = None,
        description: str = "",
        *,
        claim_a: str | None = None,
        claim_b: str | None = None,
        source_a: str = "",
        source_b: str = "",
    ) -> None:
        """Record a contradiction of two findings, or of two statements with their sources."""
        sides = []
        for key, said, source in (
            (finding_id_1, claim_a, source_a),
            (finding_id_2, claim_b, source_b),
        ):
            found = self.findings.get(key or "")
            statement = said if said is not None else found.content if found else key or ""
            sides.append((statement, source or (found.source_url if found else "unknown")))
        (one, from_one), (two, from_two) = sides
        if (board := self.board()) is not None:
            board.add_contradiction(one, two, from_one, from_two, kind="reported")
        record = {
            "finding_1": finding_id_1 or one,
            "finding_2": finding_id_2 or two,
            "description": description or f"{one} / {two}",
            "resolved": False,
            "timestamp": now().isoformat(),
        }
        if claim_a is not None:
            record |= {"claim_a": one, "claim_b": two, "source_a": from_one, "source_b": from_two}
        self.contradictions.append(record)
        for key, other in ((finding_id_1, finding_id_2), (finding_id_2, finding_id_1)):
            if key in self.findings and other is not None:
                self.findings[key].conflicts_with.append(other)
        details = {name: record[name] for name in ("finding_1", "finding_2", "description")}
        self.add_next_action("resolve_contradiction", 1, details)

    def mark_question_answered(
        self, question_id: str, confidence: float = 0.8, notes: str = ""
    ) -> None:
        """Mark a question as answered."""
        if question_id in self.questions:
            asked = self.questions[question_id]
            asked.status, asked.confidence = QuestionStatus.ANSWERED, confidence
            asked.notes = notes
            self._progress(asked)

    def mark_question_partial(
        self, question_id: str, gaps: Sequence[str], confidence: float = 0.5
    ) -> None:
        """Mark a question as answered in part, and add an action for each gap."""
        if question_id in self.questions:
            asked = self.questions[question_id]
            asked.status, asked.confidence = QuestionStatus.PARTIAL, confidence
            asked.gaps = list(gaps)
            self._progress(asked)
            for gap in gaps:
                self.add_next_action("fill_gap", 2, {"question_id": question_id, "gap": gap})

    def _progress(self, asked: QuestionProgress) -> None:
        if (board := self.board()) is not None:
            status: QuestionState = asked.status.value
            text = asked.question_text
            board.set_progress(text, status, confidence=asked.confidence, gaps=asked.gaps)
        self._touch()

    def get_completion_status(self) -> dict[str, Any]:
        """Return how far the request is."""
        if not self.questions:
            return {"overall": 0.0, "questions": {}, "is_complete": False} | self._unresolved()
        asked = self.questions
        overall = sum(one.confidence for one in asked.values()) / len(asked)
        answered = (QuestionStatus.ANSWERED, QuestionStatus.PARTIAL)
        done = overall >= COMPLETE_FROM and all(one.status in answered for one in asked.values())
        status = {
            key: {
                "status": one.status.value,
                "confidence": one.confidence,
                "findings_count": len(one.findings),
                "gaps": one.gaps,
            }
            for key, one in asked.items()
        }
        return {"overall": overall, "is_complete": done, "questions": status} | self._unresolved()

    def _unresolved(self) -> dict[str, int]:
        return {"unresolved_contradictions": len(self._open_contradictions())}

    def get_stats(self) -> dict[str, Any]:
        """Return counts of what is on the scratchpad, which memOS's class has no call for."""
        return self.get_agent_state_summary() | {
            "public_keys": len(self.public_space),
            "entities": len(self.entities),
            "notes": len(self.agent_notes),
        }

    def get_unanswered_questions(self) -> list[QuestionProgress]:
        """Return the questions that need an answer."""
        waiting = (QuestionStatus.UNANSWERED, QuestionStatus.SEARCHING)
        return [one for one in self.questions.values() if one.status in waiting]

    def get_gaps(self) -> list[dict[str, Any]]:
        """Return what is missing, question by question."""
        return [
            {"question_id": key, "question": one.question_text, "gap": gap}
            for key, one in self.questions.items()
            for gap in one.gaps
        ]

    def mark_complete(self, reason: str = "All questions answered") -> None:
        """Mark the request as complete; a board takes no further events."""
        self.overall_confidence = self.get_completion_status()["overall"]
        self.is_complete, self.completion_reason = True, reason
        if (board := self.board()) is not None:
            board.complete(reason)
        self._touch()

    def should_continue(self, max_sources: int = 20) -> bool:
        """Whether there is anything left to find out."""
        if self.is_complete or self.sources_consulted >= max_sources:
            return False
        status = self.get_completion_status()
        return bool(
            status["overall"] < COMPLETE_FROM
            or status["unresolved_contradictions"]
            or self.get_gaps()
        )

    def to_memory_content(self) -> dict[str, Any]:
        """Return all of the scratchpad as plain values, findings too, which memOS left out."""
        return {"type": "agentic_scratchpad", **self.model_dump(mode="json")}

    @classmethod
    def from_memory_content(cls, content: dict[str, Any]) -> "AgenticScratchpad":
        """Return the scratchpad of `to_memory_content`."""
        given = {name: value for name, value in content.items() if name != "type"}
        return cls.model_validate(given)
