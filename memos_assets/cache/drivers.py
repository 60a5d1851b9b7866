"""Drivers of `flow.lead`: with asyncio and without. They open sessions, and wait.

Callers of one key in one process are one flight: the first one leads, the others wait for its
outcome. A caller that is cancelled cancels nobody; with the last caller of a flight its computation
is cancelled.
"""

import asyncio
import inspect
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import entries, leases
from memos_assets.cache.flow import (
    Ask,
    Effect,
    Embed,
    Outcome,
    Sleep,
    Steps,
    UnavailableError,
    Work,
)
from memos_assets.cache.gate import Judge, Verdict, judge_twice, rules_for
from memos_assets.cache.leases import Lease
from memos_assets.search.embed import AsyncEmbedder, Embedder

_log = logging.getLogger(__name__)

#: Seconds after which a holder that still computes is taken for hung: its lease is not renewed.
MOST_RENEWED: Final = 600.0
#: Seconds in which the database is not asked again after it did not answer.
_PAUSE: Final = 1.0

AsyncSessions = async_sessionmaker[AsyncSession]
Sessions = sessionmaker[Session]


class Availability:
    """Whether the database answered lately, so that not each caller waits for one that does not."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._down_until = clock, float("-inf")

    def check(self) -> None:
        """Raise `UnavailableError` while it is not asked."""
        if self._clock() < self._down_until:
            raise UnavailableError

    def failed(self, error: Exception) -> UnavailableError:
        """Note that it did not answer; an error of one statement says nothing of the next.

        Whatever was raised in the cache's own work is taken here: a caller has its value all the
        same, and the log has the error.
        """
        state = getattr(getattr(error, "orig", None), "sqlstate", None)
        # What the server says of a statement has a SQLSTATE; a connection that failed has none.
        lost = isinstance(error, sa.exc.DBAPIError) and (
            error.connection_invalidated or state is None
        )
        if lost or not isinstance(error, sa.exc.DBAPIError | sa.exc.StatementError):
            self._down_until = self._clock() + _PAUSE
        # Neither texts nor addresses: the types of the error and of its cause say enough.
        _log.warning("The cache is left out: %s, SQLSTATE %s", type(error).__name__, state)
        return UnavailableError(type(error).__name__)


async def work(
    sessions: AsyncSessions, availability: Availability, run: Callable[[Session], Any]
) -> Any:
    """Run a function of a session in a transaction of its own, and commit it."""
    availability.check()
    try:
        # session-rule: S001 because a cache commits apart from what its caller writes
        async with sessions() as session, session.begin():
            return await session.run_sync(run)
    except Exception as error:  # noqa: BLE001  see `failed`
        raise availability.failed(error) from None


async def look(
    sessions: AsyncSessions, availability: Availability, run: Callable[[Session], Any]
) -> Any:
    """Run a function of a session that only reads."""
    availability.check()
    try:
        # session-rule: S001 because a cache commits apart from what its caller writes
        async with sessions() as session:
            return await session.run_sync(run)
    except Exception as error:  # noqa: BLE001  see `failed`
        raise availability.failed(error) from None


def work_now(sessions: Sessions, availability: Availability, run: Callable[[Session], Any]) -> Any:
    """As `work`, without asyncio."""
    availability.check()
    try:
        # session-rule: S001 because a cache commits apart from what its caller writes
        with sessions() as session, session.begin():
            return run(session)
    except Exception as error:  # noqa: BLE001  see `failed`
        raise availability.failed(error) from None


def look_now(sessions: Sessions, availability: Availability, run: Callable[[Session], Any]) -> Any:
    """As `look`, without asyncio."""
    availability.check()
    try:
        # session-rule: S001 because a cache commits apart from what its caller writes
        with sessions() as session:
            return run(session)
    except Exception as error:  # noqa: BLE001  see `failed`
        raise availability.failed(error) from None


def _renewal(lease: Lease, user: str | None) -> Callable[[Session], bool]:
    def renew(session: Session) -> bool:
        entries.act_for(session, user, brief=True)
        return leases.renew(session, lease)

    return renew


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of a namespace.

    Attributes:
        namespace: whose rules are asked.
        judge: of the caller, who has the last word; None: there is none.
    """

    namespace: str
    judge: Judge | None = None

    def ask(self, pair: Ask) -> Verdict:
        """Return the verdict on a pair; a gate that fails serves nothing."""
        try:
            rules = rules_for(self.namespace)
            return judge_twice(rules, pair.asked, pair.matched, self.judge, age_seconds=pair.age)
        except Exception as error:  # noqa: BLE001  whatever it raises, nothing is served
            return Verdict(serve=False, reason=f"it failed: {type(error).__name__}", rule="failed")


