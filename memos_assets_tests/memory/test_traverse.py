"""Explicit links and traversal, against a graph in plain Python."""

import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import network, nodes
from memos_assets.memory.acting import act_as
from memos_assets.memory.explicit_links import connect, disconnect
from memos_assets.memory.prepared import Asked
from memos_assets.memory.traverse import traverse
from memos_assets.postgres.schema.agent import DIRECTED, LINK_TYPES, memories
from memos_assets_tests.memory import graphs as g

#: (from, to) -> type -> weight; a link without a direction is there twice.
Model = dict[tuple[str, str], dict[str, float]]


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    """A session that acts for u1."""
    with Session(engine) as opened:
        act_as(opened, user="u1")
        yield opened


def private_memories(session: Session, count: int, **columns: Any) -> list[str]:
    space = act_as(session, user="u1").private
    numbers = g.add_memories(session, space, [f"text {n}" for n in range(count)], **columns)
    found = sa.select(memories.c.id).where(memories.c.number.in_(numbers))
    return [str(one) for one in session.execute(found.order_by(memories.c.number)).scalars()]


def strongest(
    model: Model, start: str, depth: int, least: float, types: set[str]
) -> dict[str, float]:
    """Return memory -> the greatest product of weights over all ways without a cycle."""
    best: dict[str, float] = {}
    ways: list[tuple[tuple[str, ...], float]] = [((start,), 1.0)]
    for _ in range(depth):
        longer = []
        for way, strength in ways:
            for (one, other), links in model.items():
                for kind, weight in links.items():
                    product = strength * weight
                    if one == way[-1] and other not in way and kind in types and product >= least:
                        longer.append(((*way, other), product))
                        best[other] = max(best.get(other, 0.0), product)
        ways = longer
    return best


def ends(model: Model) -> dict[tuple[str, str, str], float]:
    return {(a, b, kind): w for (a, b), links in model.items() for kind, w in links.items()}


def as_seen(session: Session, ids: list[str]) -> dict[tuple[str, str, str], float]:
    """Return every link, as `get_connected` shows it from both of its ends."""
    seen = {}
    for one in ids:
        for link in network.get_connected(session, one):
            if link.way in {"none", "out", "both"}:
                seen[one, link.memory.id, link.type] = link.weight
            if link.way in {"none", "in", "both"}:
                seen[link.memory.id, one, link.type] = link.weight
    return seen


@pytest.mark.parametrize("seed", range(4))
def test_random_links_and_traversals_agree_with_a_graph_in_python(
    session: Session, seed: int
) -> None:
    chosen, model = random.Random(seed), Model()
    ids = private_memories(session, 7)
    for step in range(60):
        one, other = chosen.sample(ids, 2)
        kind, weight = chosen.choice(LINK_TYPES), round(chosen.uniform(0.3, 1), 2)
        if chosen.random() < 0.7:
            connect(session, one, other, kind, weight)
            ways = [(one, other)] if kind in DIRECTED else [(one, other), (other, one)]
            for way in ways:
                model.setdefault(way, {})[kind] = weight
            if kind in DIRECTED and kind in model.get((other, one), {}):
                model[other, one][kind] = weight
        elif chosen.random() < 0.8:
            removed = disconnect(session, one, other, kind)
            gone = [model.get(way, {}).pop(kind, None) for way in ((one, other), (other, one))]
            assert removed == any(weight is not None for weight in gone)
        elif len(ids) > 4:
            session.execute(sa.delete(memories).where(memories.c.id == uuid.UUID(one)))
            ids.remove(one)
            model = {way: links for way, links in model.items() if one not in way}
        if step % 12 == 11:
            assert as_seen(session, ids) == ends(model)
            types = chosen.sample(LINK_TYPES, 4)
            depth, least = chosen.randint(1, 3), chosen.choice([0.0, 0.3, 0.6])
            start = chosen.choice(ids)
            reached = traverse(session, start, depth, least, types)
            assert {one.memory.id: one.strength for one in reached} == pytest.approx(
                strongest(model, start, depth, least, set(types))
            )
            for found in reached:
                assert found.path[0] == start
                assert found.path[-1] == found.memory.id
                assert len(set(found.path)) == len(found.path) == found.depth + 1


def test_a_hub_with_many_links_costs_rows_and_not_their_product(session: Session) -> None:
    hub, *around = private_memories(session, 400)
    session.execute(
        sa.text(
            "insert into agent.links (a, b, type, direction, weight, automatic, a_space_id, "
            "b_space_id) select h.number, m.number, t.type, 0, 0.9, false, h.space_id, m.space_id "
            "from agent.memories h, agent.memories m, unnest(array['semantic','related']) t(type) "
            "where h.id = :hub and m.number > h.number"
        ),
        {"hub": hub},
    )
    reached = traverse(session, around[0])
    assert [one.depth for one in reached] == [1] + [2] * 398
    assert reached[0].memory.id == hub


