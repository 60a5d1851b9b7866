"""Quests of memOS: show one, complete it or a task of it; a milestone memory is stored with it."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from memos_assets.api.dependencies import Visiting, answer, refusals
from memos_assets.memory.service.quests import CompletedQuest, Quest

router = APIRouter(prefix="/api/v1/quests", tags=["quests"])


class QuestShown(BaseModel):
    """A quest."""

    id: str
    title: str
    points: int
    category: str | None


class Completion(BaseModel):
    """A quest that the user completed."""

    user_quest: str
    quest: QuestShown
    points_earned: int
    completed_at: datetime | None
    is_new: bool
    milestone: str | None
    achievements: list[str]


class TaskCompletion(BaseModel):
    """A task that was completed, and its quest if that is complete now."""

    quest: Completion | None


class Evidence(BaseModel):
    """What shows that a task was done."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"evidence": {"note": "done"}}]})

    evidence: dict[str, Any] | None = None


@router.get(
    "/{quest_id}", response_model=QuestShown, responses=refusals(409), summary="Show a quest"
)
async def show(visit: Visiting, quest_id: str) -> Response:
    """Return a quest; quests are the application's, and of no user."""
    await visit.act()
    quest = await visit.doors.service.get_quest(visit.session, quest_id)
    await visit.session.commit()
    return answer(_quest(quest))


@router.post(
    "/{quest_id}/complete",
    response_model=Completion,
    responses=refusals(409),
    summary="Complete a quest",
)
async def complete(visit: Visiting, quest_id: str) -> Response:
    """Complete a quest that the user has taken on, with its points and its milestone memory."""
    service, session = visit.doors.service, visit.session
    await visit.act()
    quest = await service.get_quest(session, quest_id)
    await visit.rest()
    milestone = await service.prepare_milestone(quest)
    await visit.act()
    done = await service.complete_quest(session, visit.bearer.user, quest_id, milestone)
    await session.commit()
    return answer(_completion(done))


@router.post(
    "/tasks/{task_id}/complete",
    response_model=TaskCompletion,
    responses=refusals(409),
    summary="Complete a task of a quest",
)
async def complete_task(visit: Visiting, task_id: str, body: Evidence) -> Response:
    """Complete a task; the last required one completes its quest."""
    await visit.act()
    done = await visit.doors.service.complete_task(
        visit.session, visit.bearer.user, task_id, body.evidence
    )
    await visit.session.commit()
    return answer({"quest": None if done is None else _completion(done)})


def _quest(quest: Quest) -> dict[str, Any]:
    return {
        "id": str(quest.id),
        "title": quest.title,
        "points": quest.points,
        "category": quest.category,
    }


def _completion(done: CompletedQuest) -> dict[str, Any]:
    return {
        "user_quest": str(done.user_quest),
        "quest": _quest(done.quest),
        "points_earned": done.points_earned,
        "completed_at": done.completed_at,
        "is_new": done.is_new,
        "milestone": None if done.milestone is None else str(done.milestone.id),
        "achievements": [one.title for one in done.achievements],
    }
