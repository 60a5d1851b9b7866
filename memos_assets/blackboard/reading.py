"""What a board holds: its state now and at each of its events, and the events themselves.

A state is the last event of each slot that has a value and has not expired. `live` reads it from
the entries that each post kept up to date; `replay` computes it from the events, and is equal to
what was live after event n. The time of event n is a time of our knowledge: what agents could know
of memory when they posted it is ``recall(..., known_at=time_of(n))``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.blackboard.posting import refusal
from memos_assets.errors import AgentError
from memos_assets.postgres.schema.agent_board import board_entries, board_events, boards


@dataclass(frozen=True, slots=True)
class Entry:
    """What a board holds under a key.

    Attributes:
        level: of the entry.
        key: of the entry within its level.
        item: of a key with several values, the digest of one; "" otherwise.
        value: JSON.
        version: from 1; a writer with ``cas`` names it.
        seq: of the event that wrote it.
        at: when it was written.
        user: who wrote it.
        agent: that wrote it.
        strategy: of the key.
        expires_at: None: it does not.
    """

    level: str
    key: str
    item: str
    value: Any
    version: int
    seq: int
    at: datetime
    user: str
    agent: str
    strategy: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Event:
    """One write, with its number within the board.

    Attributes:
        entry: as it was written; of an erased one level, key and item are "".
        removed: the entry was removed, its writer was erased, or a compaction emptied the event.
        slot: digest of level, key and item, which outlives their erasure.
    """

    entry: Entry
    removed: bool
    slot: str

    @property
    def seq(self) -> int:
        """Its number within the board."""
        return self.entry.seq


@dataclass(frozen=True)
class State:
    """What a board holds after an event.

    Attributes:
        seq: of the event; 0: before the first one.
        at: when the event was posted; None before the first one.
        entries: by level and key, in the order in which they were written.
    """

    seq: int
    at: datetime | None
    entries: tuple[Entry, ...]

    @cached_property
    def _by_level(self) -> Mapping[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.level, []).append(entry)
        return found

    def level(self, name: str) -> Sequence[Entry]:
        """Return the entries of a level, the oldest first."""
        return self._by_level.get(name, [])

    def get(self, level: str, key: str) -> Entry | None:
        """Return one entry, or None."""
        for entry in self.level(level):
            if entry.key == key and not entry.item:
                return entry
        return None

    def values(self, level: str) -> dict[str, Any]:
        """Return key -> value of a level; of a set, its values as a list."""
        found: dict[str, Any] = {}
        for entry in self.level(level):
            if entry.strategy == "union":
                found.setdefault(entry.key, []).append(entry.value)
            elif not entry.item:
                found[entry.key] = entry.value
        return found


@dataclass(frozen=True, slots=True)
class Head:
    """The row of a board."""

    number: int
    id: UUID
    space: int
    user: str
    agent: str
    goal: str
    state: str
    seq: int
    events: int
    bytes: int
    max_events: int
    max_bytes: int
    compacted_to: int
    opened_at: datetime
    completed_at: datetime | None
    archived_at: datetime | None
    archive_sha256: str | None


_b, _e, _v = boards.c, board_entries.c, board_events.c
#: The last event of each board, which has its counts; NULL without one.
_last = (
    sa.select(_v.seq, _v["count"], _v.bytes, _v.at)
    .where(_v.board == _b.number)
    .order_by(_v.seq.desc())
    .limit(1)
    .correlate(boards)
    .lateral("last")
)
WITH_LAST: Final = boards.outerjoin(_last, sa.true())
LAST_SEQ: Final = sa.func.coalesce(_last.c.seq, 0)
#: How many events a board has that count, and the bytes of their values.
COUNT: Final = sa.func.coalesce(_last.c["count"], 0)
BYTES: Final = sa.func.coalesce(_last.c.bytes, 0)
#: Rows of boards as `Head`.
HEADS: Final[sa.Select[Any]] = sa.select(
    *(_b.number, _b.id, _b.space_id, _b.user_id, _b.agent_id, _b.goal, _b.state, LAST_SEQ),
    *(COUNT, BYTES, _b.max_events, _b.max_bytes, _b.compacted_to, _b.opened_at),
    *(_b.completed_at, _b.archived_at, _b.archive_sha256),
).select_from(WITH_LAST)
_ENTRY: Final[tuple[sa.Column[Any], ...]] = (
    *(_e.level, _e.key, _e.item, _e.value, _e.version, _e.seq, _e.at, _e.user_id, _e.agent_id),
    *(_e.strategy, _e.expires_at),
)
_EVENT: Final[tuple[sa.Column[Any], ...]] = (
    *(_v.level, _v.key, _v.item, _v.value, _v.version, _v.seq, _v.at, _v.user_id, _v.agent_id),
    *(_v.strategy, _v.expires_at),
)
Reader = Session | sa.Connection


def head(session: Reader, board: UUID) -> Head:
    """Return the row of a board.

    Raises:
        AgentError: M910 there is no such board that the user sees.
    """
    row = session.execute(HEADS.where(_b.id == board)).one_or_none()
    if row is None:
        raise refusal({"status": "unknown"}, board)
    return Head(*row)


def live(
    session: Reader, board: UUID, levels: Iterable[str] | None = None, *, expired: bool = False
) -> State:
    """Return what a board holds now.

    Args:
        session: that sees the board; one statement reads board and entries of one moment.
        board: id of the board.
        levels: None: all of them.
        expired: with what has expired, too.

    Raises:
        AgentError: M910.
    """
    joined = sa.and_(_e.board == _b.number)
    if levels is not None:
        joined = sa.and_(joined, _e.level.in_(list(levels)))
    if not expired:
        lives = sa.or_(_e.expires_at.is_(None), _e.expires_at > sa.func.clock_timestamp())
        joined = sa.and_(joined, lives)
    rows = session.execute(
        sa.select(LAST_SEQ, _last.c.at, *_ENTRY)
        .select_from(WITH_LAST.outerjoin(board_entries, joined))
        .where(_b.id == board)
        .order_by(_e.seq)
    ).all()
    if not rows:
        raise refusal({"status": "unknown"}, board)
    found = tuple(Entry(*row[2:]) for row in rows if row[2] is not None)
    return State(rows[0][0], rows[0][1], found)


def replay(session: Reader, board: UUID, seq: int | None = None, *, expired: bool = False) -> State:
    """Return the state of a board after an event, computed from its events.

    Args:
        session: that sees the board.
        board: id of the board.
        seq: of the event; None: the last one; 0: before the first one.
        expired: with what had expired by then, too.

    Raises:
        AgentError: M910; M919 there is no such event, or it was compacted.
    """
    row = head(session, board)
    until = row.seq if seq is None else seq
    at = _time_of(session, row, until)
    if at is None:
        return State(until, None, ())
    last = (
        sa.select(*_EVENT)
        .where(_v.board == row.number, _v.seq <= until)
        .ext(pg.distinct_on(_v.slot))
        .order_by(_v.slot, _v.seq.desc())
        .subquery()
    )
    lives = sa.or_(last.c.expires_at.is_(None), last.c.expires_at > at)
    rows = session.execute(
        sa.select(last)
        .where(
            last.c.value.is_not(None),
            sa.true() if expired else lives,
        )
        .order_by(last.c.seq)
    )
    return State(until, at, tuple(Entry(*one) for one in rows))


def time_of(session: Reader, board: UUID, seq: int) -> datetime:
    """Return when an event was posted, for ``recall(known_at=...)``.

    Raises:
        AgentError: M910; M919.
    """
    at = _time_of(session, head(session, board), seq)
    if at is None:
        raise _no_event(board, seq, "there is no event 0")
    return at


def _time_of(session: Reader, row: Head, seq: int) -> datetime | None:
    if not isinstance(seq, int) or not 0 <= seq <= row.seq:
        raise _no_event(row.id, seq, f"the last event is {row.seq:,}")
    if seq < row.compacted_to:
        raise _no_event(
            row.id, seq, f"events before {row.compacted_to:,} were compacted; the archive has them"
        )
    if seq == 0:
        return None
    at: datetime = session.execute(
        sa.select(_v.at).where(_v.board == row.number, _v.seq == seq)
    ).scalar_one()
    return at


def _no_event(board: UUID, seq: object, what: str) -> AgentError:
    return AgentError(
        "M919",
        f"the state after event {seq} cannot be replayed: {what}",
        where=f"board {board}",
        fix="name an event that is there; stats shows which",
    )


def events(session: Reader, board: UUID, after: int = 0, limit: int = 500) -> list[Event]:
    """Return events of a board after one, in their order.

    Args:
        session: that sees the board.
        board: id of the board.
        after: number of the last event that the reader has.
        limit: at most so many.
    """
    rows = session.execute(
        sa.select(*_EVENT, _v.slot)
        .join(boards, _b.number == _v.board)
        .where(_b.id == board, _v.seq > after)
        .order_by(_v.seq)
        .limit(limit)
    )
    return [Event(Entry(*row[:-1]), row.value is None, row.slot) for row in rows]


def same(one: State, other: State) -> bool:
    """Whether two states hold the same entries, written by the same events."""
    return one.seq == other.seq and set(map(_compared, one.entries)) == set(
        map(_compared, other.entries)
    )


def _compared(entry: Entry) -> tuple[object, ...]:
    return (
        *(entry.level, entry.key, entry.item, entry.version, entry.seq, entry.at, entry.user),
        *(entry.agent, entry.strategy, entry.expires_at, repr(entry.value)),
    )
