"""Random histories against a model of the semantics of time, at every (as_of, known_at).

The suite runs some hundreds; the 10,000 of docs/benchmarks.md run by hand:
``make histories N=10000``.
"""

import os
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import SyncMemory
from memos_assets.memory.moments import time_condition
from memos_assets.settings import Settings

HISTORIES = int(os.environ.get("MEMORY_HISTORIES", "200"))
AT_ONCE = 200
STEPS = 7
YEARS = [datetime(year, 1, 1, tzinfo=UTC) for year in range(2018, 2030, 2)]
BEFORE = datetime(1, 1, 1, tzinfo=UTC)
AFTER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass
class Event:
    """What is said of a memory, by its place in the history, known since a moment."""

    known: datetime
    action: str
    memory: int
    start: datetime | None = None
    end: datetime | None = None
    by: int = -1
    is_refused: bool = False


@dataclass
class History:
    """What is said of one subject, and what a model of 30 lines believes of it."""

    is_value: bool
    events: list[Event] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def true(self, as_of: datetime, known_at: datetime) -> set[int]:
        """Return the memories that were true at a moment, by what was known at another."""
        said: dict[int, Any] = {}
        for e in sorted((e for e in self.events if e.known <= known_at), key=lambda e: e.known):
            if e.action == "remember":
                said[e.memory] = {"from": e.start, "until": e.end, "at": e.known, "wrong": False}
            elif e.action == "date":
                said[e.memory] |= {"from": e.start, "until": e.end}
            elif e.action == "supersede":
                said[e.memory] |= {"ended": self.began(said[e.by])}
            else:
                said[e.memory] |= {"wrong": e.action == "retract", "ended": None}
        order = sorted(said, key=lambda memory: (said[memory]["at"], memory))
        winner, true = None, set()
        for place, memory in enumerate(order):
            one = said[memory]
            start, until = one["from"], min(one["until"] or AFTER, one.get("ended") or AFTER)
            unknown = start is None and until <= one["at"]
            if start is None and (place == 0 or unknown or not self.is_value):
                start = BEFORE
            start = start or one["at"]
            if one["wrong"] or until <= start:
                continue
            if not self.is_value or (unknown and place > 0):
                true |= {memory} if start <= as_of < until else set()
            elif start <= as_of and (winner is None or (start, place) > winner[0]):
                winner = ((start, place), memory if as_of < until else None)
        return true | ({winner[1]} if winner and winner[1] is not None else set())

    def began(self, one: Mapping[str, Any]) -> datetime:
        """Return when a memory that ends another one starts."""
        started: datetime = one["from"] or one["at"]
        return started

    def believes(self, memory: int) -> bool:
        """Whether nobody retracted a memory that was not restored."""
        said = [e for e in self.events if e.memory == memory and e.action in ("retract", "restore")]
        return not said or said[-1].action == "restore"


def dates(rng: random.Random) -> tuple[datetime | None, datetime | None]:
    start, end = rng.choice([None, *YEARS]), rng.choice([None, None, *YEARS])
    return (start, end) if start is None or end is None or start < end else (start, None)


def planned(rng: random.Random, history: History) -> Event:
    """Return what is said next; its moment is set when it was said."""
    there = range(len(history.ids))
    action = rng.choice(["remember", "remember", "remember", "retract", "restore", "date", "end"])
    if action == "restore":
        gone = [memory for memory in there if not history.believes(memory)]
        if gone:
            return Event(AFTER, "restore", rng.choice(gone))
    alive = [memory for memory in there if history.believes(memory)]
    if action == "retract" and alive:
        return Event(AFTER, "retract", rng.choice(alive))
    if action == "date" and alive:
        return Event(AFTER, "date", rng.choice(alive), *dates(rng))
    if action == "end" and len(alive) > 1 and not history.is_value:
        memory, by = sorted(rng.sample(alive, 2))
        return Event(AFTER, "supersede", memory, by=by)
    known = rng.choice([AFTER, AFTER, *[y for y in YEARS if y.year < 2026]])
    return Event(known, "remember", len(history.ids), *dates(rng))


