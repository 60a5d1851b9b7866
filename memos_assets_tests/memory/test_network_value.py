"""A network that is loaded, changed without a session and persisted; and the calls of `Memory`."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import network_value
from memos_assets.memory.acting import act_as
from memos_assets.memory.explicit_links import connect
from memos_assets.memory.facade import Memory, SyncMemory
from memos_assets.memory.network_calls import NetworkCalls, SyncNetworkCalls
from memos_assets.memory.network_value import load, persist
from memos_assets.postgres.sessions import open_async_sessions
from memos_assets.settings import Settings
from memos_assets_tests.memory.test_provenance import kept, prepared, states


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        act_as(opened, user="u1")
        yield opened


def linked(network: network_value.Network) -> list[tuple[str, str, str, str]]:
    return [(link.a, link.b, link.type, link.direction) for link in network.links]


def test_a_network_is_loaded_changed_and_persisted_and_loads_again_as_it_was(
    session: Session,
) -> None:
    one, two, three = (kept(session, f"text {number}") for number in range(3))
    connect(session, two, one, "supports")
    connect(session, two, three, "related")
    network = load(session, "u1")
    assert list(network.memories) == [one, two, three]
    assert linked(network) == [(one, two, "supports", "backward"), (two, three, "related", "none")]
    assert not network.is_changed

    new = network.add(prepared("new"))
    network.connect(new, one, "answers", 0.8)
    network.disconnect(two, one, "supports")
    network.remove(three)
    # Somebody else remembers and links meanwhile: that stays.
    other = kept(session, "by somebody else")
    connect(session, one, other, "related")
    done = persist(session, network)
    assert (done.connected, done.disconnected, done.removed) == (1, 1, [three])
    (made,) = done.kept
    assert states(session, three) == ["wrong"]
    assert persist(session, network) == network_value.Persisted([], 0, 0, [])
    again = load(session, "u1")
    assert again.memories.keys() == network.memories.keys() == {one, two, made.id, other}
    assert (
        linked(again)
        == linked(network)
        == [*[(one, other, "related", "none"), (one, made.id, "answers", "backward")]]
    )
    # The reverse direction is there after a restart, which memOS loses.
    assert [link.b for link in again.links if link.a == one] == [other, made.id]


def test_a_network_is_of_its_user_and_refuses_what_is_not_in_it(session: Session) -> None:
    mine = kept(session, "mine")
    network = load(session, "u2")
    assert network.memories == {}
    calls: list[Callable[[], None]] = [
        lambda: network.connect(mine, mine, "related"),
        lambda: network.remove(mine),
        lambda: network.disconnect(mine, mine, "related"),
        lambda: network.connect(prepared("not added"), mine, "related"),
    ]
    for call in calls:
        with pytest.raises(AgentError, match="M756"):
            call()
    network.add(prepared("theirs"))
    act_as(session, user="u1")
    with pytest.raises(AgentError, match="M756"):
        persist(session, network)
    act_as(session, user="u2")
    assert len(persist(session, network).kept) == 1
    assert len(network.memories) == 1


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
