"""Write memories: store, update, delete. Each is one or two statements in the caller's session."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.owner import need_user
from memos_assets.memory.service.prepared import PreparedMemory, checked_tags
from memos_assets.memory.service.privacy import (
    anonymised,
    anonymised_values,
    need_permitted,
)
from memos_assets.memory.service.records import (
    HAS_EMBEDDING,
    SHOWN,
    StoredMemory,
    entities_with,
    stored,
)
from memos_assets.memory.service.therapeutic import (
    extracted_tags,
    summary,
    therapeutic_context,
)
from memos_assets.memory.service.values import (
    MEMORIES,
    USER_SETTINGS,
    MemoryType,
    PrivacyLevel,
    bounded,
    live_rows,
    now,
    one_of,
    refused,
    short_text,
)

#: Days that a memory is kept unless the user's settings say otherwise; memOS: seven years.
RETENTION_DAYS: Final = 2_555
DEFAULT_STAGE: Final = "maintenance"
_DAYS_OF_YEAR = 365
_MOST_RETENTION_DAYS = 36_500
#: Fields that `update_memory` changes, beside the content.
CHANGEABLE: Final = (
    *("memory_type", "privacy_level", "recovery_stage", "therapeutic_relevance", "crisis_level"),
    *("tags", "source_conversation_id", "consent_given", "relevance_score", "quality_score"),
)
_SCORES = ("therapeutic_relevance", "crisis_level", "relevance_score", "quality_score")


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What a user allows; the defaults are those of a user without a row in the table."""

    memory_enabled: bool = True
    retention_days: int = RETENTION_DAYS
    recovery_stage: str = DEFAULT_STAGE
    allow_clinical_memories: bool = True
    allow_crisis_detection: bool = True


def get_user_settings(session: Session, user_id: str) -> UserSettings:
    """Return a user's settings; a missing row, and NULL in a row, mean the default."""
    c = USER_SETTINGS.c
    names = tuple(UserSettings.__dataclass_fields__)
    row = session.execute(
        sa.select(*(c[name] for name in names)).where(c.user_id == user_id)
    ).one_or_none()
    given = {} if row is None else dict(zip(names, row, strict=True))
    return UserSettings(**{name: value for name, value in given.items() if value is not None})


def store_memory(session: Session, user_id: str, memory: PreparedMemory) -> StoredMemory:
    """Store a prepared memory of a user.

    Args:
        session: the caller's, which acts for the user and commits.
        user_id: whose memory it is.
        memory: from `prepared.prepared`, embedded or waiting for its embedding.

    Raises:
        AgentError: M744 the user does not allow it; M746 a user id that cannot be stored; M749 the
            session acts for somebody else.
    """
    short_text(user_id, "user_id")
    need_user(session, user_id)
    settings = get_user_settings(session, user_id)
    _need_allowed(settings, memory.memory_type, consent_given=memory.consent_given)
    moment = now()
    stage = memory.recovery_stage or settings.recovery_stage
    context = therapeutic_context(memory.content, stage)
    given = memory.therapeutic_relevance
    expires, policy = retention(settings.retention_days, moment)
    # Tags of the text may be what the privacy level hides of it, as `medication` where it is only
    # in a name; they come from what may be read.
    found = therapeutic_context(memory.readable, stage).tags
    values = {
        "id": uuid4(),
        "user_id": user_id,
        "content_hash": memory.content_hash,
        "encrypted_content": memory.token,
        "content_summary": memory.summary,
        "memory_type": memory.memory_type.value,
        "privacy_level": memory.privacy_level.value,
        "embedding_vector": memory.embedding,
        "embedding_model": memory.embedding_model,
        "recovery_stage": stage,
        "therapeutic_relevance": context.relevance if given is None else given,
        "crisis_level": context.crisis_level if settings.allow_crisis_detection else 0.0,
        "source_conversation_id": memory.source_conversation_id,
        "tags": list(found if memory.tags is None else memory.tags),
        "entities": entities_with(context.entities, memory.metadata),
        "created_at": moment,
        "updated_at": moment,
        "expires_at": expires,
        "consent_given": True,
        "consent_date": moment,
        "retention_policy": policy,
        "access_count": 0,
        "is_deleted": False,
    }
    statement = sa.insert(MEMORIES).values(values).returning(*SHOWN, HAS_EMBEDDING)
    return stored(session.execute(statement).one())


def update_memory(
    session: Session,
    keys: KeyRing,
    memory_id: UUID | str,
    user_id: str,
    changes: Mapping[str, Any],
    content: PreparedMemory | None = None,
) -> StoredMemory | None:
    """Change fields of a memory, and its content if a prepared one is given.

    A new privacy level must permit the content that is there; the summary is made again.

    Args:
        session: the caller's, which acts for the user and commits.
        keys: decrypt the content where the privacy level changes.
        memory_id: of a memory that is neither deleted nor expired.
        user_id: whose memory it is.
        changes: fields of `CHANGEABLE`.
        content: prepared; what follows from it is made again, and its embedding replaces the old
            one, also by none.

    Returns:
        The memory as it is now; None: the user has no such memory.

    Raises:
        AgentError: M741 no key decrypts it; M744, M745, M746 a change cannot be made; M749.
    """
    need_user(session, user_id)
    unknown = sorted(set(changes) - set(CHANGEABLE))
    if unknown:
        raise refused(str(unknown[0])[:60], "cannot be changed", f"{', '.join(CHANGEABLE)}")
    moment = now()
    where = sa.and_(MEMORIES.c.id == as_uuid(memory_id), live_rows(user_id, moment))
    row = session.execute(sa.select(*SHOWN).where(where).with_for_update()).one_or_none()
    if row is None:
        return None
    before = level_of(row)
    level = one_of(PrivacyLevel, changes.get("privacy_level", before), "privacy_level")
    values = {name: _changed(name, value, level) for name, value in changes.items()}
    if "memory_type" in values:
        settings = get_user_settings(session, user_id)
        _need_allowed(settings, MemoryType(values["memory_type"]), consent_given=True)
    if "consent_given" in values:
        values["consent_date"] = moment
    if content is not None:
        need_permitted(content.content, level)
        values = _of_content(content, level, row) | values
    elif level is not before:
        text = keys.decrypt(row.encrypted_content, memory=row.id)
        need_permitted(text, level)
        values = _of_level(text, before, level, row) | values
    statement = (
        sa.update(MEMORIES)
        .where(MEMORIES.c.id == row.id)
        .values(**values, updated_at=moment)
        .returning(*SHOWN, HAS_EMBEDDING)
    )
    return stored(session.execute(statement).one())


