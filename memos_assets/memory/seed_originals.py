"""Memories of memOS's semantic network as they were consolidated, and what becomes of each.

An embedding is kept where it is of the whole text and of a registered model. memOS embeds the first
1,000 characters, and gives texts that share their first 500 the embedding of whichever was first:
such memories are embedded again.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.memory.normalised_text import MOST_BYTES, content_digest
from memos_assets.postgres.schema.agent import KINDS, seed_ids
from memos_assets.search.embed import same_model

_SPEC: Final = MEMOS.table("semantic_memories")
#: Dimension -> names of the models that made embeddings of it.
_MODELS: Final = _SPEC.vectors[0].models
#: Characters that memOS embeds, and those by which it remembers an embedding.
_EMBEDDED, _REMEMBERED_BY = 1_000, 500
#: Ids of seeded memories are of this namespace: the same rows give the same ids on any machine.
_NAMESPACE: Final = uuid.UUID("6d656d6f-7365-5eed-8000-616d656d0001")

originals: Final = sa.table(
    _SPEC.name,
    sa.column("source", sa.Text()),
    sa.column("id", sa.Text()),
    sa.column("memory_type", sa.Text()),
    sa.column("content", sa.Text()),
    sa.column("attributes", sa.JSON()),
    sa.column("created_at", sa.DateTime(timezone=True)),
    sa.column("access_count", sa.BigInteger()),
    sa.column("last_accessed", sa.DateTime(timezone=True)),
    sa.column("embedding", VECTOR()),
    sa.column("dimension", sa.Integer()),
    sa.column("chunk", sa.Integer()),
    sa.column("source_rowid", sa.BigInteger()),
    schema=MEMOS.schema,
)


@dataclass(frozen=True, slots=True, eq=False)
class Original:
    """A memory of memOS that can be remembered.

    Attributes:
        original: memOS's id.
        id: of the memory that it becomes.
        recorded_at: None: memOS has no time of it.
        models: names of the models that may have made the embedding.
        embedding: float32, ``(dimension,)``; None: there is none of the whole text.
    """

    original: str
    id: uuid.UUID
    kind: str
    content: str
    digest: str
    attributes: Mapping[str, Any]
    confidence: float | None
    recorded_at: datetime | None
    accesses: int
    accessed_at: datetime | None
    models: Sequence[str]
    embedding: npt.NDArray[np.float32] | None

    def is_of(self, model: str, dimension: int) -> bool:
        """Whether the embedding is one of a model."""
        return (
            self.embedding is not None
            and len(self.embedding) == dimension
            and any(same_model(name, model) for name in self.models)
        )


def seeded_id(source: str, user: str, original: str) -> uuid.UUID:
    """Return the id of the memory that one of memOS becomes, for a user."""
    return uuid.uuid5(_NAMESPACE, "\x1f".join((source, user, original)))


def usable_attributes(value: Any) -> Mapping[str, Any]:
    """Return attributes as an object: one that is none is within it, as ``value``."""
    if isinstance(value, dict):
        return value
    return {} if value is None else {"value": value}


def sources_of(session: Session) -> list[str]:
    """Return the consolidated sources that have memories, in order."""
    return list(
        session.execute(sa.select(originals.c.source).distinct().order_by("source")).scalars()
    )


def ambiguous_starts(session: Session, source: str) -> frozenset[str]:
    """Return the first 500 characters that different texts share, as digests."""
    start = sa.func.md5(sa.func.left(originals.c.content, _REMEMBERED_BY))
    statement = (
        sa.select(start)
        .where(
            originals.c.source == source,
            sa.func.length(originals.c.content) >= _REMEMBERED_BY,
        )
        .group_by(start)
        .having(sa.func.count(originals.c.content.distinct()) > 1)
    )
    return frozenset(session.execute(statement).scalars())


def unseeded(session: Session, seed: int, source: str, limit: int) -> Sequence[sa.Row[Any]]:
    """Return the next memories of a source that are not seeded, in the order of their file."""
    done = sa.exists().where(seed_ids.c.seed == seed, seed_ids.c.original == originals.c.id)
    start = sa.func.md5(sa.func.left(originals.c.content, _REMEMBERED_BY)).label("start")
    return session.execute(
        sa.select(originals, start)
        .where(originals.c.source == source, ~done, _can_be_remembered())
        .order_by(originals.c.chunk, originals.c.source_rowid)
        .limit(limit)
    ).all()


def _can_be_remembered() -> sa.ColumnElement[bool]:
    text = originals.c.content
    return sa.and_(text.regexp_match(r"\S"), sa.func.octet_length(text) <= MOST_BYTES)


def left_out(session: Session, source: str) -> Mapping[str, int]:
    """Count the memories of a source that are not remembered, by why."""
    text = originals.c.content
    blank = sa.or_(text.is_(None), sa.not_(text.regexp_match(r"\S")))
    counted = sa.select(
        sa.func.count().filter(blank).label("without_text"),
        sa.func.count().filter(sa.func.octet_length(text) > MOST_BYTES).label("too_long"),
    ).where(originals.c.source == source)
    return dict(session.execute(counted).mappings().one())


def read(rows: Sequence[sa.Row[Any]], user: str, ambiguous: frozenset[str]) -> Iterator[Original]:
    """Yield rows of `unseeded` as they are remembered."""
    for row in rows:
        attributes = usable_attributes(row.attributes)
        whole = len(row.content) <= _EMBEDDED and (
            len(row.content) < _REMEMBERED_BY or row.start not in ambiguous
        )
        yield Original(
            original=row.id,
            id=seeded_id(row.source, user, row.id),
            kind=row.memory_type if row.memory_type in KINDS else "finding",
            content=row.content,
            digest=content_digest(row.content, None, None),
            attributes=attributes,
            confidence=_share(attributes.get("confidence")),
            recorded_at=row.created_at or row.last_accessed,
            accesses=max(row.access_count or 0, 0),
            accessed_at=row.last_accessed or row.created_at,
            models=_MODELS.get(row.dimension, ()) if row.dimension else (),
            embedding=_elements(row.embedding) if whole else None,
        )


def _elements(value: Any) -> npt.NDArray[np.float32] | None:
    if value is None:
        return None
    elements = np.asarray(value.to_numpy() if hasattr(value, "to_numpy") else value, np.float32)
    return elements if np.isfinite(elements).all() and elements.any() else None


def _share(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
