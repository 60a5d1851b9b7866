"""A question answered in phases, each told as it ends: by search and recall, or by a pipeline.

`Answering` is what endpoints and tools know. `SearchPhases` finds, and writes nothing;
`pipeline.Pipeline` answers, and remembers. Another implementation is given to the application in
the place of either.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import sqlalchemy as sa

from memos_assets.api.doors import Visit
from memos_assets.api.network import shown_hit
from memos_assets.cache import Answer, Computed, Scope
from memos_assets.catalog import Table
from memos_assets.errors import TargetError, UsageError
from memos_assets.memory import Asked
from memos_assets.postgres.owned_rows import SHARED_CORPORA
from memos_assets.research import Budget
from memos_assets.search import api_async
from memos_assets.search.across_tables import misfit
from memos_assets.search.searchable import searchable
from memos_assets.settings import Settings

#: Told of each phase: its name, and what it found.
Tell = Callable[[str, Mapping[str, Any]], Awaitable[None]]
#: Another version of the answers never comes from the cache.
VERSION: Final = "search-1"
_NAMESPACE: Final = "results"


@dataclass(frozen=True, slots=True)
class Asking:
    """A question.

    Attributes:
        text: in the user's words.
        k: hits of each table, and memories.
        tables: of a search: consolidated tables by name; none: all that are shared.
        tokens: of the answer of a pipeline, at most.
        seconds: after which a pipeline waits for no model; None: as the limits of requests allow.
        fresh: whether a pipeline computes again though the cache has an answer.
    """

    text: str
    k: int
    tables: tuple[str, ...] = ()
    tokens: int = Budget().tokens
    seconds: float | None = None
    fresh: bool = False


class Answering(Protocol):
    """Answers questions, from the cache or anew."""

    def check(self, settings: Settings, asking: Asking) -> None:
        """Refuse what cannot be asked, before an answer begins."""

    async def answer(self, visit: Visit, asking: Asking, tell: Tell) -> dict[str, Any]:
        """Return the answer as JSON, and tell of each phase as it ends.

        No transaction is open while a model works, and none at the end.
        """


async def nobody(_name: str, _found: Mapping[str, Any]) -> None:
    """Tell nobody."""


class SearchPhases:
    """Hybrid search of the consolidated corpora, then recall of memory, with the cache before."""

    version = VERSION

    def check(self, _settings: Settings, asking: Asking) -> None:
        """Refuse tables that are not there or not shared, M570."""
        corpora(asking.tables)

    async def answer(self, visit: Visit, asking: Asking, tell: Tell) -> dict[str, Any]:
        """Return an answer from the cache, or compute it in a session of the computation's own."""
        doors = visit.doors
        await visit.act()
        depends = await self.depends_on(visit, asking)
        await visit.rest()
        scope = Scope(
            user=visit.bearer.user,
            model=doors.memory.model,
            parameters=depends,
            version=self.version,
        )

        async def compute() -> Computed:
            await tell("cache", {"origin": "computed"})
            async with doors.sessions() as session:
                return await self.compute(Visit(doors, session, visit.bearer), asking, tell)

        found = await doors.cache.get_or_compute(
            doors.sessions, namespace=_NAMESPACE, query=asking.text, compute=compute, scope=scope
        )
        about = _about(found)
        if found.origin != "computed":
            await tell("cache", about)
        return {**found.value, "cache": about}

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


def _about(found: Answer) -> dict[str, Any]:
    return {
        "origin": found.origin,
        "reason": found.reason,
        "matched": found.matched,
        "similarity": found.similarity,
        "age_seconds": round(found.age, 3),
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
