"""Rows of ``public.memories`` as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from memos_assets.errors import AgentError
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.values import MEMORIES, plain

#: Columns of a memory but its embedding, of which only the presence is shown.
SHOWN: Final = tuple(column for column in MEMORIES.c if column.name != "embedding_vector")
HAS_EMBEDDING: Final = MEMORIES.c.embedding_vector.is_not(None).label("has_embedding")
_METADATA = "metadata"


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """One row; times have their zone, UTC. Attributes are memOS's columns.

    ``content`` is None unless it was asked for; ``has_embedding`` is false while it waits for one;
    ``is_lost`` says that the content was asked for and no key decrypts it.
    """

    id: UUID
    user_id: str
    content_hash: str = field(repr=False)
    encrypted_content: bytes = field(repr=False)
    content_summary: str | None = field(repr=False)
    memory_type: str
    privacy_level: str
    embedding_model: str | None
    recovery_stage: str | None
    therapeutic_relevance: float | None
    crisis_level: float | None
    source_conversation_id: str | None
    tags: Any = field(repr=False)
    entities: Any = field(repr=False)
    created_at: datetime
    updated_at: datetime | None
    accessed_at: datetime | None
    expires_at: datetime | None
    consent_given: bool
    consent_date: datetime | None
    retention_policy: str | None
    relevance_score: float | None
    quality_score: float | None
    access_count: int | None
    is_deleted: bool | None
    deleted_at: datetime | None
    deletion_reason: str | None
    has_embedding: bool
    content: str | None = field(default=None, repr=False)
    is_lost: bool = False

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the caller gave with it; empty where nothing was given."""
        entities = self.entities if isinstance(self.entities, dict) else {}
        kept = entities.get(_METADATA)
        first = kept[0] if isinstance(kept, list) and kept else None
        return first if isinstance(first, dict) else {}


def entities_with(
    entities: Mapping[str, Any], metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return entities that keep metadata, as a list of one, beside the lists of names."""
    return {**entities, _METADATA: [dict(metadata)]} if metadata else dict(entities)


def listed(row: sa.Row, keys: KeyRing | None = None) -> StoredMemory:
    """Return a row as one of many, as `stored`; one lost key does not hide the other rows."""
    try:
        return stored(row, keys)
    except AgentError:
        return replace(stored(row), is_lost=True)


def stored(row: sa.Row, keys: KeyRing | None = None) -> StoredMemory:
    """Return a row of `SHOWN` and `HAS_EMBEDDING` as a value.

    Args:
        row: with those columns, and maybe others.
        keys: decrypt its content; None leaves it encrypted.

    Raises:
        AgentError: M741 no key decrypts it.
    """
    found = row._mapping  # noqa: SLF001  SQLAlchemy's public name for a row by its columns
    values = plain({column.name: found[column.name] for column in SHOWN})
    content = None
    if keys is not None:
        content = keys.decrypt(values["encrypted_content"], memory=values["id"])
    return StoredMemory(**values, has_embedding=found["has_embedding"], content=content)
