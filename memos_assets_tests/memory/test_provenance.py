"""Lineages of memories: no cycles, the least trust, and sources that turn out to be wrong."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import network
from memos_assets.memory.acting import act_as
from memos_assets.memory.histories import retract
from memos_assets.memory.prepared import Prepared, draft, finish
from memos_assets.memory.provenance import derive, restore_source, retract_source, trust_of
from memos_assets.memory.remember import remember
from memos_assets_tests.memory import graphs as g


def prepared(text: str, **about: object) -> Prepared:
    return finish(draft(text, "", about), "", "M577: no embedder is set")  # type: ignore[arg-type]


def kept(session: Session, text: str, space: str | None = None, **about: object) -> str:
    found = remember(session, prepared(text, **about), space=space)
    assert not isinstance(found, list)
    return found.id


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        act_as(opened, user="u1")
        yield opened


def states(session: Session, *ids: str) -> list[str]:
    return [network.get(session, one).state for one in ids]


def test_what_was_derived_from_a_wrong_source_is_retracted_and_restored_with_it(
    session: Session,
) -> None:
    said = kept(session, "The valve is open.", source="mail:1")
    also = kept(session, "The pump runs.", source="mail:1")
    other = kept(session, "The hall is cold.", source="mail:2")
    concluded = kept(session, "Water flows.", source="planner")
    further = kept(session, "The floor is wet.", source="planner")
    derive(session, concluded, [said, other])
    derive(session, further, [concluded])
    retract(session, also, "seen")
    changed = retract_source(session, "mail:1", "forged")
    assert changed.changed == [said, concluded, further]
    assert states(session, said, also, other, concluded, further) == [
        *("wrong", "wrong", "current", "wrong", "wrong")
    ]
    assert retract_source(session, "mail:1").changed == []
    # What was retracted before, for another reason, stays retracted.
    assert restore_source(session, "mail:1").changed == [said, concluded, further]
    assert states(session, said, also, other, concluded, further) == [
        *("current", "wrong", "current", "current", "current")
    ]
    with pytest.raises(AgentError, match="M758"):
        retract_source(session, "mail:3")


def test_a_memory_is_not_derived_from_itself_through_any_number_of_others(
    session: Session,
) -> None:
    one, two, three = (kept(session, f"text {number}") for number in range(3))
    derive(session, two, [one])
    derive(session, three, [two, one])
    for memory, source in ((one, one), (one, two), (one, three), (two, three)):
        with pytest.raises(AgentError, match="M757"):
            derive(session, memory, [source])
    derive(session, three, [two])
    rows = session.execute(sa.text("select count(*) from agent.provenance")).scalar_one()
    assert rows == 3


def test_a_memory_is_trusted_as_far_as_the_least_of_its_lineage(session: Session) -> None:
    sure = kept(session, "measured", trust=0.9)
    doubtful = kept(session, "overheard", trust=0.2)
    concluded, further = kept(session, "concluded"), kept(session, "further")
    derive(session, further, [concluded])
    derive(session, concluded, [sure])
    assert trust_of(session, [concluded, further]) == {concluded: 0.9, further: 0.9}
    derive(session, concluded, [doubtful])
    assert trust_of(session, [further, sure]) == {further: 0.2, sure: 0.9}
    assert network.get(session, further).trust == 0.2


def test_memories_in_spaces_that_are_only_read_stay_and_are_named(session: Session) -> None:
    board, team = g.add_space(session, "board", "u2"), g.add_space(session, "team", "u2")
    g.add_space(session, "hidden", "u2")
    grant = sa.text("insert into agent.grants values (:s, 'u1', :a, 'u2', now())")
    session.execute(grant, [{"s": board, "a": "read"}, {"s": team, "a": "read_write"}])
    act_as(session, user="u2", spaces=["board", "team", "hidden"])
    named = [kept(session, "said", space, source="mail:1") for space in ("board", "team", "hidden")]
    act_as(session, user="u1", spaces=["board", "team"])
    changed = retract_source(session, "mail:1")
    assert (changed.changed, changed.read_only) == ([named[1]], [named[0]])
    with pytest.raises(AgentError, match="M703"):
        derive(session, named[0], [named[1]])
    with pytest.raises(AgentError, match="M705"):
        derive(session, named[1], [named[2]])
    act_as(session, user="u2", spaces=["hidden"])
    assert states(session, named[2]) == ["current"]


def test_all_memories_of_a_source_are_locked_before_the_first_is_restored(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(engine) as session, session.begin():
        act_as(session, user="u1")
        listed = [kept(session, f"text {n}", source="mail:1") for n in range(5)]
        retract_source(session, "mail:1")
    locks = sa.text(
        "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
    )
    seen = []

    def restore(session: Session, *_given: object) -> None:
        seen.append(session.execute(locks).scalar_one())

    monkeypatch.setattr("memos_assets.memory.provenance.restore", restore)
    with Session(engine) as session:
        act_as(session, user="u1")
        assert restore_source(session, "mail:1").changed == listed
    assert seen == [5] * 5
