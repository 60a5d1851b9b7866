"""Boards of agents, read: a list of them, their states now and after an event, and what comes."""

import time
from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from memos_assets.api import board_access
from memos_assets.api.board_access import (
    MOST_ENTRIES,
    board_of,
    listed,
    opened,
    overview,
    read,
    shown_board,
    shown_event,
    shown_state,
)
from memos_assets.api.dependencies import Visiting, answer, doors_of, refusals, token_of
from memos_assets.api.doors import Doors
from memos_assets.api.stream import MEDIA_TYPE, Emit, EventStream
from memos_assets.blackboard import opening, reading
from memos_assets.blackboard.reading import State
from memos_assets.blackboard.requests import named
from memos_assets.postgres.schema.agent_board import MOST_BYTES, MOST_EVENTS

router = APIRouter(prefix="/api/v1/boards", tags=["boards"])

#: Largest number of an event that is asked for; PostgreSQL counts no further.
_LAST = 2**62
#: Seconds without an event after which a follower is asked to come back, and at most.
_WAIT, _MOST_WAIT = 20.0, 300.0
Number = Annotated[int, Query(ge=0, le=_LAST)]
Limit = Annotated[int, Query(ge=1, le=MOST_ENTRIES)]
Levels = Annotated[list[str], Query(max_length=20)]


class Opener(BaseModel):
    """A user, and the agent that acted for them; "" for none."""

    user: str
    agent: str


class BoardShown(BaseModel):
    """A board."""

    id: str
    goal: str
    state: str = Field(description="open, complete or archived.")
    seq: int = Field(description="Number of its last event.")
    opened_by: Opener
    opened_at: datetime
    completed_at: datetime | None
    archived_at: datetime | None


class BoardList(BaseModel):
    """Boards, the newest first."""

    boards: list[BoardShown]


class ToOpen(BaseModel):
    """A board to be opened."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"goal": "Find the cause of SRVO-062."}]}
    )

    goal: str = Field(min_length=1, description="What the agents on it work on.")
    space: str | None = Field(default=None, description="Shared space; none: the private one.")
    max_events: int = Field(default=MOST_EVENTS, ge=1, le=MOST_EVENTS)
    max_bytes: int = Field(default=MOST_BYTES, ge=1, le=MOST_BYTES)


class QuestionShown(BaseModel):
    """How far a question is answered."""

    text: str
    status: str
    confidence: float
    findings_count: int
    gaps: list[str]


class Completion(BaseModel):
    """How far a board is, with memOS's names; questions by their keys."""

    overall: float
    is_complete: bool
    questions: dict[str, QuestionShown]
    unresolved_contradictions: int


class Side(BaseModel):
    """One side of a contradiction."""

    statement: str
    source: str
    evidence: str


class ContradictionShown(BaseModel):
    """A contradiction, and what was decided."""

    key: str
    a: Side
    b: Side
    kind: str
    score: float
    status: str = Field(description="open, resolved or dismissed.")
    decided_by: Opener | None
    reason: str
    seq: int


class BoardOverview(BoardShown):
    """A board, how far it is, and its contradictions."""

    completion: Completion
    contradictions: list[ContradictionShown]


class EntryShown(BaseModel):
    """What a board holds under a key of a level."""

    level: str
    key: str
    item: str = Field(description="Of a key with several values, the digest of one.")
    value: Any
    version: int
    seq: int
    at: datetime
    user: str
    agent: str
    strategy: str
    expires_at: datetime | None


class StateShown(BaseModel):
    """A page of what a board holds; further entries come after the number of the last one."""

    seq: int = Field(description="Of the event after which this was the state.")
    at: datetime | None = Field(description="Of that event, such as for `known_at` of a recall.")
    entries: list[EntryShown]
    total: int = Field(description="Entries after the number that was asked for.")
    has_more: bool


class EventShown(EntryShown):
    """A write, in the order of the board."""

    removed: bool


class EventPage(BaseModel):
    """Events of a board after one."""

    events: list[EventShown]
    after: int = Field(description="Number of the last one; the next page comes after it.")


class BoardStats(BaseModel):
    """The size of a board, its budget, and what it refused."""

    state: str
    seq: int
    events: int
    bytes: int
    max_events: int
    max_bytes: int
    compacted_to: int
    entries: dict[str, int]
    refused: dict[str, int]
    waiting: int


@router.get("", response_model=BoardList, responses=refusals(), summary="List boards")
async def list_boards(
    visit: Visiting,
    state: Literal["open", "complete", "archived"] | None = None,
    limit: Limit = 100,
) -> Response:
    """Return the boards that the token shows, the newest first."""
    return answer({"boards": await listed(visit, state, limit)})


