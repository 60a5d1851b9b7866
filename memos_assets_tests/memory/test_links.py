"""Automatic links: to the most alike memories of the space, never more than ten at either end."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import link_candidates
from memos_assets.memory.links import MOST_LINKS, link_new
from memos_assets_tests.memory import graphs as g


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    """A session whose rows nobody else sees."""
    with Session(engine) as opened:
        yield opened


def greedy(directions: dict[int, np.ndarray], new: list[int]) -> dict[tuple[int, int], float]:
    """Return the links of memories in plain Python: the strongest first, ten at most at an end."""
    pairs: dict[tuple[int, int], float] = {}
    directions = {number: e / np.linalg.norm(e) for number, e in directions.items()}
    for one in new:
        alike = [(float(directions[one] @ e), o) for o, e in directions.items() if o != one]
        nearest = sorted(alike, reverse=True)[: link_candidates.CANDIDATES]
        pairs |= {(min(one, o), max(one, o)): c for c, o in nearest if c >= g.THRESHOLD}
    used = Counter[int]()
    kept = {}
    for pair, cosine in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        if all(used[end] < MOST_LINKS for end in pair):
            used.update(pair)
            kept[pair] = cosine
    return kept


def halves(rows: int, seed: int) -> np.ndarray:
    """Return embeddings in half precision: three clusters, so that caps are reached."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(3, g.DIMENSION))
    made = centres[random.integers(3, size=rows)] + 0.35 * random.normal(size=(rows, g.DIMENSION))
    return made.astype(np.float16).astype(np.float64)


@pytest.mark.parametrize("fetched", [True, False])
def test_a_batch_is_linked_as_a_model_in_plain_python_links_it(
    session: Session, monkeypatch: pytest.MonkeyPatch, *, fetched: bool
) -> None:
    monkeypatch.setattr(link_candidates, "FEWEST_FOR_FETCH", 1 if fetched else 1_000)
    model, space = g.add_model(session), g.add_space(session, "team", "u1")
    numbers = g.add_memories(session, space, [f"text {n}" for n in range(80)])
    directions = dict(zip(numbers, halves(80, seed=4), strict=True))
    g.add_embeddings(session, model, space, directions)
    # Another space, and a model that made other embeddings: neither is alike to anything here.
    other = g.add_space(session, "other", "u2")
    strangers = g.add_memories(session, other, ["elsewhere"])
    g.add_embeddings(session, model, other, {strangers[0]: directions[numbers[0]]})
    made = link_new(session, numbers, g.MODEL)
    expected = greedy(directions, numbers)
    assert {(a, b): w for (a, b, _), w in g.links_of(session).items()} == pytest.approx(
        expected, abs=1e-6
    )
    assert max(Counter(end for pair in expected for end in pair).values()) == MOST_LINKS
    assert sum(len(found) for found in made.values()) == 2 * len(expected)
    assert all(
        [link.weight for link in found] == sorted((link.weight for link in found), reverse=True)
        for found in made.values()
    )


def test_a_link_that_is_stronger_takes_the_place_of_the_weakest_at_the_other_end(
    session: Session,
) -> None:
    model, space = g.add_model(session), g.add_space(session, "team", "u1")
    centre, *around = g.add_memories(session, space, [f"text {n}" for n in range(12)])
    g.add_embeddings(session, model, space, {centre: g.turned(0)})
    # One pair of planes each, so that they are alike to the centre and not to one another.
    spokes = {
        number: np.concatenate([[1.0], np.eye(15)[place] * (1.1 - 0.01 * place)])
        for place, number in enumerate(around)
    }
    for number in around[:10]:
        g.add_embeddings(session, model, space, {number: spokes[number]})
        assert [link.number for link in link_new(session, [number], g.MODEL)[number]] == [centre]
    assert len(g.links_of(session)) == 10
    g.add_embeddings(session, model, space, {around[10]: spokes[around[10]]})
    made = link_new(session, [around[10]], g.MODEL)
    assert [link.number for link in made[around[10]]] == [centre]
    assert {b for _, b, _ in g.links_of(session)} == set(around) - {around[0]}
    # A twelfth one that is less alike than all of them gets no link.
    late = g.add_memories(session, space, ["late"])[0]
    g.add_embeddings(session, model, space, {late: np.concatenate([[1.0], 1.2 * np.eye(15)[14]])})
    assert link_new(session, [late], g.MODEL) == {}
    assert len(g.links_of(session)) == 10


