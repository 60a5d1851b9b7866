"""The face of the cache: `Cache` with asyncio, `SyncCache` without it.

Unlike the services of memory both are given what makes sessions, not a session: they commit short
transactions of their own, and while the caller computes no connection is taken and none is idle in
a transaction.
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from memos_assets.cache import answer, entries
from memos_assets.cache.answer import Answer
from memos_assets.cache.drivers import (
    AsyncSessions,
    Availability,
    Driver,
    Sessions,
    SyncDriver,
    called,
    look,
    look_now,
)
from memos_assets.cache.entries import Entry
from memos_assets.cache.flights import Flights, ThreadFlights
from memos_assets.cache.flow import Request, UnavailableError, lead
from memos_assets.cache.key import SHARED, Key, Scope, key_of
from memos_assets.cache.namespaces import NAMESPACES, Namespace, default_rng, namespace_of
from memos_assets.cache.storable import Computed


class _Common:
    """What both faces have."""

    def __init__(
        self,
        *,
        namespaces: Mapping[str, Namespace] = NAMESPACES,
        rng: Callable[[], float] = default_rng,
    ) -> None:
        """Take the rules; nothing is connected.

        Args:
            namespaces: name -> rules.
            rng: uniform in [0, 1), for lives and waits.
        """
        self._namespaces, self._rng = namespaces, rng
        self._availability = Availability()

    def _request(self, key: Key, ttl: float | None, found: Entry | None, reason: str) -> Request:
        namespace = namespace_of(key.namespace, self._namespaces)
        if not reason:
            reason = "absent" if found is None else "expired"
        return Request(key, namespace, ttl, self._rng, reason)


def _uncached(namespace: str, query: Any, scope: Scope, value: Any) -> Answer:
    key = Key(namespace, scope, str(query), b"", b"")
    return answer.computed(key, _plain(value), "no key", None)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Computed) else value


class Cache(_Common):
    """The cache, for asyncio."""

    def __init__(self, **options: Any) -> None:
        """As `_Common`."""
        super().__init__(**options)
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
            return _uncached(namespace, query, scope, await called(compute))
        since = time.monotonic()
        most = namespace_of(namespace, self._namespaces).most_wait
        while True:
            reason = ""
            found: Entry | None = None
            try:
                found = await look(sessions, self._availability, lambda one: entries.read(one, key))
            except UnavailableError:
                reason = "unavailable"
            if found is not None and found.fresh:
                return answer.from_entry(key, found)
            usable = found if found is not None and found.usable else None
            request = self._request(key, ttl, found, reason)
            flight = self._flights.find(key.digest)
            if flight is None:
                driver = Driver(sessions, self._availability, compute, scope.user)
                flight = self._flights.start(key.digest, driver.drive(lead(request, usable)))
                outcome = await self._flights.wait(flight, None)
                assert outcome is not None
                return outcome.answer
            if usable is not None:
                return answer.from_entry(key, usable, "stale")
            left = max(0.0, most - (time.monotonic() - since))
            outcome = await self._flights.wait(flight, left)
            if outcome is not None and outcome.entry is not None:
                return answer.from_entry(key, outcome.entry)
            if (outcome is not None and outcome.alone) or time.monotonic() - since >= most:
                return answer.computed(key, _plain(await called(compute)), request.reason, None)


class SyncCache(_Common):
    """As `Cache`, without asyncio."""

    def __init__(self, **options: Any) -> None:
        """As `Cache`."""
        super().__init__(**options)
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
            return _uncached(namespace, query, scope, compute())
        since = time.monotonic()
        most = namespace_of(namespace, self._namespaces).most_wait
        while True:
            reason = ""
            found: Entry | None = None
            try:
                found = look_now(sessions, self._availability, lambda one: entries.read(one, key))
            except UnavailableError:
                reason = "unavailable"
            if found is not None and found.fresh:
                return answer.from_entry(key, found)
            usable = found if found is not None and found.usable else None
            if usable is not None and self._flights.has(key.digest):
                return answer.from_entry(key, usable, "stale")
            request = self._request(key, ttl, found, reason)
            driver = SyncDriver(sessions, self._availability, compute, scope.user)
            left = max(0.0, most - (time.monotonic() - since))
            run = partial(driver.drive, lead(request, usable))
            outcome, led = self._flights.join(key.digest, run, left)
            if led and outcome is not None:
                return outcome.answer
            if outcome is not None and outcome.entry is not None:
                return answer.from_entry(key, outcome.entry)
            if (outcome is not None and outcome.alone) or time.monotonic() - since >= most:
                return answer.computed(key, _plain(compute()), request.reason, None)