@router.post(
    "", status_code=201, response_model=BoardShown, responses=refusals(404), summary="Open a board"
)
async def open_board(visit: Visiting, body: ToOpen) -> Response:
    """Open a board in the user's own space, or in a shared one that the token names."""
    row = await opened(
        visit, body.goal, body.space, max_events=body.max_events, max_bytes=body.max_bytes
    )
    return answer(shown_board(row), 201)


@router.get(
    "/{board}", response_model=BoardOverview, responses=refusals(404), summary="Show a board"
)
async def show(visit: Visiting, board: str) -> Response:
    """Return a board, how far it is, and its contradictions."""
    return answer(await read(visit, board, overview))


@router.get(
    "/{board}/completion",
    response_model=Completion,
    responses=refusals(404),
    summary="How far a board is",
)
async def completion(visit: Visiting, board: str) -> Response:
    """Return its questions with their status, and how many contradictions are open."""
    return answer(await read(visit, board, board_access.completion))


@router.get(
    "/{board}/stats", response_model=BoardStats, responses=refusals(404), summary="Size of a board"
)
async def stats(visit: Visiting, board: str) -> Response:
    """Return its size, its budget, what was refused, and what waits to be numbered."""
    return answer(await read(visit, board, opening.stats))


@router.get(
    "/{board}/state",
    response_model=StateShown,
    responses=refusals(404),
    summary="What a board holds",
)
async def state(
    visit: Visiting,
    board: str,
    level: Levels = [],  # noqa: B006  FastAPI copies it
    key: str | None = None,
    after: Number = 0,
    limit: Limit = 500,
) -> Response:
    """Return what a board holds now: of some levels or of all, of one key or of all."""
    levels = [named(one, "level") for one in level] or None
    found = await read(visit, board, partial(reading.live, levels=levels))
    return answer(shown_state(found, after=after, limit=limit, key=key))


@router.get(
    "/{board}/replay",
    response_model=StateShown,
    responses=refusals(404),
    summary="State of a board after an event",
)
async def replay(
    visit: Visiting, board: str, at: Number, after: Number = 0, limit: Limit = 500
) -> Response:
    """Return the state after an event, computed from the events; 0: before the first one."""
    found: State = await read(visit, board, partial(reading.replay, seq=at))
    return answer(shown_state(found, after=after, limit=limit))


@router.get(
    "/{board}/events",
    response_model=EventPage,
    responses={
        **refusals(404),
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}},
    },
    summary="Follow a board",
)
async def events(
    request: Request,
    visit: Visiting,
    board: str,
    after: Number = 0,
    limit: Limit = 500,
    seconds: Annotated[float, Query(ge=0, le=_MOST_WAIT)] = _WAIT,
    accept: Annotated[str, Header()] = "*/*",
    last_event_id: Annotated[str, Header()] = "",
) -> Response:
    """Return the events after one; with `Accept: text/event-stream` as they come.

    The stream has an event `posted` for each, whose `id` is its number, until the board is
    complete or `seconds` have passed without one; then `end`, with the number after which the
    client goes on. `Last-Event-ID` stands for `after`.
    """
    if MEDIA_TYPE in accept:
        if last_event_id.isdecimal() and len(last_event_id) < len(str(_LAST)):
            after = int(last_event_id)
        await board_of(visit, board)  # refused before the answer begins
        produce = partial(_followed, doors_of(request), token_of(request), board, after, seconds)
        return EventStream(produce, None)

    def look(session: Session, number: UUID) -> list[reading.Event]:
        reading.head(session, number)
        return reading.events(session, number, after, limit)

    found = await read(visit, board, look)
    page = [shown_event(one) for one in found]
    return answer({"events": page, "after": found[-1].seq if found else after})


async def _followed(
    doors: Doors, token: str | None, board: str, after: int, seconds: float, emit: Emit
) -> None:
    # No longer than twice that at once: a token that was revoked is not read for ever.
    ends = time.monotonic() + seconds
    async with doors.visit(token) as visit:
        followed = await board_of(visit, board)
    async with aclosing(followed.follow(after, seconds=seconds)) as coming:
        async for event in coming:
            await emit("posted", shown_event(event), number=event.seq)
            after = event.seq
            if time.monotonic() > ends:
                break
    row = await followed.head()
    ended: Mapping[str, Any] = {"after": after, "state": row.state}
    await emit("end", ended)
