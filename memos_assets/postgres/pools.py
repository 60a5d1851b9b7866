"""Pools that serve calls in their order, and say which setting is too small.

SQLAlchemy's pool gives a connection that comes back to the thread that asks first, so that of 50
busy threads some never get one: with 30 connections, 40 of 12,000 calls waited for more than 5 s
where half of them took 34 ms (2026-11). In order, none waits for longer than its turn.
"""

import threading
from collections import deque
from typing import Any

import sqlalchemy as sa

from memos_assets.errors import TargetError


class Pool(sa.QueuePool):
    """The pool of threads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._order = _Order(self.size() + self._max_overflow)

    def _do_get(self) -> Any:
        if not self._order.take(self.timeout()):
            raise _too_small(self)
        try:
            return super()._do_get()
        except BaseException:
            self._order.give_back()
            raise

    def _do_return_conn(self, record: Any) -> None:
        # Once for each connection that was given out, however it ended.
        try:
            super()._do_return_conn(record)
        finally:
            self._order.give_back()


class AsyncPool(sa.AsyncAdaptedQueuePool):
    """The pool of an event loop."""

    def _do_get(self) -> Any:
        try:
            return super()._do_get()
        except sa.exc.TimeoutError:
            raise _too_small(self) from None


def _too_small(pool: sa.QueuePool) -> TargetError:
    most = pool.size() + pool._max_overflow  # noqa: SLF001  SQLAlchemy shows it nowhere
    return TargetError(
        "M348",
        f"all {most} connections of this process were in use for {pool.timeout():g} s",
        where="pool",
        fix="set MEMOS_POOL_SIZE to the number of calls at once, or give sessions back sooner; "
        "MEMOS_POOL_TIMEOUT_SECONDS says how long to wait",
    )


class _Order:
    """A number of places, which are given to threads in the order in which they ask."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: deque[threading.Event] = deque()
        # The collector may give a forgotten connection back at any moment, in any thread.
        self._lock = threading.RLock()

    def take(self, seconds: float) -> bool:
        """Take a place; false where none was free in time."""
        with self._lock:
            if self._free and not self._waiting:
                self._free -= 1
                return True
            turn = threading.Event()
            self._waiting.append(turn)
        try:
            return turn.wait(seconds) or self._leave(turn)
        except BaseException:  # Ctrl+C
            if self._leave(turn):
                self.give_back()
            raise

    def _leave(self, turn: threading.Event) -> bool:
        """Stop waiting; true where the place was given at this very moment."""
        with self._lock:
            if turn.is_set():
                return True
            self._waiting.remove(turn)
            return False

    def give_back(self) -> None:
        """Give a place to the thread that has waited for longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
