"""What is believed of the values of one attribute of one subject, by what was said of them.

A pure function, used wherever a belief changes. In the order of their starts:

- A value ends where the next one starts, in whatever order they are remembered: a value that comes
  late and is older than the current one is placed before it, and does not end it.
- A value without ``valid_from`` is true since ever where it was recorded first of all, else since
  it was recorded.
- Of two with the same start, the one recorded later replaces the other, which is wrong: it never
  was true.
- A value that had ended before it was recorded, at an unknown start, is true until then and takes
  no other value's time.
- A value that was retracted takes no time: what it had ended goes on.

Memories without subject and attribute end only when somebody says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Said:
    """What was said of a memory until some moment.

    Attributes:
        id: of the memory.
        recorded_at: when it became known.
        number: decides between equal times, greater is later.
        valid_from: as it was said; None: nothing was.
        valid_until: as it was said; None: nothing was.
        retracted: somebody said that it never was true.
        ended_by: the memory that somebody said ended it; None: nobody did.
        ended_at: since when; where that is not after its start, it never was true.
    """

    id: UUID
    recorded_at: datetime
    number: int
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    retracted: bool = False
    ended_by: UUID | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a memory: true from, until, wrong, ended by."""

    valid_from: datetime | None = None
    valid_until: datetime | None = None
    retracted: bool = False
    superseded_by: UUID | None = None


def believed(values: Iterable[Said]) -> Mapping[UUID, Belief]:
    """Return memory -> belief, for all values of one attribute of one subject."""
    order = sorted(values, key=lambda value: (value.recorded_at, value.number))
    beliefs: dict[UUID, Belief] = {}
    places: list[tuple[datetime | None, Said]] = []
    for place, value in enumerate(order):
        until = _least(value.valid_until, value.ended_at)
        start = value.valid_from
        began_unknown = start is None and until is not None and until <= value.recorded_at
        if start is None and place > 0 and not began_unknown:
            start = value.recorded_at
        replaced = value.ended_by is not None and (
            start is not None and value.ended_at is not None and value.ended_at <= start
        )
        if value.retracted or replaced:
            beliefs[value.id] = Belief(
                start, value.valid_until, retracted=True, superseded_by=value.ended_by
            )
        elif began_unknown and place > 0:
            beliefs[value.id] = Belief(None, until, superseded_by=value.ended_by)
        else:
            places.append((start, value))
    places.sort(key=lambda item: (item[0] is not None, item[0] or item[1].recorded_at))
    for here, (start, value) in enumerate(places):
        following = places[here + 1] if here + 1 < len(places) else None
        beliefs[value.id] = _placed(start, value, following)
    return beliefs


def _placed(
    start: datetime | None, value: Said, following: tuple[datetime | None, Said] | None
) -> Belief:
    until, ended_by = _least(value.valid_until, value.ended_at), value.ended_by
    if following is None:
        return Belief(start, until, superseded_by=ended_by)
    next_start, by = following
    if next_start == start:
        return Belief(start, value.valid_until, retracted=True, superseded_by=by.id)
    if until is None or (next_start is not None and next_start < until):
        return Belief(start, next_start, superseded_by=by.id)
    return Belief(start, until, superseded_by=ended_by)


def _least(one: datetime | None, other: datetime | None) -> datetime | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
