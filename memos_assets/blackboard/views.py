"""What the records of a state say together: questions with their progress, open contradictions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from memos_assets.blackboard.reading import State
from memos_assets.blackboard.records import DECISIONS, DONE, PROGRESS, concerns
from memos_assets.blackboard.requests import ACTIONS, CONTRADICTIONS, FINDINGS, QUESTIONS

#: From this mean confidence on a board can be complete, as memOS has it.
COMPLETE_FROM: Final = 0.7


@dataclass(frozen=True, slots=True)
class Question:
    """A question and how far it is answered.

    Attributes:
        key: of the question.
        text: of the question.
        status: what an agent said, else ``partial`` with findings and ``unanswered`` without.
        confidence: the highest of its findings and of what an agent said.
        findings: how many.
        gaps: what is missing, by agents.
        priority: the least number is the most urgent.
    """

    key: str
    text: str
    status: str
    confidence: float
    findings: int
    gaps: tuple[str, ...]
    priority: int


@dataclass(frozen=True, slots=True)
class Contradicted:
    """A recorded contradiction.

    Attributes:
        key: of the record.
        value: with its sides ``a`` and ``b``, ``score`` and ``kind``.
        status: ``open``, ``resolved`` or ``dismissed``.
        decided_by: user and agent; None while nobody has decided.
        reason: of the decision.
        version: of the decision; 0: there is none.
        seq: of its event.
    """

    key: str
    value: Mapping[str, Any]
    status: str
    decided_by: tuple[str, str] | None
    reason: str
    version: int
    seq: int

    @property
    def score(self) -> float:
        """How sure it is that the sides contradict, 0 to 1."""
        return float(self.value["score"])


def questions(state: State) -> list[Question]:
    """Return the questions of a state, the oldest first."""
    found: dict[str, list[float]] = {}
    for entry in state.level(FINDINGS):
        found.setdefault(entry.value["question"], []).append(entry.value["confidence"])
    said = state.values(PROGRESS)
    result = []
    for entry in state.level(QUESTIONS):
        of_it, stated = found.get(entry.key, []), said.get(entry.key, {})
        result.append(
            Question(
                key=entry.key,
                text=entry.value["text"],
                status=stated.get("status", "partial" if of_it else "unanswered"),
                confidence=max([*of_it, stated.get("confidence", 0.0)]),
                findings=len(of_it),
                gaps=tuple(stated.get("gaps", ())),
                priority=entry.value.get("priority", 0),
            )
        )
    return result


def contradictions(state: State) -> list[Contradicted]:
    """Return the contradictions of a state with what was decided, the oldest first."""
    decided = {entry.key: entry for entry in state.level(DECISIONS)}
    result = []
    for entry in state.level(CONTRADICTIONS):
        one = decided.get(entry.key)
        result.append(
            Contradicted(
                key=entry.key,
                value=entry.value,
                status="open" if one is None else one.value["status"],
                decided_by=None if one is None else (one.user, one.agent),
                reason="" if one is None else one.value["reason"],
                version=0 if one is None else one.version,
                seq=entry.seq,
            )
        )
    return result


def open_contradictions(state: State, least: float = 0.0) -> list[Contradicted]:
    """Return the contradictions that nobody has decided, from a score on."""
    return [one for one in contradictions(state) if one.status == "open" and one.score >= least]


def contradicting(state: State, finding: Mapping[str, Any]) -> list[Contradicted]:
    """Return the open contradictions of which a finding, given by its value, is a side."""
    return [one for one in open_contradictions(state) if concerns(one.value, finding)]


def next_actions(state: State) -> list[dict[str, Any]]:
    """Return the actions that are not done, the most urgent first."""
    finished = state.values(DONE)
    waiting = [
        {"key": entry.key, **entry.value}
        for entry in state.level(ACTIONS)
        if entry.key not in finished
    ]
    return sorted(waiting, key=lambda one: one["priority"])


def completion(state: State) -> dict[str, Any]:
    """Return how far a board is, in memOS's form.

    Returns:
        ``overall``: the mean confidence of its questions; ``is_complete``: at least
        `COMPLETE_FROM`, and no question unanswered; ``questions``: text, status, confidence,
        findings_count and gaps by key; ``unresolved_contradictions``: how many are open.
    """
    asked = questions(state)
    overall = sum(one.confidence for one in asked) / len(asked) if asked else 0.0
    unanswered = any(one.status in ("unanswered", "searching") for one in asked)
    return {
        "overall": overall,
        "is_complete": bool(asked) and overall >= COMPLETE_FROM and not unanswered,
        "questions": {
            one.key: {
                "text": one.text,
                "status": one.status,
                "confidence": one.confidence,
                "findings_count": one.findings,
                "gaps": list(one.gaps),
            }
            for one in asked
        },
        "unresolved_contradictions": len(open_contradictions(state)),
    }
