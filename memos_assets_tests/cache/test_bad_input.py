"""Whatever a caller passes or computes, it gets its value or its own error, and so do others."""

import asyncio
import threading
import time
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Cache, Computed, Scope, SyncCache
from memos_assets.cache.common import MOST_COPIED_BYTES, Copies
from memos_assets.cache.drivers import Availability
from memos_assets.cache.entries import Entry
from memos_assets.cache.flow import UnavailableError
from memos_assets.cache.key import key_of

Sessions = sessionmaker[Session]


def _entry(size: int) -> Entry:
    return Entry(
        number=1, query="q", text="x" * size, negative=False, age=0.0, fresh=True, usable=True,
        seconds_left=60.0,
    )  # fmt: skip


class Moody:
    """An object that raises wherever it is looked at."""

    def __eq__(self, other: object) -> bool:
        raise LookupError

    def __bool__(self) -> bool:
        raise LookupError

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "value",
    [
        {"error": np.zeros(2), "partial": np.zeros(2)},
        {"acted": Moody()},
        Moody(),
        Computed("x", ttl="soon"),  # type: ignore[arg-type]
        Computed("x", ttl=10**400),
        Computed("x", cites=5),  # type: ignore[arg-type]
    ],
    ids=["arrays", "moody", "moody alone", "ttl", "long ttl", "cites"],
)
def test_a_value_of_any_kind_is_the_callers(sessions: Sessions, scope: Scope, value: Any) -> None:
    for _ in range(2):
        found = SyncCache().get_or_compute(
            sessions, namespace="answers", query="v", compute=lambda: value, scope=scope
        )
        assert found.value is (value.value if isinstance(value, Computed) else value)
        assert (found.origin, found.entry.number) == ("computed", None)


@pytest.mark.parametrize("namespace", [None, 5, "a\0b", "\ud800"], ids=str)
def test_a_namespace_of_any_kind_breaks_no_counts(
    sessions: Sessions, scope: Scope, namespace: Any
) -> None:
    cache = SyncCache()
    for one in (namespace, "answers", namespace):
        found = cache.get_or_compute(
            sessions, namespace=one, query="n", compute=lambda: 1, scope=scope
        )
        assert found.value == 1
    counted = sa.text(
        "select coalesce(sum(count), 0) from agent.cache_counts where namespace = 'answers'"
    )
    with sessions() as session:
        before = session.execute(counted).scalar_one()
    cache.flush(sessions)
    with sessions() as session:
        assert session.execute(counted).scalar_one() > before


@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt, SystemExit])
def test_an_error_of_any_kind_is_the_callers(
    sessions: Sessions, scope: Scope, error: type[BaseException]
) -> None:
    def compute() -> Any:
        raise error("of the caller")

    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(error, match="of the caller"):
            SyncCache().get_or_compute(
                sessions, namespace="answers", query="e", compute=compute, scope=scope
            )
    assert time.monotonic() - began < 2  # the lease was free


def test_without_a_thread_to_renew_its_lease_the_caller_has_its_value(
    sessions: Sessions, scope: Scope, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    found = SyncCache().get_or_compute(
        sessions, namespace="answers", query="t", compute=lambda: 1, scope=scope
    )
    assert found.value == 1


def test_a_database_that_cannot_be_reached_is_not_asked_by_each_caller(scope: Scope) -> None:
    tried = []

    def connect() -> Any:
        tried.append(1)
        raise psycopg.OperationalError

    engine = sa.create_engine("postgresql+psycopg://", creator=connect)
    cache = SyncCache()
    for _ in range(3):
        found = cache.get_or_compute(
            sessionmaker(engine), namespace="answers", query="q", compute=lambda: 7, scope=scope
        )
        assert (found.value, found.reason) == (7, "unavailable")
    assert len(tried) == 1


def test_an_engine_of_another_kind_costs_no_answer(scope: Scope) -> None:
    """A pool that was disposed, a driver that raises what is its own: none is the caller's."""

    def connect() -> Any:
        raise RuntimeError("of the driver")

    engine = sa.create_engine("postgresql+psycopg://", creator=connect)
    cache = SyncCache()
    found = cache.get_or_compute(
        sessionmaker(engine), namespace="answers", query="q", compute=lambda: 7, scope=scope
    )
    assert (found.value, found.reason) == (7, "unavailable")
    with pytest.raises(UnavailableError):
        cache.availability.check()


def test_without_a_database_an_asynchronous_caller_has_its_value(scope: Scope) -> None:
    async def run() -> list[Any]:
        engine = create_async_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
        cache, sessions = Cache(), async_sessionmaker(engine)
        asked = [
            cache.get_or_compute(
                sessions, namespace="answers", query="q", compute=lambda: 7, scope=scope
            )
            for _ in range(4)
        ]
        return [one.value for one in await asyncio.gather(*asked)]

    assert asyncio.run(run()) == [7] * 4


def test_copies_keep_to_their_bytes_and_go_when_they_end() -> None:
    now = 0.0
    copies = Copies(2, clock=lambda: now)
    entry = _entry(4_000_000)
    keys = [key_of("answers", f"q {place}", Scope()) for place in range(50)]
    for key in keys:
        assert key is not None
        copies.put(key, entry)
    kept = [key for key in keys if key is not None and copies.get(key) is not None]
    assert 1 <= len(kept) <= MOST_COPIED_BYTES // 4_000_000
    assert kept[-1] is keys[-1]
    now = 2.5
    assert all(copies.get(key) is None for key in keys if key is not None)
    assert copies.bytes == 0


def test_copies_are_put_and_cleared_by_threads_at_once() -> None:
    copies, stop, errors = Copies(2), threading.Event(), []
    entry = _entry(1_000_000)
    keys = [key for place in range(100) if (key := key_of("answers", f"q {place}", Scope()))]

    def put() -> None:
        try:
            while not stop.is_set():
                for key in keys:
                    copies.put(key, entry)
                    copies.get(key)
        except Exception as error:  # noqa: BLE001  shown below
            errors.append(error)

    threads = [threading.Thread(target=put) for _ in range(3)]
    for one in threads:
        one.start()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        copies.clear()
    stop.set()
    for one in threads:
        one.join()
    copies.clear()
    assert (errors, copies.bytes) == ([], 0)


def test_an_error_of_one_statement_says_nothing_of_the_next() -> None:
    available = Availability()

    class LockedError(Exception):
        sqlstate = "55P03"

    available.failed(sa.exc.OperationalError("select", {}, LockedError()))
    available.check()