def test_directions_are_respected_and_two_types_on_a_pair_are_two_links(session: Session) -> None:
    answer, question, other = private_memories(session, 3)
    connect(session, answer, question, "answers")
    assert [one.memory.id for one in traverse(session, answer)] == [question]
    assert traverse(session, question) == []
    assert [one.way for one in network.get_connected(session, question)] == ["in"]
    connect(session, answer, question, "related", 0.5)
    assert [(one.type, one.weight) for one in network.get_connected(session, answer)] == [
        *[("answers", 0.9), ("related", 0.5)]
    ]
    assert [one.strength for one in traverse(session, question)] == [0.5]
    connect(session, question, answer, "answers", 0.7)
    assert [one.way for one in network.get_connected(session, answer, "answers")] == ["both"]
    connect(session, question, other, "supports", direction="both")
    assert [one.memory.id for one in traverse(session, other, types=["supports"])] == [question]
    assert disconnect(session, question, answer) == 2
    assert network.get_connected(session, answer) == []


def test_a_traversal_returns_all_kinds_unless_one_is_named_and_leaves_out_what_ended(
    session: Session,
) -> None:
    # memOS returns nothing unless a type is given, and stops at the first memory of that type.
    (start,), (entity,) = private_memories(session, 1), private_memories(session, 1, kind="entity")
    (wrong,) = private_memories(session, 1, retracted_at="2026-01-01T00:00:00Z")
    (finding, behind) = private_memories(session, 2)
    for one, two in [(start, entity), (entity, finding), (start, wrong), (wrong, behind)]:
        connect(session, one, two, "related")
    assert [one.memory.id for one in traverse(session, start)] == [entity, finding]
    assert [one.memory.id for one in traverse(session, start, target_kind="finding")] == [finding]


def test_a_memory_of_another_user_is_as_unknown_as_one_that_never_was(session: Session) -> None:
    (mine,) = private_memories(session, 1)
    theirs_space = g.add_space(session, "private:u2", "u2", private=True)
    number = g.add_memories(session, theirs_space, ["secret of u2"], user="u2")[0]
    theirs = session.execute(
        sa.select(memories.c.id).where(memories.c.number == number)
    ).scalar_one()
    said = set()
    for one in (theirs, uuid.uuid4(), "nonsense' or true --"):
        for call in (
            lambda one=one: connect(session, mine, one, "related"),
            lambda one=one: disconnect(session, one, mine),
            lambda one=one: traverse(session, one),
            lambda one=one: network.get(session, one),
            lambda one=one: network.get_connected(session, one),
            lambda one=one: network.boost(session, one),
        ):
            with pytest.raises(AgentError, match="M705") as refused:
                call()
            assert "secret" not in str(refused.value)
            said.add(refused.value.what)
    assert len(said) == 1
    # A link that was made when both were visible is not passed, and does not show the other end.
    low, high = sorted((number, g.number_of(session, mine)))
    session.execute(
        sa.text(
            "insert into agent.links select :a, :b, 'related', 0, 0.9, false, a.space_id, "
            "b.space_id, now() from agent.memories a, agent.memories b "
            "where a.number = :a and b.number = :b"
        ),
        {"a": low, "b": high},
    )
    assert network.get_connected(session, mine) == []
    assert traverse(session, mine) == []
    assert network.stats(session)["total_connections"] == 0


def test_links_across_spaces_need_both_to_be_writable(session: Session) -> None:
    team, board = g.add_space(session, "team", "u2"), g.add_space(session, "board", "u2")
    grant = "insert into agent.grants values (:s, 'u1', :a, 'u2', now())"
    session.execute(sa.text(grant), [{"s": team, "a": "read_write"}, {"s": board, "a": "read"}])
    (mine,) = private_memories(session, 1)
    numbers = [g.add_memories(session, space, ["text"], user="u2")[0] for space in (team, board)]
    ids = sa.select(memories.c.id).where(memories.c.number.in_(numbers)).order_by("number")
    shared, read_only = session.execute(ids).scalars()
    act_as(session, user="u1", spaces=["team", "board"])
    connect(session, mine, shared, "related")
    assert [str(shared)] == [one.memory.id for one in traverse(session, mine)]
    for one, other in ((mine, str(read_only)), (str(read_only), str(shared))):
        with pytest.raises(AgentError, match="M703"):
            connect(session, one, other, "related")


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        ("M753", {"link_type": "likes"}),
        ("M753", {"link_type": "related", "direction": "forward"}),
        ("M753", {"link_type": "supports", "direction": "none"}),
        ("M755", {"link_type": "related", "weight": 0}),
        ("M755", {"link_type": "related", "weight": float("nan")}),
        ("M755", {"link_type": "related", "weight": 1.01}),
    ],
)
def test_a_link_that_cannot_be_is_refused(
    session: Session, code: str, arguments: dict[str, object]
) -> None:
    one, other = private_memories(session, 2)
    with pytest.raises(AgentError, match=code):
        connect(session, one, other, **arguments)  # type: ignore[arg-type]
    assert g.links_of(session) == {}


