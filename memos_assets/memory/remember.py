"""Remember: prepared memories become rows, in a number of statements that no batch size changes.

Equal normalised text with the same subject and attribute, in one space and with the same end, is
one row. A value of an attribute of a subject ends the former one, see `timeline`. Nothing else is
merged or ended.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from memos_assets.memory import beliefs, vectors
from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.arrays import array, array_text
from memos_assets.memory.batch import Batch, New, key_lock, key_of
from memos_assets.memory.beliefs import Group
from memos_assets.memory.links import link_new
from memos_assets.memory.lookup import find
from memos_assets.memory.prepared import Prepared
from memos_assets.memory.recall_plan import WITHOUT_JIT, settings
from memos_assets.postgres.advisory_locks import MEMORIES
from memos_assets.postgres.schema.agent import memories, provenance
from memos_assets.search.bm25 import lexemes_of

#: Equal texts of a batch are locked one by one up to so many; then the space is.
_MOST_LOCKS: Final = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one memory.

    Attributes:
        id: of the memory, or of the equal one that was there.
        number: its key within the database.
        duplicate_of: id of the equal one, whose row stays as it is; None: it is new.
        superseded: ids of the memories that it ended.
        links: ids of the memories that it was linked to by itself.
        superseded_by: id of a value that starts later, before which it was placed; None: it is the
            last one, or not a value.
        waits: why it has no embedding yet, as a code and a cause; None: it has one.
    """

    id: str
    number: int
    duplicate_of: str | None = None
    superseded: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    superseded_by: str | None = None
    waits: str | None = None


#: Column of a new memory -> its type.
_COLUMNS: Final = {
    "id": "uuid",
    "kind": "text",
    "content": "text",
    "content_digest": "text",
    "subject": "text",
    "attribute": "text",
    "attributes": "text",
    "source": "text",
    "confidence": "float8",
    "trust": "float8",
    **dict.fromkeys(("valid_from", "valid_until", "recorded_at", "retracted_at"), "timestamptz"),
    "superseded_by": "uuid",
}
_INSERT = sql.SQL(
    """
    with given as materialized (
        select * from unnest({arrays}) with ordinality as g({names}, place)
    ), found as materialized (
        select g.place, l.lexeme, l.count from given g cross join lateral ({lexemes}) as l
    ), lengths as (
        select place, sum(count)::integer as words from found group by place
    ), put as (
        insert into agent.memories (space_id, user_id, agent_id, words, {names})
        select :space, :user, :agent, coalesce(l.words, 0), {values}
        from given g left join lengths l using (place) order by place
        on conflict (space_id, content_digest, valid_until)
            where retracted_at is null and superseded_by is null
            do nothing
        returning number, id, words
    ), counted as (
        insert into agent.word_counts (space_id, memories, words)
        select :space, count(*), sum(words) from put having count(*) > 0
    ), posted as (
        insert into agent.postings (space_id, lexeme, memory, count, words)
        select :space, f.lexeme, p.number, f.count, p.words
        from put p join given g using (id) join found f using (place) order by 2, 3
    )
    select number, id from put
    """
).format(
    arrays=sql.SQL(", ").join(
        sql.SQL(f"cast(:{name} as {kind}[])") for name, kind in _COLUMNS.items()
    ),
    names=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(
        sql.SQL(f"g.{name}::jsonb" if name == "attributes" else f"g.{name}") for name in _COLUMNS
    ),
    lexemes=lexemes_of(sql.SQL("g.content")),
)
_STATEMENT: Final = sa.text(_INSERT.as_string()).bindparams(
    *(sa.bindparam(name, type_=sa.Text()) for name in _COLUMNS)
)


def remember(
    session: Session, prepared: Prepared | Sequence[Prepared], *, space: str | None = None
) -> Kept | list[Kept]:
    """Remember one memory, or several, which is much faster than one by one.

    Args:
        session: the caller's, who commits.
        prepared: from `Memory.prepare`; several in the order in which they became known.
        space: name of a space with the grant `read_write`; None: the user's private space.

    Returns:
        What became of each, in the order of ``prepared``.

    Raises:
        AgentError: M700 no `act_as` in this transaction; M702 and M703 about the space; M705 a
            memory that one was derived from is not there; M761 an embedding that is not one of the
            model. Roll back, or to a savepoint: something may have been written.
    """
    acting = acting_of(session)
    target = acting.target(space)
    if isinstance(prepared, Prepared):
        return keep(session, acting, target, [prepared])[0]
    return keep(session, acting, target, list(prepared))


