"""Sessions for the services of agents, asynchronous and not; the caller commits.

A service is given a session and leaves it open, uncommitted: nothing here, and nothing that is
given a session, commits, rolls back or closes it. Rows stay readable after a commit.

Columns of pgvector's types for SQLAlchemy, ``VECTOR`` and ``HALFVEC``, take and give embeddings;
`search.api` and `search.api_async` search through such sessions.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker
from sqlalchemy.ext.asyncio import create_async_engine as sqlalchemy_async_engine
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.postgres import schemas
from memos_assets.postgres.engine import (
    closing_pool,
    connection_options,
    create_engine,
    pool_options,
    set_up_connections,
)
from memos_assets.settings import Settings


def create_async_engine(url: sa.URL, settings: Settings, *, application_name: str) -> AsyncEngine:
    """Make a pooled engine on asyncio whose connections are set as those of `create_engine`.

    The caller disposes of it, in the event loop that used it. No pool is shared between loops.

    Args:
        url: from `engine.database_url` or `target.prepare_target`.
        settings: pool sizes and times, and ``lock_timeout_ms``.
        application_name: shown by ``pg_stat_activity``, e.g. ``memos_assets:memory``.
    """
    engine = sqlalchemy_async_engine(
        url,
        **connection_options(application_name),
        **pool_options(settings, asynchronous=True),
    )
    set_up_connections(engine.sync_engine, settings)
    return engine


def use_schema(target: sa.Engine | sa.Connection, schema: str) -> Callable[[], None]:
    """Have the statements of an engine or connection go to another schema than `agent`.

    This is the one place where that is done: what memory executes names `agent`, and what is sent
    names the other schema. Values are not looked at, and pools are not shared with the live schema.

    Args:
        target: of SQLAlchemy, with asyncio its ``sync_engine``.
        schema: a fork, or one that is being restored; its name needs no quotes.

    Returns:
        What undoes it.
    """

    def renamed(
        _conn: object,
        _cursor: object,
        statement: str,
        parameters: Any,
        _context: object,
        _many: Any,
    ) -> tuple[str, Any]:
        return schemas.renamed(statement, schema), parameters

    sa.event.listen(target, "before_cursor_execute", renamed, retval=True)
    return lambda: sa.event.remove(target, "before_cursor_execute", renamed)


@asynccontextmanager
async def open_async_sessions(
    url: sa.URL, settings: Settings, *, application_name: str
) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Yield what makes asynchronous sessions on a pool, which is closed at the end of the block."""
    engine = create_async_engine(url, settings, application_name=application_name)
    try:
        yield async_sessionmaker(engine, expire_on_commit=False)
    finally:
        await engine.dispose()


@contextmanager
def open_sessions(
    url: sa.URL, settings: Settings, *, application_name: str
) -> Iterator[sessionmaker[Session]]:
    """Yield what makes sessions on a pool, which is closed at the end of the block."""
    with closing_pool(create_engine(url, settings, application_name=application_name)) as engine:
        yield sessionmaker(engine, expire_on_commit=False)
