"""A batch of prepared memories on its way into one space: which are new, and what they end."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from memos_assets.memory import beliefs
from memos_assets.memory.acting import Acting
from memos_assets.memory.beliefs import Group, Key, Member, Revision
from memos_assets.memory.prepared import Prepared
from memos_assets.memory.timeline import Belief

#: Before they have a number, new memories are after all others.
_NEW: Final = 2**62


@dataclass(slots=True)
class New:
    """A memory that may become a row: its place in the batch, and what is known of it."""

    place: int
    prepared: Prepared
    member: Member
    group: Group


@dataclass(slots=True)
class Batch:
    """Prepared memories of one call on their way into one space."""

    acting: Acting
    space: int
    groups: dict[Key, Group]
    #: (digest, end) -> id and number of an open row.
    there: dict[tuple[str, datetime | None], tuple[UUID, int]]
    new: list[New] = field(default_factory=list)
    #: Place in the batch -> id of the equal memory, new or not.
    duplicates: dict[int, UUID] = field(default_factory=dict)

    def add(self, place: int, one: Prepared, recorded_at: datetime) -> None:
        """Enter a memory, unless an equal one is there."""
        key = key_of(one)
        equal = self._equal_value(self.groups[key], one) if key else self._equal_text(one)
        if equal is not None:
            self.duplicates[place] = equal
            return
        member = Member(uuid4(), _NEW + place, recorded_at, one.content_digest, None)
        group = self.groups[key] if key else Group()
        group.members[member.id] = member
        said = Belief(one.valid_from, one.valid_until)
        member.add(Revision(beliefs.REMEMBER, recorded_at, said, is_new=True))
        if key:
            group.settle(recorded_at)
        else:
            self.there[one.content_digest, one.valid_until] = (member.id, member.number)
        self.new.append(New(place, one, member, group))

    def _equal_text(self, one: Prepared) -> UUID | None:
        found = self.there.get((one.content_digest, one.valid_until))
        return None if found is None else found[0]

    def _equal_value(self, group: Group, one: Prepared) -> UUID | None:
        """Return an open value of the same text that starts no later and ends at the same time."""
        for member in group.members.values():
            belief = member.belief
            if (
                member.content_digest == one.content_digest
                and not belief.retracted
                and belief.superseded_by is None
                and belief.valid_until == one.valid_until
                and not (
                    one.valid_from is not None
                    and belief.valid_from is not None
                    and one.valid_from < belief.valid_from
                )
            ):
                return member.id
        return None


def key_of(one: Prepared) -> Key | None:
    """Return subject and attribute of a value; None: it is not one."""
    if one.subject is None or one.attribute is None:
        return None
    return one.subject, one.attribute


def key_lock(space: int, key: Key) -> str:
    """Return the subject of the lock of the values of an attribute of a subject."""
    return json.dumps([space, *key])
