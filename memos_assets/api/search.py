"""Search, with the cache before it, and statistics of the cache and of scratchpads.

Source of the envelope and of the paths: the memOS server, api/routers/search.py.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from memos_assets.api.dependencies import Visiting, answer, doors_of, refusals, token_of
from memos_assets.api.doors import Doors, Visit
from memos_assets.api.phases import Answering, Asking, nobody
from memos_assets.api.stream import MEDIA_TYPE, Emit, EventStream
from memos_assets.cache import Scope
from memos_assets.cache.statistics import statistics

router = APIRouter(prefix="/api/v1/search", tags=["search"])

#: Of memOS's answers.
_MEMOS_VERSION: Final = "2.0.0"


class SearchQuestion(BaseModel):
    """A question to the corpora and to memory."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"query": "What does SRVO-062 mean?", "k": 3}]},
    )

    query: str = Field(min_length=1, max_length=100_000)
    k: int = Field(default=5, ge=1, le=100, description="Hits of each table, and memories.")
    tables: Annotated[list[str], Field(max_length=20)] = Field(
        default=[], description="Consolidated tables by name; none: all of them."
    )


class Meta(BaseModel):
    """Of memOS's envelope."""

    timestamp: datetime
    version: str


class Envelope(BaseModel):
    """memOS's envelope of answers."""

    success: bool
    data: dict[str, Any]
    meta: Meta


@router.post(
    "",
    response_model=Envelope,
    responses={**refusals(), 200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    summary="Search the corpora and memory",
)
async def search(
    request: Request,
    visit: Visiting,
    body: SearchQuestion,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """Answer from the cache, or search and recall; with `Accept: text/event-stream` in parts.

    Events: `cache`, `search` for each table, `memory`, then `answer`, which has all of it; of a
    cached answer `cache` and `answer`. After an `error` nothing comes.
    """
    asking = Asking(body.query, body.k, tuple(body.tables))
    return await replied(request, visit, request.app.state.searching, asking, accept)


@router.get(
    "/cache/stats",
    response_model=Envelope,
    responses=refusals(),
    summary="How large the cache is, and how it does",
)
async def cache_stats(visit: Visiting) -> Response:
    """Return what the token shows of the cache, with memOS's keys; nothing is deleted."""
    doors, user = visit.doors, visit.bearer.user
    await visit.act()
    found = await visit.session.run_sync(statistics)
    await visit.session.commit()
    data = await doors.cache.get_stats(doors.sessions, scope=Scope(user=user))
    rules = doors.cache.rules
    return answer(
        enveloped(
            {
                **data,
                "ttl_seconds": {"content": rules("content").ttl, "query": rules("queries").ttl},
                "db_path": "postgresql:agent.cache_entries",
                "cleanup": {"content_removed": 0, "query_removed": 0},
                "namespaces": {
                    name: {
                        "entries": one.entries,
                        "valid": one.valid,
                        "bytes": one.bytes,
                        "hits": one.hits,
                        "misses": one.misses,
                        "hit_rate": one.hit_rate,
                    }
                    for name, one in found.items()
                },
            }
        )
    )


def enveloped(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return memOS's envelope around an answer."""
    meta = {"timestamp": datetime.now(UTC), "version": _MEMOS_VERSION}
    return {"success": True, "data": data, "meta": meta}


async def replied(
    request: Request, visit: Visit, answering: Answering, asking: Asking, accept: str
) -> Response:
    """Answer a question at once, or in phases where the client accepts events."""
    settings = visit.doors.settings
    answering.check(settings, asking)
    if MEDIA_TYPE not in accept:
        return answer(enveloped(await answering.answer(visit, asking, nobody)))
    await visit.rest()
    # The session of the request ends before the answer begins: the stream has one of its own.
    produce = partial(_streamed, answering, doors_of(request), token_of(request), asking)
    return EventStream(produce, settings.api_seconds)


async def _streamed(
    answering: Answering, doors: Doors, token: str | None, asking: Asking, emit: Emit
) -> None:
    async with doors.visit(token) as visit:
        data = await answering.answer(visit, asking, emit)
    await emit("answer", enveloped(data))
