"""A miss, step by step: what is done in which order, for asyncio and for threads alike.

`lead` is a generator. It yields one thing to do after the other (`Work` on a session, `Embed` a
text, `Ask` the gate, `Compute`, `Sleep`), and is sent the result; the drivers differ in how they
wait. Nothing that it does with the database may fail for the caller: a driver throws
`UnavailableError`, and the caller gets its value.
"""

import json
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import uuid4

from sqlalchemy.orm import Session

from memos_assets.cache import answer, entries, feedback, leases, nearest
from memos_assets.cache.answer import Answer, Miss
from memos_assets.cache.entries import Entry, Vector
from memos_assets.cache.gate import Verdict
from memos_assets.cache.key import Key
from memos_assets.cache.leases import Busy, Lease
from memos_assets.cache.namespaces import Namespace
from memos_assets.cache.nearest import Near
from memos_assets.cache.storable import Computed, Storable, storable
from memos_assets.cache.vector_indexes import Bounds

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
class Embed:
    """A text to be embedded; None is sent where the embedder does not answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A pair for the gate, and for the judge where there is one."""

    asked: str
    matched: str
    age: float


@dataclass(frozen=True, slots=True)
class Compute:
    """The caller's computation; its lease is renewed meanwhile. No session is open."""

    lease: Lease | None


@dataclass(frozen=True, slots=True)
class Sleep:
    """A wait of some seconds."""

    seconds: float


