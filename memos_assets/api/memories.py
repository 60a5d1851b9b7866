"""memOS's memories: store, search, list, get, update, delete, statistics.

By memOS's own paths and answers, and by the remediation plan's `/memories`. Both are the same
endpoints.

Source: the memOS server, api/routers/memory.py (`/api/v1/memory/...`).
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from memos_assets.api.dependencies import Visiting, answer, refusals
from memos_assets.errors import AgentError
from memos_assets.memory.service import (
    MemorySearchResult,
    MemoryType,
    PrivacyLevel,
    RecoveryStage,
    StoredMemory,
)

router = APIRouter(tags=["memories"])

_MEMOS: Final = "/api/v1/memory"
_PLAN: Final = ("/memories", "/api/v1/memories")
Share = Annotated[float, Field(ge=0, le=1)]
Tags = Annotated[list[str], Field(max_length=100)]


class MemoryCreate(BaseModel):
    """A memory to be stored; fields are memOS's."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"content": "Ann prefers meetings on Tuesdays.", "memory_type": "conversational"}
            ]
        }
    )

    content: str = Field(min_length=1, description="What is remembered; at most 1 MiB.")
    user_id: str | None = Field(default=None, description="Of the token, if it is given at all.")
    memory_type: MemoryType = MemoryType.CONVERSATIONAL
    privacy_level: PrivacyLevel = PrivacyLevel.BALANCED
    tags: Tags | None = None
    recovery_stage: RecoveryStage | None = None
    therapeutic_relevance: Share | None = None
    consent_given: bool = True
    source_conversation_id: str | None = Field(default=None, max_length=255)
    metadata: dict[str, Any] | None = None


class MemoryUpdate(BaseModel):
    """Fields to be changed; those that are left out stay as they are."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tags": ["work"]}]})

    content: str | None = Field(default=None, min_length=1)
    memory_type: MemoryType | None = None
    privacy_level: PrivacyLevel | None = None
    tags: Tags | None = None
    recovery_stage: RecoveryStage | None = None
    therapeutic_relevance: Share | None = None
    consent_given: bool | None = None
    source_conversation_id: str | None = Field(default=None, max_length=255)


class Memory(BaseModel):
    """A memory as memOS answers it; its content only where it was asked for."""

    id: str
    user_id: str
    memory_type: str
    privacy_level: str
    created_at: datetime
    updated_at: datetime | None
    tags: list[str]
    recovery_stage: str | None
    therapeutic_relevance: float | None
    crisis_level: float | None
    embedding_generated: bool = Field(description="False while it waits for its embedding.")
    content_length: int | None = Field(description="Characters; null: no key decrypts it.")
    content: str | None = None


class Found(Memory):
    """A memory that a search found."""

    similarity_score: float
    decay_factor: float
    final_score: float


class SearchAnswer(BaseModel):
    """Memories, the best first."""

    results: list[Found]
    total: int


class Pagination(BaseModel):
    """Where a page is among all."""

    total: int
    limit: int
    offset: int
    has_more: bool


class Page(BaseModel):
    """A page of memories, the newest first."""

    memories: list[Memory]
    pagination: Pagination
    filters: dict[str, str | None]


class Deleted(BaseModel):
    """A memory that nothing shows any more."""

    success: bool
    id: str


class Stats(BaseModel):
    """Counts of a user's memories, with memOS's names."""

    user_id: str
    total_memories: int
    memory_types: dict[str, int]
    privacy_levels: dict[str, int]
    recovery_stages: dict[str, int]
    average_therapeutic_relevance: float
    last_memory_created: datetime | None
    embeddings_generated: int
    generated_at: datetime


def _route(method: str, of_memos: str, of_plan: str, **about: Any) -> Callable[..., Any]:
    """Register an endpoint by memOS's path and by the remediation plan's."""

    def register(endpoint: Callable[..., Any]) -> Callable[..., Any]:
        paths = [_MEMOS + of_memos, *(start + of_plan for start in _PLAN)]
        for place, path in enumerate(paths):
            # `/api/v1/memories` is the same as `/memories`, for those who keep to the prefix.
            shown = place < 2
            router.add_api_route(path, endpoint, methods=[method], include_in_schema=shown, **about)
        return endpoint

    return register


@_route(
    "POST", "/store", "", status_code=201, response_model=Memory, responses=refusals(),
    summary="Store a memory",
)  # fmt: skip
async def store(visit: Visiting, body: MemoryCreate) -> Response:
    """Encrypt, embed and store a memory of the token's user."""
    user = visit.own(body.user_id)
    await visit.rest()
    fields = body.model_dump(exclude={"content", "user_id"}, exclude_none=True)
    prepared = await visit.doors.service.prepare(body.content, **fields)
    await visit.act()
    stored = await visit.doors.service.store_memory(visit.session, user, prepared)
    await visit.session.commit()
    return answer(_shown(stored, length=len(body.content)), 201)


