"""Complete quests: the quest, the points and the milestone memory in one transaction, or nothing.

A user who turned memory off completes quests without milestones.

The row of `user_quests` is locked first. Of two completions at once the second one waits, sees the
first, and adds nothing: there is one milestone. memOS stored the milestone by a session of its own
and went on where that failed, so it has a completed quest without a milestone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.owner import need_user
from memos_assets.memory.service.prepared import PreparedMemory, is_json, prepared
from memos_assets.memory.service.progress import Earned, add_completion
from memos_assets.memory.service.records import StoredMemory
from memos_assets.memory.service.store import (
    DEFAULT_STAGE,
    as_uuid,
    get_user_settings,
    store_memory,
)
from memos_assets.memory.service.values import MemoryType, PrivacyLevel, aware, now, refused
from memos_assets.postgres.application.tables import APPLICATION

QUESTS: Final = APPLICATION["quests"]
QUEST_TASKS: Final = APPLICATION["quest_tasks"]
USER_QUESTS: Final = APPLICATION["user_quests"]
USER_TASKS: Final = APPLICATION["user_tasks"]

#: States of a quest of a user that may be completed, and that is.
OPEN_STATES: Final = ("assigned", "in_progress", "active")
DONE_STATES: Final = ("completed", "verified", "rewarded")
COMPLETED: Final = "completed"
MILESTONE_RELEVANCE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Quest:
    """What a milestone says of a quest."""

    id: UUID
    title: str
    points: int
    category: str


@dataclass(frozen=True, slots=True)
class CompletedQuest:
    """A quest that a user completed.

    Attributes:
        user_quest: id of the user's row.
        quest: the quest.
        points_earned: by it.
        completed_at: with its zone, UTC.
        is_new: this call completed it; otherwise it was completed before, and nothing was written.
        milestone: the memory; None if it is not new, or the user turned memory off.
        stats: the user's statistics by column; empty if it is not new.
        achievements: that were earned by it.
    """

    user_quest: UUID
    quest: Quest
    points_earned: int
    completed_at: datetime | None
    is_new: bool
    milestone: StoredMemory | None = None
    stats: Mapping[str, Any] = field(default_factory=dict)
    achievements: tuple[Earned, ...] = ()


def get_quest(session: Session, quest_id: UUID | str) -> Quest:
    """Return a quest.

    Raises:
        AgentError: M746 no UUID; M747 there is none.
    """
    c = QUESTS.c
    row = session.execute(
        sa.select(c.id, c.title, c.points, c.category).where(c.id == as_uuid(quest_id))
    ).one_or_none()
    if row is None:
        raise _not_completable("there is no such quest", "pass the id of a quest", quest_id)
    return Quest(row.id, row.title, row.points or 0, row.category)


def milestone_of(keys: KeyRing, quest: Quest) -> PreparedMemory:
    """Return the milestone memory of a quest, without an embedding; `embedded` gives it one.

    A title is the application's and not the user's, so no privacy level refuses it.
    """
    return prepared(
        keys,
        f"Completed quest: {quest.title}",
        memory_type=MemoryType.MILESTONE,
        privacy_level=PrivacyLevel.COMPREHENSIVE,
        metadata={
            "quest_id": str(quest.id),
            "quest_title": quest.title,
            "points_earned": quest.points,
            "category": quest.category,
        },
        tags=["milestone", "quest_completion", *filter(None, [quest.category.strip()])],
        recovery_stage=DEFAULT_STAGE,
        therapeutic_relevance=MILESTONE_RELEVANCE,
    )


def complete_quest(
    session: Session,
    keys: KeyRing,
    user_id: str,
    quest_id: UUID | str,
    milestone: PreparedMemory | None = None,
) -> CompletedQuest:
    """Complete a quest that a user has taken on, and store its milestone memory.

    Args:
        session: the caller's, which acts for the user. Its commit stores all of it, or nothing.
        keys: encrypt the milestone.
        user_id: who completed it.
        quest_id: of the quest.
        milestone: from `milestone_of` and embedded; None: it is made here, and waits for its
            embedding, because a model is not asked in a transaction.

    Returns:
        The completion; of a quest that was completed before, that one, and nothing is written.

    Raises:
        AgentError: M746 no UUID; M747 the user has not taken it on, a required task is open, or
            the milestone is of another quest; M749.
    """
    need_user(session, user_id)
    quest = get_quest(session, quest_id)
    if milestone is not None and (milestone.metadata or {}).get("quest_id") != str(quest.id):
        raise _not_completable("the milestone is of another quest", "make it again", quest.id)
    row = _locked(session, user_id, quest)
    if row.state in DONE_STATES:
        points, at = row.points_earned or 0, aware(row.completed_at)
        return CompletedQuest(row.id, quest, points, at, is_new=False)
    open_tasks = _open_tasks(session, row.id)
    if open_tasks:
        raise _not_completable(
            f"{open_tasks} of its required tasks are open", "complete them first", quest.id
        )
    moment = now()
    session.execute(
        sa.update(USER_QUESTS)
        .where(USER_QUESTS.c.id == row.id)
        .values(state=COMPLETED, completed_at=moment, points_earned=quest.points)
    )
    stats, earned = add_completion(session, user_id, quest.points, moment)
    memory = None
    if get_user_settings(session, user_id).memory_enabled:
        memory = store_memory(session, user_id, milestone or milestone_of(keys, quest))
    return CompletedQuest(
        row.id,
        quest,
        quest.points,
        aware(moment),
        is_new=True,
        milestone=memory,
        stats=stats,
        achievements=tuple(earned),
    )


def complete_task(
    session: Session,
    keys: KeyRing,
    user_id: str,
    task_id: UUID | str,
    evidence: Mapping[str, Any] | None = None,
) -> CompletedQuest | None:
    """Complete a task of a quest that a user has taken on; the last required one completes it.

    Returns:
        The completed quest, also if it was completed before; None while required tasks are open.

    Raises:
        AgentError: as `complete_quest`; M746 evidence that is not JSON; M747 the user has no such
            task of an open quest.
    """
    need_user(session, user_id)
    if not is_json(dict(evidence or {})):
        raise refused("evidence", "is not JSON that PostgreSQL can hold", "texts, finite numbers")
    t, uq = USER_TASKS.c, USER_QUESTS.c
    # The quest before its tasks, in every transaction: two that wait for one another never end.
    row = session.execute(
        sa.select(uq.id, uq.quest_id, uq.state, t.id.label("user_task"), t.state.label("done"))
        .join_from(USER_TASKS, USER_QUESTS, t.user_quest_id == uq.id)
        .where(t.task_id == as_uuid(task_id), t.user_id == user_id, uq.user_id == user_id)
        .order_by(uq.state.in_(OPEN_STATES).desc(), uq.started_at.desc())
        .limit(1)
        .with_for_update(of=USER_QUESTS)
    ).one_or_none()
    if row is not None and row.state in DONE_STATES:
        return complete_quest(session, keys, user_id, row.quest_id)
    if row is None or row.state not in OPEN_STATES:
        raise _not_completable("the user has no such task open", "take the quest on", task_id)
    session.execute(
        sa.update(USER_TASKS)
        .where(t.id == row.user_task, t.state != COMPLETED)
        .values(state=COMPLETED, completed_at=now(), evidence_data=dict(evidence or {}))
    )
    if _open_tasks(session, row.id):
        session.execute(sa.update(USER_QUESTS).where(uq.id == row.id).values(state="in_progress"))
        return None
    return complete_quest(session, keys, user_id, row.quest_id)


def _locked(session: Session, user_id: str, quest: Quest) -> sa.Row:
    """Return the user's row of a quest, locked until the commit: an open one before a done one."""
    c = USER_QUESTS.c
    mine = sa.and_(c.user_id == user_id, c.quest_id == quest.id)
    # Locked in the order of ids first. A row is read as it is after the wait for its lock, but its
    # place in an order is the one of before.
    session.execute(sa.select(c.id).where(mine).order_by(c.id).with_for_update())
    row = session.execute(
        sa.select(c.id, c.state, c.points_earned, c.completed_at)
        .where(mine, c.state.in_([*OPEN_STATES, *DONE_STATES]))
        .order_by(c.state.in_(OPEN_STATES).desc(), c.started_at.desc(), c.id)
        .limit(1)
    ).one_or_none()
    if row is None:
        raise _not_completable("the user has not taken it on", "assign the quest first", quest.id)
    return row


def _open_tasks(session: Session, user_quest: UUID) -> int:
    """Count the required tasks of a user's quest that are not completed."""
    t, q = USER_TASKS.c, QUEST_TASKS.c
    counted = (
        sa.select(sa.func.count())
        .select_from(USER_TASKS)
        .join(QUEST_TASKS, t.task_id == q.id)
        .where(t.user_quest_id == user_quest, t.state != COMPLETED, q.is_required.is_not(False))
    )
    return int(session.execute(counted).scalar_one())


def _not_completable(what: str, fix: str, where: UUID | str) -> AgentError:
    return AgentError("M747", what, where=f"quest {where}", fix=f"{fix}; nothing was changed")
