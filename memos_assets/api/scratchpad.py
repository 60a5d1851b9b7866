"""Statistics of scratchpads: what memOS's cache of findings holds, and what is on boards.

Source of the first part: the memOS server, agentic/scratchpad_cache.py (`get_stats`), and
api/routers/search.py for its path, `/api/v1/search/graph/scratchpad-cache`.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session
from starlette.responses import Response

from memos_assets.api.dependencies import Visiting, answer, refusals
from memos_assets.api.search import Meta, enveloped
from memos_assets.blackboard.census import Census, census
from memos_assets.cache.statistics import NamespaceStats, statistics

router = APIRouter(prefix="/api/v1/search", tags=["search"])

#: Name in memOS's statistics -> namespace of the cache.
_OF_MEMOS: Final = {"finding": "findings", "subquery": "subqueries", "mission": "missions"}


class CacheOfFindings(BaseModel):
    """Findings that agents cached."""

    size: int
    hit_rate: float
    semantic_hits: int
    dedup_saved: int | None = Field(description="null: a process of memOS counts it for itself.")


class CachePart(BaseModel):
    """Sub-questions, or missions, that agents cached."""

    size: int
    hit_rate: float


class BoardsUsed(BaseModel):
    """The boards that the token shows."""

    boards: int
    states: dict[str, int]
    events: int
    bytes: int
    questions: int
    searches: int
    findings: int
    contradictions: int
    open_contradictions: int
    decisions: int
    syntheses: int
    promotions: int
    refused: dict[str, int]
    waiting: int
    largest_share: float = Field(description="Of its budget of events that a board has used.")


class ScratchpadStats(BaseModel):
    """memOS's statistics, and beside them what is on boards."""

    finding_cache: CacheOfFindings
    subquery_cache: CachePart
    mission_cache: CachePart
    raw_stats: dict[str, int | None]
    boards: BoardsUsed


class StatsEnvelope(BaseModel):
    """memOS's envelope around statistics."""

    success: bool
    data: ScratchpadStats
    meta: Meta


@router.get(
    "/graph/scratchpad-cache",
    response_model=StatsEnvelope,
    responses=refusals(),
    summary="What is on scratchpads, by memOS's path",
)
@router.get(
    "/scratchpad/stats",
    response_model=StatsEnvelope,
    responses=refusals(),
    summary="What is on scratchpads",
)
async def scratchpad_stats(visit: Visiting) -> Response:
    """Count what the token shows of cached findings and of boards; nothing is deleted.

    Hits and misses are those of all processes in the last 24 hours.
    """
    await visit.act()

    def counted(session: Session) -> tuple[Mapping[str, NamespaceStats], Census]:
        return statistics(session), census(session)

    cached, boards = await visit.session.run_sync(counted)
    await visit.rest()
    return answer(enveloped({**_of_memos(cached), "boards": _of_boards(boards)}))


def _of_memos(cached: Mapping[str, NamespaceStats]) -> dict[str, Any]:
    found = {name: cached.get(one, NamespaceStats()) for name, one in _OF_MEMOS.items()}
    raw: dict[str, int | None] = {}
    for name, one in found.items():
        raw[f"{name}_hits"] = sum(one.hits.values())
        raw[f"{name}_misses"] = sum(one.misses.values())
    semantic = found["finding"].hits.get("semantic", 0)
    parts: dict[str, Any] = {
        f"{name}_cache": {"size": one.valid, "hit_rate": one.hit_rate or 0.0}
        for name, one in found.items()
    }
    parts["finding_cache"] |= {"semantic_hits": semantic, "dedup_saved": None}
    return {
        **parts,
        "raw_stats": {**raw, "finding_semantic_hits": semantic, "dedup_saved": None},
    }


def _of_boards(found: Census) -> dict[str, Any]:
    counts = asdict(found)
    levels = counts.pop("levels")
    names = ("questions", "searches", "findings", "contradictions", "decisions", "syntheses")
    return {
        "boards": sum(found.states.values()),
        **counts,
        **{name: levels.get(name, 0) for name in (*names, "promotions")},
    }