@_route(
    "GET", "/search", "/search", response_model=SearchAnswer, responses=refusals(),
    summary="Search memories by meaning",
)  # fmt: skip
async def search(
    visit: Visiting,
    query: Annotated[str, Query(min_length=1, max_length=10_000)],
    user_id: str | None = None,
    memory_types: Annotated[list[MemoryType] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    min_similarity: Annotated[float, Query(ge=-1, le=1)] = 0.7,
    include_content: bool = False,  # noqa: FBT001, FBT002  a parameter of the query
) -> Response:
    """Return the user's memories that are similar to a text, the best first; needs an embedder."""
    user = visit.own(user_id)
    await visit.rest()
    asked = await visit.doors.service.query(query)
    await visit.act()
    found = await visit.doors.service.search_memories(
        visit.session,
        user,
        asked,
        memory_types=memory_types,
        limit=limit,
        min_similarity=min_similarity,
        include_content=True,
    )
    await visit.session.commit()
    shown = [_found(one, content=include_content) for one in found]
    return answer({"results": shown, "total": len(shown)})


async def _list(
    visit: Visiting,
    user: str,
    filters: dict[str, Any],
    limit: int,
    offset: int,
    *,
    include_content: bool,
) -> Response:
    await visit.act()
    service, session = visit.doors.service, visit.session
    page = await service.get_user_memories(
        session, user, include_content=True, limit=limit, offset=offset, **filters
    )
    total = await service.get_user_memory_count(session, user, **filters)
    await session.commit()
    return answer(
        {
            "memories": [_shown(one, content=include_content) for one in page],
            "pagination": {
                "total": total,
                "limit": limit,
                "offset": offset,
                "has_more": offset + len(page) < total,
            },
            "filters": filters,
        }
    )


Limit = Annotated[int, Query(ge=1, le=1_000)]
Offset = Annotated[int, Query(ge=0, le=10_000_000)]


@_route(
    "GET", "/list/{user_id}", "", response_model=Page, responses=refusals(),
    summary="List memories",
)  # fmt: skip
async def _page(
    visit: Visiting,
    user_id: str | None = None,
    memory_type: MemoryType | None = None,
    privacy_level: PrivacyLevel | None = None,
    recovery_stage: RecoveryStage | None = None,
    limit: Limit = 50,
    offset: Offset = 0,
    include_content: bool = False,  # noqa: FBT001, FBT002  a parameter of the query
) -> Response:
    """Return a page of the user's memories, the newest first."""
    filters = {
        "memory_type": memory_type,
        "privacy_level": privacy_level,
        "recovery_stage": recovery_stage,
    }
    user = visit.own(user_id)
    return await _list(visit, user, filters, limit, offset, include_content=include_content)


@_route(
    "GET", "/stats/{user_id}", "/stats", response_model=Stats, responses=refusals(),
    summary="Count memories",
)  # fmt: skip
async def _stats(visit: Visiting, user_id: str | None = None) -> Response:
    """Return counts of the user's memories by type, level and stage."""
    user = visit.own(user_id)
    await visit.act()
    found = await visit.doors.service.get_user_memory_stats(visit.session, user)
    await visit.session.commit()
    return answer(
        {
            "user_id": user,
            "total_memories": found["total_memories"],
            "memory_types": found["memory_types"],
            "privacy_levels": found["privacy_levels"],
            "recovery_stages": found["recovery_stages"],
            "average_therapeutic_relevance": found["avg_therapeutic_relevance"],
            "last_memory_created": found["last_created"],
            "embeddings_generated": found["embeddings_count"],
            "generated_at": datetime.now(UTC),
        }
    )


@_route(
    "GET", "/{memory_id}", "/{memory_id}", response_model=Memory, responses=refusals(404),
    summary="Get a memory",
)  # fmt: skip
async def get(visit: Visiting, memory_id: str) -> Response:
    """Return a memory with its content."""
    await visit.act()
    found = await visit.doors.service.get_memory(visit.session, memory_id, visit.bearer.user)
    await visit.session.commit()
    if found is None:
        raise _no_memory()
    return answer(_shown(found, content=True))


@_route(
    "PUT", "/{memory_id}", "/{memory_id}", response_model=Memory, responses=refusals(404),
    summary="Update a memory",
)  # fmt: skip
async def update(visit: Visiting, memory_id: str, body: MemoryUpdate) -> Response:
    """Change fields of a memory; of a new content, whatever follows from it is made again."""
    service, session, user = visit.doors.service, visit.session, visit.bearer.user
    changes = body.model_dump(exclude={"content"}, exclude_none=True)
    prepared = None
    if body.content is not None:
        level = changes.get("privacy_level")
        if level is None:
            await visit.act()
            found = await service.get_memory(session, memory_id, user, include_content=False)
            if found is None:
                raise _no_memory()
            level = found.privacy_level
        await visit.rest()
        prepared = await service.prepare(body.content, privacy_level=level)
    await visit.act()
    changed = await service.update_memory(session, memory_id, user, changes, prepared)
    if changed is None:
        raise _no_memory()
    found = await service.get_memory(session, memory_id, user)
    await session.commit()
    return answer(_shown(found or changed, content=True))


@_route(
    "DELETE", "/{memory_id}", "/{memory_id}", response_model=Deleted, responses=refusals(404),
    summary="Delete a memory",
)  # fmt: skip
async def delete(
    visit: Visiting,
    memory_id: str,
    reason: Annotated[str, Query(min_length=1, max_length=100)] = "user_request",
) -> Response:
    """Mark a memory as deleted; nothing shows it any more."""
    await visit.act()
    done = await visit.doors.service.delete_memory(
        visit.session, memory_id, visit.bearer.user, reason
    )
    await visit.session.commit()
    if not done:
        raise _no_memory()
    return answer({"success": True, "id": memory_id})


def _shown(
    memory: StoredMemory, *, content: bool = False, length: int | None = None
) -> dict[str, Any]:
    if memory.content is not None:
        length = len(memory.content)
    return {
        "id": str(memory.id),
        "user_id": memory.user_id,
        "memory_type": memory.memory_type,
        "privacy_level": memory.privacy_level,
        "created_at": memory.created_at,
        "updated_at": memory.updated_at,
        "tags": memory.tags if isinstance(memory.tags, list) else [],
        "recovery_stage": memory.recovery_stage,
        "therapeutic_relevance": memory.therapeutic_relevance,
        "crisis_level": memory.crisis_level,
        "embedding_generated": memory.has_embedding,
        "content_length": length,
        "content": memory.content if content else None,
    }


def _found(result: MemorySearchResult, *, content: bool) -> dict[str, Any]:
    return {
        **_shown(result.memory, content=content),
        "therapeutic_relevance": result.therapeutic_relevance,
        "similarity_score": result.similarity_score,
        "decay_factor": result.decay_factor,
        "final_score": result.final_score,
    }


def _no_memory() -> AgentError:
    return AgentError(
        "M960",
        "there is no such memory",
        where="memory_id",
        fix="list the memories of this user; nothing was changed",
    )
