"""Corrections that somebody asks for: one memory in the place of another one."""

from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import beliefs
from memos_assets.memory.acting import acting_of
from memos_assets.memory.beliefs import Revision
from memos_assets.memory.histories import Changed, changed_of, settle_and_write
from memos_assets.memory.lookup import Named, find, groups_of, lock, writable
from memos_assets.memory.normalised_text import content_digest
from memos_assets.memory.prepared import Prepared, check_order
from memos_assets.memory.remember import Kept, keep
from memos_assets.memory.timeline import Belief
from memos_assets.postgres.advisory_locks import MEMORIES
from memos_assets.postgres.schema.agent import memories


def correct(session: Session, memory: str | UUID, prepared: Prepared) -> Kept:
    """Put a memory in the place of another one.

    A memory that is true is ended by the new one: at its ``valid_from``, else when it is recorded.
    Where that is not after the start of the former one, that one never was true. A memory that had
    ended is replaced for the time that it was true for.

    Args:
        session: the caller's.
        memory: id of the one that is corrected.
        prepared: the new one; without subject and attribute it has those of the former one.

    Returns:
        What became of the new one, in the space of the former one.

    Raises:
        AgentError: M700; M703 the space is read only; M705 no such memory; M732 another subject
            or attribute; M733 it would be corrected by itself, or by one that it corrected.
    """
    acting = acting_of(session)
    row = writable(acting, find(session, acting, [memory]))[0]
    _queue(session, row.space_id)
    now = lock(session, [row])
    group = groups_of(session, [row])[row.id]
    old = group.members[row.id].belief
    new = _of_the_same(row, prepared)
    if new.valid_from is None and old.valid_until is not None and old.valid_until <= now:
        until = old.valid_until if new.valid_until is None else new.valid_until
        new = replace(new, valid_from=old.valid_from, valid_until=until)
    elif new.valid_from is None and row.key is None:
        start = new.recorded_at or now
        check_order(start, new.valid_until)
        new = replace(new, valid_from=start, recorded_at=start)
    kept = keep(session, acting, row.space_id, [new])[0]
    changed = supersede(session, row.id, kept.id)
    if changed.others or str(row.id) not in kept.superseded:
        kept = replace(kept, superseded=[*dict.fromkeys([*kept.superseded, str(row.id)])])
    return kept


def supersede(
    session: Session, memory: str | UUID, by: str | UUID, reason: str | None = None
) -> Changed:
    """Have a memory end where another one starts; `restore` undoes it.

    Args:
        session: the caller's.
        memory: id of the one that ends.
        by: id of the one that ends it, in the same space.
        reason: shown by `history`.

    Raises:
        AgentError: M700; M703; M705; M732 another space, or another subject or attribute; M733 a
            memory that ends itself, or was ended by the one that it would end; M734 the other one
            is wrong.
    """
    acting = acting_of(session)
    rows = find(session, acting, [memory, by])
    writable(acting, rows[:1])
    old, new = rows[0], rows[-1]
    if len(rows) == 1:
        raise _cycle("a memory would end itself")
    if old.space_id != new.space_id or (old.key is not None and old.key != new.key):
        raise AgentError(
            "M732",
            "the other memory is in another space, or has another subject or attribute",
            where=f"memory {old.id}",
            fix="retract this one, and keep the other as it is",
        )
    _queue(session, old.space_id)
    now = lock(session, rows)
    groups = groups_of(session, rows)
    other = groups[new.id].members[new.id]
    member = groups[old.id].members[old.id]
    if other.belief.retracted:
        raise AgentError(
            "M734",
            "a memory that is wrong ends none",
            where=f"memory {new.id}",
            fix="restore it first, or name the memory that is true",
        )
    _refuse_cycle(session, old.id, new.id)
    start = other.belief.valid_from or other.recorded_at
    is_so = member.belief.superseded_by == new.id and member.belief.valid_until == start
    said = member.said(now)
    if is_so or (said is not None and (said.ended_by, said.ended_at) == (new.id, start)):
        return changed_of(member, now, [])
    # As it is said; where that is before its start, it follows that it never was true.
    belief = Belief(member.belief.valid_from, start, superseded_by=new.id)
    member.add(Revision(beliefs.CORRECT, now, belief, reason, is_new=True))
    return settle_and_write(session, acting, old.space_id, groups.values(), now, [member])[0]


def _queue(session: Session, space: int) -> None:
    """Queue with others that end memories of a space on request: two of them could close a cycle.

    Before the lock of a memory: in another order two corrections would wait for each other.
    """
    MEMORIES.wait(session.connection(), f"supersede {space}")


def _of_the_same(row: Named, prepared: Prepared) -> Prepared:
    """Return a correction with the subject and the attribute of the memory that it corrects."""
    given = (prepared.subject, prepared.attribute)
    if row.key is None or given == row.key:
        return prepared
    if given != (None, None):
        raise AgentError(
            "M732",
            "a correction has another subject or attribute",
            where=f"memory {row.id}",
            fix="leave both out; or retract the memory, and remember the other one",
        )
    subject, attribute = row.key
    digest = content_digest(prepared.content, subject, attribute)
    return replace(prepared, subject=subject, attribute=attribute, content_digest=digest)


def _refuse_cycle(session: Session, old: UUID, new: UUID) -> None:
    """Refuse that a memory is ended by one that it ended itself, through others or not."""
    chain = (
        sa.select(memories.c.superseded_by.label("id"))
        .where(memories.c.id == new)
        .cte("chain", recursive=True)
    )
    further = sa.select(memories.c.superseded_by).where(memories.c.id == chain.c.id)
    found = chain.union(further)
    ends = sa.select(sa.func.count()).select_from(found).where(found.c.id == old)
    if session.execute(ends).scalar_one():
        raise _cycle(f"{new} was ended by it")


def _cycle(what: str) -> AgentError:
    return AgentError(
        "M733",
        f"a cycle: {what}",
        where="supersession of memories",
        fix="restore the one that is true, or remember it again",
    )
