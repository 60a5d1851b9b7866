"""What both faces have: rules, the embedder, the gate, counters and copies."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from memos_assets.cache import answer
from memos_assets.cache.answer import Answer, Miss
from memos_assets.cache.counters import Counters
from memos_assets.cache.drivers import Availability, Gate
from memos_assets.cache.entries import Entry
from memos_assets.cache.flow import Meaning, Request, plain
from memos_assets.cache.gate import Judge
from memos_assets.cache.key import Key, Scope
from memos_assets.cache.namespaces import NAMESPACES, Namespace, default_rng, namespace_of
from memos_assets.cache.vector_indexes import Bounds

#: Most seconds for which a process keeps a copy.
MOST_COPIED: Final = 2.0
_MOST_COPIES: Final = 1_000
#: Most bytes of the values of these copies.
MOST_COPIED_BYTES: Final = 64_000_000

AnyEmbedder = TypeVar("AnyEmbedder")


class Copies:
    """Copies of entries in this process, for at most two seconds; none unless asked for.

    What another process changes is seen when a copy ends. Threads share them.

    Attributes:
        bytes: of the values of all copies.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = max(0.0, min(seconds, MOST_COPIED)), clock
        self._there: OrderedDict[bytes, tuple[float, Entry]] = OrderedDict()
        self._lock, self.bytes = threading.Lock(), 0

    def get(self, key: Key) -> Entry | None:
        """Return a copy that lives."""
        if not self._seconds:
            return None
        with self._lock:
            until, entry = self._there.get(key.digest, (0.0, None))
            if entry is not None and self._clock() >= until:
                self._remove(key.digest)
                return None
        return entry

    def put(self, key: Key, entry: Entry | None) -> None:
        """Keep a copy, not for longer than the entry lives."""
        if not self._seconds or entry is None or not entry.fresh:
            return
        until = self._clock() + min(self._seconds, entry.seconds_left)
        with self._lock:
            self._remove(key.digest)
            self._there[key.digest] = until, entry
            self.bytes += len(entry.text)
            while len(self._there) > _MOST_COPIES or self.bytes > MOST_COPIED_BYTES:
                self._remove(next(iter(self._there)))

    def drop(self, key: Key) -> None:
        """Drop the copy of a key."""
        with self._lock:
            self._remove(key.digest)

    def clear(self) -> None:
        """Drop all copies."""
        with self._lock:
            self._there.clear()
            self.bytes = 0

    def _remove(self, digest: bytes) -> None:
        _, entry = self._there.pop(digest, (0.0, None))
        self.bytes -= 0 if entry is None else len(entry.text)


class Common(Generic[AnyEmbedder]):
    """What both faces have.

    Attributes:
        embedder: of queries; None: answers are found by their key alone.
        counters: of this process.
        copies: of this process.
        availability: of the database.
        rng: uniform in [0, 1).
        bounds: how far the indexes of buckets reach.
    """

    def __init__(
        self,
        embedder: AnyEmbedder | None = None,
        *,
        judge: Judge | None = None,
        namespaces: Mapping[str, Namespace] = NAMESPACES,
        rng: Callable[[], float] = default_rng,
        copy_seconds: float = 0.0,
        shadow_rate: float = 0.0,
    ) -> None:
        """Take the rules; nothing is connected.

        Args:
            embedder: of queries, so that a reworded query has the answer of another one.
            judge: has the last word on what the gate would serve, and fails closed.
            namespaces: name -> rules.
            rng: uniform in [0, 1), for lives, waits and shadow observations.
            copy_seconds: for which this process keeps copies of answers; at most 2.
            shadow_rate: share of the answers of other queries that are computed instead of served,
                so that the two can be compared; those that differ are labelled wrong.
        """
        self.embedder, self._judge, self.rng = embedder, judge, rng
        self.namespaces, self._shadow_rate = namespaces, shadow_rate
        self.availability, self.counters = Availability(), Counters()
        self.copies, self.bounds = Copies(copy_seconds), Bounds()

    def request(self, key: Key, ttl: float | None, found: Entry | None, reason: str) -> Request:
        """Return what is asked for on a miss."""
        namespace = self.rules(key.namespace)
        if not reason:
            reason = "absent" if found is None else "expired"
        return Request(key, namespace, ttl, self.rng, Miss(reason), self.meaning(namespace))

    def rules(self, namespace: str) -> Namespace:
        """Return the rules of a namespace."""
        return namespace_of(namespace, self.namespaces)

    def meaning(self, namespace: Namespace) -> Meaning | None:
        """Return how answers of other queries are found; None: they are not."""
        if self.embedder is None or not namespace.semantic:
            return None
        model = str(getattr(self.embedder, "model", ""))
        return Meaning(model, self.bounds, self._shadow_rate)

    def gate(self, namespace: str) -> Gate:
        """Return the gate of a namespace."""
        return Gate(namespace, self._judge)

    def counted(self, found: Answer) -> None:
        """Count an answer."""
        namespace = found.entry.key.namespace
        if found.origin == "computed":
            self.counters.note(namespace, "miss", found.reason)
            if found.refused:
                self.counters.note(namespace, "refused", found.refused)
        else:
            self.counters.note(namespace, "hit", found.origin)
            if found.entry.number is not None:
                self.counters.use(found.entry.key.scope.user, found.entry.number)


def uncached(namespace: str, query: Any, scope: Scope, value: Any) -> Answer:
    """Return the answer of a query that has no key."""
    key = Key(namespace, scope, str(query), b"", b"")
    return answer.computed(key, plain(value), Miss("no key"), None)
