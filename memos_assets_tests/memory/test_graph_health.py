"""Degrees, isolated memories and connected groups of the network."""

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory import SyncMemory
from memos_assets.memory.explicit_links import connect
from memos_assets.memory.graph_health import _component_sizes, graph_health
from memos_assets.settings import Settings


def test_an_empty_network_is_healthy(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        found = graph_health(conn)
    assert (found.memories, found.components, found.largest, found.highest) == (0, 0, 0, 0)
    assert (found.isolated_share, found.mean_degree) == (0.0, 0.0)
    assert sum(found.degrees.values()) == 0


def test_links_of_what_is_believed_are_counted(engine: sa.Engine, settings: Settings) -> None:
    memory = SyncMemory(settings)
    with Session(engine) as session, session.begin():
        memory.act_as(session, user="u1")
        ids = [memory.remember(session, memory.prepare(f"fact {n}")).id for n in range(8)]
        for a, b in ((0, 1), (1, 2), (3, 4), (5, 6)):
            connect(session, ids[a], ids[b], "related")
        connect(session, ids[0], ids[1], "supports")
        retracted = memory.prepare("wrong")
        wrong = memory.remember(session, retracted).id
        connect(session, ids[7], wrong, "related")
        memory.retract(session, wrong)
    with engine.connect() as conn:
        found = graph_health(conn)
    assert (found.memories, found.isolated, found.components, found.largest) == (8, 1, 3, 3)
    assert found.links == {"related": 4, "supports": 1}
    assert found.degrees == {**dict.fromkeys(found.degrees, 0), "none": 1, "1": 6, "2 to 3": 1}
    assert (found.highest, found.isolated_share, found.mean_degree) == (2, 1 / 8, 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_connected_groups_are_those_of_a_search_from_each_node(seed: int) -> None:
    generator = np.random.default_rng(seed)
    edges = generator.integers(0, 300, size=(200, 2))
    nodes = list(range(300))
    groups: list[int] = []
    seen: set[int] = set()
    for start in nodes:
        if start in seen:
            continue
        group, waiting = {start}, [start]
        while waiting:
            one = waiting.pop()
            for a, b in edges.tolist():
                for other in ({a, b} - {one}) if one in (a, b) else ():
                    if other not in group:
                        group.add(other)
                        waiting.append(other)
        seen |= group
        groups.append(len(group))
    assert sorted(_component_sizes(300, edges)) == sorted(groups)


def test_a_long_chain_is_one_group() -> None:
    chain = np.stack([np.arange(20_000), np.arange(1, 20_001)], axis=1)
    generator = np.random.default_rng(1)
    names = generator.permutation(20_001)
    assert _component_sizes(20_001, names[chain]) == [20_001]
