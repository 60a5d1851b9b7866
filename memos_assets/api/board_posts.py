"""Boards of agents, written: questions, findings, contradictions, public and private keys.

Each is a post of the board: a transaction of its own, which is over before the answer is sent.
"""

from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from memos_assets.api.board_access import board_of, read
from memos_assets.api.dependencies import Visiting, answer, refusals
from memos_assets.blackboard import detection
from memos_assets.blackboard.posting import Posted
from memos_assets.blackboard.records import Decision, FindingKind, QuestionState
from memos_assets.blackboard.requests import LONGEST_NAME
from memos_assets.blackboard.steps import Added, public_entries

router = APIRouter(prefix="/api/v1/boards/{board}", tags=["boards"])

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Key = Annotated[str, Query(min_length=1, max_length=LONGEST_NAME)]
Ttl = Annotated[float, Field(gt=0, le=3e9, description="Seconds until it expires.")]
_BY_KEY = "Its key, or its text, which is added if it is new."


def _example(**values: Any) -> ConfigDict:
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [values]})


class AddedShown(BaseModel):
    """A record: its key, whether it was added or was there, and the number of its event."""

    key: str
    added: bool
    seq: int


class AddedList(BaseModel):
    """Records that were added, or were there."""

    contradictions: list[AddedShown]


class PostedShown(BaseModel):
    """What became of a write: `same`, if it was there already."""

    status: Literal["added", "same"]
    seq: int
    version: int


class PostedList(BaseModel):
    """What became of each write."""

    posted: list[PostedShown]


class ToAddQuestion(BaseModel):
    """A question; an equal text is the same question."""

    model_config = _example(text="What does SRVO-062 mean?")

    text: str = Field(min_length=1)
    priority: int = Field(default=0, ge=-1_000, le=1_000)


class Progress(BaseModel):
    """How far a question is answered."""

    model_config = _example(question="What does SRVO-062 mean?", status="answered")

    question: str = Field(min_length=1, description="Its key, or its text.")
    status: QuestionState
    confidence: Share | None = None
    gaps: list[str] = Field(default=[], max_length=100)


class ToAddFinding(BaseModel):
    """A finding; the same text of the same source to the same question is one finding."""

    model_config = _example(
        question="What does SRVO-062 mean?",
        finding="The battery of the pulse coder is empty.",
        source="https://example.org/alarms#12",
        confidence=0.8,
    )

    question: str = Field(min_length=1, description=_BY_KEY)
    finding: str = Field(min_length=1)
    source: Name = Field(
        description="Where: an address with the number of the sentence after `#`, or "
        "`memory:UUID`. Findings of one sentence do not contradict each other."
    )
    confidence: Share
    kind: FindingKind = "fact"
    title: str = Field(default="", max_length=1_000)
    of_search: str | None = None
    evidence: str | None = Field(default=None, min_length=1)


class ToAddContradiction(BaseModel):
    """A contradiction; the order of its sides does not matter."""

    model_config = _example(
        claim_a="The battery is empty.",
        claim_b="The battery is full.",
        source_a="manual#3",
        source_b="log#7",
        score=0.9,
    )

    claim_a: str = Field(min_length=1)
    claim_b: str = Field(min_length=1)
    source_a: Name
    source_b: Name
    score: Share = 1.0
    kind: str = Field(default="", max_length=LONGEST_NAME)
    evidence_a: str = ""
    evidence_b: str = ""


class ToDecide(BaseModel):
    """A decision on a contradiction."""

    model_config = _example(status="resolved", reason="The log is older than the manual.")

    status: Decision
    reason: str = ""


class ToWritePublic(BaseModel):
    """A key that all agents on the board see."""

    model_config = _example(key="part", value="A06B-6114", strategy="cas", expected=0)

    key: Name
    value: Any = Field(description="JSON, and not null; of a set, one value or a list.")
    ttl: Ttl | None = None
    strategy: Literal["last", "cas", "union", "review"] | None = Field(
        default=None, description="Of the key, from its first write on; none: as it is."
    )
    expected: int | None = Field(
        default=None,
        ge=0,
        le=2**53,
        description="With `cas`, the version that was read; 0: there was none.",
    )


class ToReview(BaseModel):
    """A decision on what another agent wrote to a key that is reviewed."""

    model_config = _example(key="cause", item="2c624232cc5d4ab5b1c0f9d2a1f1c7aa", accept=True)

    key: Name
    item: Name = Field(description="Of the entry that waits, as the state shows it.")
    accept: bool


class ToWritePrivate(BaseModel):
    """A key that the agent of the token alone sees."""

    model_config = _example(key="draft", value={"step": 2}, ttl=3_600)

    key: Name
    value: Any = Field(description="JSON, and not null.")
    ttl: Ttl | None = None


class Finished(BaseModel):
    """Why a board takes no further events."""

    model_config = _example(reason="The cause is known.")

    reason: str = ""


class PublicEntry(BaseModel):
    """A value of a public key, with the version that `cas` names."""

    value: Any
    version: int
    item: str
    user: str
    agent: str
    at: datetime
    expires_at: datetime | None


class PublicValue(BaseModel):
    """A public key: its value; of a set, its values."""

    key: str
    strategy: str
    value: Any
    entries: list[PublicEntry]


class PrivateValue(BaseModel):
    """A key of the agent; null: it was never written."""

    key: str
    value: Any


class Written(BaseModel):
    """A key that was written."""

    key: str
    written: bool


