"""A miss, step by step: what is done in which order, for asyncio and for threads alike.

`lead` is a generator. It yields what is to be done (`Work` on a session, `Embed` a text, `Compute`,
`Sleep`), and is sent the result; the drivers differ in how they wait. Nothing that it does with the
database may fail for the caller: a driver throws `UnavailableError`, and the caller gets its value.
"""

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.orm import Session

from memos_assets.cache import answer, entries, leases
from memos_assets.cache.answer import Answer
from memos_assets.cache.entries import Entry, Vector
from memos_assets.cache.key import Key
from memos_assets.cache.leases import Busy, Lease
from memos_assets.cache.namespaces import Namespace
from memos_assets.cache.storable import Computed, Storable, storable

#: Seconds between two looks for an answer that another process computes, at first and at last.
_FIRST_LOOK: Final = 0.02
_LAST_LOOK: Final = 0.25
#: Seconds for which nobody waits after an answer that may not be stored.
_REFUSED_FOR: Final = 5.0


class UnavailableError(Exception):
    """The database does not answer; the cache gets out of the way."""


@dataclass(frozen=True, slots=True)
class Work:
    """Work on a session, in a short transaction of its own that is committed."""

    run: Callable[[Session], Any]


@dataclass(frozen=True, slots=True)
class Compute:
    """The caller's computation; its lease is renewed meanwhile. No session is open."""

    lease: Lease | None


@dataclass(frozen=True, slots=True)
class Sleep:
    """A wait of some seconds."""

    seconds: float


Effect = Work | Compute | Sleep
Steps = Generator[Effect, Any, "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a miss.

    Attributes:
        answer: of the caller who led.
        entry: what other callers of the same key get; None: nothing may be shared.
        alone: others have nothing to wait for, and compute at once.
    """

    answer: Answer
    entry: Entry | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        key: of it.
        namespace: its rules.
        ttl: seconds, in place of the namespace's.
        rng: uniform in [0, 1).
        reason: why there is no answer so far.
    """

    key: Key
    namespace: Namespace
    ttl: float | None
    rng: Callable[[], float]
    reason: str

    @property
    def user(self) -> str | None:
        """Whose rows are seen."""
        return self.key.scope.user


def lead(request: Request, stale: Entry | None, vector: Vector | None = None) -> Steps:
    """Compute an answer once, among all processes: take the lease, or wait for its holder."""
    try:
        got = yield from _lease(request, stale)
    except UnavailableError:
        return (yield from _alone(replace(request, reason="unavailable"), alone=True))
    if isinstance(got, Outcome):
        return got
    if got is None:
        return (yield from _alone(request, alone=True))
    return (yield from _under(request, got, vector))


def _lease(request: Request, stale: Entry | None) -> Generator[Effect, Any, Lease | Outcome | None]:
    """Return a lease; or the answer that came meanwhile; or None: it is not worth waiting for."""
    holder, since, wait = uuid4(), time.monotonic(), _FIRST_LOOK
    while True:

        def take(session: Session) -> tuple[Lease | Busy, Entry | None]:
            entries.act_for(session, request.user)
            taken = leases.take(session, request.key, holder, request.namespace.lease)
            # It may have been published between the first look and now.
            found = entries.read(session, request.key)
            if isinstance(taken, Lease) and found is not None and found.fresh:
                leases.release(session, taken)
            return taken, found

        taken, found = yield Work(take)
        if found is not None and found.fresh:
            return Outcome(answer.from_entry(request.key, found), found)
        if isinstance(taken, Lease):
            return taken
        usable = found if found is not None and found.usable else stale
        if usable is not None:
            return Outcome(answer.from_entry(request.key, usable, "stale"), usable)
        left = request.namespace.most_wait - (time.monotonic() - since)
        if taken.refused or left <= 0:
            return None
        yield Sleep(min(wait * (0.5 + request.rng()), left))
        wait = min(wait * 1.5, _LAST_LOOK)


def _alone(request: Request, *, alone: bool) -> Steps:
    """Compute without a lease, and store nothing."""
    value = yield Compute(None)
    plain = value.value if isinstance(value, Computed) else value
    return Outcome(answer.computed(request.key, plain, request.reason, None), alone=alone)


def _under(request: Request, lease: Lease, vector: Vector | None) -> Steps:
    """Compute under a lease and publish; however it ends, the lease is free afterwards."""
    try:
        value = yield Compute(lease)
    except BaseException:
        with suppress(UnavailableError):  # its life ends
            yield Work(_acting(request, lambda session: leases.release(session, lease)))
        raise
    plain = value.value if isinstance(value, Computed) else value
    made = storable(value)
    if not isinstance(made, Storable):
        refuse = partial(leases.refuse, lease=lease, seconds=_REFUSED_FOR)
        with suppress(UnavailableError):
            yield Work(_acting(request, refuse))
        said = answer.computed(request.key, plain, f"{request.reason}; refused: {made}", None)
        return Outcome(said, alone=True)
    number = None
    with suppress(UnavailableError):
        number = yield Work(_acting(request, _publication(request, lease, made, vector)))
    entry = None
    if number is not None:
        entry = Entry(
            number, request.key.query, made.text, made.negative, 0.0, fresh=True, usable=True
        )
    return Outcome(answer.computed(request.key, plain, request.reason, number), entry)


def _acting(request: Request, run: Callable[[Session], Any]) -> Callable[[Session], Any]:
    def acting(session: Session) -> Any:
        entries.act_for(session, request.user)
        return run(session)

    return acting


def _publication(
    request: Request, lease: Lease, made: Storable, vector: Vector | None
) -> Callable[[Session], int | None]:
    """Return what stores an answer if the lease is still ours, and frees the lease."""
    ttl = made.ttl if made.ttl is not None else request.ttl
    life = request.namespace.life(ttl, negative=made.negative, rng=request.rng)

    def publish(session: Session) -> int | None:
        if not leases.hold(session, lease):
            return None
        number = None
        if life > 0:
            grace = request.namespace.grace
            number = entries.store(
                session, request.key, made, life, grace, fence=lease.fence, vector=vector
            )
        leases.release(session, lease)
        return number

    return publish
