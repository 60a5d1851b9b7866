"""Remember: prepared memories become rows, in a number of statements that no batch size changes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.prepared import Prepared
from memos_assets.search.bm25 import lexemes_of


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of one memory.

    Attributes:
        id: of the memory, or of the equal one that was there.
        number: its key within the database.
        duplicate_of: id of the equal one; None: it is new.
        superseded: ids of the memories that it ended.
        links: ids of the memories that it was linked to.
        waits: why it has no embedding yet; None: it has one.
    """

    id: str
    number: int
    duplicate_of: str | None = None
    superseded: Sequence[str] = field(default=())
    links: Sequence[str] = field(default=())
    waits: str | None = None


#: Column of a new memory -> its type in the statement.
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
    "valid_from": "timestamptz",
    "valid_until": "timestamptz",
    "recorded_at": "timestamptz",
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
        insert into agent.memories (space_id, user_id, agent_id, words, {columns})
        select :space, :user, :agent, coalesce(l.words, 0), {values}
        from given g left join lengths l using (place) order by place
        on conflict (space_id, content_digest)
            where retracted_at is null and superseded_by is null and valid_until is null
            do nothing
        returning number, id, words, valid_from, valid_until, recorded_at
    ), believed as (
        insert into agent.revisions
            (memory, space_id, action, known_from, valid_from, valid_until, retracted,
             user_id, agent_id)
        select number, :space, 'remember', recorded_at, valid_from, valid_until, false,
            :user, :agent
        from put order by number
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
    arrays=sql.SQL(", ").join(sql.SQL(f":{n}") for n in _COLUMNS),
    names=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
    values=sql.SQL(", ").join(
        sql.SQL(f"g.{n}::jsonb" if n == "attributes" else f"g.{n}") for n in _COLUMNS
    ),
    lexemes=lexemes_of(sql.SQL("g.content")),
)
_TYPES: Final[Mapping[str, sa.types.TypeEngine[Any]]] = {
    "uuid": sa.Uuid(),
    "text": sa.Text(),
    "float8": sa.Double(),
    "timestamptz": sa.DateTime(timezone=True),
}
_STATEMENT: Final = sa.text(_INSERT.as_string()).bindparams(
    *(sa.bindparam(n, type_=pg.ARRAY(_TYPES[t])) for n, t in _COLUMNS.items())
)


def remember(
    session: Session, prepared: Prepared | Sequence[Prepared], *, space: str | None = None
) -> Kept | list[Kept]:
    """Remember one memory, or several."""
    acting = acting_of(session)
    target = acting.target(space)
    many = [prepared] if isinstance(prepared, Prepared) else list(prepared)
    kept = _remember(session, acting, target, many)
    return kept[0] if isinstance(prepared, Prepared) else kept


def _remember(session: Session, acting: Acting, space: int, many: Sequence[Prepared]) -> list[Kept]:
    if not many:
        return []
    digests = sorted({one.content_digest for one in many})
    now = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    there = _equal(session, space, digests)
    new: dict[str, tuple[UUID, Prepared]] = {}
    for one in many:
        if one.content_digest not in there:
            new.setdefault(one.content_digest, (uuid4(), one))
    values: dict[str, Any] = {name: [] for name in _COLUMNS}
    for memory, one in sorted(new.values(), key=lambda item: item[1].content_digest):
        given = {
            **{name: getattr(one, name, None) for name in _COLUMNS},
            "id": memory,
            "attributes": json.dumps(dict(one.attributes), ensure_ascii=False),
            "source": one.source or f"user:{acting.user}",
            "recorded_at": one.recorded_at or now,
        }
        for name, value in given.items():
            values[name].append(value)
    bound = {"space": space, "user": acting.user, "agent": acting.agent, **values}
    put = {row.id: row.number for row in session.execute(_STATEMENT, bound)} if new else {}
    lost = [digest for digest, (memory, _) in new.items() if memory not in put]
    there |= _equal(session, space, lost) if lost else {}
    kept: list[Kept] = []
    for one in many:
        found = there.get(one.content_digest)
        if found is None:
            memory, first = new[one.content_digest]
            if first is one:
                kept.append(Kept(str(memory), put[memory], waits=one.waits))
                continue
            found = (put[memory], memory)
        kept.append(Kept(str(found[1]), found[0], duplicate_of=str(found[1])))
    return kept


def _equal(session: Session, space: int, digests: Sequence[str]) -> dict[str, tuple[int, UUID]]:
    statement = sa.text(
        "select content_digest, number, id from agent.memories where space_id = :space "
        "and content_digest = any(:digests) and retracted_at is null and superseded_by is null "
        "and valid_until is null"
    ).bindparams(sa.bindparam("digests", type_=sa.ARRAY(sa.Text())))
    rows = session.execute(statement, {"space": space, "digests": list(digests)})
    return {row.content_digest: (row.number, row.id) for row in rows}