def _added(added: Added) -> Response:
    return answer(asdict(added), 201 if added.added else 200)


def _posted(*posted: Posted) -> Response:
    return answer({"posted": [asdict(one) for one in posted]})


def _adding(summary: str) -> dict[str, Any]:
    """Return how a path that adds records is described."""
    again = {200: {"model": AddedShown, "description": "It was there already."}}
    return {
        "status_code": 201,
        "response_model": AddedShown,
        "responses": {**refusals(404, 409), **again},
        "summary": summary,
    }


@router.post("/questions", **_adding("Add a question"))
async def add_question(visit: Visiting, board: str, body: ToAddQuestion) -> Response:
    """Add a question that the agents on the board are to answer."""
    used = await board_of(visit, board)
    return _added(await used.add_question(body.text, priority=body.priority))


@router.put(
    "/questions/progress",
    response_model=PostedList,
    responses=refusals(404, 409),
    summary="Say how far a question is",
)
async def set_progress(visit: Visiting, board: str, body: Progress) -> Response:
    """Say how far a question is answered, how sure that is, and what is missing."""
    used = await board_of(visit, board)
    return _posted(
        await used.set_progress(
            body.question, body.status, confidence=body.confidence, gaps=body.gaps
        )
    )


@router.post("/findings", **_adding("Add a finding"))
async def add_finding(visit: Visiting, board: str, body: ToAddFinding) -> Response:
    """Add a finding with its source; it may be added again, and is one."""
    used = await board_of(visit, board)
    about = body.model_dump(include={"kind", "title", "of_search", "evidence"})
    return _added(
        await used.add_finding(body.question, body.finding, body.source, body.confidence, **about)
    )


@router.post("/contradictions", **_adding("Add a contradiction"))
async def add_contradiction(visit: Visiting, board: str, body: ToAddContradiction) -> Response:
    """Record that two statements contradict each other; a synthesis has to name it while open."""
    used = await board_of(visit, board)
    return _added(await used.add_contradiction(**body.model_dump()))


@router.post(
    "/contradictions/detect",
    response_model=AddedList,
    responses=refusals(404, 409),
    summary="Find contradictions",
)
async def detect(visit: Visiting, board: str) -> Response:
    """Compare the findings of the board by rules, and record what contradicts, once.

    Findings of one sentence (`source#number`, or equal evidence) are not compared.
    """
    used = await board_of(visit, board)
    return answer({"contradictions": [asdict(one) for one in await detection.detect(used)]})


@router.post(
    "/contradictions/{key}/decide",
    response_model=PostedList,
    responses=refusals(404, 409),
    summary="Decide on a contradiction",
)
async def decide(visit: Visiting, board: str, key: str, body: ToDecide) -> Response:
    """Resolve or dismiss a contradiction, or open it again; nothing is deleted."""
    used = await board_of(visit, board)
    return _posted(await used.decide_contradiction(key, body.status, reason=body.reason))


@router.get(
    "/public",
    response_model=PublicValue,
    responses=refusals(404, 410),
    summary="Read a public key",
)
async def read_public(visit: Visiting, board: str, key: Key) -> Response:
    """Return the value of a key that all agents on the board see, with its version."""
    found = await read(visit, board, partial(public_entries, key=key))
    values = [one.value for one in found]
    union = found[0].strategy == "union"
    entries = [{name: getattr(one, name) for name in PublicEntry.model_fields} for one in found]
    return answer(
        {
            "key": key,
            "strategy": found[0].strategy,
            "value": values if union else values[0],
            "entries": entries,
        }
    )


@router.put(
    "/public",
    response_model=PostedList,
    responses=refusals(404, 409),
    summary="Write a public key",
)
async def write_public(visit: Visiting, board: str, body: ToWritePublic) -> Response:
    """Write a key that all agents on the board see; a conflict says which version is there."""
    used = await board_of(visit, board)
    about = body.model_dump(exclude={"key", "value"})
    return _posted(*await used.write_public(body.key, body.value, **about))


@router.post(
    "/public/review",
    response_model=PostedList,
    responses=refusals(404, 409),
    summary="Accept or reject a value",
)
async def review(visit: Visiting, board: str, body: ToReview) -> Response:
    """Decide on what another agent wrote to a key that is reviewed."""
    used = await board_of(visit, board)
    return _posted(*await used.review(body.key, body.item, accept=body.accept))


@router.get(
    "/private",
    response_model=PrivateValue,
    responses=refusals(404, 410),
    summary="Read a private key",
)
async def read_private(visit: Visiting, board: str, key: Key, agent: str | None = None) -> Response:
    """Return a key of the token's agent; one of another agent is refused, and that is noted."""
    used = await board_of(visit, board)
    return answer({"key": key, "value": await used.read_private(key, agent=agent)})


@router.put(
    "/private",
    response_model=Written,
    responses=refusals(404, 409),
    summary="Write a private key",
)
async def write_private(visit: Visiting, board: str, body: ToWritePrivate) -> Response:
    """Write a key that the agent of the token alone sees; it is in no event."""
    used = await board_of(visit, board)
    await used.write_private(body.key, body.value, ttl=body.ttl)
    return answer({"key": body.key, "written": True})


@router.post("/complete", **_adding("Complete a board"))
async def complete(visit: Visiting, board: str, body: Finished) -> Response:
    """Have a board take no further events; what it holds stays."""
    used = await board_of(visit, board)
    return _added(await used.complete(body.reason))
