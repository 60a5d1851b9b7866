"""What memOS reads from a memory's text: relevance, crisis, tags, entities, a summary; and decay.

Words count within other words, too, as in memOS: ``relapse`` in "relapsed", ``help`` in "helpful".

Source: the memOS server, core/memory_service.py.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

CRISIS_WORDS: Final = ("crisis", "emergency", "relapse", "urgent", "help", "suicide")
RECOVERY_WORDS: Final = ("milestone", "sober", "clean", "recovery", "progress")
TAG_WORDS: Final = (
    *("sobriety", "meetings", "sponsor", "steps", "recovery", "therapy", "counseling"),
    *("support", "family", "work", "housing", "healthcare", "medication", "goals"),
)
#: Recovery stage -> factor of relevance; 1 for others.
STAGE_FACTORS: Final[Mapping[str, float]] = {
    "detox": 1.2,
    "early_recovery": 1.1,
    "maintenance": 0.9,
    "relapse_prevention": 1.0,
}
RELEVANCE: Final = 0.5
RECOVERY_RELEVANCE: Final = 0.9
CRISIS_LEVEL: Final = 0.8
MOST_TAGS: Final = 5
SUMMARY_LENGTH: Final = 200
#: Entities are an object of lists; a memory's metadata are the one element of ``metadata``.
ENTITY_KINDS: Final = ("locations", "organizations", "persons", "dates")

# Decay: days after which 1/e is left, and what protects a memory.
_DAYS = 7.0
_IMPORTANCE = 2.0
_MILESTONE = 10.0
_RECENT_DAYS, _RECENT = 30, 1.5
_OLD_DAYS, _OLD = 365, 0.5
#: A lower exponent would make a product that float8 cannot hold, which PostgreSQL refuses.
_LEAST_EXPONENT = -600.0


@dataclass(frozen=True, slots=True)
class TherapeuticContext:
    """What was read from a text; its names are memOS's keys.

    Attributes:
        relevance: 0 to 1.
        crisis_level: 0 or `CRISIS_LEVEL`.
        tags: at most `MOST_TAGS`, in the order of the text.
        entities: kind -> names; nothing extracts names yet, so the lists are empty, as memOS's.
    """

    relevance: float
    crisis_level: float
    tags: list[str]
    entities: dict[str, list[Any]] = field(default_factory=dict)


def therapeutic_context(content: str, recovery_stage: str | None) -> TherapeuticContext:
    """Read relevance, crisis level, tags and entities from a text."""
    lowered = content.lower()
    relevance = RECOVERY_RELEVANCE if any(w in lowered for w in RECOVERY_WORDS) else RELEVANCE
    relevance *= STAGE_FACTORS.get(recovery_stage or "", 1.0)
    return TherapeuticContext(
        relevance=min(relevance, 1.0),
        crisis_level=CRISIS_LEVEL if any(w in lowered for w in CRISIS_WORDS) else 0.0,
        tags=extracted_tags(content),
        entities=extracted_entities(),
    )


def extracted_tags(content: str) -> list[str]:
    """Return the tags whose words a text has, at most five, in the order of the text."""
    lowered = content.lower()
    found = sorted((lowered.find(word), word) for word in TAG_WORDS if word in lowered)
    return [word for _, word in found[:MOST_TAGS]]


def extracted_entities() -> dict[str, list[Any]]:
    """Return the lists of a memory's entities, each empty."""
    return {kind: [] for kind in ENTITY_KINDS}


def summary(anonymised: str) -> str:
    """Return the first two sentences of a text that may be readable, at most 200 characters."""
    return ". ".join(anonymised.split(".")[:2]).strip()[:SUMMARY_LENGTH]


def memory_decay(
    created_at: datetime, importance: float, *, is_milestone: bool, at: datetime | None = None
) -> float:
    """Return memOS's decay of a memory, above 0 to 1.

    Args:
        created_at: naive times are UTC.
        importance: its therapeutic relevance, 0 to 1.
        is_milestone: it lasts ten times as long.
        at: the time that is asked about; None: now.
    """
    moment = at or datetime.now(UTC)
    days = max((_in_utc(moment) - _in_utc(created_at)).days, 0)
    boost = _RECENT if days < _RECENT_DAYS else _OLD if days > _OLD_DAYS else 1.0
    kept = math.exp(max(-days / _DAYS, _LEAST_EXPONENT)) * (1 + _IMPORTANCE * importance)
    return min(kept * (_MILESTONE if is_milestone else 1.0) * boost, 1.0)


def decay_sql(
    created_at: sa.ColumnElement[Any],
    importance: sa.ColumnElement[Any],
    is_milestone: sa.ColumnElement[bool],
    at: sa.ColumnElement[Any],
) -> sa.ColumnElement[float]:
    """Return `memory_decay` as an expression; times are naive and UTC."""
    days = sa.func.greatest(
        sa.func.floor(sa.extract("epoch", at - created_at) / sa.literal_column("86400")),
        sa.literal_column("0"),
    ).cast(sa.Double)
    boost = sa.case((days < _RECENT_DAYS, _RECENT), (days > _OLD_DAYS, _OLD), else_=1.0)
    kept = sa.func.exp(sa.func.greatest(-days / _DAYS, _LEAST_EXPONENT))
    lasting = sa.case((is_milestone, _MILESTONE), else_=1.0)
    return sa.func.least(kept * (1 + _IMPORTANCE * importance) * lasting * boost, 1.0)


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
