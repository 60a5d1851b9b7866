"""Rules of routes and of tasks: the kinds of places that break them, and those that do not."""

from pathlib import Path

import pytest

from memos_assets_tests.session_rules.marked import check

_S004 = {
    "it is not used, or not by what the route calls": """
        from typing import Annotated
        from fastapi import APIRouter as Routes, Depends as D, FastAPI
        from sqlalchemy.ext.asyncio import AsyncSession
        from core.database import get_db
        from services.memory import MemoryService, find_all
        router = Routes()
        app = FastAPI()
        service = MemoryService()
        Db = Annotated[AsyncSession, D(get_db)]
        @router.get("/a")
        async def a(x: int, db: AsyncSession = D(get_db)):  #! S004
            return x
        @app.post("/b")
        async def b(db: Db):
            await db.execute("select 1")
            return await service.store_memory("u1")  #! S004
        @router.put("/c")
        async def c(db=D(get_db)):
            await service.store_memory("u1", session=db)
            await find_all(db)
            return await find_all()  #! S004
        @router.get("/d")
        async def d(db: Db):
            parts = (db,)
            return await find_all(*parts)
        @router.get("/e")
        async def e(db: Db):
            return await MemoryService(db).load("x")
        class Views:
            db: AsyncSession = D(get_db)
            @router.get("/f")
            async def f(self):
                await self.db.commit()
            async def g(self):
                await self.db.commit()  #! S002
    """,
    "not one: a function that is not a route": """
        from functools import lru_cache
        from unittest import mock
        from sqlalchemy.orm import Session
        @mock.patch("x")
        def a(session: Session): ...
        @cache.get("x")
        def b(session: Session): ...
    """,
}
_SERVICES = """
    from sqlalchemy.ext.asyncio import AsyncSession
    class MemoryService:
        def __init__(self, session: AsyncSession): ...
        async def store_memory(self, user_id, session: AsyncSession): ...
        async def load(self, key): ...
    async def find_all(session: AsyncSession): ...
"""
_S005 = {
    "each way to run beside": """
        import asyncio
        from asyncio import gather
        from concurrent.futures import ThreadPoolExecutor
        from threading import Thread
        import anyio
        from sqlalchemy.ext.asyncio import AsyncSession
        async def work(session: AsyncSession, rows, f, g, background_tasks):
            await asyncio.gather(f(session), g(session))  #! S005
            await gather(*[f(session, row) for row in rows])  #! S005
            await gather(*(f(session, row) for row in rows))  #! S005
            await gather(*map(lambda row: f(session, row), rows))  #! S005
            task = asyncio.create_task(f(session))  #! S005
            await asyncio.to_thread(f, session)  #! S005
            await asyncio.get_running_loop().run_in_executor(None, f, session)  #! S005
            Thread(target=f, args=(session,)).start()  #! S005
            ThreadPoolExecutor().submit(f, session)  #! S005
            background_tasks.add_task(f, session)  #! S005
            await anyio.to_thread.run_sync(f, session)  #! S005
            async with asyncio.TaskGroup() as group:
                group.create_task(f(session))  #! S005
            async with anyio.create_task_group() as group:
                group.start_soon(f, session)  #! S005
    """,
    "through a list, an alias, an inner function and the object": """
        import asyncio
        from sqlalchemy.ext.asyncio import AsyncSession
        async def work(session: AsyncSession, rows, f):
            tasks = []
            for row in rows:
                tasks.append(f(session, row))
            await asyncio.gather(*tasks)  #! S005
            again = session
            await asyncio.gather(f(session), f(again))  #! S005
            async def one(row):
                return await f(session, row)
            await asyncio.gather(*(one(row) for row in rows))  #! S005
        class Service:
            def __init__(self, session: AsyncSession):
                self.session = session
            async def a(self):
                return await self.session.execute("select 1")
            async def b(self):
                return await self.c()
            async def c(self):
                return await self.session.execute("select 2")
            async def both(self):
                await asyncio.gather(self.a(), self.b())  #! S005
                await asyncio.gather(self.a(), asyncio.sleep(1))
    """,
    "a session of one's own, too": """
        import asyncio
        from core.database import async_session_maker
        async def work(f):
            async with async_session_maker() as session:  #! S001
                await asyncio.gather(f(session), f(session))  #! S005
    """,
    "not one: one task alone, a session each, or tasks of another kind": """
        import asyncio
        from sqlalchemy.ext.asyncio import AsyncSession
        async def work(session: AsyncSession, other: AsyncSession, sessions, f, tasks_service, db):
            await asyncio.gather(f(session), asyncio.sleep(1))
            await asyncio.gather(f(session), f(other))
            await asyncio.gather(*(f(one) for one in sessions))
            await tasks_service.create_task(session, "title")
            await tasks_service.add_task(session, title="title")
            async def one(row):
                async with sessions.open() as session:
                    await f(session, row)
            await asyncio.gather(one(1), one(2))
            condition = asyncio.Condition()
            await condition.wait()
    """,
}
CASES = {
    **{f"S004 {name}": text for name, text in _S004.items()},
    **{f"S005 {name}": text for name, text in _S005.items()},
}


@pytest.mark.parametrize("case", CASES)
def test_the_places_that_are_marked_break_the_rule_and_no_others(tmp_path: Path, case: str) -> None:
    check(tmp_path, {"app/module.py": CASES[case], "services/memory.py": _SERVICES})
