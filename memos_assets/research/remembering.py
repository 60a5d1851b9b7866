"""What a run leaves in memory, in one transaction: observations, its conclusion, findings.

Each is there once however often a run is killed and resumed: the note that the phase ended is
numbered by the same transaction, and memory promotes a text once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory import Prepared, hooks
from memos_assets.memory.explicit_links import connect
from memos_assets.memory.hooks import PROMOTED
from memos_assets.memory.prepared import About, draft, finish
from memos_assets.memory.remember import Kept
from memos_assets.postgres.schema.agent import memories
from memos_assets.research.answer import Remembered
from memos_assets.research.passages import OF_RUN, Passage
from memos_assets.research.written import Written

#: Characters of an answer that is remembered, as memOS cuts it.
_MOST_REMEMBERED: Final = 1_000


@dataclass(frozen=True)
class Observed:
    """A finding as it is recorded.

    Attributes:
        key: of the finding.
        content: its text, prepared with its embedding or without.
        source: table and key of a row, or ``memory:UUID``.
        confidence: 0 to 1.
    """

    key: str
    content: Prepared
    source: str
    confidence: float


@dataclass(frozen=True)
class Conclusion:
    """What a run has to leave in memory.

    Attributes:
        request: id of the run, which is that of its board.
        question: of the user.
        text: of the answer.
        confidence: of the answer.
        agent: that ran it.
        observed: findings of corpora that are cited, and both sides of each open contradiction.
        against: pairs of keys of findings that contradict each other.
    """

    request: str
    question: str
    text: str
    confidence: float
    agent: str
    observed: Sequence[Observed]
    against: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Observable:
    """What of a synthesis is remembered: passages by keys, and pairs that contradict each other."""

    passages: Mapping[str, Passage]
    against: Sequence[tuple[str, str]]


def observable(passages: Mapping[str, Passage], written: Written) -> Observable:
    """Return findings of corpora that are cited, and both sides of each open contradiction.

    Args:
        passages: by the keys of their findings.
        written: the synthesis.
    """
    sides = {(one.text, one.source): key for key, one in passages.items()}
    against = [(sides[a], sides[b]) for a, b in written.sides if a in sides and b in sides]
    contradicted = {key for pair in against for key in pair}
    kept = {
        key: one
        for key, one in passages.items()
        if key in contradicted or (key in written.cited and one.memory is None)
    }
    return Observable(kept, against)


@dataclass(frozen=True)
class Left:
    """What was left in memory: key of the finding -> promoted memory, and the quality signal."""

    promoted: dict[str, Remembered] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)


def leave(session: Session, run: Conclusion) -> Left:
    """Record observations and the conclusion, and promote what is good enough and not contradicted.

    Args:
        session: that acts for the user; the caller commits.
        run: what was found and concluded.

    Raises:
        AgentError: as `memory.hooks`.
    """
    seen: dict[str, Kept] = {}
    for one in run.observed:
        seen[one.key] = hooks.record_observation(
            session,
            run.request,
            run.question,
            one.content,
            "search_result",
            one.source,
            one.confidence,
            metadata={"finding": one.key},
        )
    for a, b in run.against:
        if a in seen and b in seen and seen[a].id != seen[b].id:
            connect(session, seen[a].id, seen[b].id, "contradicts")
    premises = list(dict.fromkeys(kept.id for kept in seen.values()))
    if premises:
        # Its sentences are the findings: it does not become one itself.
        hooks.record_reasoning(
            session,
            run.request,
            run.question,
            _of_run(run, run.text, is_relevant=False),
            "synthesis",
            run.confidence,
            run.agent,
            premises,
        )
    found = _promoted(session, run, seen)
    if premises and run.confidence >= PROMOTED and not run.against:
        hooks.add_to_semantic_memory(
            session,
            _of_run(run, f"Question: {run.question}\nAnswer: {run.text}"[:_MOST_REMEMBERED]),
            "answer",
            {"request_id": run.request},
            source_ids=premises,
        )
    signal = hooks.get_quality_signal(session, run.request)
    return Left(found, signal.to_dict())


def _promoted(session: Session, run: Conclusion, seen: Mapping[str, Kept]) -> dict[str, Remembered]:
    """Promote what is good enough, and return it by the keys of the findings."""
    promoted = hooks.promote_findings(session, run.request)
    if not promoted:
        return {}
    m = memories.c
    steps = session.execute(
        sa.select(m.id, m.attributes["promoted_from"].astext).where(
            m.number.in_([kept.number for kept in promoted])
        )
    )
    of_step = {kept.id: key for key, kept in seen.items()}
    observed = {one.key: one for one in run.observed}
    found = {}
    for memory, step in steps:
        if (key := of_step.get(step)) is not None:
            one = observed[key]
            found[key] = Remembered(str(memory), one.content.content, one.source)
    return found


def _of_run(run: Conclusion, text: str, **attributes: Any) -> Prepared:
    """Return a text of the run itself, which no further run takes for a source."""
    about: About = {"source": f"{OF_RUN}{run.request}", "attributes": attributes}
    return finish(draft(text, "", about), "", hooks.WAITS)
