"""Beliefs about memories in the database: read with all that was said, settled, and written.

`agent.revisions` has each belief since when it is ours; its rows are only added. Some of them say
something (a memory, its dates, that it is wrong), the others follow from that (`timeline`), so
whatever was done can be undone, and an import from the past is entered where it belongs.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory.acting import Acting
from memos_assets.memory.arrays import array, bigints
from memos_assets.memory.models import registered
from memos_assets.memory.timeline import Belief, Said, believed
from memos_assets.postgres.schema.agent import memories, revisions

#: Actions by which somebody said something; the others follow.
REMEMBER: Final = "remember"
SET_VALIDITY: Final = "set_validity"
RETRACT: Final = "retract"
RESTORE: Final = "restore"
CORRECT: Final = "correct"
#: What follows: another value ended it, or none does any more.
SUPERSEDE: Final = "supersede"
REOPEN: Final = "reopen"

#: Subject and attribute.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Revision:
    """A belief about a memory since a moment.

    Attributes:
        action: that led to it.
        known_from: since when it is ours.
        belief: the belief.
        reason: as the user gave it; None: none was given, or it follows from another action.
        user: who changed the belief; "" until it is written.
        agent: that acted for them.
        is_new: it is not in the database yet.
    """

    action: str
    known_from: datetime
    belief: Belief
    reason: str | None = None
    user: str = ""
    agent: str = ""
    is_new: bool = False


@dataclass(slots=True, eq=False)
class Member:
    """A memory with its revisions, in the order of their moments.

    Attributes:
        number: its key; for a new one, its place after all others until it has one.
        stored: the belief in its row; None: it has no row yet.
    """

    id: UUID
    number: int
    recorded_at: datetime
    content_digest: str
    stored: Belief | None
    revisions: list[Revision] = field(default_factory=list)

    def add(self, revision: Revision) -> None:
        """Enter a revision after those of its moment."""
        place = len(self.revisions)
        while place and self.revisions[place - 1].known_from > revision.known_from:
            place -= 1
        self.revisions.insert(place, revision)

    def known(self, moment: datetime) -> Belief | None:
        """Return what was believed at a moment; None: it was not known."""
        found = None
        for revision in self.revisions:
            if revision.known_from > moment:
                break
            found = revision.belief
        return found

    def said(self, moment: datetime) -> Said | None:
        """Return what had been said of it at a moment; None: it was not known."""
        said: dict[str, Any] | None = None
        for revision in self.revisions:
            if revision.known_from > moment:
                break
            belief = revision.belief
            if revision.action in (REMEMBER, SET_VALIDITY):
                dates = {"valid_from": belief.valid_from, "valid_until": belief.valid_until}
                said = {**(said or {}), **dates}
            elif said is not None and revision.action == RETRACT:
                said["retracted"] = True
            elif said is not None and revision.action == RESTORE:
                said |= {"retracted": False, "ended_by": None, "ended_at": None}
            elif said is not None and revision.action == CORRECT:
                said |= {"ended_by": belief.superseded_by, "ended_at": belief.valid_until}
        if said is None:
            return None
        return Said(self.id, self.recorded_at, self.number, **said)

    @property
    def belief(self) -> Belief:
        """What is believed now."""
        return self.revisions[-1].belief

    @property
    def retracted_at(self) -> datetime | None:
        """Since when it is known to be wrong; None: it is not."""
        since = None
        for revision in reversed(self.revisions):
            if not revision.belief.retracted:
                break
            since = revision.known_from
        return since

    @property
    def is_ended_on_request(self) -> bool:
        """Whether somebody said that another memory ended it."""
        said = self.said(self.revisions[-1].known_from)
        return said is not None and said.ended_by is not None


@dataclass(slots=True, eq=False)
class Group:
    """Memories whose beliefs depend on each other: values of one key, or a memory without one."""

    members: dict[UUID, Member] = field(default_factory=dict)

    def settle(self, since: datetime) -> None:
        """Add the revisions that follow from what was said at a moment, and after it.

        Args:
            since: the earliest moment of what is new.
        """
        moments = {
            revision.known_from
            for member in self.members.values()
            for revision in member.revisions
            if revision.known_from >= since
        }
        for moment in sorted(moments):
            said = [known for m in self.members.values() if (known := m.said(moment)) is not None]
            for memory, belief in believed(said).items():
                member = self.members[memory]
                if member.known(moment) != belief:
                    action = REOPEN if belief.superseded_by is None else SUPERSEDE
                    member.add(Revision(action, moment, belief, is_new=True))


def read_values(session: Session, space: int, keys: Iterable[Key]) -> dict[Key, Group]:
    """Return the values of some attributes of subjects with all their revisions; one statement.

    Args:
        session: the caller's.
        space: that the memories are in.
        keys: normalised.
    """
    wanted = sorted(set(keys))
    key = (
        sa.func.unnest(
            array((subject for subject, _ in wanted), sa.Text()),
            array((attribute for _, attribute in wanted), sa.Text()),
        )
        .table_valued("subject", "attribute")
        .render_derived()
    )
    found = (
        sa.select(*_OF_MEMORY)
        .where(
            memories.c.space_id == space,
            memories.c.subject == key.c.subject,
            memories.c.attribute == key.c.attribute,
        )
        # Each key is looked up by the index, whatever the statistics of a new table are.
        .offset(0)
        .lateral("m")
    )
    groups: dict[Key, Group] = {one: Group() for one in wanted}
    statement = _with_revisions(found).select_from(
        key.join(found, sa.true()).join(revisions, revisions.c.memory == found.c.number)
    )
    for row in session.execute(statement):
        _enter(groups[row.subject, row.attribute], row)
    return groups


def read_memories(session: Session, numbers: Iterable[int]) -> dict[int, Group]:
    """Return memories without a key, each with all its revisions; one statement."""
    groups = {number: Group() for number in sorted(set(numbers))}
    listed = sa.any_(bigints(groups))
    found = sa.select(*_OF_MEMORY).where(memories.c.number == listed).subquery("m")
    statement = _with_revisions(found).select_from(
        found.join(revisions, revisions.c.memory == found.c.number)
    )
    for row in session.execute(statement):
        _enter(groups[row.number], row)
    return groups


_OF_MEMORY: Final = (
    *(memories.c.number, memories.c.id, memories.c.subject, memories.c.attribute),
    *(memories.c.recorded_at, memories.c.content_digest),
    *(memories.c.valid_from, memories.c.valid_until),
    *(memories.c.retracted_at, memories.c.superseded_by),
)


def _with_revisions(found: sa.FromClause) -> sa.Select[Any]:
    believed_then = (
        *(revisions.c.action, revisions.c.known_from, revisions.c.reason),
        revisions.c.valid_from.label("then_from"),
        revisions.c.valid_until.label("then_until"),
        revisions.c.retracted.label("then_retracted"),
        revisions.c.superseded_by.label("then_by"),
        revisions.c.user_id,
        revisions.c.agent_id,
    )
    return sa.select(*found.c, *believed_then).order_by(revisions.c.known_from, revisions.c.number)


def _enter(group: Group, row: sa.Row[Any]) -> None:
    stored = Belief(
        row.valid_from,
        row.valid_until,
        retracted=row.retracted_at is not None,
        superseded_by=row.superseded_by,
    )
    member = group.members.setdefault(
        row.id, Member(row.id, row.number, row.recorded_at, row.content_digest, stored)
    )
    then = Belief(
        row.then_from,
        row.then_until,
        retracted=row.then_retracted,
        superseded_by=row.then_by,
    )
    member.revisions.append(
        Revision(row.action, row.known_from, then, row.reason, row.user_id, row.agent_id)
    )


def update(session: Session, groups: Iterable[Group]) -> None:
    """Write the beliefs that changed into the rows of memories, and their ends to embeddings.

    Before new memories are inserted: an equal text that ended makes room for a new one.

    Args:
        session: the caller's; it holds the locks of the groups.
        groups: settled.
    """
    members = (member for group in groups for member in group.members.values())
    changed = [m for m in members if m.stored is not None and m.stored != m.belief]
    # Of equal texts one is open: those that ended make room first.
    for is_open in (False, True):
        some = [m for m in changed if (m.belief == Belief(m.belief.valid_from)) == is_open]
        if some:
            _update(session, sorted(some, key=lambda member: member.number))
    close_embeddings(session, [member.number for member in changed])


def add_revisions(
    session: Session,
    acting: Acting,
    space: int,
    groups: Iterable[Group],
    numbers: Mapping[UUID, int],
) -> None:
    """Write the new revisions of memories, in the order of their moments.

    Args:
        session: the caller's; it holds the locks of the groups.
        acting: who changes the beliefs.
        space: that the memories are in.
        groups: settled.
        numbers: of the memories that were inserted just now.
    """
    rows = [
        {
            "memory": numbers.get(member.id, member.number),
            "space_id": space,
            "action": revision.action,
            "known_from": revision.known_from,
            "valid_from": revision.belief.valid_from,
            "valid_until": revision.belief.valid_until,
            "retracted": revision.belief.retracted,
            "superseded_by": revision.belief.superseded_by,
            "user_id": acting.user,
            "agent_id": acting.agent,
            "reason": revision.reason,
        }
        for group in groups
        for member in group.members.values()
        for revision in member.revisions
        if revision.is_new
    ]
    if rows:
        session.execute(_insert_revisions(rows))


def _columns(rows: Sequence[Mapping[str, Any]], table: sa.Table) -> sa.TableValuedAlias:
    """Return rows as a table that a statement reads, each column as one array."""
    names = list(rows[0])
    arrays = (array((row[name] for row in rows), table.c[name].type) for name in names)
    typed = [sa.column(name, table.c[name].type) for name in names]
    given = sa.func.unnest(*arrays).table_valued(*typed, with_ordinality="place", name="given")
    return given.render_derived()


def _insert_revisions(rows: Sequence[Mapping[str, Any]]) -> sa.Insert:
    given = _columns(rows, revisions)
    ordered = sa.select(*(given.c[name] for name in rows[0])).order_by(given.c.place)
    return revisions.insert().from_select(list(rows[0]), ordered)


def _update(session: Session, members: Sequence[Member]) -> None:
    rows = [
        {
            "number": member.number,
            "valid_from": member.belief.valid_from,
            "valid_until": member.belief.valid_until,
            "retracted_at": member.retracted_at,
            "superseded_by": member.belief.superseded_by,
        }
        for member in members
    ]
    given = _columns(rows, memories)
    names = ("valid_from", "valid_until", "retracted_at", "superseded_by")
    session.execute(
        memories.update()
        .values({name: given.c[name] for name in names})
        .where(memories.c.number == given.c.number)
    )


def ended_at(memories: sa.FromClause) -> sa.ColumnElement[datetime | None]:
    """Return when a memory ended, from its columns: the least of `retracted_at, valid_until`."""
    return sa.func.least(memories.c.retracted_at, memories.c.valid_until)


def close_embeddings(session: Session | sa.Connection, numbers: Sequence[int]) -> None:
    """Copy the end of memories to their embeddings, in the table of every model."""
    if not numbers:
        return
    listed = sa.any_(bigints(numbers))
    ended = ended_at(memories)
    for model in registered(session):
        table = model.table
        session.execute(
            table.update()
            .values(closed_at=ended)
            .where(
                table.c.memory == listed,
                memories.c.number == table.c.memory,
                table.c.closed_at.is_distinct_from(ended),
            )
        )


def ends(groups: Iterable[Group]) -> Iterator[tuple[UUID, UUID]]:
    """Yield (memory, memory that ended it) for each end that is new."""
    for group in groups:
        for member in group.members.values():
            by = member.belief.superseded_by
            if by is not None and (member.stored is None or member.stored.superseded_by != by):
                yield member.id, by
