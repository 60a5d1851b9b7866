"""memOS's values of memories: types, privacy levels, stages; and times as its columns hold them.

memOS's columns are naive and mean UTC. A time zone of the session must not shift them, so they are
computed here and never by the server's ``now()``.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from memos_assets.errors import AgentError
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.storable_text import is_storable

#: ``public.memories`` and the settings of its users.
MEMORIES: Final = APPLICATION["memories"]
USER_SETTINGS: Final = APPLICATION["user_memory_settings"]

_SHOWN_TYPES = 60


class MemoryType(StrEnum):
    """Types of ``public.memories``; `MILESTONE` is what quests store."""

    CONVERSATIONAL = "conversational"
    CLINICAL = "clinical"
    CRISIS = "crisis"
    RECOVERY = "recovery"
    RESOURCE = "resource"
    PROCEDURAL = "procedural"
    EPISODIC = "episodic"
    SEMANTIC = "semantic"
    MILESTONE = "milestone"


class PrivacyLevel(StrEnum):
    """How strict the rules of `privacy.RULES` are for a memory."""

    MINIMAL = "minimal"
    BALANCED = "balanced"
    COMPREHENSIVE = "comprehensive"
    RESTRICTED = "restricted"


class RecoveryStage(StrEnum):
    """Stages by which memOS weighs relevance; a column may hold others."""

    DETOX = "detox"
    EARLY_RECOVERY = "early_recovery"
    MAINTENANCE = "maintenance"
    RELAPSE_PREVENTION = "relapse_prevention"
    CRISIS = "crisis"


Named = TypeVar("Named", bound=StrEnum)


def one_of(kind: type[Named], value: str, field: str) -> Named:
    """Return the member of an enumeration that a value names.

    Raises:
        AgentError: M746 none of them.
    """
    try:
        return kind(value)
    except ValueError:
        raise refused(
            field, f"is {str(value)[:_SHOWN_TYPES]!r}", f"one of {', '.join(kind)}"
        ) from None


def bounded(value: float, field: str, least: float, most: float) -> float:
    """Return a number within bounds.

    Raises:
        AgentError: M746 it is another one, NaN, or not a number.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        shown = f"is {value!r}" if is_number else f"is of type {type(value).__name__}"
        raise refused(field, shown, f"a number from {least:g} to {most:g}")
    return value


def short_text(value: str | None, field: str) -> str | None:
    """Return a text that the column of that name can hold, or None.

    Raises:
        AgentError: M746 it is too long, has a NUL or half a surrogate pair, or is not text.
    """
    if value is None:
        return None
    length = getattr(MEMORIES.c[field].type, "length", 0)
    if not isinstance(value, str) or not 0 < len(value) <= length or not is_storable(value):
        raise refused(field, "cannot be stored", f"1 to {length} characters without NUL")
    return value


def refused(field: str, what: str, expected: str) -> AgentError:
    """Return M746: a value that a field cannot have."""
    return AgentError("M746", what, where=field, fix=f"pass {expected}")


def now() -> datetime:
    """Return the time as memOS's columns hold it: UTC, naive."""
    return datetime.now(UTC).replace(tzinfo=None)


def aware(moment: datetime | None) -> datetime | None:
    """Return a time of memOS's columns with its zone, UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def live_rows(user_id: str, moment: datetime) -> sa.ColumnElement[bool]:
    """Return the condition of a user's rows that are neither deleted nor expired.

    Args:
        user_id: whose rows.
        moment: from `now`.
    """
    m = MEMORIES.c
    return sa.and_(
        m.user_id == user_id,
        m.is_deleted.is_not(True),
        sa.or_(m.expires_at.is_(None), m.expires_at > moment),
    )


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a row, its times with their zone."""
    return {
        name: aware(value) if isinstance(value, datetime) else value for name, value in row.items()
    }
