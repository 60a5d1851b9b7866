"""Checks of the semantic network, green and red on real rows."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.finding import Finding
from memos_assets.memory.graph_checks import (
    lineages_have_no_cycle,
    no_memory_has_too_many_links,
    nothing_dangles,
)
from memos_assets.memory.seed import seed
from memos_assets.memory.seed_checks import seeds_are_what_was_consolidated
from memos_assets_tests.memory import graphs as g
from memos_assets_tests.memory.test_seed import small

__all__ = ["small"]


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        yield opened


def as_a_restore(session: Session, statement: str, **values: object) -> None:
    """Change rows while foreign keys are off, as a restore or a replica does."""
    session.execute(sa.text("set local session_replication_role = replica"))
    session.execute(sa.text(statement), values)
    session.execute(sa.text("set local session_replication_role = origin"))


def test_v35_no_reference_dangles_fails_where_a_memory_is_gone_or_elsewhere(
    session: Session,
) -> None:
    conn = session.connection()
    model, space = g.add_model(session), g.add_space(session, "private:u1", "u1", private=True)
    other = g.add_space(session, "private:u2", "u2", private=True)
    one, two, three = g.add_memories(session, space, ["one", "two", "three"])
    (theirs,) = g.add_memories(session, other, ["theirs"], user="u2")
    g.add_embeddings(session, model, space, {one: g.turned(0), two: g.turned(1)})
    for statement in (
        "insert into agent.links values (:a, :b, 'related', 0, 0.9, false, :s, :s)",
        "insert into agent.provenance values (:b, :a, :s)",
        (
            "insert into agent.postings (space_id, lexeme, memory, count, words) "
            "values (:s, 'one', :a, 1, 1)"
        ),
        "insert into agent.accesses values (:a, :s, 1, now())",
        "insert into agent.outbox (memory, space_id) values (:a, :s)",
    ):
        session.execute(sa.text(statement), {"a": one, "b": two, "s": space})
    green = nothing_dangles(conn, "memories")
    assert green.passed
    assert green.evidence["references"] >= 11

    def red(statement: str, **values: object) -> set[str]:
        with session.begin_nested() as savepoint:
            as_a_restore(session, statement, **values)
            found = nothing_dangles(conn, "memories")
            savepoint.rollback()
        assert found.passed == (not found.evidence["memories"])
        return set(found.evidence["memories"])

    gone = red("delete from agent.memories where number = :one", one=one)
    assert gone == {
        *("agent.links.a", "agent.provenance.derived_from", "agent.postings.memory"),
        *("agent.accesses.memory", "agent.outbox.memory", f"agent.embeddings_{model}.memory"),
    }
    assert red("update agent.memories set superseded_by = gen_random_uuid()") == {
        "agent.memories.superseded_by"
    }
    assert red("update agent.accesses set space_id = :s", s=other) == {"agent.accesses.memory"}
    private = "insert into agent.links values (:a, :b, 'related', 0, 0.9, false, :s, :t)"
    assert red(private, a=three, b=theirs, s=space, t=other) == {
        "agent.links into another private space"
    }
    derived = "insert into agent.provenance values (:b, :a, :t)"
    assert red(derived, a=three, b=theirs, t=other) == {
        "agent.provenance into another private space"
    }
    assert nothing_dangles(conn, "memories").passed


def test_v36_links_keep_their_cap_fails_at_either_end(session: Session) -> None:
    space = g.add_space(session, "team", "u1")
    numbers = g.add_memories(session, space, [f"text {n}" for n in range(12)])
    centre, others = numbers[5], [number for number in numbers if number != numbers[5]]
    link = sa.text(
        "insert into agent.links values (least(:a, :b), greatest(:a, :b), 'semantic', 0, 0.9, "
        ":automatic, :s, :s)"
    )
    for place, number in enumerate(others):
        row = {"a": centre, "b": number, "automatic": place < 10, "s": space}
        session.execute(link, row)
    assert no_memory_has_too_many_links(session.connection(), "").observed == "at most 10"
    session.execute(sa.text("update agent.links set automatic = true"))
    found = no_memory_has_too_many_links(session.connection(), "")
    assert (found.passed, found.evidence["memories"]) == (False, {str(centre): 11})


def test_v38_lineages_have_no_cycle_fails_on_a_memory_that_led_to_itself(session: Session) -> None:
    space = g.add_space(session, "team", "u1")
    numbers = g.add_memories(session, space, [f"text {n}" for n in range(6)])
    derive = sa.text("insert into agent.provenance values (:memory, :from, :s)")

    def add(*pairs: tuple[int, int]) -> Finding:
        for one, other in pairs:
            row = {"memory": numbers[one], "from": numbers[other], "s": space}
            session.execute(derive, row)
        return lineages_have_no_cycle(session.connection(), "")

    # Two ways to one memory make no cycle, nor does a memory that was derived from a later one.
    assert add((1, 0), (2, 0), (3, 1), (3, 2), (0, 5)).passed
    found = add((5, 3))
    assert (found.passed, found.observed) == (False, "1 are")
    assert found.evidence == {"memories": [numbers[0]], "derivations": 6}


def test_v43_seeds_are_proven_fails_on_each_difference_from_the_consolidated_network(
    small: sa.Engine,
) -> None:
    seed(small, "u1")
    seed(small, "u2")

    def judged(statement: str | None = None) -> Finding:
        with small.connect() as conn:
            if statement is not None:
                assert conn.execute(sa.text(statement)).rowcount > 0
            return seeds_are_what_was_consolidated(conn, "")

    green = judged()
    assert green.passed
    assert [one["memories"] for one in green.evidence["seeds"].values()] == [7, 7]
    assert [one["links"] for one in green.evidence["seeds"].values()] == [3, 3]
    # What agents do with seeded memories is not a difference.
    for statement in (
        "update agent.memories set retracted_at = now()",
        "delete from agent.links",
        "update agent.accesses set count = count + 1",
        "delete from memos.semantic_memories where id = 'memory-7'",
    ):
        assert judged(statement).passed, statement
    first = "where number = (select min(number) from agent.memories)"
    for statement in (
        f"update agent.memories set content = content || '!' {first}",
        f"update agent.memories set kind = 'answer' {first}",
        f"update agent.memories set attributes = '{{}}' {first}",
        f"update agent.memories set recorded_at = recorded_at - interval '5 hours' {first}",
        f"update agent.memories set id = gen_random_uuid() {first}",
        f"update agent.memories set source = 'user:u1' {first}",
        f"delete from agent.memories {first}",
        "delete from agent.seed_ids where original = 'memory-3'",
        "update memos.semantic_memories set content = 'other' where id = 'memory-3'",
        "update memos.semantic_links set strength = 0.1 where from_id = 'memory-5'",
        "update memos.semantic_links set bidirectional = true where from_id = 'memory-5'",
        "delete from memos.semantic_links where from_id = 'memory-5'",
        "update agent.seeds set links_digest = null",
    ):
        assert not judged(statement).passed, statement