Effect = Work | Embed | Ask | Compute | Sleep
Steps = Generator[Effect, Any, "Outcome"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a miss.

    Attributes:
        answer: of the caller who led.
        text: JSON of the value that other callers of the same key get; None: nothing is shared.
        alone: others have nothing to wait for, and compute at once.
    """

    answer: Answer
    text: str | None = None
    alone: bool = False

    def shared(self) -> Answer | None:
        """Return the answer of another caller; None: there is none."""
        return None if self.text is None else answer.shared(self.answer, self.text)


@dataclass(frozen=True, slots=True)
class Meaning:
    """How answers of other queries are found.

    Attributes:
        model: of the embedder, by its name.
        bounds: how far the indexes of this process's buckets reach.
        shadow_rate: share of the answers that would be served, and are computed to be compared.
    """

    model: str
    bounds: Bounds
    shadow_rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    Attributes:
        key: of it.
        namespace: its rules.
        ttl: seconds, in place of the namespace's.
        rng: uniform in [0, 1).
        miss: why there is no answer so far.
        meaning: how answers of other queries are found; None: they are not.
        vector: of the query, once it is embedded.
        shadow: an answer that would have been served, to compare the computed one with.
    """

    key: Key
    namespace: Namespace
    ttl: float | None
    rng: Callable[[], float]
    miss: Miss
    meaning: Meaning | None = None
    vector: Vector | None = None
    shadow: Near | None = None

    @property
    def user(self) -> str | None:
        """Whose rows are seen."""
        return self.key.scope.user


def lead(request: Request, stale: Entry | None) -> Steps:
    """Find an answer by meaning, or compute it once among all processes."""
    try:
        if request.miss.reason == "unavailable":
            raise UnavailableError
        if request.meaning is not None:
            found = yield from _by_meaning(request, request.meaning)
            if isinstance(found, Outcome):
                return found
            request = found
        got = yield from _lease(request, stale)
    except UnavailableError:
        request = replace(request, miss=replace(request.miss, reason="unavailable"))
        return (yield from _alone(request))
    if isinstance(got, Outcome):
        return got
    if got is None:
        return (yield from _alone(request))
    return (yield from _under(request, got))


def _by_meaning(request: Request, meaning: Meaning) -> Generator[Effect, Any, Outcome | Request]:
    """Return the answer of the nearest query; or the request with why there is none."""
    key = request.key
    embedding = yield Embed(key.query)
    vector = None if embedding is None else nearest.vector_of(key, meaning.model, embedding)
    if vector is None:
        return replace(request, miss=Miss("not embedded"))
    request = replace(request, vector=vector)

    def look(session: Session) -> Near | None:
        return nearest.nearest(session, key, vector, meaning.bounds)

    near: Near | None = yield Work(look)
    if near is None:
        return request
    miss = Miss("below threshold", near.similarity, near.entry.query)
    if near.similarity < near.threshold:
        return replace(request, miss=miss)
    if near.blocked:
        return replace(request, miss=replace(miss, reason="blocked"))
    verdict: Verdict = yield Ask(key.query, near.entry.query, near.entry.age)
    if not verdict.serve:
        miss = replace(miss, reason=f"gate: {verdict.rule}", gate=verdict.reason)
        return replace(request, miss=miss)
    if meaning.shadow_rate > 0 and request.rng() < meaning.shadow_rate:
        miss = replace(miss, reason="shadow", gate=verdict.reason)
        return replace(request, miss=miss, shadow=near)
    found = answer.by_meaning(key, near.entry, near.similarity, meaning.model, verdict.reason)
    return Outcome(found, near.entry.text)


def _lease(request: Request, stale: Entry | None) -> Generator[Effect, Any, Lease | Outcome | None]:
    """Return a lease; or the answer that came meanwhile; or None: it is not worth waiting for."""
    holder, since, wait = uuid4(), time.monotonic(), _FIRST_LOOK
    key = request.key

    def take(session: Session, *, waited: bool) -> tuple[Lease | Busy, Entry | None]:
        entries.act_for(session, request.user, brief=True)
        taken = leases.take(session, key, holder, request.namespace.lease, waited=waited)
        # It may have been published between the first look and now.
        found = entries.read(session, key)
        if isinstance(taken, Lease) and found is not None and found.fresh:
            leases.release(session, taken)
        return taken, found

    while True:
        taken, found = yield Work(partial(take, waited=wait > _FIRST_LOOK))
        if found is not None and found.fresh:
            return Outcome(answer.from_entry(key, found), found.text)
        if isinstance(taken, Lease):
            return taken
        if stale is not None and found is not None and found.usable:
            return Outcome(answer.from_entry(key, found, "stale"), found.text)
        left = request.namespace.most_wait - (time.monotonic() - since)
        if taken.refused or left <= 0:
            return None
        yield Sleep(min(wait * (0.5 + request.rng()), left))
        wait = min(wait * 1.5, _LAST_LOOK)


def _alone(request: Request) -> Steps:
    """Compute without a lease, and store nothing."""
    value = yield Compute(None)
    return Outcome(answer.computed(request.key, plain(value), request.miss, None), alone=True)


def _under(request: Request, lease: Lease) -> Steps:
    """Compute under a lease and publish; however it ends, the lease is free afterwards."""
    key = request.key
    try:
        value = yield Compute(lease)
    except BaseException:
        with suppress(UnavailableError):  # its life ends
            yield Work(_acting(request, lambda session: leases.release(session, lease)))
        raise
    made = storable(value)
    if not isinstance(made, Storable):
        refuse = partial(leases.refuse, lease=lease, seconds=_REFUSED_FOR)
        with suppress(UnavailableError):
            yield Work(_acting(request, refuse))
        return Outcome(answer.computed(key, plain(value), request.miss, None, made), alone=True)
    number = None
    try:
        number = yield Work(_acting(request, _publication(request, lease, made)))
    except UnavailableError:  # nobody waits for what will not come
        with suppress(UnavailableError):
            yield Work(_acting(request, lambda session: leases.release(session, lease)))
    text = None if number is None else made.text
    return Outcome(answer.computed(key, plain(value), request.miss, number), text)


def plain(value: Any) -> Any:
    """Return what a computation returns for the caller."""
    return value.value if isinstance(value, Computed) else value


def _acting(request: Request, run: Callable[[Session], Any]) -> Callable[[Session], Any]:
    def acting(session: Session) -> Any:
        entries.act_for(session, request.user, brief=True)
        return run(session)

    return acting


def _publication(request: Request, lease: Lease, made: Storable) -> Callable[[Session], int | None]:
    """Return what stores an answer if the lease is still ours, and frees the lease."""
    ttl = made.ttl if made.ttl is not None else request.ttl
    life = request.namespace.life(ttl, negative=made.negative, rng=request.rng)

    def publish(session: Session) -> int | None:
        if not (leases.may_store(session, request.key) and leases.hold(session, lease)):
            return None
        number = None
        if life > 0:
            number = entries.store(
                session,
                request.key,
                made,
                life,
                request.namespace.grace,
                fence=lease.fence,
                vector=request.vector,
            )
        if request.shadow is not None and request.vector is not None:
            near = request.shadow
            differs = json.loads(near.entry.text) != json.loads(made.text)
            ref = answer.Ref(
                near.entry.number, request.key, near.entry.query, near.similarity,
                request.vector.model,
            )  # fmt: skip
            feedback.label(session, ref, wrong=differs, origin="shadow")
        leases.release(session, lease)
        return number

    return publish
