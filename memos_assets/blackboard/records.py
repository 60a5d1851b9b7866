"""Records of a board as requests: findings, contradictions, questions, entities, notes, actions.

Keys are digests of what makes two records one, so a record that is posted again adds nothing. What
becomes of a record (the progress of a question, a decision on a contradiction) is a register beside
it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, get_args

from memos_assets.blackboard.requests import (
    ACTIONS,
    BOARD,
    CONTRADICTIONS,
    FINDINGS,
    NOTES,
    PROMOTIONS,
    QUESTIONS,
    RELATIONS,
    SEARCHES,
    SYNTHESES,
    Request,
    digest,
    named,
    share,
    storable,
    text_digest,
    unusable,
)
from memos_assets.equal_texts import normalised

#: Registers beside records of the same keys.
PROGRESS: Final = "progress"
DECISIONS: Final = "decisions"
DONE: Final = "done"

FindingKind = Literal["fact", "statistic", "definition", "procedure", "contact", "contradiction"]
QuestionState = Literal["unanswered", "searching", "partial", "answered", "conflict"]
Decision = Literal["open", "resolved", "dismissed"]
_DIGITS: Final = 32


def is_key(text: str) -> bool:
    """Whether a text is a key of a record, and not what it says."""
    return len(text) == _DIGITS and set(text) <= set("0123456789abcdef")


def question_key(question: str) -> str:
    """Return the key of a question, given the question or its key."""
    text = storable(question, "question")
    return text if is_key(text) else text_digest(text)


def question(text: str, *, priority: int = 0) -> Request:
    """Return the request that adds a question."""
    value = {"text": storable(text, "question"), "priority": int(priority)}
    return Request(level=QUESTIONS, key=question_key(text), value=value, strategy="once")


def progress(
    key: str, status: QuestionState, confidence: float | None, gaps: Sequence[str]
) -> Request:
    """Return the request that says how far a question is answered.

    Raises:
        AgentError: M923 there is no such status; M924.
    """
    _one_of(status, get_args(QuestionState), "status")
    value: dict[str, Any] = {"status": status, "gaps": list(gaps)}
    if confidence is not None:
        value["confidence"] = share(confidence, "confidence")
    return Request(level=PROGRESS, key=key, value=value, strategy="last")


def search(of_question: str, query: str, hits: int) -> Request:
    """Return the request that notes a search for a question, and how many hits it had."""
    value = {"question": of_question, "query": storable(query, "query"), "hits": int(hits)}
    key = digest(of_question, normalised(query))
    return Request(level=SEARCHES, key=key, value=value, strategy="once")


def finding_key(of_question: str, text: str, source: str) -> str:
    """Return the key of a finding: of its question, its normalised text and its source."""
    return digest(of_question, normalised(text), source)


def finding(
    of_question: str,
    text: str,
    source: str,
    confidence: float,
    *,
    kind: FindingKind = "fact",
    title: str = "",
    of_search: str | None = None,
    evidence: str | None = None,
) -> Request:
    """Return the request that adds a finding.

    Args:
        of_question: key of the question that it helps to answer.
        text: what was found.
        source: where; ``memory:UUID`` for a memory.
        confidence: 0 to 1.
        kind: one of `FindingKind`.
        title: of the source.
        of_search: key of the search that found it.
        evidence: the words of the source.

    Raises:
        AgentError: M923, M924.
    """
    _one_of(kind, get_args(FindingKind), "kind")
    value: dict[str, Any] = {
        "question": of_question,
        "text": storable(text, "finding"),
        "source": named(source, "source"),
        "confidence": share(confidence, "confidence"),
        "kind": kind,
    }
    value |= {"title": title} if title else {}
    value |= {"search": of_search} if of_search else {}
    value |= {"evidence": storable(evidence, "evidence")} if evidence else {}
    key = finding_key(of_question, text, value["source"])
    return Request(level=FINDINGS, key=key, value=value, strategy="once")


def contradiction(
    claim_a: str,
    claim_b: str,
    source_a: str,
    source_b: str,
    *,
    score: float = 1.0,
    kind: str = "",
    evidence_a: str = "",
    evidence_b: str = "",
) -> Request:
    """Return the request that records a contradiction; the order of its sides does not matter.

    Args:
        claim_a: one statement.
        claim_b: the other one.
        source_a: of the one.
        source_b: of the other.
        score: 0 to 1, how sure it is that they contradict.
        kind: by what, such as ``negation`` or ``number``.
        evidence_a: the words of ``claim_a`` that contradict.
        evidence_b: those of ``claim_b``.

    Raises:
        AgentError: M923, M924.
    """
    sides = [
        {
            "statement": storable(said, "statement"),
            "source": named(source, "source"),
            "evidence": evidence,
        }
        for said, source, evidence in (
            (claim_a, source_a, evidence_a),
            (claim_b, source_b, evidence_b),
        )
    ]
    compared = [[normalised(one["statement"]), one["source"]] for one in sides]
    if compared[0] == compared[1]:
        raise unusable("the two sides are one statement of one source", "contradiction")
    value = {"a": sides[0], "b": sides[1], "score": share(score, "score"), "kind": kind}
    return Request(level=CONTRADICTIONS, key=digest(sorted(compared)), value=value, strategy="once")


def decision(key: str, status: Decision, reason: str, expected: int) -> Request:
    """Return the request that decides on a contradiction; ``expected`` of the former decision."""
    _one_of(status, get_args(Decision), "status")
    value = {"status": status, "reason": reason}
    return Request(level=DECISIONS, key=key, value=value, strategy="cas", expected=expected)


def concerns(of_contradiction: Mapping[str, Any], of_finding: Mapping[str, Any]) -> bool:
    """Whether a finding is a side of a contradiction; both as their values."""
    said = normalised(of_finding["text"]), of_finding["source"]
    return any(
        (normalised(of_contradiction[side]["statement"]), of_contradiction[side]["source"]) == said
        for side in ("a", "b")
    )


def synthesis(
    text: str,
    cites: Sequence[str],
    contradictions: Sequence[str],
    threshold: float,
    known: int,
) -> Request:
    """Return the request that adds a synthesis, refused if a contradiction came meanwhile.

    Args:
        text: of the synthesis.
        cites: keys of findings.
        contradictions: keys of the contradictions that it names.
        threshold: least score of those that it has to name.
        known: number of the last event that was known.
    """
    value = {
        "text": storable(text, "synthesis"),
        "cites": list(cites),
        "contradictions": list(contradictions),
        "threshold": share(threshold, "threshold"),
        "known": known,
    }
    return Request(
        level=SYNTHESES,
        key=digest(text, known),
        value=value,
        strategy="once",
        guard=(CONTRADICTIONS, known),
    )


def promotion(of_finding: str, memory: str, known: int) -> Request:
    """Return the request that notes that a finding was promoted to a memory."""
    value = {"memory": memory, "known": known}
    return Request(level=PROMOTIONS, key=of_finding, value=value, strategy="once")


def relation(source: str, kind: str, target: str, attributes: Mapping[str, Any]) -> Request:
    """Return the request that relates two entities."""
    value = {
        "source": named(source, "source"),
        "kind": named(kind, "kind"),
        "target": named(target, "target"),
        "attributes": dict(attributes),
    }
    key = digest(value["source"], value["kind"], value["target"])
    return Request(level=RELATIONS, key=key, value=value, strategy="once")


def note(text: str, agent: str, kind: str) -> Request:
    """Return the request that adds a note of an agent."""
    value = {"text": storable(text, "note"), "kind": kind}
    return Request(level=NOTES, key=digest(agent, kind, text), value=value, strategy="once")


def action(text: str, *, priority: int, agent: str) -> Request:
    """Return the request that adds a next action; the least number is the most urgent."""
    value = {"text": storable(text, "action"), "priority": int(priority), "agent": agent}
    return Request(level=ACTIONS, key=text_digest(text), value=value, strategy="once")


def done(of_action: str, result: str) -> Request:
    """Return the request that marks an action as done."""
    return Request(level=DONE, key=of_action, value={"result": result}, strategy="once")


def complete(reason: str) -> Request:
    """Return the request by which a board takes no further events."""
    value = {"state": "complete", "reason": reason}
    return Request(level=BOARD, key="state", value=value, strategy="once")


def _one_of(value: object, known: Sequence[str], name: str) -> None:
    if value not in known:
        raise unusable(f"is none of {', '.join(known)}", name)
