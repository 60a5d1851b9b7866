"""Answers end with what they rest on, in the writer's transaction."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Answer, Computed, Scope, SyncCache
from memos_assets.memory import Kept, SyncMemory
from memos_assets.settings import Settings

Sessions = sessionmaker[Session]


def ask(sessions: Sessions, query: str, value: Any, scope: Scope, **more: Any) -> Answer:
    more.setdefault("namespace", "answers")
    return SyncCache().get_or_compute(
        sessions, query=query, compute=lambda: value, scope=scope, **more
    )


@pytest.fixture
def memory() -> SyncMemory:
    return SyncMemory(Settings())


def remember(sessions: Sessions, memory: SyncMemory, user: str, text: str) -> Kept:
    with sessions() as session, session.begin():
        memory.act_as(session, user=user)
        return memory.remember(session, memory.prepare(text))


@pytest.mark.parametrize("change", ["retract", "supersede", "restore", "set_validity"])
def test_an_answer_ends_with_a_memory_that_it_cites(
    sessions: Sessions, memory: SyncMemory, scope: Scope, change: str
) -> None:
    assert scope.user is not None
    cited = remember(sessions, memory, scope.user, f"cited of {scope.user}")
    other = remember(sessions, memory, scope.user, f"other of {scope.user}")
    if change == "restore":  # what rests on a memory that is known to be wrong ends, too
        change = "set_validity"
    # Somebody else's answer rests on it, too: the memory may be in a shared space.
    theirs = Scope(user=f"friend of {scope.user}")
    for one in (scope, theirs):
        ask(sessions, "about", Computed("so", cites=[cited.id]), one)
        assert ask(sessions, "about", "-", one).origin == "exact"
    ask(sessions, "else", Computed("not it", cites=[other.id]), scope)
    with sessions() as session:
        memory.act_as(session, user=scope.user)
        if change == "retract":
            memory.retract(session, cited.id)
        elif change == "supersede":
            memory.supersede(session, cited.id, other.id)
        else:
            memory.set_validity(session, cited.id, valid_from="2020-01-01")
        # Not before the writer commits.
        assert ask(sessions, "about", "-", scope).origin == "exact"
        session.commit()
    for one in (scope, theirs):
        assert ask(sessions, "about", "new", one).value == "new"
    if change != "supersede":  # which moves the start of the other one
        assert ask(sessions, "else", "-", scope).value == "not it"


def test_an_answer_whose_memory_ended_meanwhile_is_not_kept(
    sessions: Sessions, memory: SyncMemory, scope: Scope
) -> None:
    assert scope.user is not None
    cited = remember(sessions, memory, scope.user, f"ends meanwhile of {scope.user}")

    def compute() -> Computed:
        with sessions() as session, session.begin():
            memory.act_as(session, user=str(scope.user))
            memory.retract(session, cited.id)
        return Computed("of the retracted one", cites=[cited.id])

    first = SyncCache().get_or_compute(
        sessions, namespace="answers", query="q", compute=compute, scope=scope
    )
    assert first.value == "of the retracted one"
    assert ask(sessions, "q", "anew", scope).value == "anew"
    for nobody in (uuid4(), str(uuid4())):
        ask(sessions, f"q {nobody}", Computed(1, cites=[nobody]), scope)
        assert ask(sessions, f"q {nobody}", 2, scope).value == 2


def test_an_answer_lives_no_longer_than_the_memory(
    sessions: Sessions, memory: SyncMemory, scope: Scope, owner: sa.Engine
) -> None:
    assert scope.user is not None
    with sessions() as session, session.begin():
        memory.act_as(session, user=scope.user)
        soon = sa.text("select now() + interval '1 minute'")
        until = session.execute(soon).scalar_one()
        prepared = memory.prepare(f"ends soon of {scope.user}", valid_until=until)
        cited = memory.remember(session, prepared)
    ask(sessions, "q", Computed("so", cites=[cited.id]), scope)
    with owner.connect() as conn:
        found = conn.execute(
            sa.text("select expires_at, stale_until from agent.cache_entries where user_id = :u"),
            {"u": scope.user},
        ).one()
    assert found == (until, until)


def test_a_writer_evicts_by_key_user_namespace_and_memory(
    sessions: Sessions, memory: SyncMemory, scope: Scope
) -> None:
    assert scope.user is not None
    cache = SyncCache()
    cited = remember(sessions, memory, scope.user, f"evicts of {scope.user}")
    other = Scope(user=f"other of {scope.user}")
    space = f"ns-{scope.user}"

    def fill() -> None:
        for one in (scope, other):
            for query in ("a", "b"):
                value = Computed(query, cites=[cited.id] if query == "b" else [])
                ask(sessions, query, value, one, namespace=space)

    def left() -> list[tuple[str, str]]:
        return [
            (name, query)
            for name, one in (("mine", scope), ("other", other))
            for query in ("a", "b")
            if ask(sessions, query, (0,), one, namespace=space).origin == "exact"
        ]

    everything = [("mine", "a"), ("mine", "b"), ("other", "a"), ("other", "b")]
    expected: list[tuple[dict[str, Any], list[int]]] = [
        ({"namespace": space, "query": " a ", "scope": scope}, [1, 2, 3]),
        ({"user": other.user}, [0, 1]),
        ({"memory": UUID(str(cited.id))}, [0, 2]),
        ({"namespace": space}, []),
        ({}, [0, 1, 2, 3]),
    ]
    for call, kept in expected:
        fill()
        assert left() == everything
        with sessions() as session, session.begin():
            evicted = cache.invalidate(session, **call)
        assert evicted == 4 - len(kept)
        assert left() == [everything[place] for place in kept]


def test_what_is_computed_while_it_is_invalidated_is_not_stored(
    sessions: Sessions, scope: Scope
) -> None:
    def compute() -> str:
        with sessions() as session, session.begin():
            SyncCache().invalidate(session, user=scope.user)
        return "by what was known before"

    SyncCache().get_or_compute(
        sessions, namespace="answers", query="q", compute=compute, scope=scope
    )
    assert ask(sessions, "q", "after", scope).value == "after"


def test_a_user_is_walled_off_from_answers_of_another_one(sessions: Sessions, scope: Scope) -> None:
    ask(sessions, "secret", "of mine", scope)
    ask(sessions, "everybody's", "shared", Scope(tenant=scope.user))
    counted = sa.text("select count(*) from agent.cache_entries where user_id = :u")
    shared = sa.text("select count(*) from agent.cache_entries where tenant = :u")
    act = sa.text("select set_config('app.current_user_id', :u, true)")
    for user, seen in ((scope.user, 1), ("somebody else", 0), ("", 0)):
        with sessions() as session:
            session.execute(act, {"u": user})
            assert session.execute(counted, {"u": scope.user}).scalar_one() == seen
            assert session.execute(shared, {"u": scope.user}).scalar_one() == 1
    with sessions() as session:
        session.execute(act, {"u": "somebody else"})
        # Even with the key of another user.
        stolen = sa.text(
            "select count(*) from agent.cache_read((select key from agent.cache_entries "
            "where user_id = :u), 'somebody else')"
        )
        assert session.execute(stolen, {"u": scope.user}).scalar_one() == 0
        with pytest.raises(sa.exc.ProgrammingError, match="row-level security"):
            session.execute(
                sa.text(
                    "insert into agent.cache_uses (entry, user_id, hits, used_at) "
                    "values (1, :u, 1, now())"
                ),
                {"u": scope.user},
            )


def test_what_is_computed_before_the_writer_commits_is_not_stored(
    sessions: Sessions, scope: Scope
) -> None:
    with sessions() as session:
        with session.begin():
            SyncCache().invalidate(session, user=scope.user)
            # By what the writer is about to change; and in a savepoint that ends earlier.
            with session.begin_nested():
                ask(sessions, "q", "before", scope)
            ask(sessions, "r", "before", scope)
        with session.begin():
            ask(sessions, "s", "kept: this transaction invalidates nothing", scope)
    assert ask(sessions, "q", "after", scope).value == "after"
    assert ask(sessions, "r", "after", scope).value == "after"
    assert ask(sessions, "s", "after", scope).origin == "exact"


def test_a_writer_that_rolls_back_evicts_nothing_later(sessions: Sessions, scope: Scope) -> None:
    ask(sessions, "q", "kept", scope)
    with sessions() as session:
        SyncCache().invalidate(session, user=scope.user)
        session.rollback()
        session.execute(sa.text("select 1"))
        session.commit()
    assert ask(sessions, "q", "-", scope).origin == "exact"


def test_nobody_waits_for_a_writer_and_no_writer_fails_for_the_cache(
    sessions: Sessions, memory: SyncMemory, scope: Scope
) -> None:
    """The writer has the memory and then wants the leases; who publishes has them the other way."""
    assert scope.user is not None
    cited = remember(sessions, memory, scope.user, f"waited for of {scope.user}")
    publishing = threading.Event()

    def compute() -> Computed:
        publishing.wait(5)
        return Computed("late", cites=[cited.id])

    with ThreadPoolExecutor(1) as pool, sessions() as session:
        asked = pool.submit(
            SyncCache().get_or_compute,
            sessions, namespace="answers", query="q", compute=compute, scope=scope,
        )  # fmt: skip
        time.sleep(0.1)
        memory.act_as(session, user=scope.user)
        memory.retract(session, cited.id)
        publishing.set()
        assert asked.result(timeout=0.9).value == "late"
        SyncCache().invalidate(session, user=scope.user)
        began = time.monotonic()
        other = Scope(user=scope.user, version="another")
        assert ask(sessions, "q", "at once", other).value == "at once"
        assert time.monotonic() - began < 0.9
        session.commit()
    assert ask(sessions, "q", "after", scope).value == "after"


def test_what_is_computed_while_answers_of_a_memory_are_evicted_is_not_stored(
    sessions: Sessions, memory: SyncMemory, scope: Scope
) -> None:
    assert scope.user is not None
    cited = remember(sessions, memory, scope.user, f"evicted of {scope.user}")

    def compute() -> Computed:
        with sessions() as session, session.begin():
            SyncCache().invalidate(session, memory=str(cited.id))
        return Computed("by what was known before", cites=[cited.id])

    SyncCache().get_or_compute(
        sessions, namespace="answers", query="q", compute=compute, scope=scope
    )
    assert ask(sessions, "q", "after", scope).value == "after"


def test_what_begins_and_ends_just_before_the_commit_is_not_stored(
    sessions: Sessions, memory: SyncMemory, scope: Scope
) -> None:
    """The writer's last statement is behind it: nothing evicts once more."""
    assert scope.user is not None
    cited = remember(sessions, memory, scope.user, f"late of {scope.user}")
    space = f"late-{scope.user}"
    calls: tuple[dict[str, Any], ...] = (
        {"user": scope.user},
        {"namespace": space},
        {"namespace": space, "query": "q", "scope": scope},
        {"memory": str(cited.id)},
    )
    for call in calls:
        with sessions() as session:
            SyncCache().invalidate(session, **call)
            # `before_commit` is past, too: the transaction is committed by its connection.
            assert ask(sessions, "q", "before", scope, namespace=space).value == "before"
            session.connection().exec_driver_sql("commit")
        assert ask(sessions, "q", "after", scope, namespace=space).value == "after", call
        with sessions() as session, session.begin():
            SyncCache().invalidate(session, namespace=space)


def test_an_eviction_stops_no_answers_that_it_is_not_about(
    sessions: Sessions, scope: Scope
) -> None:
    other = Scope(user=f"beside {scope.user}")
    with sessions() as session, session.begin():
        SyncCache().invalidate(session, user=scope.user)
        ask(sessions, "q", "kept", other)
        assert ask(sessions, "q", "-", other).origin == "exact"
        # Nor does one writer wait for another.
        with sessions() as beside, beside.begin():
            SyncCache().invalidate(beside, user=scope.user)


def test_services_may_evict_and_nobody_else(
    sessions: Sessions, owner: sa.Engine, scope: Scope
) -> None:
    call = sa.text("select agent.cache_evict(null, null, :user, null)")
    with sessions() as session, session.begin():
        session.execute(call, {"user": scope.user})
    with owner.connect() as conn:
        conn.execute(sa.text("create role stranger_to_the_cache"))
        conn.execute(sa.text("grant usage on schema agent to stranger_to_the_cache"))
        conn.execute(sa.text("set local role stranger_to_the_cache"))
        with pytest.raises(sa.exc.ProgrammingError, match="permission denied for function"):
            conn.execute(call, {"user": scope.user})
        conn.rollback()
