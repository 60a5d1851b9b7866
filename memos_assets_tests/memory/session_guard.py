"""A guard at run time: connections per request, commits by services, time idle in transaction.

It listens to the pool and the driver of an engine. Commits of the caller are announced: whatever
commits, rolls back or closes outside of `callers_turn` did so behind the caller's back.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

#: The request that this task or thread works on.
_request: ContextVar[int | None] = ContextVar("request", default=None)
_callers_turn: ContextVar[bool] = ContextVar("callers_turn", default=False)


@dataclass
class SessionGuard:
    """What was seen on an engine.

    Attributes:
        connections: request -> connections that were taken for it.
        at_once: most connections that one request had at once.
        commits_by_services: commits and rollbacks that were not the caller's.
        longest_idle: seconds between two statements of a transaction, the longest.
    """

    connections: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    at_once: int = 0
    commits_by_services: int = 0
    longest_idle: float = 0.0
    _taken: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    _idle_since: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, engine: sa.Engine) -> None:
        """Listen to an engine; for an asynchronous one pass its ``sync_engine``."""
        listeners: dict[str, Callable[..., None]] = {
            "checkout": self._checked_out,
            "checkin": self._checked_in,
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "commit": self._ended,
            "rollback": self._ended,
        }
        for event, listener in listeners.items():
            sa.event.listen(engine, event, listener)

    def has_connection(self) -> bool:
        """Return whether the request of this task has a connection."""
        request = _request.get()
        return request is not None and self._taken[request] > 0

    def _checked_out(self, _connection: Any, record: Any, _proxy: Any) -> None:
        request = _request.get()
        if request is None:
            return
        with self._lock:
            self.connections[request] += 1
            self._taken[request] += 1
            self.at_once = max(self.at_once, self._taken[request])
            record.info["request"] = request

    def _checked_in(self, _connection: Any, record: Any) -> None:
        request = record.info.pop("request", None)
        if request is not None:
            with self._lock:
                self._taken[request] -= 1

    def _before(self, conn: sa.Connection, *_: Any) -> None:
        since = self._idle_since.pop(id(conn.connection.dbapi_connection), None)
        self._idle(since)

    def _after(self, conn: sa.Connection, *_: Any) -> None:
        self._idle_since[id(conn.connection.dbapi_connection)] = time.monotonic()

    def _ended(self, conn: sa.Connection) -> None:
        self._idle(self._idle_since.pop(id(conn.connection.dbapi_connection), None))
        if _request.get() is not None and not _callers_turn.get():
            self.commits_by_services += 1

    def _idle(self, since: float | None) -> None:
        if since is not None and _request.get() is not None:
            self.longest_idle = max(self.longest_idle, time.monotonic() - since)


@contextmanager
def request(number: int) -> Iterator[None]:
    """Let what is done in the block belong to a request."""
    token = _request.set(number)
    try:
        yield
    finally:
        _request.reset(token)


@contextmanager
def callers_turn() -> Iterator[None]:
    """Let the caller end a transaction in the block."""
    token = _callers_turn.set(True)
    try:
        yield
    finally:
        _callers_turn.reset(token)
