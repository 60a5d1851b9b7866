"""Each rule: the kinds of places that break it, and their neighbours that do not."""

from pathlib import Path

import pytest

from memos_assets.session_rules.check import check_paths
from memos_assets_tests.session_rules.marked import check

_S001 = {
    "an engine in a service": """
        import sqlalchemy as sa
        class Service:
            def __init__(self, url):
                self.engine = sa.create_engine(url)  #! S001
            def count(self):
                with self.engine.connect() as conn:  #! S001
                    return conn.scalar(sa.text("select 1"))
    """,
    "a maker under three names": """
        import sqlalchemy.orm as orm
        make = orm.sessionmaker  # not called
        Local = orm.sessionmaker[orm.Session](bind=None)  #! S001
        def one():
            other = Local
            return other()  #! S001
    """,
    "a session, and the connection that it has": """
        from sqlalchemy.orm import Session
        def work(engine):
            with Session(engine) as session:  #! S001
                return session.connection().scalar("select 1")
    """,
    "a registry of sessions": """
        from sqlalchemy.orm import scoped_session, sessionmaker
        def work():
            registry = scoped_session(sessionmaker())  #! S001
            return registry()  #! S001
    """,
    "a function that returns one, and who calls it": """
        from core.database import SessionLocal
        def fresh():
            session = SessionLocal()  #! S001
            return session
        def indirectly():
            return fresh()  #! S001
        def work():
            with indirectly() as session:  #! S001
                session.commit()
    """,
    "an object that makes them": """
        from sqlalchemy.orm import sessionmaker
        class Databases:
            def __init__(self, engine):
                self._maker = sessionmaker(engine)  #! S001
            def session(self):
                return self._maker()  #! S001
            @property
            def fresh(self):
                return self._maker()  #! S001
        class Service:
            def __init__(self, databases: Databases):
                self.databases = databases
            def work(self):
                with self.databases.session() as session:  #! S001
                    session.commit()
        shared = Databases(None)
        def outside():
            return shared.session()  #! S001
    """,
    "a subclass of sessions": """
        from sqlalchemy.ext.asyncio import AsyncSession
        class OurSession(AsyncSession):
            pass
        async def work(engine):
            async with OurSession(engine) as session:  #! S001
                await session.commit()
    """,
    "a maker that was passed in": """
        from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
        from collections.abc import Callable
        async def typed(make: async_sessionmaker[AsyncSession]):
            async with make() as session:  #! S001
                return session
        async def called(make: Callable[[], AsyncSession]):
            return make()  #! S001
        async def named(session_factory):
            return session_factory()  #! S001
    """,
    "partial, lambda, walrus, a stack and next": """
        from contextlib import AsyncExitStack
        from functools import partial
        from sqlalchemy.orm import Session
        from core.database import SessionLocal, get_db
        open_it = partial(Session, None)
        again = lambda: SessionLocal()  #! S001
        async def work():
            if (session := open_it()) is not None:  #! S001
                session.commit()
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(SessionLocal())  #! S001
            again()  #! S001
            return next(get_db())  #! S001
    """,
    "a default that is made once": """
        from core.database import SessionLocal
        def work(session=SessionLocal()):  #! S001
            return session
    """,
    "a session of the session's own engine": """
        from sqlalchemy.orm import Session, object_session
        def work(session: Session):
            with Session(session.get_bind()) as other:  #! S001
                other.commit()
        def of(row):
            object_session(row).commit()  #! S002
    """,
    "not one: sessions of others": """
        import aiohttp, requests, boto3
        from requests import Session
        from botocore.session import get_session
        async def work(url):
            with requests.Session() as session:
                session.close()
            async with aiohttp.ClientSession() as session:
                await session.close()
            async with get_session() as client:
                await client.close()
            Session().close()
            return boto3.Session()
        def fetch(session, url):
            session.get(url)
            session.close()
    """,
    "not one: sessions of a chat": """
        class Chats:
            def create_session(self, user_id):
                return {"user": user_id}
            def get_session(self, session_id=None):
                return self.sessions.get(session_id)
        chats = Chats()
        def work(user_id, manager):
            chats.create_session(user_id)
            with chats.get_session() as session:
                session.send("hello")
            manager.create_session(user_id)
            return manager.get_session(user_id)
    """,
    "not one: SQLite": """
        import sqlite3
        def get_db():
            return sqlite3.connect("file")
        class Store:
            def __init__(self):
                self.db = sqlite3.connect("file")
            def save(self):
                self.db.commit()
                with get_db() as conn:
                    conn.commit()
                conn.close()
    """,
}
_S002 = {
    "each way to end it": """
        from contextlib import aclosing
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import AsyncSession
        async def work(session: AsyncSession, stack):
            await session.commit()  #! S002
            await session.rollback()  #! S002
            await session.close()  #! S002
            async with session.begin():  #! S002
                pass
            async with session:  #! S002
                pass
            async with aclosing(session):  #! S002
                pass
            await stack.enter_async_context(session)  #! S002
            stack.push_async_callback(session.close)  #! S002
            await session.execute(text("COMMIT;"))  #! S002
            await session.run_sync(lambda sync: sync.commit())  #! S002
            await (await session.connection()).commit()  #! S002
            await AsyncSession.commit(session)  #! S002
    """,
    "under another name, and as an attribute": """
        from sqlalchemy.orm import Session
        class Service:
            def __init__(self, session: Session):
                self._session = session
            def work(self):
                again = self._session
                again.commit()  #! S002
            @property
            def current(self):
                return self._session
            def other(self):
                self.current.rollback()  #! S002
        class Inheriting(Service):
            def more(self):
                self._session.commit()  #! S002
        class Unread(Base):
            def more(self):
                self.session.commit()  #! S002
    """,
    "without an annotation, by its use": """
        def work(session, row):
            session.add(row)
            session.commit()  #! S002
        def quoted(db: "AsyncSession"):
            db.commit()  #! S002
    """,
    "in an inner function, a branch and a handler": """
        from sqlalchemy.orm import Session
        def work(session: Session, rows):
            def one(row):
                session.commit()  #! S002
            try:
                list(map(one, rows))
            except ValueError:
                session.rollback()  #! S002
            finally:
                if rows:
                    session.close()  #! S002
    """,
    "a connection is one, too": """
        import sqlalchemy as sa
        def work(conn: sa.Connection):
            conn.commit()  #! S002
            with conn.begin_nested():
                conn.execute(sa.text("select 1"))
    """,
    "not one: a savepoint, and SQL that is data": """
        from sqlalchemy import text
        from sqlalchemy.orm import Session
        def work(session: Session, stmt):
            with session.begin_nested() as savepoint:
                savepoint.rollback()
            session.execute(text("rollback to savepoint x"))
            session.execute(stmt, {"what": "commit"})
            session.flush()
    """,
    "not one: a session that the function made": """
        from core.database import SessionLocal
        def work():
            session = SessionLocal()  #! S001
            session.commit()
            session.close()
    """,
    "not one: an own session where none was given": """
        from sqlalchemy.ext.asyncio import AsyncSession
        from core.database import async_session_maker
        async def work(session: AsyncSession | None = None):  #! S003
            if session is None:
                async with async_session_maker() as session:  #! S001
                    await session.commit()
                    return
            own = session is None
            session = session or async_session_maker()  #! S001
            if own:
                await session.commit()
            await session.rollback()  #! S002
    """,
    "not one: a queue, a producer and a repository": """
        def work(producer, repo, database):
            producer.commit()
            repo.commit()
            database.close()
        class Consumer:
            def __init__(self, kafka):
                self.session = kafka.open()
            def ack(self):
                self.session.close()
    """,
}
_S003 = {
    "each spelling": """
        from __future__ import annotations
        import typing as t
        from typing import Annotated, Optional, Union
        from sqlalchemy.ext.asyncio import AsyncSession
        Maybe = Optional[AsyncSession]
        def a(session: Optional[AsyncSession] = None): ...  #! S003
        def b(session: AsyncSession | None = None): ...  #! S003
        def c(session: Union[AsyncSession, None]): ...  #! S003
        def d(*, session: "t.Optional[AsyncSession]" = None): ...  #! S003
        def e(x, db: Maybe = None): ...  #! S003
        def f(session: AsyncSession = None): ...  #! S003
        def g(session: Annotated[AsyncSession | None, "of the caller"] = None): ...  #! S003
        def h(session=None): ...  #! S003
        class Service:
            def __init__(self, session: AsyncSession | None = None):  #! S003
                self.session = session
    """,
    "not one: other types, and what the framework injects": """
        from typing import Annotated
        from fastapi import Depends
        from sqlalchemy.ext.asyncio import AsyncSession
        from core.database import get_db
        def a(session: AsyncSession): ...
        def b(db: str | None = None): ...
        def c(session: dict | None = None, session_id: int | None = None): ...
        def d(session: Annotated[AsyncSession, Depends(get_db)] = None): ...  #! S003
        def e(session: AsyncSession = Depends(get_db)): ...
        def f(db="memos", timeout=None): ...
    """,
    "not one: a parameter of that name without a database": """
        def fetch(url, session=None):
            return (session or new()).get(url)
    """,
}
CASES = {
    **{f"S001 {name}": text for name, text in _S001.items()},
    **{f"S002 {name}": text for name, text in _S002.items()},
    **{f"S003 {name}": text for name, text in _S003.items()},
}


@pytest.mark.parametrize("case", CASES)
def test_the_places_that_are_marked_break_the_rule_and_no_others(tmp_path: Path, case: str) -> None:
    check(tmp_path, {"app/module.py": CASES[case]})


def test_a_module_of_the_database_may_define_an_engine_and_a_maker(tmp_path: Path) -> None:
    text = """
        from sqlalchemy import create_engine
        from sqlalchemy.orm import sessionmaker
        engine = create_engine("x")
        SessionLocal = sessionmaker(engine)
        def tables(metadata):
            with engine.begin() as conn:
                metadata.create_all(conn)
        def get_db():
            with SessionLocal() as session:  #! S001
                yield session
    """
    check(tmp_path, {"core/database.py": text})
    assert check_paths([tmp_path], ["core/database.py"]).clean
    assert not check_paths([tmp_path], ["api/database.py", "e/database.py"]).clean
