"""At run time: one connection per request, no commit by a service, none while a model works."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.memory import Memory, open_memory_sessions
from memos_assets.memory.models import ensure_registered
from memos_assets.memory.recall import recall
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings
from memos_assets_tests.memory.session_guard import SessionGuard, callers_turn, request

REQUESTS = 100
DIMENSION = 64


class SlowEmbedder:
    """Answers as `DeterministicEmbedder`, after some time; notes who has a connection then."""

    def __init__(self, guard: SessionGuard, seconds: float) -> None:
        self._guard, self._seconds = guard, seconds
        self.asked_with_a_connection = 0
        self._inner = DeterministicEmbedder(DIMENSION)
        self.model, self.dimension = self._inner.model, DIMENSION

    async def _work(self) -> None:
        self.asked_with_a_connection += self._guard.has_connection()
        await asyncio.sleep(self._seconds)

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        await self._work()
        return self._inner.embed(list(texts))

    async def embed_query(self, text: str) -> np.ndarray:
        await self._work()
        return self._inner.embed_query(text)


async def serve(memory: Memory, sessions: async_sessionmaker[AsyncSession], number: int) -> int:
    """One request of an agent: embed, then remember and recall in one transaction, commit."""
    with request(number):
        prepared = await memory.prepare(f"Robot {number} stopped by alarm SRVO-{number:03d}.")
        query = await memory.query(f"Why did robot {number} stop?")
        async with sessions() as session:
            await memory.act_as(session, user=f"user-{number % 10}", agent="guarded")
            await memory.remember(session, prepared)
            hits = await session.run_sync(recall, query, k=3)
            with callers_turn():
                await session.commit()
        return len(hits)


def test_100_requests_at_once_take_one_connection_each_and_none_waits_for_the_model(
    engine: sa.Engine, settings: Settings
) -> None:
    ensure_registered(engine, DeterministicEmbedder(DIMENSION))
    pooled = settings.model_copy(update={"pool_timeout_seconds": 60.0})
    guard = SessionGuard()
    embedder = SlowEmbedder(guard, 0.05)
    memory = Memory(pooled, embedder=embedder)

    async def serve_all() -> list[int]:
        async with open_memory_sessions(pooled) as sessions:
            guard.watch(sessions.kw["bind"].sync_engine)
            return await asyncio.gather(*(serve(memory, sessions, n) for n in range(REQUESTS)))

    found = asyncio.run(serve_all())
    assert len(found) == REQUESTS
    assert all(found)
    assert dict(guard.connections) == dict.fromkeys(range(REQUESTS), 1)
    assert guard.at_once == 1
    assert guard.commits_by_services == 0
    with engine.connect() as conn:
        stored = conn.execute(
            sa.text("select count(*) from agent.memories where agent_id = 'guarded'")
        )
        assert stored.scalar_one() == REQUESTS
    assert embedder.asked_with_a_connection == 0


def test_a_connection_is_never_idle_in_transaction_while_the_embedder_sleeps(
    engine: sa.Engine, settings: Settings
) -> None:
    ensure_registered(engine, DeterministicEmbedder(DIMENSION))
    guard = SessionGuard()
    embedder = SlowEmbedder(guard, 1)
    memory = Memory(settings, embedder=embedder)

    async def serve_some() -> None:
        async with open_memory_sessions(settings) as sessions:
            await serve(memory, sessions, 0)  # what is computed once, such as statements
            guard.watch(sessions.kw["bind"].sync_engine)
            for number in (1, 2):
                await serve(memory, sessions, number)

    asyncio.run(serve_some())
    assert guard.longest_idle < 0.05
    assert embedder.asked_with_a_connection == 0


@pytest.mark.parametrize("broken", ["commits", "takes a second connection", "waits for the model"])
def test_the_guard_sees_a_service_that_breaks_a_rule(settings: Settings, broken: str) -> None:
    guard = SessionGuard()

    async def call() -> None:
        async with open_memory_sessions(settings) as sessions:
            guard.watch(sessions.kw["bind"].sync_engine)
            with request(1):
                async with sessions() as session:
                    await session.execute(sa.text("select 1"))
                    if broken == "commits":
                        await session.commit()
                    elif broken == "takes a second connection":
                        async with sessions() as other:
                            await other.execute(sa.text("select 2"))
                            with callers_turn():
                                await other.commit()
                    else:
                        await asyncio.sleep(0.2)
                        await session.execute(sa.text("select 3"))
                    with callers_turn():
                        await session.commit()

    asyncio.run(call())
    assert guard.commits_by_services == (broken == "commits")
    assert guard.at_once == (2 if broken == "takes a second connection" else 1)
    assert (guard.longest_idle >= 0.2) == (broken == "waits for the model")
