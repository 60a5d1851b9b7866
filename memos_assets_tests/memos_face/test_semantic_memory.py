"""memOS's face of the semantic network: its names and shapes, without its defects."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memory.facade import SyncMemory
from memos_assets.memory.seed import seed
from memos_assets.memos_face.semantic_memory import (
    ConnectionType,
    Memory,
    MemoryConnection,
    MemoryType,
    SemanticMemoryNetwork,
)
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.memory import graphs as g


class ByFirstWord:
    """An embedder for which texts are alike by their first word."""

    model = g.MODEL

    def embed(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [g.turned(3.0 * len(text), plane=len(text.split()[0]) % 8) for text in texts]

    def embed_query(self, text: str) -> np.ndarray:
        return self.embed([text])[0]


@pytest.fixture
def network(engine: sa.Engine, settings: Settings) -> SemanticMemoryNetwork:
    with Session(engine) as session, session.begin():
        g.add_model(session)
    memory = SyncMemory(settings, embedder=ByFirstWord())  # type: ignore[arg-type]
    return SemanticMemoryNetwork(sessionmaker(engine), "u1", memory=memory)


def add(network: SemanticMemoryNetwork, content: str, kind: MemoryType, *to: Memory) -> Memory:
    connections = [(one.id, ConnectionType.SUPPORTS) for one in to]
    connections.append(("0123456789ab", ConnectionType.RELATED))
    return asyncio.run(network.add_memory(content, kind, {"n": 1}, connections))


def test_the_values_of_enumerations_are_those_of_memos() -> None:
    assert [one.value for one in MemoryType] == [
        *("finding", "source", "entity", "reasoning"),
        *("observation", "example", "question", "answer"),
    ]
    assert [one.value for one in ConnectionType] == [
        *("semantic", "reference", "supports", "contradicts"),
        *("derived_from", "answers", "related"),
    ]


def test_memories_are_added_connected_found_and_counted(network: SemanticMemoryNetwork) -> None:
    pump = add(network, "pump runs", MemoryType.FINDING)
    tank = add(network, "tank fills", MemoryType.ENTITY)
    valve = add(network, "valve opens", MemoryType.FINDING, tank)
    # The same content twice is one memory, and an unknown target is left out.
    assert add(network, "Pump  runs", MemoryType.FINDING).id == pump.id
    assert (pump.memory_type, pump.attributes, pump.access_count) == ("finding", {"n": 1}, 0)
    kinds = {one.connection_type for one in valve.connections}
    assert ConnectionType.SUPPORTS in kinds
    # The reverse edge is there from the other end, in a network that was just made.
    assert [
        (one.content, edge) for one, edge in network.get_connected(tank.id, ConnectionType.SUPPORTS)
    ] == [
        (
            "valve opens",
            MemoryConnection(valve.id, ConnectionType.SUPPORTS, 0.9, bidirectional=False),
        )
    ]
    # Without a type a traversal returns all that it reaches.
    assert tank.id in {one.id for one, _ in network.traverse(valve.id)}
    assert network.traverse(valve.id, target_type=MemoryType.ENTITY)[0][0].content == "tank fills"
    found = asyncio.run(network.find_similar("pump runs", top_k=1))
    assert [(one.id, round(cosine, 3)) for one, cosine in found] == [(pump.id, 1.0)]
    ((one, score, cosine),) = asyncio.run(network.find_similar_with_decay("pump runs", 1))
    assert (one.id, round(score, 2)) == (pump.id, round(0.7 * cosine + 0.3 * 0.3, 2))
    assert network.boost_memory(pump.id, 0.3)
    again = network.get_memory(pump.id)
    assert again is not None
    assert (again.access_count, again.created_at) == (4, pump.created_at)
    assert again.last_accessed > again.created_at
    assert [one.id for one in network.get_by_type(MemoryType.FINDING)] == [pump.id, valve.id]
    stats = network.get_stats()
    assert (stats["total_memories"], stats["similarity_threshold"]) == (3, g.THRESHOLD)
    edges = [
        one for memory in network.to_dict()["memories"].values() for one in memory["connections"]
    ]
    assert len(edges) == 2 * stats["total_connections"]


def test_a_memory_that_is_not_there_is_none_and_nothing_is_deleted(
    network: SemanticMemoryNetwork,
) -> None:
    pump = add(network, "pump runs", MemoryType.FINDING)
    for one in ("0123456789ab", "' or true --", "00000000-0000-0000-0000-000000000000"):
        assert network.get_memory(one) is None
        assert not network.boost_memory(one)
        assert network.get_connected(one) == []
        assert network.traverse(one) == []
    assert network.consolidate_memories(dry_run=False) == {
        "weak_memories": 0,
        "memory_ids": [],
        "deleted": 0,
        "dry_run": False,
    }
    assert network.get_memory(pump.id) is not None


def test_memos_own_ids_find_seeded_memories_and_no_one_elses(
    engine: sa.Engine, network: SemanticMemoryNetwork, tmp_path: Path
) -> None:
    rows = [b.memory(1, id="0123456789ab"), b.memory(2, id="ba9876543210")]
    b.consolidate(engine, b.write_kind(tmp_path / "data", "semantic_memory", memories=rows))
    seed(engine, "u2")
    assert network.get_memory("0123456789ab") is None
    seed(engine, "u1")
    found = network.get_memory("0123456789ab")
    assert found is not None
    assert (found.content, found.memory_type) == ("remembered 1", MemoryType.ENTITY)