def test_a_memory_is_not_linked_to_itself_and_traversals_have_bounds(session: Session) -> None:
    (one,) = private_memories(session, 1)
    with pytest.raises(AgentError, match="M752"):
        connect(session, one, one, "related")
    for arguments in ({"max_depth": 4}, {"min_strength": 2}, {"target_kind": "thing"}):
        with pytest.raises(AgentError, match="M756"):
            traverse(session, one, **arguments)
    with pytest.raises(AgentError, match="M753"):
        traverse(session, one, types=["likes"])


def test_accesses_boosts_and_statistics(session: Session) -> None:
    one, other, old = private_memories(session, 3)
    connect(session, one, other, "supports")
    assert [network.get(session, one).accesses for _ in range(3)] == [1, 2, 3]
    network.boost(session, one, 0.3)
    network.boost(session, other, 0.05)
    assert network.get(session, one).accesses == 7
    assert network.get(session, other).accesses == 1
    session.execute(
        sa.update(memories).where(memories.c.id == uuid.UUID(old)).values(kind="answer")
    )
    assert network.stats(session) == {
        "total_memories": 3,
        "total_connections": 1,
        "memories_by_type": {"finding": 2, "answer": 1},
        "avg_connections_per_memory": 2 / 3,
        "similarity_threshold": None,
    }


def test_who_reads_what_another_transaction_reads_does_not_wait_for_it(
    engine: sa.Engine,
) -> None:
    with Session(engine) as one, one.begin():
        listed = private_memories(one, 2)
        network.boost(one, listed[0])
    with Session(engine) as one, Session(engine) as other:
        for session, ids in ((one, listed), (other, listed[::-1])):
            act_as(session, user="u1")
            session.execute(sa.text("set local lock_timeout = 100"))
            for memory in ids:
                network.get(session, memory)
        one.commit()
        # Neither row was counted twice at once; afterwards both are.
        assert [network.get(other, memory).accesses for memory in listed] == [3, 2]


def test_what_is_similar_is_ranked_by_its_nearest_part_and_then_by_its_use(
    session: Session,
) -> None:
    model, space = g.add_model(session), act_as(session, user="u1").private
    far, near, ended = g.add_memories(session, space, ["far", "near", "ended"])
    session.execute(
        sa.update(memories)
        .where(memories.c.number == ended)
        .values(valid_until="2026-01-01T00:00:00Z")
    )
    parts = [(far, 0, g.turned(90)), (far, 1, g.turned(20)), (near, 0, g.turned(10))]
    g.add_embeddings(session, model, space, [*parts, (ended, 0, g.turned(0))])
    asked = Asked("?", g.turned(0), g.MODEL)
    found = network.find_similar(session, asked)
    assert [(one.memory.number, round(one.similarity, 2)) for one in found] == [
        (near, 0.98),
        (far, 0.94),
    ]
    network.count_accesses(session, nodes.places(session, [found[1].memory.id]), 50)
    decayed = network.find_similar_with_decay(session, asked, recency_weight=0.5)
    assert [one.memory.number for one in decayed] == [far, near]
    assert decayed[0].strength == pytest.approx(0.3 + 0.05 * 3.9318, abs=1e-3)
    assert decayed[1].strength == pytest.approx(0.3, abs=1e-3)
    for wrong in (None, g.turned(0)[:5], [float("nan")] * g.DIMENSION, [0.0] * g.DIMENSION, ["x"]):
        with pytest.raises(AgentError, match="M756"):
            network.find_similar(session, Asked("?", wrong, g.MODEL))  # type: ignore[arg-type]
    g.add_model(session, "following", state="next")
    with pytest.raises(AgentError, match=f"M760.*{g.MODEL}"):
        network.find_similar(session, Asked("?", g.turned(0), "following"))
