"""Memories that wait for an embedding: read in one transaction, embedded, and written in another.

A memory waits where the embedder gave nothing, and where it was stored in a transaction that a
model must not hold up. `waiting_memories` and `fill_in` see the rows that their session sees: those
of the user it acts for, or of all users where the operator runs it. `embed_all` is what the
schedule runs.
"""

# session-rule: file S001 because a schedule works from the engine, between calls of the model

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.catalog.columns import MXBAI
from memos_assets.errors import AgentError, MemosAssetsError
from memos_assets.memory.model_identity import answer_of
from memos_assets.memory.prepared import cause
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.prepared import Embedding, embedded_texts
from memos_assets.memory.service.privacy import anonymised
from memos_assets.memory.service.rotation import WHERE, need_all_rows
from memos_assets.memory.service.store import level_of
from memos_assets.memory.service.values import MEMORIES, now
from memos_assets.search.embed import AsyncEmbedder, Embedder, ThreadedEmbedder, same_model

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

    Returns:
        Nothing only where no further memory waits that a key decrypts.
    """
    m = MEMORIES.c
    listed = sa.select(m.id, m.content_hash, m.encrypted_content, m.privacy_level).where(*_waits())
    while True:
        page = listed if after is None else listed.where(m.id > after)
        rows = session.execute(page.order_by(m.id).limit(limit)).all()
        found = _readable(keys, rows)
        if found or len(rows) < limit:
            return found
        after = rows[-1].id


def _waits() -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions of memories that wait."""
    m = MEMORIES.c
    yield m.embedding_vector.is_(None)
    # memOS stores an empty content without encryption.
    yield sa.func.octet_length(m.encrypted_content) > 0
    yield m.is_deleted.is_not(True)
    yield m.consent_given
    yield sa.or_(m.expires_at.is_(None), m.expires_at > now())


def _readable(keys: KeyRing, rows: Sequence[sa.Row]) -> list[Waiting]:
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


@dataclass(frozen=True, slots=True)
class Filled:
    """Outcome of `embed_all`.

    Attributes:
        embedded: memories that got an embedding.
        stopped: code and cause for which the embedder was not asked for more; None: none.
    """

    embedded: int = 0
    stopped: str | None = None


def any_waiting(engine: sa.Engine) -> bool:
    """Whether memOS's table is there, and a memory in it waits."""
    with engine.connect() as conn:
        if conn.scalar(sa.select(sa.func.to_regclass(WHERE))) is None:
            return False
        return bool(conn.scalar(sa.select(sa.exists().where(*_waits()))))


def count_waiting(conn: sa.Connection) -> int:
    """Count the memories in memOS's table that wait, of all users; 0 where it is not there."""
    if conn.scalar(sa.select(sa.func.to_regclass(WHERE))) is None:
        return 0
    counted = sa.select(sa.func.count()).select_from(MEMORIES).where(*_waits())
    return int(conn.execute(counted).scalar_one())


def embeds_memories(embedder: Embedder) -> bool:
    """Whether an embedder is, by its name, of the model of ``public.memories``."""
    return any(same_model(embedder.model, one) for one in MXBAI)


def embed_all(engine: sa.Engine, keys: KeyRing, embedder: Embedder) -> Filled:
    """Embed the memories of all users that wait; no connection is in use while the model works.

    A memory that the model refuses goes on waiting, and holds up no other one.

    Args:
        engine: of the operator.
        keys: of the environment.
        embedder: of the model of ``public.memories``.

    Raises:
        AgentError: M749 this role does not see the rows of all users.
        UsageError: M570 memOS's tables are not there.
    """
    with engine.connect() as conn:
        need_all_rows(conn)
    embedded, after = 0, None
    try:
        while True:
            with Session(engine) as session:
                found = waiting_memories(session, keys, after=after)
            if not found:
                return Filled(embedded)
            after = found[-1].memory
            made = _embedded(embedder, found)
            with Session(engine) as session, session.begin():
                embedded += fill_in(session, made)
    except MemosAssetsError as error:
        return Filled(embedded, cause(error))


def _embedded(embedder: Embedder, memories: Sequence[Waiting]) -> list[Waiting]:
    """Embed memories in one call; where that fails, those for which it does not."""
    made = asyncio.run(embed_waiting(ThreadedEmbedder(embedder), memories))
    if made or len(memories) == 1:
        return made
    # Whether it is the embedder, or one of the texts.
    answer_of(embedder)
    middle = len(memories) // 2
    return _embedded(embedder, memories[:middle]) + _embedded(embedder, memories[middle:])
