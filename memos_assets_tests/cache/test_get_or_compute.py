"""An answer is computed once, and then read: by whom, until when, and what is not stored."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Answer, Cache, Computed, Scope, SyncCache
from memos_assets.cache.common import MOST_COPIED
from memos_assets.memory.sessions import open_memory_sessions
from memos_assets.settings import Settings

Sessions = sessionmaker[Session]


class Counted:
    """A computation that counts its calls."""

    def __init__(self, value: Any = "42") -> None:
        self.value, self.calls = value, 0
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            self.calls += 1
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


def ask(
    sessions: Sessions, compute: Callable[[], Any], scope: Scope, query: str = "why?", **more: Any
) -> Answer:
    more.setdefault("namespace", "answers")
    return SyncCache().get_or_compute(sessions, query=query, compute=compute, scope=scope, **more)


def test_the_second_caller_reads_what_the_first_one_computed(
    sessions: Sessions, scope: Scope
) -> None:
    compute = Counted({"text": "42", "sources": [1, 2.5, None]})
    first = ask(sessions, compute, scope, "  why\n is it? ")
    second = ask(sessions, compute, scope, "why is it?")
    assert (first.origin, second.origin) == ("computed", "exact")
    assert first.reason == "absent"
    assert first.value == second.value == {"text": "42", "sources": [1, 2.5, None]}
    assert compute.calls == 1
    assert second.matched == "why is it?"
    assert 0 <= second.age < 60
    assert second.entry.number == first.entry.number


@pytest.mark.parametrize(
    "other",
    [
        Scope(user="somebody else"),
        Scope(conversation="f1"),
        Scope(tenant="t1"),
        Scope(model="m"),
        Scope(parameters={"temperature": 0}),
        Scope(version="2"),
    ],
    ids=["user", "conversation", "tenant", "model", "parameters", "version"],
)
def test_another_scope_is_another_answer(sessions: Sessions, other: Scope) -> None:
    query = f"which {other}?"
    assert ask(sessions, Counted("ours"), Scope(), query).value == "ours"
    assert ask(sessions, Counted("theirs"), other, query).value == "theirs"
    assert ask(sessions, Counted("ours"), Scope(), query).origin == "exact"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"success": False, "data": 1}, "error"),
        (iter([1]), "stream"),
        ({1: "key is not text"}, "not json"),
        ((1, 2), "not json"),
        (float("nan"), "not json"),
        (object(), "not json"),
        ("x" * 10_000_000, "too large"),
        (Computed("half", partial=True), "partial"),
        (Computed("sent", acted=True), "acted"),
        ({"text": "cut", "finish_reason": "length"}, "partial"),
    ],
    ids=lambda one: one if isinstance(one, str) and len(one) < 20 else "",
)
def test_what_may_not_be_stored_is_returned_all_the_same(
    sessions: Sessions, scope: Scope, value: Any, reason: str
) -> None:
    compute = Counted(value)
    first, second = (ask(sessions, compute, scope) for _ in range(2))
    wanted = value.value if isinstance(value, Computed) else value
    assert first.value is wanted
    assert second.value is wanted
    assert first.refused == reason
    assert compute.calls == 2


def test_an_error_is_the_callers_own_and_frees_the_lease(sessions: Sessions, scope: Scope) -> None:
    for text in ("first", "second"):
        with pytest.raises(ZeroDivisionError, match=text):
            ask(sessions, Counted(ZeroDivisionError(text)), scope)
    assert ask(sessions, Counted("right"), scope).value == "right"


def test_threads_that_miss_at_once_compute_once(sessions: Sessions, scope: Scope) -> None:
    cache, start = SyncCache(), threading.Barrier(16)
    release = threading.Event()

    def slow() -> str:
        compute()
        release.wait(0.3)
        return "once"

    compute = Counted()

    def one(_: int) -> Answer:
        start.wait()
        return cache.get_or_compute(
            sessions, namespace="answers", query="at once", compute=slow, scope=scope
        )

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, range(16)))
    assert compute.calls == 1
    assert {one.value for one in answers} == {"once"}
    assert sorted({one.origin for one in answers}) == ["computed", "exact"]


def test_a_caller_that_is_cancelled_cancels_nobody(shared_settings: Settings, scope: Scope) -> None:
    async def run() -> tuple[list[Any], int]:
        cache, calls = Cache(), 0
        async with open_memory_sessions(shared_settings) as sessions:

            async def slow() -> str:
                nonlocal calls
                calls += 1
                await asyncio.sleep(0.3)
                return "whole"

            def ask() -> asyncio.Task[Answer]:
                return asyncio.create_task(
                    cache.get_or_compute(
                        sessions, namespace="answers", query="c?", compute=slow, scope=scope
                    )
                )

            tasks = [ask() for _ in range(5)]
            await asyncio.sleep(0.15)
            tasks[0].cancel()
            tasks[3].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True), calls

    results, calls = asyncio.run(run())
    assert calls == 1
    assert [type(one).__name__ for one in results] == [
        *("CancelledError", "Answer", "Answer", "CancelledError", "Answer"),
    ]
    assert {one.value for one in results if isinstance(one, Answer)} == {"whole"}


def test_with_its_last_caller_a_computation_is_cancelled_and_its_lease_free(
    shared_settings: Settings, scope: Scope
) -> None:
    async def run() -> tuple[bool, Answer]:
        cache, cancelled = Cache(), False
        async with open_memory_sessions(shared_settings) as sessions:

            async def hangs() -> str:
                nonlocal cancelled
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled = True
                    raise
                return "never"

            def ask(compute: Callable[[], Any]) -> Any:
                return cache.get_or_compute(
                    sessions, namespace="answers", query="h?", compute=compute, scope=scope
                )

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(ask(hangs), 0.5)
            return cancelled, await asyncio.wait_for(ask(lambda: "next"), 3)

    cancelled, found = asyncio.run(run())
    assert cancelled
    assert (found.value, found.origin) == ("next", "computed")


def test_no_connection_is_in_use_while_the_caller_computes(
    sessions: Sessions, scope: Scope
) -> None:
    pool = sessions.kw["bind"].pool

    def compute() -> int:
        return int(pool.checkedout())

    assert ask(sessions, compute, scope).value == 0


def test_a_late_holder_publishes_nothing(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    def late() -> str:
        # Its lease ends, and another caller takes it and publishes.
        with owner.begin() as conn:
            conn.execute(
                sa.text("update agent.cache_leases set expires_at = now() where user_id = :u"),
                {"u": scope.user},
            )
        assert ask(sessions, Counted("in time"), scope).origin == "computed"
        return "late"

    first = ask(sessions, late, scope)
    assert (first.value, first.entry.number) == ("late", None)
    assert ask(sessions, Counted("-"), scope).value == "in time"


def test_a_crash_that_empties_the_tables_costs_a_computation(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    ask(sessions, Counted("before"), scope)
    with owner.begin() as conn:
        unlogged = sa.text(
            "select string_agg(oid::regclass::text, ', ') from pg_class where relkind = 'r' "
            "and relnamespace = 'agent'::regnamespace and relpersistence = 'u'"
        )
        emptied = conn.execute(unlogged).scalar_one()
        assert "agent.cache_entries" in emptied
        conn.execute(sa.text(f"truncate {emptied}"))
    assert ask(sessions, Counted("after"), scope).value == "after"
    assert ask(sessions, Counted("-"), scope).origin == "exact"


def test_a_copy_lives_for_two_seconds_at_most(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    copying = SyncCache(copy_seconds=60)
    for _ in range(2):
        copying.get_or_compute(
            sessions, namespace="answers", query="c", compute=lambda: "old", scope=scope
        )
    with owner.begin() as conn:
        conn.execute(
            sa.text("delete from agent.cache_entries where user_id = :u"), {"u": scope.user}
        )

    def again(cache: SyncCache) -> Any:
        return cache.get_or_compute(
            sessions, namespace="answers", query="c", compute=lambda: (0,), scope=scope
        ).value

    assert again(copying) == "old"
    assert again(SyncCache()) == (0,)
    time.sleep(MOST_COPIED + 0.05)
    assert again(copying) == (0,)
