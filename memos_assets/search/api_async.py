"""Search from asyncio: as `api`, through the caller's asynchronous connection or session."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

from memos_assets.catalog import Table
from memos_assets.search.calls import Call, Embedding, Fusion, Hit, by_both, by_embedding, by_text

Caller = AsyncConnection | AsyncSession | async_scoped_session[AsyncSession]

__all__ = ["Caller", "Embedding", "Hit", "hybrid", "match", "search"]


async def _run(conn: Caller, call: Call) -> list[Hit]:
    connection = conn if isinstance(conn, AsyncConnection) else await conn.connection()
    return await connection.run_sync(call.answer)


async def search(
    conn: Caller,
    table: Table | str,
    embedding: Embedding,
    k: int = 10,
    *,
    owner: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> list[Hit]:
    """As `api.search`."""
    return await _run(conn, by_embedding(table, embedding, k, owner, filters))


async def match(
    conn: Caller,
    table: Table | str,
    text: str,
    k: int = 10,
    *,
    owner: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> list[Hit]:
    """As `api.match`."""
    return await _run(conn, by_text(table, text, k, owner, filters))


async def hybrid(
    conn: Caller,
    table: Table | str,
    text: str,
    embedding: Embedding | None = None,
    k: int = 10,
    *,
    owner: str | None = None,
    filters: Mapping[str, Any] | None = None,
    sparse: Mapping[str, float] | None = None,
    vocabulary: str = "words",
    fusion: Fusion = "scores",
) -> list[Hit]:
    """As `api.hybrid`."""
    call = by_both(table, text, embedding, k, owner, filters, sparse, vocabulary, fusion)
    return await _run(conn, call)
