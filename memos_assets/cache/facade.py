"""The face of the cache: `Cache` with asyncio, `SyncCache` without it.

Unlike the services of memory both are given what makes sessions, not a session: they commit short
transactions of their own, and while the caller computes no connection is taken and none is idle in
a transaction. `invalidate` alone works in the caller's session, because it belongs to what the
caller writes.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from memos_assets.cache import answer, entries, feedback, invalidation
from memos_assets.cache.answer import Answer, Ref
from memos_assets.cache.common import uncached
from memos_assets.cache.drivers import (
    AsyncSessions,
    Driver,
    Sessions,
    SyncDriver,
    called,
    look,
    look_now,
    work,
    work_now,
)
from memos_assets.cache.entries import Entry
from memos_assets.cache.flights import Flights, ThreadFlights
from memos_assets.cache.flow import UnavailableError, lead, plain
from memos_assets.cache.key import SHARED, Key, Scope, key_of
from memos_assets.cache.plan_calls import PlanCalls, SyncPlanCalls
from memos_assets.search.embed import AsyncEmbedder, Embedder


class Cache(PlanCalls):
    """The cache, for asyncio."""

    def __init__(self, embedder: AsyncEmbedder | None = None, **options: Any) -> None:
        """Take an embedder and the options of `Common`; nothing is connected."""
        super().__init__(embedder, **options)
        self._flights = Flights()

    async def get_or_compute(
        self,
        sessions: AsyncSessions,
        *,
        namespace: str,
        query: str,
        compute: Callable[[], Any],
        scope: Scope = SHARED,
        ttl: float | None = None,
    ) -> Answer:
        """Return the answer of a query, from the cache or computed once.

        Whatever is wrong with the cache, the caller gets the value of its computation, or the
        error of it.

        Args:
            sessions: makes sessions, as `memory.sessions_for` returns.
            namespace: whose rules hold, such as ``answers``.
            query: in the user's words.
            compute: called without arguments on a miss, with or without ``async``; returns a value
                that JSON has, or `Computed`.
            scope: whose answer it is, and what else it depends on.
            ttl: seconds, in place of the namespace's.
        """
        key = key_of(namespace, query, scope)
        if key is None:
            self.counters.note(namespace, "miss", "no key")
            return uncached(namespace, query, scope, await called(compute))
        found = await self._answer(sessions, key, compute, ttl)
        self.counted(found)
        await self.flush(sessions, now=False)
        return found

    async def _answer(
        self, sessions: AsyncSessions, key: Key, compute: Callable[[], Any], ttl: float | None
    ) -> Answer:
        since = time.monotonic()
        while True:
            reason, found = "", self.copies.get(key)
            if found is None:
                try:
                    read = partial(entries.read, key=key)
                    found = await look(sessions, self.availability, read)
                    self.copies.put(key, found)
                except UnavailableError:
                    reason = "unavailable"
            if found is not None and found.fresh:
                return answer.from_entry(key, found)
            usable = found if found is not None and found.usable else None
            request = self.request(key, ttl, found, reason)
            flight = self._flights.find(key.digest)
            if flight is None:
                driver = Driver(
                    sessions, self.availability, compute, key.scope.user, self.embedder,
                    self.gate(key.namespace),
                )  # fmt: skip
                flight = self._flights.start(key.digest, driver.drive(lead(request, usable)))
                outcome = await self._flights.wait(flight, None)
                assert outcome is not None
                return outcome.answer
            if usable is not None:
                return answer.from_entry(key, usable, "stale")
            left = request.namespace.most_wait - (time.monotonic() - since)
            outcome = await self._flights.wait(flight, max(0.0, left))
            if outcome is not None and (theirs := outcome.shared()) is not None:
                return theirs
            if (outcome is not None and outcome.alone) or left <= 0:
                return answer.computed(key, plain(await called(compute)), request.miss, None)

    async def feedback(self, sessions: AsyncSessions, entry: Ref, *, wrong: bool) -> bool:
        """Say of an answer whether it was wrong: it is evicted, its pair never served again.

        Args:
            sessions: makes sessions.
            entry: `Answer.entry`.
            wrong: whether the answer was wrong for the query.

        Returns:
            Whether a row was evicted; false, too, where the database does not answer.
        """
        self.copies.drop(entry.key)
        try:
            give = partial(feedback.give, ref=entry, wrong=wrong)
            return bool(await work(sessions, self.availability, give))
        except UnavailableError:
            return False

    async def invalidate(
        self,
        session: AsyncSession,
        *,
        namespace: str | None = None,
        query: str | None = None,
        scope: Scope = SHARED,
        user: str | None = None,
        memory: UUID | str | None = None,
    ) -> int:
        """Evict answers in the caller's transaction; see `invalidation.invalidate`."""
        self.copies.clear()
        return await session.run_sync(
            invalidation.invalidate,
            namespace=namespace,
            query=query,
            scope=scope,
            user=user,
            memory=memory,
        )


