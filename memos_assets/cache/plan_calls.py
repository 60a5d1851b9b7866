"""The remediation plan's methods, with asyncio (`PlanCalls`) and without it (`SyncPlanCalls`)."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from memos_assets.cache import calls, entries, nearest
from memos_assets.cache.calls import CONTENT, PLANNED_THRESHOLD, QUERIES, Stored
from memos_assets.cache.common import Common
from memos_assets.cache.counters import write
from memos_assets.cache.drivers import (
    AsyncSessions,
    Sessions,
    embedded,
    embedded_now,
    look,
    look_now,
    work,
    work_now,
)
from memos_assets.cache.entries import Entry, Vector
from memos_assets.cache.flow import Ask, UnavailableError
from memos_assets.cache.key import SHARED, Key, Scope, key_of
from memos_assets.cache.nearest import Near
from memos_assets.cache.storable import Refusal, Storable
from memos_assets.search.embed import AsyncEmbedder, Embedder


@dataclass(frozen=True, slots=True)
class _Put:
    """A value on its way: the work that stores it, or why it is not stored."""

    run: Callable[[Session], bool] | None
    refused: str = ""


def _put(
    common: Common[Any],
    key: Key | None,
    made: Storable | Refusal,
    ttl: float | None,
    vector: Vector | None = None,
) -> _Put:
    if key is None:
        return _Put(None, "no key")
    if not isinstance(made, Storable):
        common.counters.note(key.namespace, "refused", made)
        return _Put(None, made)
    common.copies.drop(key)
    rules = common.rules(key.namespace)
    run = partial(
        calls.put, key=key, made=made, namespace=rules, rng=common.rng, ttl=ttl, vector=vector
    )
    return _Put(run)


def served(common: Common[Any], key: Key, found: Entry | None) -> bool:
    """Count a look, and say whether its entry is served."""
    if found is None or not found.fresh:
        common.counters.note(key.namespace, "miss", "absent" if found is None else "expired")
        return False
    common.counters.note(key.namespace, "hit", "exact")
    common.counters.use(key.scope.user, found.number)
    return True


def _near(
    common: Common[Any], vector: Vector, threshold: float, key: Key
) -> Callable[[Session], Near | None]:
    # Unlike a miss, a search by meaning alone may find the entry of this very query.
    key = replace(key, digest=b"")
    return partial(
        nearest.nearest, key=key, vector=vector, bounds=common.bounds, threshold=threshold
    )


def _passed(common: Common[Any], key: Key, near: Near | None, text: str | None) -> str:
    """Return why the nearest query is not served; "" where it is."""
    if near is None:
        return "absent"
    if near.similarity < near.threshold:
        return "below threshold"
    if near.blocked:
        return "blocked"
    if text is None:
        # The gate cannot judge a vector, however near another one is.
        return "" if near.identical else "gate: no text"
    verdict = common.gate(key.namespace).ask(Ask(key.query, near.entry.query, near.entry.age))
    return "" if verdict.serve else f"gate: {verdict.rule}"


def _similar(
    common: Common[Any], key: Key, near: Near | None, text: str | None
) -> dict[str, Any] | None:
    reason = _passed(common, key, near, text)
    if reason or near is None:
        common.counters.note(key.namespace, "miss", reason)
        return None
    common.counters.note(key.namespace, "hit", "semantic")
    common.counters.use(key.scope.user, near.entry.number)
    return calls.result_of(near.entry, near.similarity)


def _asked(asked: Any, scope: Scope) -> tuple[Key | None, str | None]:
    """Return the key of a query and its text; of a vector, a key that no query has."""
    text = asked if isinstance(asked, str) else None
    return key_of(QUERIES, text if text is not None else "a vector without its text", scope), text


def _model(common: Common[Any]) -> str:
    return str(getattr(common.embedder, "model", ""))


class PlanCalls(Common[AsyncEmbedder]):
    """The methods, for asyncio."""

    async def get_content(
        self, sessions: AsyncSessions, url: str, *, scope: Scope = SHARED
    ) -> dict[str, Any] | None:
        """Return a page by its address, as `set_content` was given it; None: there is none."""
        found = await self._found(sessions, key_of(CONTENT, url, scope))
        return None if found is None else calls.page_of(found)

    async def set_content(
        self,
        sessions: AsyncSessions,
        url: str,
        title: str | None,
        content: str,
        content_type: str,
        success: bool = True,  # noqa: FBT001, FBT002  memOS's signature
        error: str | None = None,
        ttl_override: float | None = None,
        *,
        scope: Scope = SHARED,
    ) -> Stored:
        """Store a page; one that could not be read is remembered for half a minute."""
        made = calls.page(url, title, content, content_type, success=success, error=error)
        return await self._store(
            sessions, _put(self, key_of(CONTENT, url, scope), made, ttl_override)
        )

    async def get_query_result(
        self, sessions: AsyncSessions, query: str, *, scope: Scope = SHARED
    ) -> dict[str, Any] | None:
        """Return the result of exactly this query; None: there is none."""
        found = await self._found(sessions, key_of(QUERIES, query, scope))
        return None if found is None else calls.result_of(found)

    async def set_query_result(
        self,
        sessions: AsyncSessions,
        query: str,
        result: Any,
        embedding: Any = None,
        ttl_override: float | None = None,
        *,
        scope: Scope = SHARED,
    ) -> Stored:
        """Store the result of a query, with its embedding: given, or the embedder's.

        Args:
            sessions: makes sessions.
            query: in the user's words.
            result: any JSON, or `Computed`.
            embedding: of the query by the model of this cache's embedder, (dimension,).
            ttl_override: seconds.
            scope: whose result it is.
        """
        key, vector = key_of(QUERIES, query, scope), None
        if key is not None:
            if embedding is None:
                embedding = await embedded(self.embedder, key.query)
            vector = nearest.vector_of(key, _model(self), embedding)
        put = _put(self, key, calls.result(result), ttl_override, vector)
        return await self._store(sessions, put)

    async def find_similar_query(
        self,
        sessions: AsyncSessions,
        query: Any,
        similarity_threshold: float = PLANNED_THRESHOLD,
        *,
        scope: Scope = SHARED,
    ) -> dict[str, Any] | None:
        """Return the result of the nearest query that the gate lets pass; None: there is none.

        Args:
            sessions: makes sessions.
            query: its text, or its vector. A vector has no words that the gate could judge, so it
                finds its very query alone.
            similarity_threshold: least cosine; a calibrated threshold above it is in force.
            scope: whose results are looked through.
        """
        key, text = _asked(query, scope)
        if key is None:
            return None
        embedding = query if text is None else await embedded(self.embedder, key.query)
        vector = nearest.vector_of(key, _model(self), embedding)
        if vector is None:
            self.counters.note(QUERIES, "miss", "not embedded")
            return None
        try:
            run = _near(self, vector, similarity_threshold, key)
            near = await look(sessions, self.availability, run)
        except UnavailableError:
            return None
        found = _similar(self, key, near, text)
        await self.flush(sessions, now=False)
        return found

    async def cleanup_expired(
        self, sessions: AsyncSessions, *, scope: Scope = SHARED
    ) -> tuple[int, int]:
        """Delete pages and results past their life that the user sees; return how many of each."""
        try:
            gone = await work(sessions, self.availability, partial(calls.clean, user=scope.user))
        except UnavailableError:
            return 0, 0
        return gone.get(CONTENT, 0), gone.get(QUERIES, 0)

    async def get_stats(self, sessions: AsyncSessions, *, scope: Scope = SHARED) -> dict[str, Any]:
        """Return entries, hits by origin and misses by reason; nothing is written or deleted."""
        try:
            run = partial(calls.stats, user=scope.user)
            found: dict[str, Any] = await look(sessions, self.availability, run)
        except UnavailableError:
            return {}
        return found

    async def flush(self, sessions: AsyncSessions, *, now: bool = True) -> None:
        """Write the counts of this process, as a service does before it ends.

        Args:
            sessions: makes sessions.
            now: false: only once they have waited for some seconds, as each lookup does.
        """
        if (batch := self.counters.take(now=now)) is not None:
            with suppress(UnavailableError):
                await work(sessions, self.availability, partial(write, batch=batch))

    async def _found(self, sessions: AsyncSessions, key: Key | None) -> Entry | None:
        if key is None:
            return None
        try:
            found = await look(sessions, self.availability, partial(entries.read, key=key))
        except UnavailableError:
            self.counters.note(key.namespace, "miss", "unavailable")
            return None
        there = served(self, key, found)
        await self.flush(sessions, now=False)
        return found if there else None

    async def _store(self, sessions: AsyncSessions, put: _Put) -> Stored:
        if put.run is None:
            return Stored(stored=False, refused=put.refused)
        try:
            return Stored(stored=await work(sessions, self.availability, put.run))
        except UnavailableError:
            return Stored(stored=False, refused="unavailable")


class SyncPlanCalls(Common[Embedder]):
    """As `PlanCalls`, without asyncio."""

    def get_content(
        self, sessions: Sessions, url: str, *, scope: Scope = SHARED
    ) -> dict[str, Any] | None:
        """As `PlanCalls.get_content`."""
        found = self._found(sessions, key_of(CONTENT, url, scope))
        return None if found is None else calls.page_of(found)

    def set_content(
        self,
        sessions: Sessions,
        url: str,
        title: str | None,
        content: str,
        content_type: str,
        success: bool = True,  # noqa: FBT001, FBT002  memOS's signature
        error: str | None = None,
        ttl_override: float | None = None,
        *,
        scope: Scope = SHARED,
    ) -> Stored:
        """As `PlanCalls.set_content`."""
        made = calls.page(url, title, content, content_type, success=success, error=error)
        return self._store(sessions, _put(self, key_of(CONTENT, url, scope), made, ttl_override))

    def get_query_result(
        self, sessions: Sessions, query: str, *, scope: Scope = SHARED
    ) -> dict[str, Any] | None:
        """As `PlanCalls.get_query_result`."""
        found = self._found(sessions, key_of(QUERIES, query, scope))
        return None if found is None else calls.result_of(found)

    def set_query_result(
        self,
        sessions: Sessions,
        query: str,
        result: Any,
        embedding: Any = None,
        ttl_override: float | None = None,
        *,
        scope: Scope = SHARED,
    ) -> Stored:
        """As `PlanCalls.set_query_result`."""
        key, vector = key_of(QUERIES, query, scope), None
        if key is not None:
            if embedding is None:
                embedding = embedded_now(self.embedder, key.query)
            vector = nearest.vector_of(key, _model(self), embedding)
        return self._store(sessions, _put(self, key, calls.result(result), ttl_override, vector))

    def find_similar_query(
        self,
        sessions: Sessions,
        query: Any,
        similarity_threshold: float = PLANNED_THRESHOLD,
        *,
        scope: Scope = SHARED,
    ) -> dict[str, Any] | None:
        """As `PlanCalls.find_similar_query`."""
        key, text = _asked(query, scope)
        if key is None:
            return None
        embedding = query if text is None else embedded_now(self.embedder, key.query)
        vector = nearest.vector_of(key, _model(self), embedding)
        if vector is None:
            self.counters.note(QUERIES, "miss", "not embedded")
            return None
        try:
            run = _near(self, vector, similarity_threshold, key)
            near = look_now(sessions, self.availability, run)
        except UnavailableError:
            return None
        found = _similar(self, key, near, text)
        self.flush(sessions, now=False)
        return found

    def cleanup_expired(self, sessions: Sessions, *, scope: Scope = SHARED) -> tuple[int, int]:
        """As `PlanCalls.cleanup_expired`."""
        try:
            gone = work_now(sessions, self.availability, partial(calls.clean, user=scope.user))
        except UnavailableError:
            return 0, 0
        return gone.get(CONTENT, 0), gone.get(QUERIES, 0)

    def get_stats(self, sessions: Sessions, *, scope: Scope = SHARED) -> dict[str, Any]:
        """As `PlanCalls.get_stats`."""
        try:
            run = partial(calls.stats, user=scope.user)
            found: dict[str, Any] = look_now(sessions, self.availability, run)
        except UnavailableError:
            return {}
        return found

    def flush(self, sessions: Sessions, *, now: bool = True) -> None:
        """As `PlanCalls.flush`."""
        if (batch := self.counters.take(now=now)) is not None:
            with suppress(UnavailableError):
                work_now(sessions, self.availability, partial(write, batch=batch))

    def _found(self, sessions: Sessions, key: Key | None) -> Entry | None:
        if key is None:
            return None
        try:
            found = look_now(sessions, self.availability, partial(entries.read, key=key))
        except UnavailableError:
            self.counters.note(key.namespace, "miss", "unavailable")
            return None
        there = served(self, key, found)
        self.flush(sessions, now=False)
        return found if there else None

    def _store(self, sessions: Sessions, put: _Put) -> Stored:
        if put.run is None:
            return Stored(stored=False, refused=put.refused)
        try:
            return Stored(stored=work_now(sessions, self.availability, put.run))
        except UnavailableError:
            return Stored(stored=False, refused="unavailable")
