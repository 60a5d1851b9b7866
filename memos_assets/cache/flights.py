"""Flights: callers of one key in one process, of whom one computes."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from memos_assets.cache.flow import Outcome


@dataclass(slots=True)
class Flight:
    """A computation that several callers wait for.

    Attributes:
        task: that computes.
        callers: that wait for it.
    """

    task: asyncio.Task[Outcome]
    callers: int = 0


class Flights:
    """The flights of one cache on asyncio, by event loop and key."""

    def __init__(self) -> None:
        self._there: dict[tuple[int, bytes], Flight] = {}

    def _place(self, key: bytes) -> tuple[int, bytes]:
        return id(asyncio.get_running_loop()), key

    def find(self, key: bytes) -> Flight | None:
        """Return the flight of a key; None: nobody computes it in this loop."""
        return self._there.get(self._place(key))

    def start(self, key: bytes, steps: Coroutine[Any, Any, Outcome]) -> Flight:
        """Start a flight."""
        place = self._place(key)
        flight = Flight(asyncio.create_task(steps))
        self._there[place] = flight

        def land(task: asyncio.Task[Outcome]) -> None:
            if self._there.get(place) is flight:
                del self._there[place]
            if not task.cancelled():
                task.exception()  # a caller that was cancelled does not fetch it

        flight.task.add_done_callback(land)
        return flight

    async def wait(self, flight: Flight, seconds: float | None) -> Outcome | None:
        """Wait for a flight; None: it did not end in time, or without an outcome.

        Args:
            flight: of the key.
            seconds: at most; None: of the caller who leads, who gets its error.
        """
        flight.callers += 1
        leads = seconds is None
        try:
            done, _ = await asyncio.wait({flight.task}, timeout=seconds)
        except asyncio.CancelledError:
            if flight.callers == 1:
                flight.task.cancel()
                await asyncio.wait({flight.task}, timeout=1.0)
            raise
        finally:
            flight.callers -= 1
        if leads:
            return flight.task.result()
        if not done or flight.task.cancelled() or flight.task.exception() is not None:
            return None
        return flight.task.result()


@dataclass(slots=True)
class _ThreadFlight:
    landed: threading.Event = field(default_factory=threading.Event)
    outcome: Outcome | None = None


class ThreadFlights:
    """The flights of one cache in threads, by key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._there: dict[bytes, _ThreadFlight] = {}

    def has(self, key: bytes) -> bool:
        """Whether somebody computes it."""
        return key in self._there

    def join(
        self, key: bytes, run: Callable[[], Outcome], seconds: float
    ) -> tuple[Outcome | None, bool]:
        """Compute, or wait for the thread that does.

        Returns:
            The outcome, None if it did not come in time or failed; and whether this thread led.
        """
        with self._lock:
            flight = self._there.get(key)
            leads = flight is None
            if flight is None:
                flight = self._there[key] = _ThreadFlight()
        if not leads:
            flight.landed.wait(seconds)
            return flight.outcome, False
        try:
            flight.outcome = run()
            return flight.outcome, True
        finally:
            with self._lock:
                del self._there[key]
            flight.landed.set()