def delete_memory(
    session: Session, memory_id: UUID | str, user_id: str, reason: str = "user_request"
) -> bool:
    """Mark a memory as deleted; nothing shows it any more.

    Returns:
        Whether there was one: false for one that is deleted, or of somebody else.

    Raises:
        AgentError: M746 the reason cannot be stored; M749.
    """
    need_user(session, user_id)
    m = MEMORIES.c
    done = session.execute(
        sa.update(MEMORIES)
        .where(m.id == as_uuid(memory_id), m.user_id == user_id, m.is_deleted.is_not(True))
        .values(
            is_deleted=True,
            deleted_at=now(),
            deletion_reason=short_text(reason, "deletion_reason"),
        )
        .returning(m.id)
    )
    return done.one_or_none() is not None


def retention(days: int, created_at: datetime) -> tuple[datetime, str]:
    """Return when a memory expires, and memOS's name of the policy.

    memOS counts whole years of 365 days; a retention below one year is kept in days, because it
    would be none.

    Args:
        days: that the user's settings ask for.
        created_at: naive, UTC.

    Raises:
        AgentError: M746 less than a day, or more than a hundred years.
    """
    bounded(days, "retention_days", 1, _MOST_RETENTION_DAYS)
    years = days // _DAYS_OF_YEAR
    kept = years * _DAYS_OF_YEAR or days
    return created_at + timedelta(days=kept), f"{years}_years" if years else f"{days}_days"


def as_uuid(memory_id: UUID | str) -> UUID:
    """Return an id as a UUID.

    Raises:
        AgentError: M746 it is none.
    """
    if isinstance(memory_id, UUID):
        return memory_id
    if not isinstance(memory_id, str) or not re.fullmatch(r"[0-9a-fA-F-]{32,36}", memory_id):
        raise refused("memory_id", "is not a UUID", "the id of a memory")
    try:
        return UUID(memory_id)
    except ValueError:
        raise refused("memory_id", "is not a UUID", "the id of a memory") from None


def level_of(row: sa.Row) -> PrivacyLevel:
    """Return the level of a row; one that nobody knows counts as the strictest."""
    try:
        return PrivacyLevel(row.privacy_level)
    except ValueError:
        return PrivacyLevel.RESTRICTED


def _of_content(content: PreparedMemory, level: PrivacyLevel, row: sa.Row) -> dict[str, Any]:
    """Return the fields that follow from a new content."""
    readable = anonymised(content.content, level)
    context = therapeutic_context(content.content, row.recovery_stage)
    return {
        "encrypted_content": content.token,
        "content_hash": content.content_hash,
        "content_summary": summary(readable),
        "therapeutic_relevance": context.relevance,
        "crisis_level": context.crisis_level,
        "tags": extracted_tags(readable),
        # A stricter level hides words that the embedding was made of.
        "embedding_vector": content.embedding if readable == content.readable else None,
        "embedding_model": content.embedding_model if readable == content.readable else None,
    }


def _of_level(text: str, before: PrivacyLevel, level: PrivacyLevel, row: sa.Row) -> dict[str, Any]:
    """Return the readable fields of a content as another level lets them be read."""
    readable = anonymised(text, level)
    values = {
        "content_summary": summary(readable),
        "tags": anonymised_values(row.tags, level),
        "entities": anonymised_values(row.entities, level),
    }
    if readable != anonymised(text, before):
        values |= {"embedding_vector": None, "embedding_model": None}
    return values


def _changed(name: str, value: Any, level: PrivacyLevel) -> Any:
    """Return the new value of a field as its column holds it."""
    if name == "memory_type":
        return one_of(MemoryType, value, name).value
    if name == "privacy_level":
        return level.value
    if name == "tags":
        return list(checked_tags(value, level))
    if name == "consent_given":
        if not isinstance(value, bool):
            raise refused(name, "is not true or false", "true or false")
        return value
    if name in _SCORES:
        return bounded(value, name, 0, 1)
    return short_text(value, name)


def _need_allowed(settings: UserSettings, kind: MemoryType, *, consent_given: bool) -> None:
    """Refuse what the user did not agree to.

    Raises:
        AgentError: M744.
    """
    what = ""
    if not consent_given:
        what = "the user's consent is not given"
    elif not settings.memory_enabled:
        what = "memory is off in the user's settings"
    elif kind is MemoryType.CLINICAL and not settings.allow_clinical_memories:
        what = "the user's settings do not allow clinical memories"
    if what:
        raise AgentError(
            "M744",
            f"{what}; nothing was stored",
            where="public.user_memory_settings",
            fix="ask the user, and change the settings or pass consent_given",
        )