def keep(session: Session, acting: Acting, space: int, many: Sequence[Prepared]) -> list[Kept]:
    """Remember in a space that the user may write; see `remember`."""
    if not many:
        return []
    lineage = _lineage(session, acting, many)
    with settings(session.connection(), WITHOUT_JIT):
        return _keep(session, acting, space, many, lineage)


def _keep(
    session: Session,
    acting: Acting,
    space: int,
    many: Sequence[Prepared],
    lineage: Mapping[str, "_Source"],
) -> list[Kept]:
    moment = _lock(session, space, many)
    keys = {key for one in many if (key := key_of(one)) is not None}
    batch = Batch(
        acting,
        space,
        beliefs.read_values(session, space, keys) if keys else {},
        _open_rows(session, space, {one.content_digest for one in many if key_of(one) is None}),
    )
    # One after the other even where all were said at once. The caller's clock may be ahead of the
    # server's: what is said of a memory before it is known would be lost.
    recorded = [
        moment + timedelta(microseconds=place)
        if one.recorded_at is None
        else min(one.recorded_at, moment)
        for place, one in enumerate(many)
    ]
    for place in sorted(range(len(many)), key=lambda place: (recorded[place], place)):
        batch.add(place, many[place], recorded[place])
    batch.new.sort(key=lambda new: new.place)
    beliefs.update(session, batch.groups.values())
    numbers = _insert(session, batch, lineage)
    _give_way(session, batch, numbers)
    groups = [*batch.groups.values(), *(new.group for new in batch.new if not key_of(new.prepared))]
    beliefs.add_revisions(session, acting, space, groups, numbers)
    _write_provenance(session, batch, numbers, lineage)
    waits, linked = _embed(session, batch, numbers)
    return _kept(batch, many, numbers, groups, waits, linked)


def _lock(session: Session, space: int, many: Sequence[Prepared]) -> datetime:
    """Queue with others that write the same values or texts; return the server's time then."""
    conn = session.connection()
    subjects = {key_lock(space, key) for one in many if (key := key_of(one)) is not None}
    texts = {one.content_digest for one in many if key_of(one) is None}
    # Two batches that insert equal texts in different orders would wait for each other.
    if len(texts) > _MOST_LOCKS:
        MEMORIES.wait(conn, f"texts {space}")
    elif len(texts) > 1:
        MEMORIES.share(conn, f"texts {space}")
        subjects |= {f"text {space} {digest}" for digest in texts}
    return MEMORIES.wait_for_each(conn, subjects)


def _open_rows(
    session: Session, space: int, digests: Iterable[str]
) -> dict[tuple[str, datetime | None], tuple[UUID, int]]:
    listed = sorted(digests)
    if not listed:
        return {}
    statement = sa.select(
        *(memories.c.content_digest, memories.c.valid_until, memories.c.id, memories.c.number)
    ).where(
        memories.c.space_id == space,
        memories.c.content_digest == sa.any_(array(listed, sa.Text())),
        memories.c.retracted_at.is_(None),
        memories.c.superseded_by.is_(None),
    )
    rows = session.execute(statement)
    return {(row.content_digest, row.valid_until): (row.id, row.number) for row in rows}


@dataclass(frozen=True, slots=True)
class _Source:
    """A memory that others were derived from."""

    number: int
    trust: float


def _lineage(session: Session, acting: Acting, many: Sequence[Prepared]) -> Mapping[str, _Source]:
    """Return id -> memory that new ones were derived from.

    Raises:
        AgentError: M705.
    """
    ids = [memory for one in many for memory in one.derived_from]
    return (
        {str(row.id): _Source(row.number, row.trust) for row in find(session, acting, ids)}
        if ids
        else {}
    )


def _write_provenance(
    session: Session,
    batch: Batch,
    numbers: Mapping[UUID, int],
    lineage: Mapping[str, _Source],
) -> None:
    rows = [
        {
            "memory": numbers[new.member.id],
            "derived_from": lineage[memory].number,
            "space_id": batch.space,
        }
        for new in batch.new
        for memory in new.prepared.derived_from
    ]
    if rows:
        session.execute(provenance.insert(), rows)


