"""The semantic network of agents: remember, recall, context, retract."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from memos_assets.api.dependencies import Visiting, answer, refusals
from memos_assets.api.doors import Visit
from memos_assets.memory import Kept
from memos_assets.memory.context import FEWEST_TOKENS
from memos_assets.memory.histories import Changed
from memos_assets.memory.recall import Hit

router = APIRouter(prefix="/api/v1/network", tags=["semantic network"])

Share = Annotated[float, Field(ge=0, le=1)]
When = Annotated[str, Field(description="ISO 8601 with a zone.", examples=["2026-11-01T08:00Z"])]


class ToRemember(BaseModel):
    """A text to be remembered; fields as in `memos_assets.memory.prepared.About`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"text": "Ann moved to Riga.", "subject": "Ann", "attribute": "city"},
            ]
        },
    )

    text: str = Field(min_length=1)
    kind: str = "finding"
    subject: str | None = None
    attribute: str | None = None
    attributes: dict[str, Any] | None = None
    source: str | None = None
    valid_from: When | None = None
    valid_until: When | None = None
    confidence: Share | None = None
    trust: Share = 1.0
    derived_from: list[str] = Field(default=[], max_length=1_000)
    previous: str | None = None
    space: str | None = Field(default=None, description="Shared space; none: the private one.")


class Remembered(BaseModel):
    """What became of it."""

    id: str
    duplicate_of: str | None = Field(description="The equal memory that was there.")
    superseded: list[str] = Field(description="Former values that it ended.")
    links: list[str]
    superseded_by: str | None
    waits: str | None = Field(description="Why it has no embedding yet.")


class Question(BaseModel):
    """A question to the memories that the token shows."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"query": "Where does Ann live?", "k": 5}]}
    )

    query: str = Field(min_length=1)
    k: int = Field(default=10, ge=1, le=1_000)
    as_of: When | None = None
    known_at: When | None = None
    kinds: list[str] | None = Field(default=None, max_length=20)
    subject: str | None = None
    source: str | None = None
    spaces: list[str] | None = Field(
        default=None, description="Of the token's shared spaces; none named: all, and the private."
    )


class RecalledMemory(BaseModel):
    """A memory that answers."""

    id: str
    content: str
    kind: str
    space: str | None
    state: str
    subject: str | None
    attribute: str | None
    source: str
    valid_from: str | None
    valid_until: str | None
    recorded_at: str
    confidence: float | None
    trust: float
    score: float
    scores: dict[str, float]
    via: str | None


class RecallAnswer(BaseModel):
    """Memories, the best first."""

    hits: list[RecalledMemory]


class AskContext(BaseModel):
    """A question whose answer is a text for a prompt."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"query": "Where does Ann live?"}]}
    )

    query: str = Field(min_length=1)
    max_tokens: int = Field(default=1_500, ge=FEWEST_TOKENS, le=1_000_000)
    as_of: When | None = None
    known_at: When | None = None


class ContextAnswer(BaseModel):
    """What is remembered, as one text; empty where nothing is."""

    context: str


class ToRetract(BaseModel):
    """A memory that never was true."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"memory": "6f1c1c9e-8f0e-4f57-9a3c-0b0f2d1f7a11"}]},
    )

    memory: str
    reason: str | None = None


class Retracted(BaseModel):
    """What is believed now."""

    id: str
    state: str
    superseded_by: str | None
    others: list[str]


@router.post(
    "/remember",
    status_code=201,
    response_model=Remembered,
    responses=refusals(404),
    summary="Remember a text",
)
async def remember(visit: Visiting, body: ToRemember) -> Response:
    """Remember a text; an equal one is not stored twice, and a new value ends the former one."""
    about = body.model_dump(exclude={"text", "space"}, exclude_none=True)
    return answer(shown_kept(await remembered(visit, body.text, body.space, about)), 201)


@router.post(
    "/recall", response_model=RecallAnswer, responses=refusals(), summary="Recall memories"
)
async def recall(visit: Visiting, body: Question) -> Response:
    """Return the memories that answer a question best: by meaning, words, neighbours, links."""
    wanted = body.model_dump(exclude={"query", "k"}, exclude_none=True)
    hits = await recalled(visit, body.query, body.k, wanted)
    return answer({"hits": [shown_hit(hit) for hit in hits]})


@router.post(
    "/context", response_model=ContextAnswer, responses=refusals(), summary="Memories as a text"
)
async def context(visit: Visiting, body: AskContext) -> Response:
    """Return what is remembered about a question as one text, within a budget of tokens."""
    named = {"as_of": body.as_of, "known_at": body.known_at}
    return answer({"context": await context_of(visit, body.query, body.max_tokens, named)})


@router.post(
    "/retract", response_model=Retracted, responses=refusals(404), summary="Retract a memory"
)
async def retract(visit: Visiting, body: ToRetract) -> Response:
    """State that a memory never was true; its history keeps it."""
    return answer(asdict(await retracted(visit, body.memory, body.reason)))


async def remembered(visit: Visit, text: str, space: str | None, about: Mapping[str, Any]) -> Kept:
    """Remember a text, and commit."""
    await visit.rest()
    prepared = await visit.doors.memory.prepare(text, **about)
    await visit.act()
    kept = await visit.doors.memory.remember(visit.session, prepared, space=space)
    await visit.session.commit()
    return kept


async def recalled(visit: Visit, query: str, k: int, wanted: Mapping[str, Any]) -> Sequence[Hit]:
    """Recall, and commit."""
    await visit.rest()
    asked = await visit.doors.memory.query(query)
    await visit.act(wanted.get("spaces"))
    hits = await visit.doors.memory.recall(visit.session, asked, k, **wanted)
    await visit.session.commit()
    return hits


async def context_of(visit: Visit, query: str, max_tokens: int, named: Mapping[str, Any]) -> str:
    """Return memories as a text, and commit."""
    await visit.rest()
    asked = await visit.doors.memory.query(query)
    await visit.act()
    found = await visit.doors.memory.context(visit.session, asked, max_tokens, **named)
    await visit.session.commit()
    return found


async def retracted(visit: Visit, memory: str, reason: str | None) -> Changed:
    """Retract a memory, and commit."""
    await visit.act()
    changed = await visit.doors.memory.retract(visit.session, memory, reason)
    await visit.session.commit()
    return changed


def shown_kept(kept: Kept) -> dict[str, Any]:
    """Return what became of a memory, as JSON."""
    return {
        "id": kept.id,
        "duplicate_of": kept.duplicate_of,
        "superseded": kept.superseded,
        "links": kept.links,
        "superseded_by": kept.superseded_by,
        "waits": kept.waits,
    }


def shown_hit(hit: Hit) -> dict[str, Any]:
    """Return a memory that was recalled, as JSON."""
    shown = asdict(hit)
    del shown["number"]  # of the database
    for name in ("valid_from", "valid_until", "recorded_at"):
        shown[name] = None if shown[name] is None else shown[name].isoformat()
    return shown
