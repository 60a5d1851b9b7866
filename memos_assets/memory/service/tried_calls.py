"""A trial of the services: what an agent server calls, in one transaction that is rolled back.

A user, a quest and a key of the trial's own are used, and nothing of them is there afterwards.
Calls go through asyncio, as an agent server makes them, and as the role of services.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from uuid import UUID, uuid4

import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.exc import MissingGreenlet, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from memos_assets.errors import MemosAssetsError
from memos_assets.memory.acting import act_as
from memos_assets.memory.service.crypto import KeyRing, NamedKey
from memos_assets.memory.service.facade import MemoryService
from memos_assets.memory.service.prepared import prepared
from memos_assets.memory.service.progress import STATS
from memos_assets.memory.service.quests import COMPLETED, QUESTS, USER_QUESTS
from memos_assets.memory.service.values import MEMORIES, MemoryType, now
from memos_assets.postgres.service_role import ROLE
from memos_assets.postgres.sessions import create_async_engine
from memos_assets.settings import Settings

APPLICATION_NAME: Final = "memos_assets:trial"
POINTS: Final = 7
_TEXT: Final = "The trial of the services was here."
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Counted:
    """Rows of the trial's user: completed quests, milestones that name the quest, and points."""

    completed: int
    milestones: int
    points: int


@dataclass(slots=True)
class Trial:
    """What a trial saw.

    Attributes:
        calls: names of the calls that answered.
        greenlet: calls that waited outside of SQLAlchemy's greenlet, with what was said.
        refused: the call that failed for another reason, with what was said; "" without one.
        within: rows of the transaction before it was rolled back.
        after: rows that another transaction sees afterwards.
    """

    calls: list[str] = field(default_factory=list)
    greenlet: list[str] = field(default_factory=list)
    refused: str = ""
    within: Counted = Counted(0, 0, 0)
    after: Counted = Counted(0, 0, 0)


@dataclass(slots=True)
class _Tried:
    """One trial at work."""

    session: AsyncSession
    service: MemoryService
    seen: Trial
    user: str = field(default_factory=lambda: f"trial-{uuid4()}")
    quest: UUID = field(default_factory=uuid4)

    async def call(self, name: str, awaited: Awaitable[Result]) -> Result | None:
        """Await a call, and note its name or what it said; only the first failure is told."""
        try:
            result = await awaited
        except (MemosAssetsError, SQLAlchemyError) as error:
            # The first line: SQLAlchemy adds the statement, which may hold values of users.
            said = f"{name}: {str(error).splitlines()[0]}"
            if isinstance(getattr(error, "orig", error), MissingGreenlet):
                self.seen.greenlet.append(said)
            else:
                self.seen.refused = self.seen.refused or said
            return None
        self.seen.calls.append(name)
        return result

    async def take_quest_on(self) -> None:
        quest = {"id": self.quest, "title": "Trial", "category": "trial", "points": POINTS}
        await self.session.execute(sa.insert(QUESTS).values(**quest, is_active=False))
        mine = {"id": uuid4(), "user_id": self.user, "quest_id": self.quest, "state": "assigned"}
        await self.session.execute(sa.insert(USER_QUESTS).values(**mine, started_at=now()))

    async def use_services(self) -> None:
        """Call what reads and writes memories, and complete the quest."""
        session, user, service = self.session, self.user, self.service
        await self.call("act_as", session.run_sync(act_as, user=user))
        text = prepared(service.keys, _TEXT)
        kept = await self.call("store_memory", service.store_memory(session, user, text))
        if kept is not None:
            await self.call("get_memory", service.get_memory(session, kept.id, user))
            changed = service.update_memory(session, kept.id, user, {"tags": ["trial"]})
            await self.call("update_memory", changed)
        await self.call("get_user_memories", service.get_user_memories(session, user))
        await self.call("get_user_memory_count", service.get_user_memory_count(session, user))
        await self.call("get_memory_stats", service.get_memory_stats(session, user))
        await self.call("get_user_memory_stats", service.get_user_memory_stats(session, user))
        await self.call("get_quest", service.get_quest(session, self.quest))
        await self.call("complete_quest", service.complete_quest(session, user, self.quest))
        if kept is not None:
            await self.call("delete_memory", service.delete_memory(session, kept.id, user))

    async def counted(self) -> Counted:
        """Count rows of the user, as the session sees them."""
        uq, m, s = USER_QUESTS.c, MEMORIES.c, STATS.c
        named = m.entities["metadata"][0]["quest_id"].astext == str(self.quest)
        milestone = m.memory_type == MemoryType.MILESTONE
        row = (
            await self.session.execute(
                sa.select(
                    _count(USER_QUESTS, uq.user_id == self.user, uq.state == COMPLETED),
                    _count(MEMORIES, m.user_id == self.user, milestone, named),
                    sa.select(sa.func.coalesce(sa.func.sum(s.total_points), 0))
                    .where(s.user_id == self.user)
                    .scalar_subquery(),
                )
            )
        ).one()
        return Counted(*map(int, row))


def _count(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    return sa.select(sa.func.count()).select_from(table).where(*where).scalar_subquery()


def try_services(url: sa.URL, settings: Settings) -> Trial:
    """Run a trial; nothing of it is kept.

    Args:
        url: of a database with memOS's tables, as their owner.
        settings: of its connections.
    """
    return asyncio.run(_try(url, settings))


async def _try(url: sa.URL, settings: Settings) -> Trial:
    keys = KeyRing([NamedKey("trial", Fernet(Fernet.generate_key()))])
    # Texts of the trial wait for embeddings: no model is asked.
    service = MemoryService(settings.model_copy(update={"embedder": None}), keys=keys)
    # session-rule: S001 because a check has an address, and nothing of the trial is committed
    engine = create_async_engine(url, settings, application_name=APPLICATION_NAME)
    seen = Trial()
    try:
        # session-rule: S001 because a trial has an address, and what it stores is rolled back
        async with AsyncSession(engine) as session:
            tried = _Tried(session, service, seen)
            try:
                await tried.take_quest_on()
                await session.execute(sa.text(f"set local role {ROLE}"))
                await tried.use_services()
                if not seen.refused:
                    seen.within = await tried.counted()
            except SQLAlchemyError as error:
                seen.refused = seen.refused or str(error).splitlines()[0]
            await session.rollback()
            await session.run_sync(act_as, user=tried.user)
            seen.after = await tried.counted()
            await session.rollback()
    finally:
        await engine.dispose()
    return seen