def test_what_ended_is_not_linked_and_equal_parts_are_one_pair(session: Session) -> None:
    model, space = g.add_model(session), g.add_space(session, "team", "u1")
    ended, long, new = g.add_memories(session, space, ["ended", "long", "new"])
    g.add_embeddings(session, model, space, {ended: g.turned(0)}, "2020-01-01T00:00:00Z")
    parts = [(long, 0, g.turned(80)), (long, 1, g.turned(10)), (long, -1, g.turned(0))]
    g.add_embeddings(session, model, space, parts)
    g.add_embeddings(session, model, space, [(new, 0, g.turned(0)), (new, 1, g.turned(70))])
    made = link_new(session, [new], g.MODEL)
    assert [(link.number, round(link.weight, 2)) for link in made[new]] == [(long, 0.98)]
    assert link_new(session, [ended], g.MODEL) == {}
    # A second time, as a schedule does for embeddings that waited: nothing is written twice.
    assert link_new(session, [new], g.MODEL) == {}
    assert len(g.links_of(session)) == 1


def test_texts_that_share_their_first_500_characters_are_linked_by_their_own_embeddings(
    session: Session,
) -> None:
    model, space = g.add_model(session), g.add_space(session, "team", "u1")
    start = "a" * 500
    near, far = g.add_memories(session, space, [f"{start} near", f"{start} far"])
    g.add_embeddings(session, model, space, {near: g.turned(0), far: g.turned(90)})
    assert link_new(session, [near, far], g.MODEL) == {}


def test_a_memory_that_somebody_else_links_or_deletes_now_gets_no_link_and_nobody_waits(
    engine: sa.Engine,
) -> None:
    with Session(engine) as session:
        model, space = g.add_model(session), g.add_space(session, "team", "u1")
        target, new = g.add_memories(session, space, ["target", "new"])
        g.add_embeddings(session, model, space, {target: g.turned(0), new: g.turned(5)})
        session.commit()
        with Session(engine) as other:
            other.execute(sa.text("delete from agent.memories where number = :n"), {"n": target})
            session.execute(sa.text("set local lock_timeout = '100ms'"))
            assert link_new(session, [new], g.MODEL) == {}
        # It was not deleted after all.
        assert [link.number for link in link_new(session, [new], g.MODEL)[new]] == [target]


def test_two_at_once_do_not_give_a_memory_an_eleventh_link(engine: sa.Engine) -> None:
    with Session(engine) as one, Session(engine) as two:
        model, space = g.add_model(one), g.add_space(one, "team", "u1")
        centre, *around = g.add_memories(one, space, [f"text {n}" for n in range(12)])
        spokes = [np.concatenate([[1.0], np.eye(15)[place]]) for place in range(11)]
        g.add_embeddings(one, model, space, {centre: g.turned(0)})
        g.add_embeddings(one, model, space, dict(zip(around, spokes, strict=True)))
        link_new(one, around[:9], g.MODEL)
        one.commit()
        assert len(link_new(one, [around[9]], g.MODEL)) == 1
        assert link_new(two, [around[10]], g.MODEL) == {}
        one.commit()
        two.commit()
        assert len(g.links_of(one)) == 10


def test_a_model_that_is_not_registered_is_refused(session: Session) -> None:
    with pytest.raises(AgentError, match="M760"):
        link_new(session, [1], "unknown")
    assert link_new(session, [], "unknown") == {}
