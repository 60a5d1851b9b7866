"""Memories that a caller names: found among those that the user sees, locked, read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import beliefs
from memos_assets.memory.acting import Acting
from memos_assets.memory.arrays import bigints
from memos_assets.memory.batch import key_lock
from memos_assets.memory.beliefs import Group
from memos_assets.postgres.advisory_locks import MEMORIES
from memos_assets.postgres.schema.agent import memories


@dataclass(frozen=True, slots=True)
class Named:
    """A memory that the caller named."""

    id: UUID
    number: int
    space_id: int
    key: beliefs.Key | None
    trust: float


def find(session: Session, acting: Acting, named: Iterable[str | UUID]) -> list[Named]:
    """Return the memories with some ids, each once, in the order of the ids.

    Raises:
        AgentError: M705.
    """
    ids = [_uuid(one) for one in named]
    m = memories.c
    statement = sa.select(m.id, m.number, m.space_id, m.subject, m.attribute, m.trust).where(
        m.id == sa.any_(sa.cast(ids, sa.ARRAY(sa.Uuid()))),
        m.space_id == sa.any_(bigints(acting.readable)),
    )
    rows: dict[UUID, Named] = {}
    for row in session.execute(statement):
        keyed = row.subject is not None and row.attribute is not None
        key = (row.subject, row.attribute) if keyed else None
        rows[row.id] = Named(row.id, row.number, row.space_id, key, row.trust)
    for one in ids:
        if one not in rows:
            raise _missing(str(one))
    return [rows[one] for one in dict.fromkeys(ids)]


def _uuid(memory: str | UUID) -> UUID:
    try:
        return memory if isinstance(memory, UUID) else UUID(memory)
    except (ValueError, AttributeError, TypeError):
        raise _missing("that was named by something that is not an id") from None


def _missing(which: str) -> AgentError:
    return AgentError(
        "M705",
        "no such memory in the spaces of this transaction",
        where=f"memory {which}",
        fix="pass an id that remember or recall returned, and name its space in act_as",
    )


def writable(acting: Acting, rows: Sequence[Named]) -> Sequence[Named]:
    """Return memories that the user may change.

    Raises:
        AgentError: M703 about the first one that the user may only read.
    """
    for row in rows:
        if row.space_id not in acting.writable:
            raise AgentError(
                "M703",
                "the user may read the space of this memory, and not write it",
                where=f"memory {row.id}",
                fix="ask the owner of the space for the grant read_write",
            )
    return rows


def lock(session: Session, rows: Iterable[Named]) -> datetime:
    """Queue with others that change the same memories; return the server's time then."""
    subjects = {
        f"memory {row.number}" if row.key is None else key_lock(row.space_id, row.key)
        for row in rows
    }
    return MEMORIES.wait_for_each(session.connection(), subjects)


def groups_of(session: Session, rows: Sequence[Named]) -> Mapping[UUID, Group]:
    """Return memory -> the group that it is in."""
    alone = [row.number for row in rows if row.key is None]
    by_number = beliefs.read_memories(session, alone) if alone else {}
    groups = {row.id: by_number[row.number] for row in rows if row.key is None}
    for space in {row.space_id for row in rows if row.key is not None}:
        keys = {row.key for row in rows if row.space_id == space and row.key is not None}
        values = beliefs.read_values(session, space, keys)
        groups |= {
            row.id: values[row.key] for row in rows if row.space_id == space and row.key is not None
        }
    return groups
