"""The remediation plan's 15 places, in sources as memOS has them."""

from pathlib import Path

from memos_assets.session_rules.check import check_paths
from memos_assets_tests.session_rules.marked import check, found, write

DATABASE = '''
    """Engine and sessions of the server."""
    from collections.abc import AsyncGenerator
    from contextlib import asynccontextmanager

    from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

    from config.settings import get_settings

    engine = create_async_engine(get_settings().database_url, pool_pre_ping=True)
    async_session_maker = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
    AsyncSessionLocal = async_session_maker


    async def get_async_db() -> AsyncGenerator[AsyncSession, None]:
        async with async_session_maker() as session:  #! S001
            try:
                yield session
                await session.commit()
            except Exception:
                await session.rollback()
                raise
            finally:
                await session.close()


    @asynccontextmanager
    async def get_db_context():
        session = AsyncSessionLocal()  #! S001
        try:
            yield session
            await session.commit()
        finally:
            await session.close()


    async def init_database(base):
        async with engine.begin() as conn:
            await conn.run_sync(base.metadata.create_all)
'''

SERVICE = """
    from sqlalchemy import select
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.ext.asyncio import async_sessionmaker as maker_of

    from core import database
    from core.database import async_session_maker as open_session
    from core.database import engine, get_async_db, get_db_context
    from models.memory import Memory


    class MemoryService:
        def __init__(self, embeddings, session_factory=None):
            self.embeddings = embeddings
            self.session_factory = session_factory or open_session

        async def store_memory(self, user_id, content):
            vector = await self.embeddings.embed(content)
            async with open_session() as session:  #! S001
                session.add(Memory(user_id=user_id, content=content, vector=vector))
                await session.commit()

        async def retrieve_memories(self, user_id, limit=10):
            async with self.session_factory() as s:  #! S001
                return (await s.execute(select(Memory).limit(limit))).scalars().all()

        async def update_memory(self, memory_id, **values):
            async for session in get_async_db():  #! S001
                memory = await session.get(Memory, memory_id)
                memory.update(values)
                await session.commit()

        async def delete_memory(self, memory_id):
            async with get_db_context() as session:  #! S001
                await session.delete(await session.get(Memory, memory_id))

        async def get_memory_stats(self, user_id):
            session = database.AsyncSessionLocal()  #! S001
            try:
                return await session.scalar(select(Memory))
            finally:
                await session.close()

        async def get_user_memories(self, user_id):
            async with open_session.begin() as session:  #! S001
                return (await session.scalars(select(Memory))).all()

        async def get_user_memory_count(self, user_id):
            session = await anext(get_async_db())  #! S001
            return await session.scalar(select(Memory))

        async def get_memory(self, memory_id):
            async with AsyncSession(engine) as session:  #! S001
                return await session.get(Memory, memory_id)

        async def get_user_memory_stats(self, user_id):
            async with maker_of(engine, expire_on_commit=False)() as session:  #! S001
                return await session.scalar(select(Memory))

        async def _calculate_memory_decay(self, session: AsyncSession, memory_id):
            memory = await session.get(Memory, memory_id)
            await session.flush()
            return memory.decay
"""

SCRIPT = '''
    """Create sample quests."""
    import asyncio

    from sqlalchemy.orm import Session as OrmSession
    from sqlalchemy.orm import sessionmaker

    from core.database import AsyncSessionLocal, engine
    from models.quest import Quest


    async def create_sample_quests():
        async with AsyncSessionLocal() as db:  #! S001
            db.add(Quest(title="First"))
            await db.commit()


    async def show_quests():
        async with AsyncSessionLocal() as db, AsyncSessionLocal() as other:  #! S001 S001
            await db.rollback()


    def create_achievements():
        with OrmSession(engine.sync_engine) as db:  #! S001
            db.commit()


    if __name__ == "__main__":
        asyncio.run(create_sample_quests())
'''

API = """
    from typing import Annotated

    from fastapi import APIRouter, Depends
    from sqlalchemy.ext.asyncio import AsyncSession

    from core.database import get_async_db
    from services.memory_service import MemoryService

    router = APIRouter(prefix="/memory")
    service = MemoryService(None)
    Db = Annotated[AsyncSession, Depends(get_async_db)]


    @router.post("/store")
    async def store(body: dict, db: AsyncSession = Depends(get_async_db)):
        try:
            stored = await service._calculate_memory_decay(db, body["id"])
            await db.commit()
        except ValueError:
            await db.rollback()
            raise
        return stored


    @router.delete("/{memory_id}")
    async def delete(memory_id: str, db: Db):
        async with db.begin():
            return await service._calculate_memory_decay(db, memory_id)


    async def health(db=Depends(get_async_db)):
        await db.execute("select 1")
        await db.close()


    router.add_api_route("/health", health)
"""
MEMOS = {
    "core/database.py": DATABASE,
    "services/memory_service.py": SERVICE,
    "scripts/create_sample_quests.py": SCRIPT,
    "api/memory.py": API,
}


def test_the_15_places_are_found_and_nothing_else(tmp_path: Path) -> None:
    checked = check(tmp_path, MEMOS)
    assert checked.by_rule() == {"S001": 15, **dict.fromkeys(["S000", "S002"], 0)} | dict.fromkeys(
        ["S003", "S004", "S005"], 0
    )
    assert [Path(path).name for path, _, _ in found(checked)] == [
        *["database.py"] * 2,
        *["create_sample_quests.py"] * 4,
        *["memory_service.py"] * 9,
    ]


def test_modules_that_are_declared_to_make_sessions_may(tmp_path: Path) -> None:
    write(tmp_path, MEMOS)
    checked = check_paths([tmp_path], ["core/database.py", "scripts/*"])
    assert {Path(path).name for path, _, _ in found(checked)} == {"memory_service.py"}
    assert checked.by_rule()["S001"] == 9


def test_one_service_alone_breaks_the_rules_at_the_same_places(tmp_path: Path) -> None:
    """Where the module that makes sessions is not read, its names say what they are."""
    service = write(tmp_path, MEMOS) / "services" / "memory_service.py"
    assert len(check_paths([service]).violations) == 9


def test_the_remedied_service_keeps_the_rules(tmp_path: Path) -> None:
    remedied = """
        from sqlalchemy import select
        from sqlalchemy.ext.asyncio import AsyncSession

        from models.memory import Memory


        class MemoryService:
            async def store_memory(self, session: AsyncSession, user_id, content):
                memory = Memory(user_id=user_id, content=content)
                session.add(memory)
                await session.flush()
                return memory

            async def get_memory(self, session: AsyncSession, memory_id, *, lock: bool = False):
                async with session.begin_nested():
                    return await session.get(Memory, memory_id, with_for_update=lock)

            async def count(self, session: AsyncSession):
                return await session.run_sync(lambda sync: sync.scalar(select(Memory)))
    """
    files = {**MEMOS, "services/memory_service.py": remedied}
    check(tmp_path, files)
