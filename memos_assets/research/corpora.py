"""The consolidated corpora, searched by words and meaning in sessions that may read them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.catalog import Table
from memos_assets.errors import MemosAssetsError
from memos_assets.memory import Asked
from memos_assets.postgres.owned_rows import SHARED_CORPORA
from memos_assets.research.budget import Deadline
from memos_assets.search import api_async
from memos_assets.search.across_tables import misfit
from memos_assets.search.calls import Hit

#: Tables that every user may search, but templates, which are not statements.
CORPORA: Final[tuple[Table, ...]] = tuple(
    table for table in SHARED_CORPORA if table.name != "thought_templates"
)
_LIVE: Final = sa.text(
    "select pg_catalog.to_regclass(name)::oid::bigint "
    "from unnest(cast(:tables as text[])) with ordinality t(name, place) order by place"
)


@dataclass
class Found:
    """What the corpora gave: rows, tables that were searched, and notes of what was not."""

    hits: list[Hit] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


async def versions(
    sessions: async_sessionmaker[AsyncSession], tables: Sequence[Table]
) -> list[int | None]:
    """Return which tables are live, so that an answer ends with a swap of versions."""
    if not tables:
        return []
    # session-rule: S001 because a run holds no connection between its phases
    async with sessions() as session:
        named = [f"{table.schema}.{table.name}" for table in tables]
        return list((await session.execute(_LIVE, {"tables": named})).scalars())


async def search(
    sessions: async_sessionmaker[AsyncSession],
    tables: Sequence[Table],
    asked: Asked,
    k: int,
    deadline: Deadline,
) -> Found:
    """Search each table, by words alone where its model is not that of the question.

    A table that cannot be searched is noted, and the others are.

    Args:
        sessions: that may read the tables.
        tables: that are searched.
        asked: the question with its embedding, if there is one.
        k: hits of each table.
        deadline: after which no further table is searched.
    """
    found, refused = Found(), dict[str, list[str]]()
    # session-rule: S001 because a run holds no connection between its phases
    async with sessions() as session:
        for table in tables:
            if deadline.ended(f"search of {table.name}"):
                continue
            try:
                async with session.begin_nested():
                    found.hits += await _one(session, table, asked, k)
                found.tables.append(table.name)
            except MemosAssetsError as error:
                if error.code != "M574":  # no word to search for: nothing is found by words
                    refused.setdefault(f"{error.code} {error.what}", []).append(table.name)
            except sa.exc.ProgrammingError as error:
                if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
                    raise
                refused.setdefault("this role may not read them", []).append(table.name)
    for reason, names in refused.items():
        found.notes.append(f"Not searched: {', '.join(names)} ({reason}).")
    return found


async def _one(session: AsyncSession, table: Table, asked: Asked, k: int) -> list[Hit]:
    if _fits(table, asked):
        return await api_async.hybrid(session, table, asked.text, asked.embedding, k)
    return await api_async.match(session, table, asked.text, k)


def _fits(table: Table, asked: Asked) -> bool:
    if asked.embedding is None or not table.vector_indexes:
        return False
    return misfit(table, asked.model, len(asked.embedding)) is None