async def embedded(embedder: AsyncEmbedder | None, text: str) -> Any:
    """Return what an embedder makes of a query, as memOS embeds texts; None: it does not answer."""
    if embedder is None:
        return None
    try:
        return (await embedder.embed([text]))[0]
    except Exception:  # noqa: BLE001  an embedder that a caller wrote may raise anything
        return None


def embedded_now(embedder: Embedder | None, text: str) -> Any:
    """As `embedded`, without asyncio."""
    if embedder is None:
        return None
    try:
        return embedder.embed([text])[0]
    except Exception:  # noqa: BLE001  an embedder that a caller wrote may raise anything
        return None


@dataclass(frozen=True, slots=True)
class Driver:
    """Takes the steps of a miss with asyncio.

    Attributes:
        sessions: makes sessions.
        availability: of the database.
        compute: of the caller.
        user: whose rows are seen.
        embedder: of queries; None: there is none.
        gate: of the namespace, with the judge where there is one.
    """

    sessions: AsyncSessions
    availability: Availability
    compute: Callable[[], Any]
    user: str | None
    embedder: AsyncEmbedder | None
    gate: Gate

    async def drive(self, steps: Steps) -> Outcome:
        """Take all steps; an error of the computation is the caller's."""
        try:
            effect = next(steps)
            while True:
                try:
                    result = await self._one(effect)
                except BaseException as error:  # noqa: BLE001  a cancellation frees the lease, too
                    effect = steps.throw(error)
                else:
                    effect = steps.send(result)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome

    async def _one(self, effect: Effect) -> Any:
        if isinstance(effect, Work):
            return await work(self.sessions, self.availability, effect.run)
        if isinstance(effect, Sleep):
            return await asyncio.sleep(effect.seconds)
        if isinstance(effect, Embed):
            return await embedded(self.embedder, effect.text)
        if isinstance(effect, Ask):
            if self.gate.judge is None:
                return self.gate.ask(effect)
            # A judge may call a model, and wait for it.
            return await asyncio.to_thread(self.gate.ask, effect)
        if effect.lease is None:
            return await called(self.compute)
        renewing = asyncio.create_task(self._renew(effect.lease))
        try:
            return await called(self.compute)
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self, lease: Lease) -> None:
        until = time.monotonic() + MOST_RENEWED
        while time.monotonic() < until:
            await asyncio.sleep(lease.life / 2)
            try:
                if not await work(self.sessions, self.availability, _renewal(lease, self.user)):
                    return
            except UnavailableError:
                continue


async def called(compute: Callable[[], Any]) -> Any:
    """Return what a computation returns, which may be a coroutine's function or not."""
    value = compute()
    return await value if inspect.isawaitable(value) else value


@dataclass(frozen=True, slots=True)
class SyncDriver:
    """As `Driver`, in this thread."""

    sessions: Sessions
    availability: Availability
    compute: Callable[[], Any]
    user: str | None
    embedder: Embedder | None
    gate: Gate

    def drive(self, steps: Steps) -> Outcome:
        """As `Driver.drive`."""
        try:
            effect = next(steps)
            while True:
                try:
                    result = self._one(effect)
                except BaseException as error:  # noqa: BLE001  KeyboardInterrupt frees it, too
                    effect = steps.throw(error)
                else:
                    effect = steps.send(result)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
        except RuntimeError as error:
            # A generator turns the caller's StopIteration into this.
            if isinstance(error.__cause__, StopIteration):
                raise error.__cause__ from None
            raise

    def _one(self, effect: Effect) -> Any:
        if isinstance(effect, Work):
            return work_now(self.sessions, self.availability, effect.run)
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds)
        if isinstance(effect, Embed):
            return embedded_now(self.embedder, effect.text)
        if isinstance(effect, Ask):
            return self.gate.ask(effect)
        if effect.lease is None:
            return self.compute()
        done = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(effect.lease, done), daemon=True)
        try:
            with suppress(RuntimeError):  # no thread can be started: the lease ends early
                renewing.start()
            return self.compute()
        finally:
            done.set()

    def _renew(self, lease: Lease, done: threading.Event) -> None:
        until = time.monotonic() + MOST_RENEWED
        while not done.wait(lease.life / 2) and time.monotonic() < until:
            try:
                if not work_now(self.sessions, self.availability, _renewal(lease, self.user)):
                    return
            except UnavailableError:
                continue
