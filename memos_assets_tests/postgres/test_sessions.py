"""Sessions: set as engines are, committed by the caller alone, closed with their block."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import numpy as np
import pytest
import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from memos_assets.catalog import MEMOS
from memos_assets.errors import TargetError
from memos_assets.indexes.build import ensure_index
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.sessions import (
    create_async_engine,
    open_async_sessions,
    open_sessions,
)
from memos_assets.search import api, api_async
from memos_assets.search.functions import install
from memos_assets.settings import Settings
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters, search_index

Result = TypeVar("Result")
Sessions = async_sessionmaker[AsyncSession]

NAME = "tests:sessions"
INDEX = "corpus_chunks_embedding_768_hnsw"
SETTINGS = ("application_name", "lock_timeout", "timezone", "statement_timeout", "search_path")
CONNECTIONS = sa.text(f"select count(*) from pg_stat_activity where application_name = '{NAME}'")


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"
    __table_args__ = {"schema": "public"}  # noqa: RUF012  SQLAlchemy declares it so
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    whole = mapped_column(VECTOR(3))
    half = mapped_column(HALFVEC(3))


@pytest.fixture
def notes(engine: sa.Engine) -> sa.Engine:
    Base.metadata.create_all(engine)
    return engine


def note(number: int = 1) -> Note:
    return Note(id=number, text="SRVO-062", whole=[1.0, -0.5, 1 / 3], half=[1.0, -0.5, 0.25])


def with_sessions(
    engine: sa.Engine, settings: Settings, work: Callable[[Sessions], Awaitable[Result]]
) -> Result:
    async def run() -> Result:
        async with open_async_sessions(engine.url, settings, application_name=NAME) as sessions:
            return await work(sessions)

    return asyncio.run(run())


def test_connections_are_set_alike_with_and_without_asyncio(
    engine: sa.Engine, settings: Settings
) -> None:
    settings = settings.model_copy(update={"lock_timeout_ms": 1_234})

    async def shown(sessions: Sessions) -> list[str]:
        async with sessions() as session:
            return [str(await session.scalar(sa.text(f"show {name}"))) for name in SETTINGS]

    with (
        open_sessions(engine.url, settings, application_name=NAME) as sessions,
        sessions() as session,
    ):
        wanted = [str(session.scalar(sa.text(f"show {name}"))) for name in SETTINGS]
    assert wanted[:3] == [NAME, "1234ms", "UTC"]
    assert with_sessions(engine, settings, shown) == wanted


def test_options_of_the_address_are_kept(engine: sa.Engine, settings: Settings) -> None:
    url = engine.url.update_query_dict({"options": "-c work_mem=5MB"})

    async def shown() -> list[str]:
        async with (
            open_async_sessions(url, settings, application_name=NAME) as sessions,
            sessions() as session,
        ):
            return [
                str(await session.scalar(sa.text(f"show {name}")))
                for name in ("work_mem", "timezone")
            ]

    assert asyncio.run(shown()) == ["5MB", "UTC"]


def test_both_pools_follow_the_settings(engine: sa.Engine, settings: Settings) -> None:
    changed = {"pool_size": 3, "max_overflow": 4, "pool_recycle_seconds": 5}
    settings = settings.model_copy(update={**changed, "pool_timeout_seconds": 0.5})
    asynchronous = create_async_engine(engine.url, settings, application_name=NAME).pool
    synchronous = create_engine(engine.url, settings, application_name=NAME).pool
    for pool in (asynchronous, synchronous):
        assert isinstance(pool, sa.QueuePool)
        assert (pool.size(), pool.timeout()) == (3, 0.5)
        # SQLAlchemy shows these nowhere.
        assert (pool._max_overflow, pool._recycle, pool._pre_ping) == (4, 5, True)


def test_a_pool_that_is_used_up_is_waited_for_as_long_as_settings_say(
    engine: sa.Engine, settings: Settings
) -> None:
    changed = {"pool_size": 1, "max_overflow": 0, "pool_timeout_seconds": 0.05}

    async def two(sessions: Sessions) -> None:
        async with sessions() as one, sessions() as other:
            await one.execute(sa.text("select 1"))
            with pytest.raises(TargetError, match=r"^M348 pool: all 1 .* 0\.05 s.*MEMOS_POOL_SIZE"):
                await other.execute(sa.text("select 1"))

    settings = settings.model_copy(update=changed)
    with_sessions(engine, settings, two)


def test_embeddings_go_in_and_come_out_as_they_are(notes: sa.Engine, settings: Settings) -> None:
    async def through(sessions: Sessions) -> list[list[float]]:
        async with sessions() as session:
            session.add(note())
            await session.commit()
        async with sessions() as session:
            nearest = sa.select(Note).order_by(Note.whole.cosine_distance([1.0, 0.0, 0.0])).limit(1)
            found = (await session.scalars(nearest)).one()
            return [
                np.asarray(found.whole, np.float32).tolist(),
                np.asarray(found.half, np.float32).tolist(),
            ]

    wanted = [np.array([1.0, -0.5, 1 / 3], np.float32).tolist(), [1.0, -0.5, 0.25]]
    assert with_sessions(notes, settings, through) == wanted
    with (
        open_sessions(notes.url, settings, application_name=NAME) as sessions,
        sessions() as session,
    ):
        found = session.scalars(sa.select(Note)).one()
        assert [
            np.asarray(found.whole, np.float32).tolist(),
            np.asarray(found.half, np.float32).tolist(),
        ] == wanted


def test_only_the_caller_commits(notes: sa.Engine, settings: Settings) -> None:
    async def leave(sessions: Sessions) -> None:
        async with sessions() as session:
            session.add(note(1))
            await session.flush()
        async with sessions() as session:
            session.add(note(2))
            await session.commit()

    with_sessions(notes, settings, leave)
    with open_sessions(notes.url, settings, application_name=NAME) as sessions:
        with sessions() as session:
            session.add(note(3))
            session.flush()
        with sessions() as session:
            assert session.scalars(sa.select(Note.id)).all() == [2]


def test_rows_stay_readable_after_a_commit(notes: sa.Engine, settings: Settings) -> None:
    async def read(sessions: Sessions) -> str:
        async with sessions() as session:
            session.add(made := note())
            await session.commit()
            assert not session.in_transaction()
            # An expired row would be read again here, outside of any await: an error.
            return made.text

    assert with_sessions(notes, settings, read) == "SRVO-062"
    with (
        open_sessions(notes.url, settings, application_name=NAME) as sessions,
        sessions() as session,
    ):
        found = session.scalars(sa.select(Note)).one()
        session.commit()
        assert (found.text, session.in_transaction()) == ("SRVO-062", False)


@pytest.mark.parametrize("raised", [None, RuntimeError, asyncio.CancelledError])
def test_no_connection_is_left_open(
    engine: sa.Engine, settings: Settings, raised: type[BaseException] | None
) -> None:
    async def work(sessions: Sessions) -> None:
        async with sessions() as session:
            assert await session.scalar(CONNECTIONS) == 1
            if raised is not None:
                raise raised

    if raised is None:
        with_sessions(engine, settings, work)
    else:
        with pytest.raises(raised):
            with_sessions(engine, settings, work)
    with engine.connect() as conn:
        # The server notices a closed connection a moment later.
        for _ in range(100):
            if not (left := conn.execute(CONNECTIONS).scalar_one()):
                break
            conn.execute(sa.text("select pg_sleep(0.01), pg_stat_clear_snapshot()"))
        assert left == 0


def test_searches_through_both_find_the_same(engine: sa.Engine, settings: Settings) -> None:
    put_clusters(engine, EVERY_INDEX[INDEX], clusters=4, each=8)
    ensure_index(engine, search_index(INDEX), maintenance_work_mem_mb=64)
    with engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
    query = np.random.default_rng(5).standard_normal(768)

    async def found(sessions: Sessions) -> list[list[api.Hit]]:
        async def one() -> list[api.Hit]:
            async with sessions() as session:
                return await api_async.search(session, "corpus_chunks", query, 5)

        return await asyncio.gather(*(one() for _ in range(8)))

    with (
        open_sessions(engine.url, settings, application_name=NAME) as sessions,
        sessions() as session,
    ):
        wanted = api.search(session, "corpus_chunks", query, 5)
    assert len(wanted) == 5
    assert with_sessions(engine, settings, found) == [wanted] * 8
