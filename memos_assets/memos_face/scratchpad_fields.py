"""What is on memOS's scratchpad: pydantic models with memOS's fields, and the board behind them.

Source: the memOS server, agentic/scratchpad.py.
"""

import uuid
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard

#: Characters of an id.
SHORT = 8


class FindingType(str, Enum):  # noqa: UP042  as memOS's: str() of a member is its name
    """What a finding is."""

    FACT = "fact"
    STATISTIC = "statistic"
    DEFINITION = "definition"
    PROCEDURE = "procedure"
    CONTACT = "contact"
    CONTRADICTION = "contradiction"


class QuestionStatus(str, Enum):  # noqa: UP042  as memOS's: str() of a member is its name
    """How far a question is answered."""

    UNANSWERED = "unanswered"
    SEARCHING = "searching"
    PARTIAL = "partial"
    ANSWERED = "answered"
    CONFLICT = "conflict"


def now() -> datetime:
    """Return this moment in UTC."""
    return datetime.now(UTC)


class ScratchpadFinding(BaseModel):
    """A fact that was found; `confidence` from 0 to 1."""

    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:SHORT])
    question_id: str
    finding_type: FindingType = FindingType.FACT
    content: str
    source_url: str
    source_title: str = ""
    confidence: float = Field(default=0.5, ge=0.0, le=1.0)
    timestamp: datetime = Field(default_factory=now)
    verified: bool = False
    conflicts_with: list[str] = Field(default_factory=list)


class QuestionProgress(BaseModel):
    """A question and how far it is answered."""

    question_id: str
    question_text: str
    completion_criteria: str = ""
    status: QuestionStatus = QuestionStatus.UNANSWERED
    confidence: float = Field(default=0.0, ge=0.0, le=1.0)
    findings: list[str] = Field(default_factory=list)
    gaps: list[str] = Field(default_factory=list)
    notes: str = ""


class AgentNote(BaseModel):
    """A note of an agent for one other, or for all."""

    agent: str
    timestamp: datetime = Field(default_factory=now)
    action_taken: str
    observation: str
    recommendation: str = ""
    for_agent: str | None = None


class ScratchpadFields(BaseModel):
    """What is on memOS's blackboard of one request, and the board behind it."""

    # What newer versions of memOS write is kept.
    model_config = ConfigDict(extra="allow")

    request_id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    created_at: datetime = Field(default_factory=now)
    updated_at: datetime = Field(default_factory=now)
    original_query: str
    user_id: str | None = None
    context: dict[str, Any] = Field(default_factory=dict)
    questions: dict[str, QuestionProgress] = Field(default_factory=dict)
    findings: dict[str, ScratchpadFinding] = Field(default_factory=dict)
    contradictions: list[dict[str, Any]] = Field(default_factory=list)
    agent_notes: list[AgentNote] = Field(default_factory=list)
    queries_executed: list[str] = Field(default_factory=list)
    urls_scraped: list[str] = Field(default_factory=list)
    sources_consulted: int = 0
    next_actions: list[dict[str, Any]] = Field(default_factory=list)
    is_complete: bool = False
    completion_reason: str = ""
    overall_confidence: float = 0.0
    public_space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    private_spaces: dict[str, dict[str, Any]] = Field(default_factory=dict)
    entities: dict[str, dict[str, Any]] = Field(default_factory=dict)
    entity_relations: list[dict[str, Any]] = Field(default_factory=list)
    #: Of the board, where there is one.
    board_id: str | None = None
    _sessions: sessionmaker[Session] | None = PrivateAttr(default=None)

    def attach(self, sessions: sessionmaker[Session]) -> Self:
        """Return the scratchpad with its board at hand again, after it was read from JSON."""
        self._sessions = sessions
        return self

    def board(self, agent: str = "") -> SyncBoard | None:
        """Return the board, used by an agent; None: the scratchpad is in memory alone."""
        if self._sessions is None or self.board_id is None:
            return None
        return SyncBoard(self._sessions, self.board_id, user=self.user_id or "", agent=agent)

    def _touch(self) -> None:
        self.updated_at = now()

    def add_next_action(
        self, action_type: str, priority: int = 5, details: dict[str, Any] | None = None
    ) -> None:
        """Add an action; the least priority is the most urgent."""
        action = {
            "type": action_type,
            "priority": priority,
            "details": details or {},
            "added_at": now().isoformat(),
        }
        self.next_actions.append(action)
        self.next_actions.sort(key=lambda one: one.get("priority", 5))
        if (board := self.board()) is not None:
            said = f"{action_type} {sorted((details or {}).items())}"
            board.add_action(said, priority=priority)
        self._touch()

    def get_next_action(self) -> dict[str, Any] | None:
        """Return the most urgent action, and remove it."""
        return self.next_actions.pop(0) if self.next_actions else None

    def peek_next_actions(self, n: int = 3) -> list[dict[str, Any]]:
        """Return the most urgent actions."""
        return self.next_actions[:n]
