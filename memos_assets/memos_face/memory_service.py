"""memOS's `core.memory_service`: `MemoryService`, in the session that it is given first.

What memOS refuses by a ``ValueError`` is one here; other errors are not swallowed. A method acts
for the user it is given, until the transaction ends. Methods that need the model ask it before they
use the session; in a transaction that has begun they do not, because its connection would wait.
There a stored memory waits for its embedding, and a search wants the result of
`MemoryService.query`.

memOS's calls of Mem0 are left out: what Mem0 was to find is found in `public.memories`.

Source: the memOS server, core/memory_service.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from memos_assets.errors import AgentError
from memos_assets.memory.service import facade, store, therapeutic
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.owner import act_for
from memos_assets.memory.service.prepared import PreparedMemory, SearchQuery, prepared
from memos_assets.memory.service.ranked import MemorySearchResult
from memos_assets.memory.service.records import StoredMemory
from memos_assets.memory.service.store import UserSettings
from memos_assets.memory.service.values import MemoryType, PrivacyLevel, RecoveryStage
from memos_assets.search.embed import AsyncEmbedder
from memos_assets.settings import Settings, load_settings

#: memOS's names of ours.
Memory = StoredMemory
MemoryPrivacyLevel = PrivacyLevel

__all__ = [
    "Memory",
    "MemoryPrivacyLevel",
    "MemorySearchRequest",
    "MemorySearchResult",
    "MemoryService",
    "MemoryType",
    "PrivacyLevel",
    "RecoveryStage",
]

#: Errors that memOS raises as a ``ValueError``: a value that cannot be, or that is not allowed.
_VALUE_ERRORS = frozenset({"M743", "M744", "M745", "M746"})
_SHOWN_CONTENT = 200


@dataclass
class MemorySearchRequest:
    """What `MemoryService.search_memories` is asked for."""

    user_id: str
    query: str
    memory_types: list[MemoryType] | None = None
    limit: int = 10
    min_relevance: float = 0.7
    include_content: bool = False


class MemoryService:
    """memOS's memory service; every method is asynchronous, and takes the session first."""

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        embedder: AsyncEmbedder | None = None,
        keys: KeyRing | None = None,
    ) -> None:
        """Read keys and embedder from the environment, or take others.

        Raises:
            AgentError, UsageError: as `memory.service.MemoryService`.
        """
        self.settings = settings or load_settings()
        self.service = facade.MemoryService(self.settings, embedder=embedder, keys=keys)

    async def query(self, text: str) -> SearchQuery:
        """Embed a query before a transaction, for `retrieve_memories` within it."""
        return await self.service.query(text)

    async def store_memory(
        self,
        session: AsyncSession,
        user_id: str,
        content: str,
        memory_type: MemoryType = MemoryType.CONVERSATIONAL,
        privacy_level: PrivacyLevel = PrivacyLevel.BALANCED,
        metadata: dict[str, Any] | None = None,
        source_conversation_id: str | None = None,
        tags: list[str] | None = None,
        recovery_stage: str | None = None,
        therapeutic_relevance: float | None = None,
        consent_given: bool = True,  # noqa: FBT001, FBT002  memOS's signature
    ) -> Memory:
        """Store a memory of a user.

        Raises:
            ValueError: the content, a value, the privacy level or the user's settings refuse it.
        """
        with _as_memos():
            memory = prepared(
                self.service.keys,
                content,
                memory_type=memory_type,
                privacy_level=privacy_level,
                metadata=metadata,
                source_conversation_id=source_conversation_id,
                tags=tags,
                recovery_stage=recovery_stage,
                therapeutic_relevance=therapeutic_relevance,
                consent_given=consent_given,
            )
            memory = await self._embedded(session, memory)
            await session.run_sync(act_for, user_id)
            return await self.service.store_memory(session, user_id, memory)

    async def retrieve_memories(
        self,
        session: AsyncSession,
        user_id: str,
        query: str | SearchQuery,
        memory_types: list[MemoryType] | None = None,
        limit: int = 10,
        min_similarity: float = 0.7,
        include_content: bool = False,  # noqa: FBT001, FBT002  memOS's signature
    ) -> list[MemorySearchResult]:
        """Return a user's memories that are similar to a query, the best first.

        With ``include_content`` the summary of each is the first 200 characters of its content.

        Raises:
            ValueError: an argument cannot be, or a text is searched for in a transaction.
            UsageError: M577, M578 the embedder gives nothing.
        """
        with _as_memos():
            if isinstance(query, str):
                _need_no_transaction(session)
                query = await self.service.query(query)
            await session.run_sync(act_for, user_id)
            found = await self.service.retrieve_memories(
                session,
                user_id,
                query,
                memory_types=memory_types,
                limit=limit,
                min_similarity=min_similarity,
                include_content=include_content,
            )
        return [replace(one, memory=_shown(one.memory)) for one in found]

    async def search_memories(
        self, session: AsyncSession, search_request: MemorySearchRequest
    ) -> list[MemorySearchResult]:
        """As `retrieve_memories`, by a request."""
        return await self.retrieve_memories(
            session,
            user_id=search_request.user_id,
            query=search_request.query,
            memory_types=search_request.memory_types,
            limit=search_request.limit,
            min_similarity=search_request.min_relevance,
            include_content=search_request.include_content,
        )

    async def update_memory(
        self, session: AsyncSession, memory_id: UUID | str, user_id: str, updates: dict[str, Any]
    ) -> Memory | None:
        """Change fields of a memory, and its content by the key ``content``; None: there is none.

        Raises:
            ValueError: a field is not one of `store.CHANGEABLE`, or has a value that cannot be.
        """
        changes = dict(updates)
        content = changes.pop("content", None)
        with _as_memos():
            new = None
            if content is not None:
                # The level of the memory decides; the one here only has to let the text through.
                level = changes.get("privacy_level", PrivacyLevel.COMPREHENSIVE)
                new = prepared(self.service.keys, content, privacy_level=level)
                new = await self._embedded(session, new)
            await session.run_sync(act_for, user_id)
            return await self.service.update_memory(session, memory_id, user_id, changes, new)

    async def delete_memory(
        self,
        session: AsyncSession,
        memory_id: UUID | str,
        user_id: str,
        deletion_reason: str = "user_request",
    ) -> bool:
        """Mark a memory as deleted; false: the user has none of this id."""
        with _as_memos():
            await session.run_sync(act_for, user_id)
            return await self.service.delete_memory(session, memory_id, user_id, deletion_reason)

    async def get_memory(
        self, session: AsyncSession, memory_id: UUID | str, user_id: str
    ) -> Memory | None:
        """Return a memory, its content encrypted; None: the user has none of this id."""
        await session.run_sync(act_for, user_id)
        try:
            return await self.service.get_memory(session, memory_id, user_id, include_content=False)
        except AgentError as error:
            if error.code == "M746":
                return None
            raise

    async def get_user_memories(
        self,
        session: AsyncSession,
        user_id: str,
        memory_type: MemoryType | None = None,
        privacy_level: PrivacyLevel | None = None,
        recovery_stage: str | None = None,
        limit: int = 50,
        offset: int = 0,
        include_content: bool = False,  # noqa: FBT001, FBT002  memOS's signature
    ) -> list[Memory]:
        """Return a page of a user's memories, the newest first."""
        with _as_memos():
            await session.run_sync(act_for, user_id)
            found = await self.service.get_user_memories(
                session,
                user_id,
                memory_type=memory_type,
                privacy_level=privacy_level,
                recovery_stage=recovery_stage,
                limit=limit,
                offset=offset,
                include_content=include_content,
            )
        return [_shown(one) for one in found]

    async def get_user_memory_count(
        self,
        session: AsyncSession,
        user_id: str,
        memory_type: MemoryType | None = None,
        privacy_level: PrivacyLevel | None = None,
        recovery_stage: str | None = None,
    ) -> int:
        """Count a user's memories by the filters of `get_user_memories`."""
        with _as_memos():
            await session.run_sync(act_for, user_id)
            return await self.service.get_user_memory_count(
                session,
                user_id,
                memory_type=memory_type,
                privacy_level=privacy_level,
                recovery_stage=recovery_stage,
            )

    async def get_memory_stats(self, session: AsyncSession, user_id: str) -> dict[str, Any]:
        """Return the statistics of memOS's dashboard."""
        await session.run_sync(act_for, user_id)
        return await self.service.get_memory_stats(session, user_id)

    async def get_user_memory_stats(self, session: AsyncSession, user_id: str) -> dict[str, Any]:
        """Return the statistics of memOS's API."""
        await session.run_sync(act_for, user_id)
        return await self.service.get_user_memory_stats(session, user_id)

    async def _get_user_settings(self, session: AsyncSession, user_id: str) -> UserSettings:
        """Return a user's settings, the defaults where there is no row."""
        await session.run_sync(act_for, user_id)
        return await session.run_sync(store.get_user_settings, user_id)

    async def _extract_therapeutic_context(
        self, content: str, recovery_stage: str | None
    ) -> dict[str, Any]:
        context = therapeutic.therapeutic_context(content, recovery_stage)
        return {
            "relevance": context.relevance,
            "crisis_level": context.crisis_level,
            "tags": context.tags,
            "entities": context.entities,
        }

    async def _generate_summary(self, content: str) -> str:
        return therapeutic.summary(content)

    def _extract_tags(self, content: str) -> list[str]:
        return therapeutic.extracted_tags(content)

    def _extract_entities(self, content: str) -> dict[str, list[str]]:  # noqa: ARG002  memOS's
        return therapeutic.extracted_entities()

    def _calculate_memory_decay(
        self,
        created_at: datetime,
        importance: float,
        is_milestone: bool,  # noqa: FBT001  memOS's signature
    ) -> float:
        return therapeutic.memory_decay(created_at, importance, is_milestone=is_milestone)

    async def _embedded(self, session: AsyncSession, memory: PreparedMemory) -> PreparedMemory:
        """Embed a memory, unless the connection of a transaction would wait for the model."""
        if session.in_transaction():
            return memory
        return (await self.service.prepare_many([memory]))[0]


def _shown(memory: Memory) -> Memory:
    """Return a memory with the beginning of its content, if it was asked for, as its summary."""
    content = memory.content
    if content is None:
        return memory
    cut = content if len(content) <= _SHOWN_CONTENT else content[:_SHOWN_CONTENT] + "..."
    return replace(memory, content_summary=cut)


def _need_no_transaction(session: AsyncSession) -> None:
    if session.in_transaction():
        raise AgentError(
            "M746",
            "is a text, and the session is in a transaction, whose connection would wait",
            where="query",
            fix="pass the result of `await service.query(text)`, called before the transaction",
        )


@contextmanager
def _as_memos() -> Iterator[None]:
    """Raise as a ``ValueError`` what memOS raises so."""
    try:
        yield
    except AgentError as error:
        if error.code in _VALUE_ERRORS:
            raise ValueError(str(error)) from error
        raise
