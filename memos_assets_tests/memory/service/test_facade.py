"""The service for asyncio, in sessions under row-level security."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.errors import AgentError, UsageError
from memos_assets.memory.acting import act_as
from memos_assets.memory.service import MemoryService
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.quests import QUESTS, USER_QUESTS
from memos_assets.memory.service.values import MEMORIES, now
from memos_assets.memory.sessions import open_memory_sessions
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.search.embed import DeterministicEmbedder, ThreadedEmbedder
from memos_assets.settings import Settings
from memos_assets_tests.memory.service.conftest import MXBAI

Sessions = async_sessionmaker[AsyncSession]
EMBEDDER = ThreadedEmbedder(DeterministicEmbedder(model=MXBAI))
#: Ids that are wildcards, quotes or prefixes of one another.
STRANGE = ("u1", "u", "u%", "_1", "u1'--", '"u1"', "{u1}")


def run(settings: Settings, test: Callable[[Sessions], Awaitable[None]]) -> None:
    async def within() -> None:
        async with open_memory_sessions(settings) as sessions:
            await test(sessions)

    asyncio.run(within())


async def acting(session: AsyncSession, user: str) -> None:
    await session.run_sync(act_as, user=user)


def test_what_is_stored_is_found_changed_and_deleted_by_its_user_alone(
    settings: Settings, keys: KeyRing
) -> None:
    service = MemoryService(settings, embedder=EMBEDDER, keys=keys)

    async def test(sessions: Sessions) -> None:
        stored: dict[str, UUID] = {}
        for user in STRANGE:
            memory = await service.prepare(f"My secret number {STRANGE.index(user)}")
            async with sessions.begin() as session:
                await acting(session, user)
                stored[user] = (await service.store_memory(session, user, memory)).id
        query = await service.query("My secret number")
        for user, other in zip(STRANGE, (*STRANGE[1:], "nobody"), strict=True):
            async with sessions.begin() as session:
                await acting(session, user)
                found = await service.retrieve_memories(
                    session, user, query, min_similarity=0.1, include_content=True
                )
                assert [one.memory.id for one in found] == [stored[user]]
                assert found[0].memory.content == f"My secret number {STRANGE.index(user)}"
                assert [m.id for m in await service.get_user_memories(session, user)] == [
                    stored[user]
                ]
                stats = await service.get_user_memory_stats(session, user)
                assert (stats["total_memories"], stats["embeddings_count"]) == (1, 1)
                assert (await service.get_memory_stats(session, user))["total_memories"] == 1
                # The wall, where a service forgot to ask for its user.
                assert await session.scalar(sa.select(sa.func.count()).select_from(MEMORIES)) == 1
                if other in stored:
                    theirs = stored[other]
                    assert await service.get_memory(session, theirs, user) is None
                    changed = await service.update_memory(session, theirs, user, {"tags": ["x"]})
                    assert changed is None
                    assert not await service.delete_memory(session, theirs, user)
                with pytest.raises(AgentError, match=r"^M749 "):
                    await service.get_user_memory_count(session, other)
        async with sessions.begin() as session:
            await acting(session, "u1")
            changed = await service.update_memory(session, stored["u1"], "u1", {"tags": ["new"]})
            assert changed is not None
            assert await service.delete_memory(session, str(stored["u1"]), "u1")
            assert await service.get_user_memory_count(session, "u1") == 0
        async with sessions.begin() as session:
            assert await session.scalar(sa.select(sa.func.count()).select_from(MEMORIES)) == 0

    run(settings, test)


def test_what_was_not_committed_is_not_stored(settings: Settings, keys: KeyRing) -> None:
    service = MemoryService(settings, embedder=EMBEDDER, keys=keys)

    async def test(sessions: Sessions) -> None:
        memory = await service.prepare("Gone")
        async with sessions() as session:
            await acting(session, "u1")
            await service.store_memory(session, "u1", memory)
            # Nothing of the service commits, and nothing ends the transaction.
            assert session.in_transaction()
        async with sessions() as session:
            await acting(session, "u1")
            assert await service.get_user_memory_count(session, "u1") == 0

    run(settings, test)


def test_a_quest_is_completed_under_row_level_security(
    settings: Settings, keys: KeyRing, engine: sa.Engine
) -> None:
    service = MemoryService(settings, embedder=EMBEDDER, keys=keys)
    quest, task = uuid4(), uuid4()
    with engine.begin() as conn:
        conn.execute(sa.insert(QUESTS).values(id=quest, title="Walk", category="daily", points=100))
        conn.execute(
            sa.insert(APPLICATION["quest_tasks"]).values(
                id=task, quest_id=quest, title="Step", order_index=0
            )
        )
        conn.execute(
            sa.insert(APPLICATION["achievements"]).values(
                id=uuid4(),
                title="First",
                criteria_type="quests_completed",
                criteria_value=1,
                is_active=True,
            )
        )
        for user in ("u1", "u2"):
            mine = uuid4()
            conn.execute(
                sa.insert(USER_QUESTS).values(
                    id=mine, user_id=user, quest_id=quest, state="assigned", started_at=now()
                )
            )
            conn.execute(
                sa.insert(APPLICATION["user_tasks"]).values(
                    id=uuid4(), user_quest_id=mine, task_id=task, user_id=user, state="pending"
                )
            )

    async def test(sessions: Sessions) -> None:
        async with sessions.begin() as session:
            await acting(session, "u1")
            found = await service.get_quest(session, quest)
        milestone = await service.prepare_milestone(found)
        async with sessions.begin() as session:
            await acting(session, "u1")
            with pytest.raises(AgentError, match=r"^M747 "):
                await service.complete_quest(session, "u1", quest, milestone)
            done = await service.complete_task(session, "u1", task, {"note": "done"})
            assert done is not None
            assert done.is_new
            assert done.stats["level"] == "seeker"
            assert [one.title for one in done.achievements] == ["First"]
            again = await service.complete_quest(session, "u1", quest, milestone)
            assert not again.is_new
        async with sessions.begin() as session:
            await acting(session, "u2")
            states = sa.select(USER_QUESTS.c.user_id, USER_QUESTS.c.state)
            assert (await session.execute(states)).all() == [("u2", "assigned")]

    run(settings, test)


def test_no_connection_is_in_use_while_the_model_answers(
    settings: Settings, keys: KeyRing, engine: sa.Engine
) -> None:
    seen: list[int] = []

    class Slow(DeterministicEmbedder):
        """Counts the connections of services when it is asked."""

        def embed(self, texts: Any) -> Any:
            with engine.connect() as conn:
                seen.append(
                    conn.scalar(
                        sa.text(
                            "select count(*) from pg_stat_activity where datname = "
                            "current_database() and application_name = 'memos_assets:memory' "
                            "and state <> 'idle'"
                        )
                    )
                    or 0
                )
            return super().embed(texts)

    service = MemoryService(settings, embedder=ThreadedEmbedder(Slow(model=MXBAI)), keys=keys)

    async def test(sessions: Sessions) -> None:
        memory = await service.prepare("A text")
        async with sessions.begin() as session:
            await acting(session, "u1")
            await service.store_memory(session, "u1", memory)
        query = await service.query("text")
        async with sessions.begin() as session:
            await acting(session, "u1")
            assert await service.search_memories(session, "u1", query, min_similarity=0)

    run(settings, test)
    assert seen == [0, 0]


def test_without_an_embedder_memories_wait_and_queries_say_so(
    settings: Settings, keys: KeyRing
) -> None:
    service = MemoryService(settings, keys=keys)
    memory = asyncio.run(service.prepare("A text"))
    assert memory.embedding is None
    with pytest.raises(UsageError, match=r"^M577 "):
        asyncio.run(service.query("text"))
    with pytest.raises(AgentError, match=r"^M740 "):
        MemoryService(settings)


def test_waiting_memories_are_embedded_later_between_two_transactions(
    settings: Settings, keys: KeyRing, engine: sa.Engine
) -> None:
    without = MemoryService(settings, keys=keys)
    service = MemoryService(settings, embedder=EMBEDDER, keys=keys)

    async def test(sessions: Sessions) -> None:
        ids = []
        for user, text in (("u1", "My sponsor"), ("u1", "changes"), ("u1", "lost"), ("u2", "two")):
            memory = await without.prepare(text)
            async with sessions.begin() as session:
                await acting(session, user)
                ids.append((await service.store_memory(session, user, memory)).id)
        with engine.begin() as conn:
            lost = sa.update(MEMORIES).where(MEMORIES.c.id == ids[2])
            conn.execute(lost.values(encrypted_content=b"gAAAAA"))
        async with sessions.begin() as session:
            await acting(session, "u1")
            found = await service.waiting_memories(session)
            assert {one.memory for one in found} == set(ids[:2])
            assert await service.waiting_memories(session, after=max(ids)) == []
        assert await without.embed_waiting(found) == []
        embedded = await service.embed_waiting(found)
        new = await without.prepare("another text")
        async with sessions.begin() as session:
            await acting(session, "u1")
            # The content that the embedding was made of is no longer there.
            await service.update_memory(session, ids[1], "u1", {}, new)
            assert await service.fill_in(session, embedded) == 1
            assert await service.fill_in(session, embedded) == 0
            results = await service.retrieve_memories(session, "u1", query, min_similarity=0.5)
            assert [one.memory.id for one in results] == [ids[0]]
            assert results[0].memory.embedding_model == MXBAI

    query = asyncio.run(service.query("my sponsor"))
    run(settings, test)