class SyncCache(SyncPlanCalls):
    """As `Cache`, without asyncio. Threads share one."""

    def __init__(self, embedder: Embedder | None = None, **options: Any) -> None:
        """As `Cache`."""
        super().__init__(embedder, **options)
        self._flights = ThreadFlights()

    def get_or_compute(
        self,
        sessions: Sessions,
        *,
        namespace: str,
        query: str,
        compute: Callable[[], Any],
        scope: Scope = SHARED,
        ttl: float | None = None,
    ) -> Answer:
        """As `Cache.get_or_compute`."""
        key = key_of(namespace, query, scope)
        if key is None:
            self.counters.note(namespace, "miss", "no key")
            return uncached(namespace, query, scope, compute())
        found = self._answer(sessions, key, compute, ttl)
        self.counted(found)
        self.flush(sessions, now=False)
        return found

    def _answer(
        self, sessions: Sessions, key: Key, compute: Callable[[], Any], ttl: float | None
    ) -> Answer:
        since = time.monotonic()
        while True:
            reason, found = "", self.copies.get(key)
            if found is None:
                found, reason = self._read(sessions, key)
            if found is not None and found.fresh:
                return answer.from_entry(key, found)
            usable = found if found is not None and found.usable else None
            if usable is not None and self._flights.has(key.digest):
                return answer.from_entry(key, usable, "stale")
            request = self.request(key, ttl, found, reason)
            driver = SyncDriver(
                sessions, self.availability, compute, key.scope.user, self.embedder,
                self.gate(key.namespace),
            )  # fmt: skip
            left = request.namespace.most_wait - (time.monotonic() - since)
            run = partial(driver.drive, lead(request, usable))
            outcome, led = self._flights.join(key.digest, run, max(0.0, left))
            if led and outcome is not None:
                return outcome.answer
            if outcome is not None and (theirs := outcome.shared()) is not None:
                return theirs
            if (outcome is not None and outcome.alone) or left <= 0:
                return answer.computed(key, plain(compute()), request.miss, None)

    def _read(self, sessions: Sessions, key: Key) -> tuple[Entry | None, str]:
        try:
            found = look_now(sessions, self.availability, partial(entries.read, key=key))
        except UnavailableError:
            return None, "unavailable"
        self.copies.put(key, found)
        return found, ""

    def feedback(self, sessions: Sessions, entry: Ref, *, wrong: bool) -> bool:
        """As `Cache.feedback`."""
        self.copies.drop(entry.key)
        try:
            give = partial(feedback.give, ref=entry, wrong=wrong)
            return bool(work_now(sessions, self.availability, give))
        except UnavailableError:
            return False

    def invalidate(
        self,
        session: Session,
        *,
        namespace: str | None = None,
        query: str | None = None,
        scope: Scope = SHARED,
        user: str | None = None,
        memory: UUID | str | None = None,
    ) -> int:
        """As `Cache.invalidate`."""
        self.copies.clear()
        return invalidation.invalidate(
            session, namespace=namespace, query=query, scope=scope, user=user, memory=memory
        )
