"""`MemoryService`: the operations for asyncio, with the keys and the embedder."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from memos_assets.memory.service import quests, ranked, read, store, waiting
from memos_assets.memory.service.crypto import KeyRing, key_ring
from memos_assets.memory.service.prepared import (
    PreparedMemory,
    SearchQuery,
    embedded,
    embedded_query,
    prepared,
)
from memos_assets.memory.service.quests import CompletedQuest, Quest
from memos_assets.memory.service.ranked import MemorySearchResult
from memos_assets.memory.service.records import StoredMemory
from memos_assets.memory.service.waiting import Waiting
from memos_assets.search.embed import AsyncEmbedder, configured_async_embedder
from memos_assets.settings import Settings


class MemoryService:
    """memOS's memory service; it holds keys and an embedder, and no session.

    `prepare`, `query`, `prepare_milestone` and `embed_waiting` ask the model: call them before the
    transaction.
    Every other method takes the caller's session, which acts for the user; it commits nothing.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        embedder: AsyncEmbedder | None = None,
        keys: KeyRing | None = None,
    ) -> None:
        """Read the keys; derive memOS's if it is used.

        Args:
            settings: ``MEMOS_ENCRYPTION_KEY``, ``MEMOS_MEMORY_KEYS`` and the embedder's.
            embedder: in place of the configured one. Without any, memories wait for embeddings.
            keys: in place of the configured ones.

        Raises:
            AgentError: M740, M742 as `crypto.key_ring`.
            UsageError: M577 the embedder lacks a setting.
        """
        self.keys = keys or key_ring(settings)
        self._settings = settings
        self._embedder = embedder
        if embedder is None and settings.embedder is not None:
            self._embedder = configured_async_embedder(settings)

    async def prepare(self, content: str, **fields: Any) -> PreparedMemory:
        """Check, encrypt and embed a memory; see `prepared.prepared` for the fields and errors."""
        (memory,) = await self.prepare_many([prepared(self.keys, content, **fields)])
        return memory

    async def prepare_many(self, memories: Sequence[PreparedMemory]) -> list[PreparedMemory]:
        """Embed memories of `prepared.prepared` at once."""
        return await embedded(self._embedder, memories)

    async def query(self, text: str) -> SearchQuery:
        """Embed a query; raises as `prepared.embedded_query`, UsageError M577 without embedder."""
        embedder = self._embedder or configured_async_embedder(self._settings)
        return await embedded_query(embedder, text)

    async def prepare_milestone(self, quest: Quest) -> PreparedMemory:
        """Prepare the milestone memory of a quest, for `complete_quest`."""
        (memory,) = await self.prepare_many([quests.milestone_of(self.keys, quest)])
        return memory

    async def embed_waiting(self, memories: Sequence[Waiting]) -> list[Waiting]:
        """As `waiting.embed_waiting`."""
        return await waiting.embed_waiting(self._embedder, memories)

    async def waiting_memories(
        self, session: AsyncSession, *, after: UUID | None = None, limit: int = waiting.ROUND
    ) -> list[Waiting]:
        """As `waiting.waiting_memories`."""
        return await session.run_sync(waiting.waiting_memories, self.keys, after=after, limit=limit)

    async def fill_in(self, session: AsyncSession, memories: Sequence[Waiting]) -> int:
        """As `waiting.fill_in`."""
        return await session.run_sync(waiting.fill_in, memories)

    async def store_memory(
        self, session: AsyncSession, user_id: str, memory: PreparedMemory
    ) -> StoredMemory:
        """As `store.store_memory`."""
        return await session.run_sync(store.store_memory, user_id, memory)

    async def get_memory(
        self,
        session: AsyncSession,
        memory_id: UUID | str,
        user_id: str,
        *,
        include_content: bool = True,
    ) -> StoredMemory | None:
        """As `read.get_memory`."""
        keys = self.keys if include_content else None
        return await session.run_sync(read.get_memory, memory_id, user_id, keys)

    async def retrieve_memories(
        self,
        session: AsyncSession,
        user_id: str,
        query: SearchQuery,
        *,
        memory_types: Sequence[str] | None = None,
        limit: int = 10,
        min_similarity: float = 0.7,
        include_content: bool = False,
        track: bool = True,
    ) -> list[MemorySearchResult]:
        """As `ranked.retrieve_memories`."""
        return await session.run_sync(
            ranked.retrieve_memories,
            user_id,
            query,
            memory_types=memory_types,
            limit=limit,
            min_similarity=min_similarity,
            keys=self.keys if include_content else None,
            track=track,
        )

    search_memories = retrieve_memories

    async def update_memory(
        self,
        session: AsyncSession,
        memory_id: UUID | str,
        user_id: str,
        changes: Mapping[str, Any],
        content: PreparedMemory | None = None,
    ) -> StoredMemory | None:
        """As `store.update_memory`."""
        return await session.run_sync(
            store.update_memory, self.keys, memory_id, user_id, changes, content
        )

    async def delete_memory(
        self,
        session: AsyncSession,
        memory_id: UUID | str,
        user_id: str,
        reason: str = "user_request",
    ) -> bool:
        """As `store.delete_memory`."""
        return await session.run_sync(store.delete_memory, memory_id, user_id, reason)

    async def get_user_memories(
        self,
        session: AsyncSession,
        user_id: str,
        *,
        include_content: bool = False,
        **filters: Any,
    ) -> list[StoredMemory]:
        """As `read.get_user_memories`."""

        keys = self.keys if include_content else None
        return await session.run_sync(read.get_user_memories, user_id, keys=keys, **filters)

    async def get_user_memory_count(
        self, session: AsyncSession, user_id: str, **filters: Any
    ) -> int:
        """As `read.get_user_memory_count`."""
        return await session.run_sync(read.get_user_memory_count, user_id, **filters)

    async def get_memory_stats(self, session: AsyncSession, user_id: str) -> dict[str, Any]:
        """As `read.get_memory_stats`."""
        return await session.run_sync(read.get_memory_stats, user_id)

    async def get_user_memory_stats(self, session: AsyncSession, user_id: str) -> dict[str, Any]:
        """As `read.get_user_memory_stats`."""
        return await session.run_sync(read.get_user_memory_stats, user_id)

    async def get_quest(self, session: AsyncSession, quest_id: UUID | str) -> Quest:
        """As `quests.get_quest`."""
        return await session.run_sync(quests.get_quest, quest_id)

    async def complete_quest(
        self,
        session: AsyncSession,
        user_id: str,
        quest_id: UUID | str,
        milestone: PreparedMemory | None = None,
    ) -> CompletedQuest:
        """As `quests.complete_quest`."""
        return await session.run_sync(
            quests.complete_quest, self.keys, user_id, quest_id, milestone
        )

    async def complete_task(
        self,
        session: AsyncSession,
        user_id: str,
        task_id: UUID | str,
        evidence: Mapping[str, Any] | None = None,
    ) -> CompletedQuest | None:
        """As `quests.complete_task`."""
        return await session.run_sync(quests.complete_task, self.keys, user_id, task_id, evidence)
