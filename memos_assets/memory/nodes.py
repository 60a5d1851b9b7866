"""Memories as nodes of the network: found by their ids, as far as the caller sees them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.arrays import bigints
from memos_assets.memory.lookup import find, writable
from memos_assets.postgres.schema.agent import accesses, memories

State = Literal["current", "superseded", "wrong"]
#: A memory's id, as callers have it.
Id = UUID | str


@dataclass(frozen=True, slots=True)
class Node:
    """A memory with what the network knows of it.

    Attributes:
        number: its key within the database.
        accesses: how often it was read by `network.get`, and what `network.boost` added.
        accessed_at: when last; None: not since it was recorded.
    """

    id: str
    number: int
    space_id: int
    kind: str
    content: str
    subject: str | None
    attribute: str | None
    attributes: Mapping[str, Any]
    source: str
    confidence: float | None
    trust: float
    valid_from: datetime | None
    valid_until: datetime | None
    recorded_at: datetime
    state: State
    accesses: int
    accessed_at: datetime | None


#: Not `now()`, the start of the transaction: it may have remembered since.
_NOW: Final = sa.func.statement_timestamp()
STATE: Final[sa.ColumnElement[str]] = sa.case(
    (memories.c.retracted_at.is_not(None), "wrong"),
    (memories.c.valid_until <= _NOW, "superseded"),
    else_="current",
)
#: Of a memory that is believed, and true now.
IS_CURRENT: Final = sa.and_(
    memories.c.retracted_at.is_(None),
    sa.or_(memories.c.valid_from.is_(None), memories.c.valid_from <= _NOW),
    sa.or_(memories.c.valid_until.is_(None), memories.c.valid_until > _NOW),
)
COLUMNS: Final[tuple[sa.ColumnElement[Any], ...]] = (
    *(memories.c.id, memories.c.number, memories.c.space_id, memories.c.kind, memories.c.content),
    *(memories.c.subject, memories.c.attribute, memories.c.attributes, memories.c.source),
    *(memories.c.confidence, memories.c.trust, memories.c.valid_from, memories.c.valid_until),
    *(memories.c.recorded_at, STATE.label("state")),
    sa.func.coalesce(accesses.c.count, 0).label("accesses"),
    accesses.c.last_at.label("accessed_at"),
)
_WITH_ACCESSES: Final = memories.outerjoin(accesses, accesses.c.memory == memories.c.number)


def node_of(row: sa.Row[Any]) -> Node:
    """Return the node of a row that begins with `COLUMNS`."""
    one, *rest = row[: len(COLUMNS)]
    return Node(str(one), *rest)


def select_nodes(*others: sa.ColumnElement[Any]) -> sa.Select[Any]:
    """Return a selection of `COLUMNS`, then of others."""
    return sa.select(*COLUMNS, *others).select_from(_WITH_ACCESSES)


def is_readable(acting: Acting, column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Return whether a space is one that the user sees."""
    return column == sa.any_(bigints(acting.readable))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a memory is: its number and its space."""

    id: str
    number: int
    space_id: int


def places(session: Session, ids: Iterable[Id], *, to_write: bool = False) -> Sequence[Place]:
    """Return where memories are, each once, in the order of their ids.

    Args:
        session: the caller's, which acts for a user.
        ids: of memories.
        to_write: they have to be in spaces that the user may write.

    Raises:
        AgentError: M705 there is no such memory, or this user does not see it; M703 its space is
            one that the user may only read.
    """
    acting = acting_of(session)
    found = find(session, acting, ids)
    if to_write:
        writable(acting, found)
    return [Place(str(one.id), one.number, one.space_id) for one in found]


def counted(there: Any, given: Any) -> dict[str, Any]:
    """Add accesses to those that were counted before; for `upsert`."""
    return {
        "count": there["count"] + given["count"],
        "last_at": sa.func.greatest(there.last_at, given.last_at),
    }
