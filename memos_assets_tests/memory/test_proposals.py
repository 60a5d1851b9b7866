"""Consolidation as proposals: nothing is done before somebody decides, and all of it is undone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import network
from memos_assets.memory.acting import act_as
from memos_assets.memory.explicit_links import connect
from memos_assets.memory.proposals import apply, consolidate, dismiss, proposals, undo
from memos_assets.memory.spaces import create_space, grant
from memos_assets_tests.memory.test_provenance import kept, states


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    with Session(engine) as opened:
        act_as(opened, user="u1")
        yield opened


def rows(session: Session) -> list[str]:
    return [
        str(row)
        for table in ("memories", "revisions", "proposals", "links")
        for row in session.execute(sa.text(f"select t::text from agent.{table} t order by 1"))
    ]


def alike(session: Session, one: str, other: str, weight: float = 0.96) -> None:
    connect(session, one, other, "semantic", weight)


def test_texts_that_are_alike_are_proposed_and_never_merged_by_themselves(
    session: Session,
) -> None:
    argentina = kept(session, "The citizenship of Anna is Argentina.")
    armenia = kept(session, "The citizenship of Anna is Armenia.")
    short, long = kept(session, "Anna likes tea"), kept(session, "Anna likes green tea")
    city = [
        kept(session, f"Anna lives in {name}.", subject=subject, attribute="city")
        for name, subject in (("Riga", "anna"), ("Oslo", "annie"))
    ]
    alike(session, argentina, armenia)
    alike(session, long, short, 0.95)
    alike(session, city[0], city[1], 0.99)
    alike(session, short, armenia, 0.89)
    before = rows(session)
    found = consolidate(session)
    assert [(one.number, one.action, one.memory.id, one.other.id) for one in found] == [
        (None, "supersede", argentina, armenia),
        (None, "merge", short, long),
    ]
    assert [one.memory.content for one in found] == [
        "The citizenship of Anna is Argentina.",
        "Anna likes tea",
    ]
    assert rows(session) == before
    entered = consolidate(session, dry_run=False)
    assert states(session, argentina, armenia, short, long) == ["current"] * 4
    assert [one.number for one in proposals(session)] == [one.number for one in entered]
    assert consolidate(session, dry_run=False) == []


def test_a_decision_is_made_once_and_undone_once(session: Session) -> None:
    former, later = kept(session, "The code is 7"), kept(session, "The code is 8")
    short, long = kept(session, "Anna likes tea"), kept(session, "Anna likes green tea")
    alike(session, former, later)
    alike(session, short, long, 0.93)
    first, second = (one.number for one in consolidate(session, dry_run=False))
    assert first is not None
    assert second is not None
    assert apply(session, first).state == "applied"
    assert dismiss(session, second).state == "dismissed"
    assert states(session, former, later, short, long) == [
        *("superseded", "current", "current", "current")
    ]
    for call in (apply, dismiss):
        for number in (first, second, 0):
            with pytest.raises(AgentError, match="M759"):
                call(session, number)
    with pytest.raises(AgentError, match="M759"):
        undo(session, second)
    undo(session, first)
    assert states(session, former, later) == ["current", "current"]
    with pytest.raises(AgentError, match="M759"):
        undo(session, first)
    # What was decided is not proposed again.
    assert consolidate(session, dry_run=False) == []
    assert [len(proposals(session, one)) for one in ("open", "undone", "dismissed")] == [0, 1, 1]


def test_memories_that_nobody_uses_may_be_forgotten_and_come_back(session: Session) -> None:
    now = datetime.now(UTC)
    ends = now + timedelta(days=400)
    old = kept(session, "old", recorded_at=now - timedelta(days=12), valid_until=ends)
    kept(session, "young", recorded_at=now - timedelta(days=10))
    used = kept(session, "used", recorded_at=now - timedelta(days=300))
    network.boost(session, used, 1)
    (found,) = consolidate(session, dry_run=False)
    assert (found.action, found.memory.id, found.other.id) == ("forget", old, old)
    assert found.score == pytest.approx(
        network.strength_of(0, now - timedelta(days=12), now), abs=1e-4
    )
    assert found.number is not None
    apply(session, found.number)
    assert states(session, old, used) == ["superseded", "current"]
    undo(session, found.number)
    node = network.get(session, old)
    assert (node.state, node.valid_until) == ("current", ends)


def test_proposals_of_others_are_neither_seen_nor_decided(session: Session) -> None:
    alike(session, kept(session, "The code is 7"), kept(session, "The code is 8"))
    (found,) = consolidate(session, dry_run=False)
    assert found.number is not None
    act_as(session, user="u2")
    assert proposals(session) == consolidate(session) == []
    with pytest.raises(AgentError, match=r"M759.*no such proposal"):
        apply(session, found.number)


def test_further_calls_propose_what_the_most_of_one_call_left(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memos_assets.memory.proposals.MOST", 2)
    ago = datetime.now(UTC) - timedelta(days=30)
    cities = [
        kept(session, f"{name} lives in Riga", subject=name, attribute="city")
        for name in ("anna", "annie", "anne", "hanna")
    ]
    # Not proposed, and more alike than those that are.
    for place, one in enumerate(cities):
        for other in cities[:place]:
            alike(session, one, other, 1.0)
    texts = [kept(session, f"The code is {n}", recorded_at=ago) for n in range(6)]
    for one, other in zip(texts[::2], texts[1::2], strict=True):
        alike(session, one, other)
    found: list[tuple[str, str]] = []
    while new := consolidate(session, dry_run=False):
        assert len(new) <= 2
        found += [(one.action, one.memory.id) for one in new]
    assert sorted(found) == sorted(
        [("supersede", one) for one in texts[::2]] + [("forget", one) for one in texts]
    )


def test_who_may_only_read_a_space_sees_its_proposals_and_decides_on_none(
    session: Session,
) -> None:
    create_space(session, "team")
    grant(session, "team", "u2")
    act_as(session, user="u1", spaces=["team"])
    alike(session, kept(session, "The code is 7", "team"), kept(session, "The code is 8", "team"))
    (found,) = consolidate(session, dry_run=False)
    assert found.number is not None
    act_as(session, user="u2", spaces=["team"])
    assert [each.number for each in proposals(session)] == [found.number]
    for call in (apply, dismiss, undo):
        with pytest.raises(AgentError, match="M703"):
            call(session, found.number)