def say(session: Session, memory: SyncMemory, told: Sequence[tuple[int, History, Event]]) -> None:
    """Say one thing in each history: all new memories in one batch, all retracted ones, too."""
    new = [(place, history, event) for place, history, event in told if event.action == "remember"]
    kept = memory.remember(
        session,
        memory.prepare_many(
            {
                "text": f"subject {place} value {event.memory}",
                "subject": f"subject {place}",
                "attribute": "value" if history.is_value else None,
                "valid_from": event.start,
                "valid_until": event.end,
                "recorded_at": None if event.known == AFTER else event.known,
            }
            for place, history, event in new
        ),
    )
    for (_, history, _), one in zip(new, kept, strict=True):
        assert one.duplicate_of is None
        history.ids.append(one.id)
    wrong = [h.ids[e.memory] for _, h, e in told if e.action == "retract"]
    memory.retract_many(session, wrong)
    for _, history, event in told:
        one_id = history.ids[event.memory]
        if event.action == "restore":
            memory.restore(session, one_id)
        elif event.action == "date":
            memory.set_validity(session, one_id, valid_from=event.start, valid_until=event.end)
        elif event.action == "supersede":
            by = history.ids[event.by]
            # One that never was true, because another one replaced it, ends none.
            event.is_refused = memory.history(session, by).memory.state == "wrong"
            refused = pytest.raises(AgentError, match="M734") if event.is_refused else nullcontext()
            with refused:
                memory.supersede(session, one_id, by)


def clock(session: Session) -> datetime:
    moment: datetime = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return moment


def found(
    session: Session, as_of: Sequence[datetime], known_at: Sequence[datetime]
) -> Iterator[tuple[datetime, datetime, str]]:
    """Yield what PostgreSQL finds at every pair of moments, in one statement."""
    condition = time_condition(sql.SQL("m"), as_of=sql.SQL("a.at"), known_at=sql.SQL("k.at"))
    statement = sa.text(
        "select a.at, k.at, m.id from unnest(:as_of) as a(at), unnest(:known_at) as k(at), "
        f"agent.memories m where {condition.as_string()}"
    ).bindparams(
        *(
            sa.bindparam(name, type_=sa.ARRAY(sa.DateTime(timezone=True)))
            for name in ("as_of", "known_at")
        )
    )
    for at, known, memory in session.execute(statement, {"as_of": as_of, "known_at": known_at}):
        yield at, known, str(memory)


@pytest.mark.parametrize("seed", range(-(-HISTORIES // AT_ONCE)))
def test_every_pair_of_moments_shows_what_the_model_believes(session: Session, seed: int) -> None:
    rng = random.Random(seed)
    memory = SyncMemory(Settings())
    histories = [History(rng.random() < 0.8) for _ in range(min(AT_ONCE, HISTORIES))]
    moments = []
    for _ in range(STEPS):
        told = [
            (place, history, planned(rng, history))
            for place, history in enumerate(histories)
            if rng.random() < 0.8
        ]
        say(session, memory, told)
        moments.append(clock(session))
        for _, history, event in told:
            event.known = min(event.known, moments[-1])
            history.events += [] if event.is_refused else [event]
    as_of = [BEFORE, *YEARS, moments[0], moments[-1]]
    known_at = [BEFORE, *YEARS[:4], *moments]
    seen = defaultdict(set)
    for at, known, one in found(session, as_of, known_at):
        seen[at, known].add(one)
    for at in as_of:
        for known in known_at:
            true = {h.ids[m] for h in histories for m in h.true(at, known)}
            assert seen[at, known] == true, (seed, at, known)
    # The rows of memories say the same as the last revisions.
    condition = time_condition(sql.SQL("m")).as_string()
    now = session.execute(sa.text(f"select id from agent.memories m where {condition}")).scalars()
    assert {str(one) for one in now} == seen[moments[-1], moments[-1]]
