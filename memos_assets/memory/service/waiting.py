"""Memories that wait for an embedding: read in one transaction, embedded, and written in another.

A memory waits where the embedder gave nothing, and where it was stored in a transaction that a
model must not hold up. `waiting_memories` and `fill_in` see the rows that their session sees: those
of the user it acts for, or of all users where the operator runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.prepared import Embedding, embedded_texts
from memos_assets.memory.service.privacy import anonymised
from memos_assets.memory.service.store import level_of
from memos_assets.memory.service.values import MEMORIES, now
from memos_assets.search.embed import AsyncEmbedder

#: Memories of one round; a model answers so many in a few seconds.
ROUND: Final = 64


@dataclass(frozen=True, slots=True)
class Waiting:
    """A memory without an embedding, or with one that was just made.

    Attributes:
        memory: its id.
        content_hash: of the content that was read; another one is not given this embedding.
        readable: the content as its privacy level lets it be read.
        embedding: float32, ``(1024,)``, of length 1; None: not yet.
        model: that made it.
    """

    memory: UUID
    content_hash: str = field(repr=False)
    readable: str = field(repr=False)
    embedding: Embedding | None = field(default=None, repr=False, compare=False)
    model: str | None = None


def waiting_memories(
    session: Session, keys: KeyRing, *, after: UUID | None = None, limit: int = ROUND
) -> list[Waiting]:
    """Return memories that wait, in the order of ids; those that no key decrypts are passed over.

    Args:
        session: the caller's.
        keys: decrypt the content, of which the embedding is made.
        after: the last id of the round before; None: from the first on.
        limit: at most so many.
    """
    m = MEMORIES.c
    moment = now()
    conditions = [
        m.embedding_vector.is_(None),
        m.is_deleted.is_not(True),
        m.consent_given,
        sa.or_(m.expires_at.is_(None), m.expires_at > moment),
        *([] if after is None else [m.id > after]),
    ]
    rows = session.execute(
        sa.select(m.id, m.content_hash, m.encrypted_content, m.privacy_level)
        .where(*conditions)
        .order_by(m.id)
        .limit(limit)
    ).all()
    found = []
    for row in rows:
        try:
            text = keys.decrypt(row.encrypted_content, memory=row.id)
        except AgentError:
            # V40 and `keys status` name it.
            continue
        if text.strip():
            found.append(Waiting(row.id, row.content_hash, anonymised(text, level_of(row))))
    return found


async def embed_waiting(
    embedder: AsyncEmbedder | None, memories: Sequence[Waiting]
) -> list[Waiting]:
    """Return those that got an embedding; hold no connection meanwhile.

    Raises:
        AgentError: M748 the vectors are not those of the table.
        UsageError: M577 a setting or package of the embedder is missing.
    """
    if embedder is None or not memories:
        return []
    rows = await embedded_texts(embedder, [one.readable for one in memories])
    return [
        replace(one, embedding=row, model=embedder.model)
        for one, row in zip(memories, rows or [], strict=rows is not None)
    ]


def fill_in(session: Session, memories: Sequence[Waiting]) -> int:
    """Write embeddings of memories that still wait and still have that content; return how many.

    Args:
        session: the caller's, who commits.
        memories: of `embed_waiting`.
    """
    m = MEMORIES.c
    filled = 0
    for one in sorted(memories, key=lambda waiting: waiting.memory):
        done = session.execute(
            sa.update(MEMORIES)
            .where(
                m.id == one.memory,
                m.content_hash == one.content_hash,
                m.embedding_vector.is_(None),
            )
            .values(embedding_vector=one.embedding, embedding_model=one.model)
            .returning(m.id)
        )
        filled += len(done.all())
    return filled
