"""Where memories are from: what they were derived from, and what goes when a source is wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import beliefs
from memos_assets.memory.acting import acting_of
from memos_assets.memory.arrays import BIGINTS
from memos_assets.memory.histories import restore, retract_many
from memos_assets.memory.lookup import find, lock
from memos_assets.memory.nodes import Id, places
from memos_assets.memory.normalised_text import storable_name
from memos_assets.postgres.advisory_locks import MEMORIES

#: Adds derivations, unless one of the sources was derived from the memory itself.
_DERIVE: Final = """
    with recursive lineage(number) as (
        select unnest(:sources)
        union
        select p.derived_from from lineage l join agent.provenance p on p.memory = l.number
    ), put as (
        insert into agent.provenance (memory, derived_from, space_id)
        select :memory, source, :space from unnest(:sources) as source
        where not exists (select from lineage where number = :memory)
        order by 2 on conflict do nothing
    )
    select exists (select from lineage where number = :memory)
"""
#: A memory, and those that were derived from it, are trusted at most as far as what it is from.
_TRUST_LESS: Final = """
    with recursive derived(number) as (
        values (cast(:memory as bigint))
        union
        select p.memory from derived d join agent.provenance p on p.derived_from = d.number
    ), least as (
        select min(m.trust) as trust from agent.memories m where m.number = any(:sources)
    )
    update agent.memories m set trust = least.trust from derived d, least
    where m.number = d.number and m.trust > least.trust and m.space_id = any(:writable)
"""
_TRUST: Final = """
    with recursive lineage(start, number) as (
        select number, number from unnest(:numbers) as number
        union
        select l.start, p.derived_from from lineage l
        join agent.provenance p on p.memory = l.number
    )
    select l.start, min(m.trust) from lineage l join agent.memories m on m.number = l.number
    group by l.start
"""
#: Memories of a source, and those that were derived from them through any number of steps.
_FROM_SOURCE: Final = """
    with recursive derived(number, of_source) as (
        select number, true from agent.memories
        where source = :source and space_id = any(:readable)
        union
        select p.memory, false from derived d join agent.provenance p on p.derived_from = d.number
    )
    select m.id::text as id, m.space_id = any(:writable) as writable, bool_or(d.of_source) as own,
        (array_agg(r.known_from order by r.known_from desc, r.number desc)
            filter (where r.action = :retract))[1] as said_at
    from derived d join agent.memories m on m.number = d.number
    left join agent.revisions r on r.memory = m.number
    where m.space_id = any(:readable) and (m.retracted_at is not null) = :wrong
    group by m.number, m.id, m.space_id order by m.number
"""


@dataclass(frozen=True, slots=True)
class SourceChanged:
    """What became of the memories of a source.

    Attributes:
        changed: ids of those that were retracted, or restored.
        read_only: ids of those that are in spaces that the user may only read; they stay.
    """

    changed: list[str] = field(default_factory=list)
    read_only: list[str] = field(default_factory=list)


def derive(session: Session, memory: Id, sources: Iterable[Id]) -> None:
    """State that a memory was derived from others, further to those it was remembered with.

    Args:
        session: the caller's, which acts for a user. Until it commits, other calls of this function
            wait: two of them could close a cycle that neither sees.
        memory: its id.
        sources: ids of the others, which may be in spaces that the user only reads.

    Raises:
        AgentError: M705 one of them is unknown or not visible; M703 the memory is in a space that
            the user may only read; M757 one of them is the memory, or was derived from it.
    """
    (place,) = places(session, [memory], to_write=True)
    found = places(session, sources)
    if not found:
        return
    MEMORIES.wait(session.connection(), "provenance")
    values = {"memory": place.number, "space": place.space_id}
    statement = sa.text(_DERIVE).bindparams(
        sa.bindparam("sources", [one.number for one in found], BIGINTS), **values
    )
    if session.execute(statement).scalar_one():
        raise AgentError(
            "M757",
            "it would be derived from itself",
            where=f"memory {place.id}",
            fix="leave out the source that is the memory, or was derived from it",
        )
    writable = list(acting_of(session).writable)
    session.execute(
        sa.text(_TRUST_LESS).bindparams(
            sa.bindparam("sources", [one.number for one in found], BIGINTS),
            sa.bindparam("writable", writable, BIGINTS),
            memory=place.number,
        )
    )


def trust_of(session: Session, ids: Iterable[Id]) -> dict[str, float]:
    """Return id -> trust of memories, 0 to 1: the least of all that they were derived from.

    Raises:
        AgentError: M705 one of them is unknown or not visible.
    """
    found = {place.number: place.id for place in places(session, ids)}
    statement = sa.text(_TRUST).bindparams(sa.bindparam("numbers", list(found), BIGINTS))
    return {found[number]: trust for number, trust in session.execute(statement)}


def retract_source(session: Session, source: str, reason: str | None = None) -> SourceChanged:
    """Retract what came from a source, and everything that was derived from it.

    `restore_source` undoes it. What was retracted before stays as it was.

    Args:
        session: the caller's, which acts for a user.
        source: as it was remembered, such as ``mail:4711``.
        reason: shown by `history`.

    Raises:
        AgentError: M730 the source is not a name; M758 no visible memory is from it.
    """
    rows = _of_source(session, source, wrong=False)
    if not rows and not _of_source(session, source, wrong=True):
        raise AgentError(
            "M758",
            "no memory that this user sees is from it",
            where="source of memories",
            fix="pass the source as it was remembered; recall shows it",
        )
    writable = [row.id for row in rows if row.writable]
    if writable:
        retract_many(session, writable, reason)
    return SourceChanged(writable, [row.id for row in rows if not row.writable])


def restore_source(session: Session, source: str, reason: str | None = None) -> SourceChanged:
    """Undo the last `retract_source`: restore the memories that it retracted, and no others.

    Raises:
        AgentError: M730 the source is not a name; M734 the text of one is remembered as another
            memory by now.
    """
    rows = _of_source(session, source, wrong=True)
    moments = [row.said_at for row in rows if row.own and row.said_at is not None]
    if not moments:
        return SourceChanged()
    together = [row for row in rows if row.said_at == max(moments)]
    writable = [row.id for row in together if row.writable]
    # All at once, in the order of the locks: one by one, two calls would wait for each other.
    lock(session, find(session, acting_of(session), writable))
    for one in writable:
        restore(session, one, reason)
    return SourceChanged(writable, [row.id for row in together if not row.writable])


def _of_source(session: Session, source: str, *, wrong: bool) -> Sequence[sa.Row[Any]]:
    acting = acting_of(session)
    statement = sa.text(_FROM_SOURCE.replace("::", r"\:\:")).bindparams(
        sa.bindparam("readable", list(acting.readable), BIGINTS),
        sa.bindparam("writable", list(acting.writable), BIGINTS),
        source=storable_name(source, "source"),
        retract=beliefs.RETRACT,
        wrong=wrong,
    )
    return session.execute(statement).all()
