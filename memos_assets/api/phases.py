"""A question answered in phases, each told as it ends: today search of the corpora, and recall.

`Answering` is what the endpoint knows. Another implementation, such as a pipeline that also writes,
is given to the application in the place of `SearchPhases`.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import sqlalchemy as sa

from memos_assets.api.doors import Visit
from memos_assets.api.network import shown_hit
from memos_assets.cache import Computed
from memos_assets.catalog import Table
from memos_assets.errors import TargetError, UsageError
from memos_assets.memory import Asked
from memos_assets.postgres.owned_rows import SHARED_CORPORA
from memos_assets.search import api_async
from memos_assets.search.across_tables import misfit
from memos_assets.search.searchable import searchable

#: Told of each phase: its name, and what it found.
Tell = Callable[[str, Mapping[str, Any]], Awaitable[None]]
#: Another version of the answers never comes from the cache.
VERSION: Final = "search-1"


@dataclass(frozen=True, slots=True)
class Asking:
    """A question.

    Attributes:
        text: in the user's words.
        k: hits of each table, and memories.
        tables: consolidated tables by name; none: all that are shared.
    """

    text: str
    k: int
    tables: tuple[str, ...] = ()


class Answering(Protocol):
    """Computes answers, and says what else they depend on beside the question."""

    version: str

    async def depends_on(self, visit: Visit, asking: Asking) -> Mapping[str, Any]:
        """Return what has to be the same for a cached answer to hold; its transaction acts."""

    async def compute(self, visit: Visit, asking: Asking, tell: Tell) -> Computed:
        """Compute an answer, and tell of each phase as it ends."""


class SearchPhases:
    """Hybrid search of the consolidated corpora, then recall of memory."""

    version = VERSION

    async def depends_on(self, visit: Visit, asking: Asking) -> Mapping[str, Any]:
        """Return the newest belief of each space that is seen, and which tables are live."""
        tables = [f"{table.schema}.{table.name}" for table in corpora(asking.tables)]
        row = (await visit.session.execute(_STATE, {"tables": tables})).one()
        named = {"k": asking.k, "tables": list(asking.tables), "spaces": list(visit.bearer.spaces)}
        return {**named, "beliefs": row.beliefs, "live": row.live}

    async def compute(self, visit: Visit, asking: Asking, tell: Tell) -> Computed:
        """Search each table, then recall; what cannot be searched is said, and left out."""
        began = time.perf_counter()
        await visit.rest()
        asked = await visit.doors.memory.query(asking.text)
        searched: list[Mapping[str, Any]] = []
        for table in corpora(asking.tables):
            searched.append(await self._table(visit, table, asked, asking.k))
            await tell("search", searched[-1])
        recalled = await self._recall(visit, asked, asking.k)
        await tell("memory", recalled)
        value = {
            "query": asking.text,
            "tables": searched,
            "memories": recalled["hits"],
            "seconds": round(time.perf_counter() - began, 6),
        }
        found = recalled["hits"] or any(one["hits"] for one in searched)
        return Computed(value, cites=[hit["id"] for hit in recalled["hits"]], negative=not found)

    async def _table(self, visit: Visit, table: Table, asked: Asked, k: int) -> Mapping[str, Any]:
        began = time.perf_counter()
        embedding = asked.embedding if _fits(table, asked) else None
        left_out, hits = None, []
        try:
            async with visit.session.begin_nested():
                if embedding is None:
                    hits = await api_async.match(visit.session, table, asked.text, k)
                else:
                    hits = await api_async.hybrid(visit.session, table, asked.text, embedding, k)
        except (UsageError, TargetError) as error:
            # A text of stop words, or a database without a consolidation: the others are searched.
            left_out = f"{error.code} {error.what}"
        return {
            "table": table.name,
            "mode": "text" if embedding is None else "hybrid",
            "hits": [asdict(hit) for hit in hits],
            "left_out": left_out,
            "seconds": round(time.perf_counter() - began, 6),
        }

    async def _recall(self, visit: Visit, asked: Asked, k: int) -> Mapping[str, Any]:
        began = time.perf_counter()
        await visit.rest()
        await visit.act()
        hits = await visit.doors.memory.recall(visit.session, asked, k)
        await visit.session.commit()
        return {
            "hits": [shown_hit(hit) for hit in hits],
            "seconds": round(time.perf_counter() - began, 6),
        }


_STATE: Final = sa.text(
    """
    select array(
        select (select max(r.number) from agent.revisions r where r.space_id = s.id)
        from unnest((select agent.readable_spaces())) s(id) order by s.id) as beliefs,
        array(select pg_catalog.to_regclass(name)::oid::bigint
            from unnest(cast(:tables as text[])) with ordinality t(name, place)
            order by place) as live
    """
)


def corpora(names: Sequence[str] = ()) -> list[Table]:
    """Return the consolidated tables that tokens show: all, or those that are named.

    Raises:
        UsageError: M570 there is no such table, or it is not shared.
    """
    return [searchable(name, SHARED_CORPORA) for name in names] or list(SHARED_CORPORA)


def _fits(table: Table, asked: Asked) -> bool:
    if asked.embedding is None or not table.vector_indexes:
        return False
    return misfit(table, asked.model, len(asked.embedding)) is None
