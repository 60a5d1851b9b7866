"""A network that is loaded, changed without a session and persisted; and the calls of `Memory`."""

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import network, network_value, proposals
from memos_assets.memory.acting import act_as
from memos_assets.memory.explicit_links import connect, disconnect
from memos_assets.memory.facade import Memory, SyncMemory
from memos_assets.memory.links import link_new
from memos_assets.memory.network_calls import NetworkCalls, SyncNetworkCalls
from memos_assets.memory.network_value import load, persist
from memos_assets.memory.proposals import consolidate
from memos_assets.memory.provenance import derive, restore_source, retract_source
from memos_assets.memory.remember import remember
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.memory.traverse import traverse
from memos_assets.memory.vectors import EmbeddingRow, write_embeddings
from memos_assets.postgres import row_security
from memos_assets.postgres.sessions import open_async_sessions
from memos_assets.settings import Settings
from memos_assets_tests.memory import graphs as g
from memos_assets_tests.memory.test_provenance import kept, prepared, states


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        act_as(opened, user="u1")
        yield opened


def linked(loaded: network_value.Network) -> list[tuple[str, str, str, str]]:
    return [(link.a, link.b, link.type, link.direction) for link in loaded.links]


def test_a_network_is_loaded_changed_and_persisted_and_loads_again_as_it_was(
    session: Session,
) -> None:
    one, two, three = (kept(session, f"text {number}") for number in range(3))
    connect(session, two, one, "supports")
    connect(session, two, three, "related")
    loaded = load(session, "u1")
    assert list(loaded.memories) == [one, two, three]
    assert linked(loaded) == [(one, two, "supports", "backward"), (two, three, "related", "none")]
    assert not loaded.is_changed

    new = loaded.add(prepared("new"))
    loaded.connect(new, one, "answers", 0.8)
    loaded.disconnect(two, one, "supports")
    loaded.remove(three)
    # Somebody else remembers and links meanwhile: that stays.
    other = kept(session, "by somebody else")
    connect(session, one, other, "related")
    done = persist(session, loaded)
    assert (done.connected, done.disconnected, done.removed) == (1, 1, [three])
    (made,) = done.kept
    assert states(session, three) == ["wrong"]
    assert persist(session, loaded) == network_value.Persisted([], 0, 0, [])
    again = load(session, "u1")
    assert again.memories.keys() == loaded.memories.keys() == {one, two, made.id, other}
    assert (
        linked(again)
        == linked(loaded)
        == [*[(one, other, "related", "none"), (one, made.id, "answers", "backward")]]
    )
    # The reverse direction is there after a restart, which memOS loses.
    assert [link.b for link in again.links if link.a == one] == [other, made.id]


def test_a_network_is_of_its_user_and_refuses_what_is_not_in_it(session: Session) -> None:
    mine = kept(session, "mine")
    loaded = load(session, "u2")
    assert loaded.memories == {}
    calls: list[Callable[[], None]] = [
        lambda: loaded.connect(mine, mine, "related"),
        lambda: loaded.remove(mine),
        lambda: loaded.disconnect(mine, mine, "related"),
        lambda: loaded.connect(prepared("not added"), mine, "related"),
    ]
    for call in calls:
        with pytest.raises(AgentError, match="M756"):
            call()
    loaded.add(prepared("theirs"))
    act_as(session, user="u1")
    with pytest.raises(AgentError, match="M756"):
        persist(session, loaded)
    act_as(session, user="u2")
    assert len(persist(session, loaded).kept) == 1
    assert len(loaded.memories) == 1


def test_memory_has_every_call_of_the_network_with_asyncio_and_without(
    engine: sa.Engine, settings: Settings
) -> None:
    def calls(face: type) -> set[str]:
        return {name for name in vars(face) if not name.startswith("_")}

    assert calls(NetworkCalls) == calls(SyncNetworkCalls)
    memory, sync = Memory(settings), SyncMemory(settings)

    async def ask() -> tuple[str, list[str], int]:
        async with (
            open_async_sessions(engine.url, settings, application_name="tests") as sessions,
            sessions.begin() as session,
        ):
            await memory.act_as(session, user="u1")
            one = await memory.remember(session, prepared("one"))
            two = await memory.remember(session, prepared("two"))
            await memory.connect(session, one.id, two.id, "related", weight=0.7)
            reached = await memory.traverse(session, one.id, max_depth=1)
            found = await memory.stats(session)
            return one.id, [each.memory.id for each in reached], found["total_connections"]

    one, reached, connections = asyncio.run(ask())
    assert (len(reached), connections) == (1, 1)
    with Session(engine) as session:
        sync.act_as(session, user="u1")
        assert [found.memory.id for found in sync.get_connected(session, one)] == reached
        assert sync.get(session, one).content == "one"


def test_all_of_it_works_as_the_role_of_services(engine: sa.Engine, settings: Settings) -> None:
    with Session(engine) as session, session.begin():
        g.add_model(session)
        row_security.install(session.connection())
    with open_sync_memory_sessions(settings) as sessions:
        with sessions.begin() as session:
            space = act_as(session, user="u1").private
            numbers = [
                remember(session, one).number  # type: ignore[union-attr]
                for one in (prepared("The code is 7"), prepared("The code is 8"))
            ]
            rows = [
                EmbeddingRow(number, 0, space, None, g.turned(turn).astype(np.float32))
                for turn, number in enumerate(numbers)
            ]
            assert write_embeddings(session, rows, g.MODEL)
            made = link_new(session, numbers, g.MODEL)
            assert [link.number for link in made[numbers[0]]] == [numbers[1]]
        with sessions.begin() as session:
            act_as(session, user="u1")
            one, other = list(load(session, "u1").memories)
            connect(session, one, other, "supports")
            derive(session, other, [one])
            network.boost(session, one, 1)
            assert len(traverse(session, one)) == 1
            (found,) = consolidate(session, dry_run=False)
            assert found.number is not None
            proposals.apply(session, found.number)
            proposals.undo(session, found.number)
            assert retract_source(session, "user:u1").changed == [one, other]
            assert restore_source(session, "user:u1").changed == [one, other]
            assert disconnect(session, one, other) == 2
        with sessions.begin() as session:
            act_as(session, user="u2")
            assert network.stats(session)["total_memories"] == 0
            with pytest.raises(AgentError, match="M705"):
                connect(session, one, other, "related")
