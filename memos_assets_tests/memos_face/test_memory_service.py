"""memOS's MemoryService: names, signatures, defaults, shapes and values, without its defects."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.errors import AgentError
from memos_assets.memory.service.values import MEMORIES
from memos_assets.memory.sessions import open_memory_sessions
from memos_assets.memos_face.memory_service import (
    Memory,
    MemoryPrivacyLevel,
    MemorySearchRequest,
    MemoryService,
    MemoryType,
    PrivacyLevel,
    RecoveryStage,
)
from memos_assets.search.embed import DeterministicEmbedder, ThreadedEmbedder
from memos_assets.settings import Settings

Test = Callable[[MemoryService, async_sessionmaker[AsyncSession]], Awaitable[None]]
#: Method -> parameters after `self`, with the defaults that they have.
SIGNATURES: dict[str, dict[str, Any]] = {
    "store_memory": {
        "session": None, "user_id": None, "content": None, "memory_type": "conversational",
        "privacy_level": "balanced", "metadata": None, "source_conversation_id": None,
        "tags": None, "recovery_stage": None, "therapeutic_relevance": None, "consent_given": True,
    },
    "retrieve_memories": {
        "session": None, "user_id": None, "query": None, "memory_types": None, "limit": 10,
        "min_similarity": 0.7, "include_content": False,
    },
    "search_memories": {"session": None, "search_request": None},
    "update_memory": {"session": None, "memory_id": None, "user_id": None, "updates": None},
    "delete_memory": {
        "session": None, "memory_id": None, "user_id": None, "deletion_reason": "user_request",
    },
    "get_memory": {"session": None, "memory_id": None, "user_id": None},
    "get_memory_stats": {"session": None, "user_id": None},
    "get_user_memory_stats": {"session": None, "user_id": None},
    "get_user_memories": {
        "session": None, "user_id": None, "memory_type": None, "privacy_level": None,
        "recovery_stage": None, "limit": 50, "offset": 0, "include_content": False,
    },
    "get_user_memory_count": {
        "session": None, "user_id": None, "memory_type": None, "privacy_level": None,
        "recovery_stage": None,
    },
    "_get_user_settings": {"session": None, "user_id": None},
    "_extract_therapeutic_context": {"content": None, "recovery_stage": None},
    "_generate_summary": {"content": None},
    "_extract_tags": {"content": None},
    "_extract_entities": {"content": None},
    "_calculate_memory_decay": {"created_at": None, "importance": None, "is_milestone": None},
}  # fmt: skip
SYNCHRONOUS = {"_extract_tags", "_extract_entities", "_calculate_memory_decay"}


@pytest.fixture
def run(settings: Settings) -> Callable[[Test], None]:
    key = SecretStr(Fernet.generate_key().decode())
    embedder = ThreadedEmbedder(DeterministicEmbedder(model="mxbai-embed-large"))
    service = MemoryService(settings.model_copy(update={"memory_keys": key}), embedder=embedder)

    def run_test(test: Test) -> None:
        async def within() -> None:
            async with open_memory_sessions(settings) as sessions:
                await test(service, sessions)

        asyncio.run(within())

    return run_test


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_memos_own_with_the_session_first(name: str) -> None:
    method = getattr(MemoryService, name)
    _, *parameters = inspect.signature(method).parameters.values()
    given = {
        one.name: None if one.default is inspect.Parameter.empty else one.default
        for one in parameters
    }
    assert given == SIGNATURES[name]
    assert list(given) == list(SIGNATURES[name])
    assert inspect.iscoroutinefunction(method) is (name not in SYNCHRONOUS)


def test_values_are_memos_own() -> None:
    assert {one.name: one.value for one in MemoryType} == {
        name.upper(): name
        for name in (
            *("conversational", "clinical", "crisis", "recovery", "resource", "procedural"),
            *("episodic", "semantic", "milestone"),
        )
    }
    assert MemoryPrivacyLevel is PrivacyLevel
    assert list(PrivacyLevel) == ["minimal", "balanced", "comprehensive", "restricted"]
    assert set(RecoveryStage) >= {"detox", "early_recovery", "maintenance", "relapse_prevention"}
    assert set(MEMORIES.c.keys()) - {"embedding_vector"} <= set(Memory.__dataclass_fields__)


def test_memos_calls_work_in_a_session_of_the_caller(run: Callable[[Test], None]) -> None:
    async def test(service: MemoryService, sessions: async_sessionmaker[AsyncSession]) -> None:
        async with sessions() as session:
            memory = await service.store_memory(
                session, "u1", "My sponsor helps me. " * 12, tags=["sponsor"]
            )
            await session.commit()
        assert memory.has_embedding
        async with sessions() as session:
            request = MemorySearchRequest("u1", "sponsor helps me", min_relevance=0.1)
            (found,) = await service.search_memories(session, request)
            assert found.memory.id == memory.id
            assert found.memory.content_summary == memory.content_summary
            assert 0 < found.final_score < found.similarity_score <= 1
            # In a transaction the model is not asked.
            with pytest.raises(ValueError, match=r"^M746 query: .*transaction"):
                await service.retrieve_memories(session, "u1", "sponsor")
            await session.commit()
        query = await service.query("sponsor helps me")
        async with sessions.begin() as session:
            waiting = await service.store_memory(session, "u1", "Another")
            assert not waiting.has_embedding
            (found,) = await service.retrieve_memories(
                session, "u1", query, min_similarity=0.1, include_content=True
            )
            summary = found.memory.content_summary
            assert summary is not None
            assert (len(summary), summary[-3:]) == (203, "...")
            assert await service.get_user_memory_count(session, "u1") == 2
            page = await service.get_user_memories(session, "u1", include_content=True)
            assert [one.content_summary for one in page] == ["Another", summary]
            stats = await service.get_memory_stats(session, "u1")
            assert (stats["total_memories"], stats["storage_usage_mb"]) == (2, 0.2)
            api = await service.get_user_memory_stats(session, "u1")
            assert datetime.fromisoformat(api["last_created"]) == waiting.created_at
        async with sessions() as session:
            changed = await service.update_memory(
                session, memory.id, "u1", {"content": "New", "tags": ["new"]}
            )
            assert changed is not None
            assert (changed.content_summary, changed.tags) == ("New", ["new"])
            assert changed.has_embedding
            assert (await service._get_user_settings(session, "u1")).retention_days == 2_555
            assert await service.delete_memory(session, str(memory.id), "u1")
            assert await service.get_memory(session, str(memory.id), "u1") is None
            assert await service.get_memory(session, "nonsense", "u1") is None
            assert await service.update_memory(session, uuid4(), "u1", {}) is None
            await session.commit()

    run(test)


def test_what_memos_refuses_is_a_value_error_and_nothing_else_is_swallowed(
    run: Callable[[Test], None],
) -> None:
    async def test(service: MemoryService, sessions: async_sessionmaker[AsyncSession]) -> None:
        async with sessions() as session:
            for content, fields in (
                ("SSN 123-45-6789", {}),
                ("", {}),
                ("x", {"consent_given": False}),
                ("x", {"memory_type": "nonsense"}),
            ):
                arguments: dict[str, Any] = dict(fields)
                with pytest.raises(ValueError, match=r"^M74[3-6] ") as caught:
                    await service.store_memory(session, "u1", content, **arguments)
                assert "123-45-6789" not in str(caught.value)
            memory = await service.store_memory(session, "u1", "x")
            # memOS copied any attribute of the request.
            with pytest.raises(ValueError, match=r"^M746 user_id: cannot be changed"):
                await service.update_memory(session, memory.id, "u1", {"user_id": "u2"})
            # A memory is stored at its own level, whatever the level of the request.
            with pytest.raises(ValueError, match=r"^M745 .*balanced"):
                await service.update_memory(session, memory.id, "u1", {"content": "MRN 4711"})
            with pytest.raises(AgentError, match=r"^M749 "):
                await service.get_user_memories(session, "u2")
            rows = await session.scalar(sa.select(sa.func.count()).select_from(MEMORIES))
            assert rows == 1
            await session.rollback()

    run(test)


def test_helpers_are_memos_own(run: Callable[[Test], None]) -> None:
    async def test(service: MemoryService, _: async_sessionmaker[AsyncSession]) -> None:
        context = await service._extract_therapeutic_context("Sober, with support", "detox")
        assert context == {
            "relevance": 1.0,
            "crisis_level": 0.0,
            "tags": ["support"],
            "entities": {"locations": [], "organizations": [], "persons": [], "dates": []},
        }
        assert await service._generate_summary("One. Two. Three.") == "One.  Two"
        assert service._extract_tags("work and goals") == ["work", "goals"]
        assert service._extract_entities("Anna") == context["entities"]
        assert service._calculate_memory_decay(datetime.now(UTC), 0.5, is_milestone=False) == 1.0

    run(test)
