"""Read memories: one, a page of them, counts and statistics with memOS's keys."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.owner import need_user
from memos_assets.memory.service.records import (
    HAS_EMBEDDING,
    SHOWN,
    StoredMemory,
    listed,
    stored,
)
from memos_assets.memory.service.store import as_uuid
from memos_assets.memory.service.values import (
    MEMORIES,
    MemoryType,
    PrivacyLevel,
    aware,
    bounded,
    live_rows,
    now,
    one_of,
    short_text,
)

_MOST_ROWS = 1_000
_MOST_OFFSET = 10_000_000
#: memOS's estimate of what a memory takes.
_MB_OF_MEMORY = 0.1
#: Above this a memory counts as one of a crisis.
_CRISIS_ABOVE = 0.7


def get_memory(
    session: Session, memory_id: UUID | str, user_id: str, keys: KeyRing | None = None
) -> StoredMemory | None:
    """Return a memory of a user; None: there is none, or it is deleted or expired.

    Args:
        session: the caller's, which acts for the user.
        memory_id: its id.
        user_id: whose memory it is.
        keys: decrypt its content; None leaves it out.

    Raises:
        AgentError: M741 no key decrypts it; M746 no UUID; M749 the session acts for somebody else.
    """
    need_user(session, user_id)
    row = session.execute(
        sa.select(*SHOWN, HAS_EMBEDDING).where(
            MEMORIES.c.id == as_uuid(memory_id), live_rows(user_id, now())
        )
    ).one_or_none()
    return None if row is None else stored(row, keys)


def get_user_memories(
    session: Session,
    user_id: str,
    *,
    memory_type: str | None = None,
    privacy_level: str | None = None,
    recovery_stage: str | None = None,
    limit: int = 50,
    offset: int = 0,
    keys: KeyRing | None = None,
) -> list[StoredMemory]:
    """Return a page of a user's memories, the newest first.

    With ``keys`` they have their content, but those that no key decrypts (``is_lost``).

    Raises:
        AgentError: M746, M749.
    """
    need_user(session, user_id)
    condition = _filtered(user_id, memory_type, privacy_level, recovery_stage)
    statement = (
        sa.select(*SHOWN, HAS_EMBEDDING)
        .where(condition)
        .order_by(MEMORIES.c.created_at.desc(), MEMORIES.c.id)
        .limit(int(bounded(limit, "limit", 1, _MOST_ROWS)))
        .offset(int(bounded(offset, "offset", 0, _MOST_OFFSET)))
    )
    return [listed(row, keys) for row in session.execute(statement)]


def get_user_memory_count(
    session: Session,
    user_id: str,
    *,
    memory_type: str | None = None,
    privacy_level: str | None = None,
    recovery_stage: str | None = None,
) -> int:
    """Count a user's memories by the filters of `get_user_memories`.

    Raises:
        AgentError: M746, M749.
    """
    need_user(session, user_id)
    condition = _filtered(user_id, memory_type, privacy_level, recovery_stage)
    counted = sa.select(sa.func.count()).select_from(MEMORIES).where(condition)
    return int(session.execute(counted).scalar_one())


def get_memory_stats(session: Session, user_id: str) -> dict[str, Any]:
    """Return what memOS's dashboard shows of a user's memories, with memOS's keys.

    Raises:
        AgentError: M749.
    """
    found = _summed(session, user_id)
    return {
        "total_memories": found["total"],
        "by_type": found["by_type"],
        "by_privacy_level": found["by_level"],
        "storage_usage_mb": found["total"] * _MB_OF_MEMORY,
        "oldest_memory": aware(found["oldest"]),
        "newest_memory": aware(found["newest"]),
        "avg_therapeutic_relevance": found["relevance"],
        "crisis_memories_count": found["crises"],
    }


def get_user_memory_stats(session: Session, user_id: str) -> dict[str, Any]:
    """Return the statistics of memOS's API for a user, with memOS's keys; a time is ISO text.

    Raises:
        AgentError: M749.
    """
    found = _summed(session, user_id)
    newest = aware(found["newest"])
    return {
        "total_memories": found["total"],
        "memory_types": found["by_type"],
        "privacy_levels": found["by_level"],
        "recovery_stages": found["by_stage"],
        "avg_therapeutic_relevance": found["relevance"],
        "last_created": None if newest is None else newest.isoformat(),
        "embeddings_count": found["embedded"],
    }


def _filtered(
    user_id: str, memory_type: str | None, privacy_level: str | None, recovery_stage: str | None
) -> sa.ColumnElement[bool]:
    conditions = [live_rows(user_id, now())]
    if memory_type is not None:
        conditions.append(MEMORIES.c.memory_type == one_of(MemoryType, memory_type, "memory_type"))
    if privacy_level is not None:
        level = one_of(PrivacyLevel, privacy_level, "privacy_level")
        conditions.append(MEMORIES.c.privacy_level == level)
    if recovery_stage is not None:
        stage = short_text(recovery_stage, "recovery_stage")
        conditions.append(MEMORIES.c.recovery_stage == stage)
    return sa.and_(*conditions)


def _summed(session: Session, user_id: str) -> dict[str, Any]:
    """Return counts of a user's memories by type, level and stage, read by one statement."""
    need_user(session, user_id)
    m = MEMORIES.c
    rows = session.execute(
        sa.select(
            m.memory_type,
            m.privacy_level,
            m.recovery_stage,
            sa.func.count().label("rows"),
            sa.func.count(m.embedding_vector).label("embedded"),
            sa.func.count().filter(m.crisis_level > _CRISIS_ABOVE).label("crises"),
            sa.func.min(m.created_at).label("oldest"),
            sa.func.max(m.created_at).label("newest"),
            sa.func.count(m.therapeutic_relevance).label("weighed"),
            sa.func.coalesce(sa.func.sum(m.therapeutic_relevance), 0.0).label("relevance"),
        )
        .where(live_rows(user_id, now()))
        .group_by(m.memory_type, m.privacy_level, m.recovery_stage)
    ).all()
    counted: dict[str, dict[str, int]] = {"by_type": {}, "by_level": {}, "by_stage": {}}
    for row in rows:
        for name, value in zip(counted, row[:3], strict=True):
            if value is not None:
                counted[name][value] = counted[name].get(value, 0) + row.rows
    weighed = sum(row.weighed for row in rows)
    return {
        **counted,
        "total": sum(row.rows for row in rows),
        "embedded": sum(row.embedded for row in rows),
        "crises": sum(row.crises for row in rows),
        "oldest": min((row.oldest for row in rows), default=None),
        "newest": max((row.newest for row in rows), default=None),
        "relevance": sum(row.relevance for row in rows) / weighed if weighed else 0.0,
    }
