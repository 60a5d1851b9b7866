"""Histories: read one, and change it: retract, restore, date. `corrections` has the rest.

Nothing is deleted, and whatever is done here can be undone. What follows by itself is undone by
itself: a value that another one ended goes on when that one is retracted. What somebody asked for
stays until somebody undoes it.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import beliefs
from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.arrays import bigints
from memos_assets.memory.beliefs import Group, Member, Revision
from memos_assets.memory.lookup import find, groups_of, lock, writable
from memos_assets.memory.moments import Moment, moment
from memos_assets.memory.prepared import check_order
from memos_assets.memory.timeline import Belief
from memos_assets.postgres.schema.agent import memories

#: A date that stays as it is.
UNCHANGED: Final = "unchanged"


@dataclass(frozen=True, slots=True)
class Changed:
    """What became of a memory.

    Attributes:
        id: of the memory.
        state: ``wrong``, ``superseded`` or ``current``, as it is now.
        superseded_by: id of the memory that ended it; None: none did.
        others: ids of the memories whose beliefs changed with it.
    """

    id: str
    state: str
    superseded_by: str | None = None
    others: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Value:
    """A memory within its history: its text, and what is believed of it now."""

    id: str
    content: str
    state: str
    source: str
    valid_from: datetime | None
    valid_until: datetime | None
    recorded_at: datetime
    retracted_at: datetime | None
    superseded_by: str | None


@dataclass(frozen=True, slots=True)
class History:
    """The history of a memory.

    Attributes:
        memory: as it is now.
        revisions: each belief about it, the first one first.
        values: of its subject and attribute, in the order in which they were true, the wrong ones
            where they would be; the memory alone where it has neither.
    """

    memory: Value
    revisions: Sequence[Revision]
    values: Sequence[Value]


def state(belief: Belief, at: datetime) -> str:
    """Return ``wrong``, ``superseded`` or ``current``, as `moments.state_of` does in SQL."""
    if belief.retracted:
        return "wrong"
    ended = belief.valid_until is not None and belief.valid_until <= at
    return "superseded" if ended else "current"


def history(session: Session, memory: str | UUID) -> History:
    """Return the beliefs about a memory, and the values before and after it.

    Args:
        session: the caller's.
        memory: its id.

    Raises:
        AgentError: M700 no `act_as` in this transaction; M705 the user sees no such memory.
    """
    acting = acting_of(session)
    row = find(session, acting, [memory])[0]
    group = groups_of(session, [row])[row.id]
    rows = session.execute(
        sa.select(memories, sa.func.statement_timestamp().label("now")).where(
            memories.c.number == sa.any_(bigints(m.number for m in group.members.values()))
        )
    )
    values = {each.id: _value(each, group.members[each.id]) for each in rows}
    return History(
        values[row.id],
        tuple(group.members[row.id].revisions),
        sorted(values.values(), key=_when),
    )


def _when(value: Value) -> tuple[bool, datetime, datetime]:
    start = value.valid_from
    return start is not None, start or value.recorded_at, value.recorded_at


def _value(row: sa.Row[Any], member: Member) -> Value:
    belief = member.belief
    return Value(
        str(row.id),
        row.content,
        state(belief, row.now),
        row.source,
        belief.valid_from,
        belief.valid_until,
        row.recorded_at,
        row.retracted_at,
        None if belief.superseded_by is None else str(belief.superseded_by),
    )


def retract(session: Session, memory: str | UUID, reason: str | None = None) -> Changed:
    """State that a memory never was true; the value that it ended goes on.

    Args:
        session: the caller's.
        memory: its id.
        reason: shown by `history`.

    Returns:
        What became of it; twice is as once.

    Raises:
        AgentError: M700; M703; M705.
    """
    return retract_many(session, [memory], reason)[0]


def retract_many(
    session: Session, ids: Iterable[str | UUID], reason: str | None = None
) -> list[Changed]:
    """Retract several memories, in as many statements as one; see `retract`.

    Returns:
        What became of each, in the order of the ids, each once.
    """

    def say(member: Member, now: datetime) -> None:
        said = member.said(member.revisions[-1].known_from)
        if said is not None and not said.retracted:
            belief = replace(member.belief, retracted=True, superseded_by=None)
            member.add(Revision(beliefs.RETRACT, now, belief, reason, is_new=True))

    return _say(session, ids, say)


def restore(session: Session, memory: str | UUID, reason: str | None = None) -> Changed:
    """Undo that a memory was retracted or ended.

    A memory that was retracted is believed again; one that `correct` or `supersede` ended goes on.
    A value that another value ended by itself goes on because that one is retracted: of two values
    one is true.

    Raises:
        AgentError: M700; M703; M705; M734 nothing is to undo, or the same text is remembered as
            another memory by now.
    """
    done: list[Changed] = []

    def say(member: Member, now: datetime) -> None:
        said = member.said(member.revisions[-1].known_from)
        assert said is not None, "a memory has a first revision"
        if said.retracted or said.ended_by is not None:
            belief = Belief(said.valid_from, said.valid_until)
            member.add(Revision(beliefs.RESTORE, now, belief, reason, is_new=True))
        elif member.belief.superseded_by is not None:
            by = member.belief.superseded_by
            done.append(retract(session, by, reason or f"{member.id} was restored"))
        else:
            raise AgentError(
                "M734",
                "it was neither retracted nor ended by another memory",
                where=f"memory {member.id}",
                fix="set_validity changes its dates",
            )

    changed = _say(session, [memory], say)[0]
    if done:
        now = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        row = find(session, acting_of(session), [memory])[0]
        member = groups_of(session, [row])[row.id].members[row.id]
        changed = changed_of(member, now, [done[0].id, *done[0].others])
    return changed


def set_validity(
    session: Session,
    memory: str | UUID,
    *,
    valid_from: Moment | None = UNCHANGED,
    valid_until: Moment | None = UNCHANGED,
    reason: str | None = None,
) -> Changed:
    """Say since when and until when a memory is true; the values beside it give way.

    Args:
        session: the caller's.
        memory: its id.
        valid_from: None: since ever, or since it was recorded where another value was known.
        valid_until: None: it is still true.
        reason: shown by `history`.

    Raises:
        AgentError: M700; M703; M705; M731 dates without a zone, or in the wrong order; M734 the
            same text is remembered with the same end as another memory.
    """
    dates = {"valid_from": valid_from, "valid_until": valid_until}
    given = {name: moment(date, name) for name, date in dates.items() if date is not UNCHANGED}

    def say(member: Member, now: datetime) -> None:
        said = member.said(member.revisions[-1].known_from)
        assert said is not None, "a memory has a first revision"
        starts = given.get("valid_from", said.valid_from)
        ends = given.get("valid_until", said.valid_until)
        check_order(starts, ends)
        belief = Belief(starts, ends)
        member.add(Revision(beliefs.SET_VALIDITY, now, belief, reason, is_new=True))

    return _say(session, [memory], say)[0]


def _say(
    session: Session, ids: Iterable[str | UUID], say: Callable[[Member, datetime], None]
) -> list[Changed]:
    """Enter what somebody says of memories, and what follows from it."""
    acting = acting_of(session)
    rows = writable(acting, find(session, acting, ids))
    now = lock(session, rows)
    groups = groups_of(session, rows)
    members = [groups[row.id].members[row.id] for row in rows]
    for member in members:
        say(member, now)
    changed: dict[UUID, Changed] = {}
    for space in sorted({row.space_id for row in rows}):
        some = [member for row, member in zip(rows, members, strict=True) if row.space_id == space]
        in_space = [groups[row.id] for row in rows if row.space_id == space]
        for member, one in zip(
            some, settle_and_write(session, acting, space, in_space, now, some), strict=True
        ):
            changed[member.id] = one
    return [changed[row.id] for row in rows]


def settle_and_write(
    session: Session,
    acting: Acting,
    space: int,
    groups: Iterable[Group],
    now: datetime,
    members: Sequence[Member],
) -> list[Changed]:
    """Add what follows from new revisions of a moment, and write all of it.

    Args:
        session: the caller's; it holds the locks of the groups.
        acting: who changes the beliefs.
        space: that all groups are in.
        groups: the same one may be there twice.
        now: moment of the new revisions.
        members: of which the result is about.

    Raises:
        AgentError: M734 a text that would be open twice.
    """
    different = list({id(group): group for group in groups}.values())
    for group in different:
        group.settle(now)
    _need_room(session, space, different)
    touched = [
        str(member.id)
        for group in different
        for member in group.members.values()
        if member.stored != member.belief
    ]
    beliefs.update(session, different)
    beliefs.add_revisions(session, acting, space, different, {})
    return [
        changed_of(member, now, [other for other in touched if other != str(member.id)])
        for member in members
    ]


def _need_room(session: Session, space: int, groups: Iterable[Group]) -> None:
    """Refuse to open a memory whose text is open as another one, with the same end."""
    opened: dict[tuple[str, datetime | None], Member] = {}
    inside = {memory: member for group in groups for memory, member in group.members.items()}
    for member in inside.values():
        belief = member.belief
        if belief.retracted or belief.superseded_by is not None:
            continue
        there = opened.setdefault((member.content_digest, belief.valid_until), member)
        if there is not member:
            kept, changed = sorted((there, member), key=lambda one: one.stored != one.belief)
            raise _said_as(changed, kept.id)
    digests = {digest for (digest, _), one in opened.items() if one.stored != one.belief}
    if not digests:
        return
    m = memories.c
    statement = sa.select(m.id, m.content_digest, m.valid_until).where(
        m.space_id == space,
        m.content_digest == sa.any_(sa.cast(sorted(digests), sa.ARRAY(sa.Text()))),
        *(m.retracted_at.is_(None), m.superseded_by.is_(None)),
    )
    for row in session.execute(statement):
        found = opened.get((row.content_digest, row.valid_until))
        if row.id not in inside and found is not None:
            raise _said_as(found, row.id)


def _said_as(member: Member, other: UUID) -> AgentError:
    return AgentError(
        "M734",
        f"the same text is remembered as {other} by now",
        where=f"memory {member.id}",
        fix="use that one; or retract it first",
    )


def changed_of(member: Member, now: datetime, others: list[str]) -> Changed:
    """Return what became of a memory, and which others changed with it."""
    by = member.belief.superseded_by
    return Changed(
        str(member.id), state(member.belief, now), None if by is None else str(by), others
    )