def _insert(session: Session, batch: Batch, lineage: Mapping[str, _Source]) -> dict[UUID, int]:
    """Insert the new memories with their words; return id -> number of those that were inserted."""
    if not batch.new:
        return {}
    values: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for new in batch.new:
        one, belief = new.prepared, new.member.belief
        row = {
            **{name: getattr(one, name) for name in ("kind", "content", "content_digest")},
            **{name: getattr(one, name) for name in ("subject", "attribute", "confidence")},
            "id": new.member.id,
            "attributes": json.dumps(dict(one.attributes), ensure_ascii=False),
            "source": one.source or f"user:{batch.acting.user}",
            # The least of its lineage: each of these has the least of its own.
            "trust": min(one.trust, *(lineage[memory].trust for memory in one.derived_from), 1.0),
            "valid_from": belief.valid_from,
            "valid_until": belief.valid_until,
            "recorded_at": new.member.recorded_at,
            "retracted_at": new.member.retracted_at,
            "superseded_by": belief.superseded_by,
        }
        for name, value in row.items():
            values[name].append(value)
    whose = {"space": batch.space, "user": batch.acting.user, "agent": batch.acting.agent}
    given = {name: array_text(column) for name, column in values.items()}
    return {row.id: row.number for row in session.execute(_STATEMENT, {**given, **whose})}


def _give_way(session: Session, batch: Batch, numbers: Mapping[UUID, int]) -> None:
    """Take texts that another transaction inserted first for duplicates of its rows."""
    lost = [new for new in batch.new if new.member.id not in numbers]
    if not lost:
        return
    first = _open_rows(session, batch.space, {new.prepared.content_digest for new in lost})
    for new in lost:
        found = first[new.prepared.content_digest, new.prepared.valid_until]
        batch.there[new.prepared.content_digest, new.prepared.valid_until] = found
        batch.duplicates |= {
            place: found[0] for place, memory in batch.duplicates.items() if memory == new.member.id
        }
        batch.duplicates[new.place] = found[0]
    batch.new = [new for new in batch.new if new.member.id in numbers]


def _embed(
    session: Session, batch: Batch, numbers: Mapping[UUID, int]
) -> tuple[dict[UUID, str], dict[UUID, list[str]]]:
    """Write the embeddings and the links; those without an embedding wait.

    Returns:
        Memory -> why it waits; memory -> ids of those that it was linked to.
    """
    waits: dict[UUID, str] = {}
    by_model: dict[str, list[New]] = {}
    for new in batch.new:
        if new.prepared.parts:
            by_model.setdefault(new.prepared.model, []).append(new)
        else:
            waits[new.member.id] = new.prepared.waits or "M577: no embedder is set"
    reasons: dict[str, list[tuple[int, int]]] = {}
    for memory, reason in waits.items():
        reasons.setdefault(reason, []).append((numbers[memory], batch.space))
    for reason, waiting in sorted(reasons.items()):
        vectors.enqueue(session, waiting, reason)
    linked: dict[UUID, list[str]] = {}
    for model, some in by_model.items():
        rows = [row for new in some for row in _embeddings(new, numbers, batch.space)]
        if not vectors.write_embeddings(session, rows, model):
            reason = f"M760: {model} is not the current model"
            waits |= {new.member.id: reason for new in some}
            continue
        made = link_new(session, [numbers[new.member.id] for new in some], model)
        linked |= {
            new.member.id: [link.id for link in made.get(numbers[new.member.id], ())]
            for new in some
        }
    return waits, linked


def _embeddings(
    new: New, numbers: Mapping[UUID, int], space: int
) -> Iterable[vectors.EmbeddingRow]:
    member = new.member
    ends = [end for end in (member.retracted_at, member.belief.valid_until) if end is not None]
    number, closed_at = numbers[member.id], min(ends, default=None)
    for place, part in enumerate(new.prepared.parts):
        yield vectors.EmbeddingRow(number, place, space, closed_at, part.embedding)
    if new.prepared.with_previous is not None:
        yield vectors.EmbeddingRow(number, -1, space, closed_at, new.prepared.with_previous)


def _kept(
    batch: Batch,
    many: Sequence[Prepared],
    numbers: Mapping[UUID, int],
    groups: Sequence[Group],
    waits: Mapping[UUID, str],
    linked: Mapping[UUID, list[str]],
) -> list[Kept]:
    ended: dict[UUID, list[str]] = {}
    for memory, successor in beliefs.ends(groups):
        ended.setdefault(successor, []).append(str(memory))
    known = dict(batch.there.values())
    members = (member for group in groups for member in group.members.values())
    known |= {member.id: member.number for member in members} | dict(numbers)
    new = {one.place: one.member for one in batch.new}
    kept = []
    for place in range(len(many)):
        if place in batch.duplicates:
            there = batch.duplicates[place]
            kept.append(Kept(str(there), known[there], duplicate_of=str(there)))
            continue
        member = new[place]
        by = member.belief.superseded_by
        kept.append(
            Kept(
                str(member.id),
                numbers[member.id],
                superseded=ended.get(member.id, []),
                links=linked.get(member.id, []),
                superseded_by=None if by is None else str(by),
                waits=waits.get(member.id),
            )
        )
    return kept
