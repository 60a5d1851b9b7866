"""Seed the network of a user from memOS's consolidated one, once per source and user.

An operator's work, as the owner of the tables: chunk by chunk, each in a transaction of its own, so
it goes on where it was killed. A second run changes nothing; memories that were consolidated since
are added. Nobody's later links, accesses and corrections are touched.

Equal texts become one memory, and so do a text of memOS and one that the user's agents remembered.
memOS stores an edge at one end, with a flag; here a pair has one row, found from both ends. Edges
whose other end is gone, or is the memory itself after equal texts were joined, are counted and left
out. The links are those of memOS: linking by itself does not trim them.
"""

# session-rule: file S001 because an operator seeds from the engine, a transaction for each chunk

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import act_as
from memos_assets.memory.models import Model, current_model
from memos_assets.memory.nodes import counted
from memos_assets.memory.postings import write_postings
from memos_assets.memory.seed_links import link_seeded, links_of_source
from memos_assets.memory.seed_originals import (
    Original,
    ambiguous_starts,
    left_out,
    read,
    sources_of,
    unseeded,
)
from memos_assets.memory.vectors import EmbeddingRow, enqueue, put
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.schema.agent import accesses, memories, revisions, seed_ids, seeds
from memos_assets.postgres.upsert import upsert
from memos_assets.progress import Progress, report

#: Memories of one transaction.
CHUNK: Final = 500
#: Why a seeded memory waits for an embedding; see docs/errors.md.
WAITS: Final = "M724 no embedding of the whole text by the current model"


@dataclass(frozen=True, slots=True)
class Seeded:
    """What a seed is, after it was finished.

    Attributes:
        source: that was seeded.
        new: memories that this run added.
        counts: ``memories`` (rows of memOS that are remembered), ``duplicates`` of them,
            ``without_text``, ``too_long``, ``embedded``, ``links``, ``dangling``, ``loops`` and
            ``joined`` edges of memOS.
    """

    source: str
    new: int
    counts: Mapping[str, int]


def seed(engine: sa.Engine, user: str, source: str | None = None) -> list[Seeded]:
    """Seed a user's private space from one consolidated source, or from all of them.

    Args:
        engine: of an operator, who may write every table of schema `agent`.
        user: their id; the private space is made if need be.
        source: of `memos.semantic_memories`; None: all.

    Raises:
        AgentError: M701 no user; M720 there is no such source; M722 what was read back is not what
            was consolidated; the last chunk was not committed then.
    """
    with Session(engine) as session:
        known = sources_of(session)
    if source is not None and source not in known:
        raise AgentError(
            "M720",
            f"no memories of it are consolidated; sources: {', '.join(known) or 'none'}",
            where=f"source {source}",
            fix="consolidate it first, or name one of these",
        )
    return [_seed_one(engine, user, one) for one in (known if source is None else [source])]


def _seed_one(engine: sa.Engine, user: str, source: str) -> Seeded:
    with _seeding(engine, user, source) as (session, number, _):
        ambiguous = ambiguous_starts(session, source)
    new = 0
    while True:
        with _seeding(engine, user, source) as (session, number, space):
            rows = unseeded(session, number, source, CHUNK)
            if not rows:
                counts = _finish(session, number, source)
                return Seeded(source, new, counts)
            new += _remember(
                session, number, space, user, source, list(read(rows, user, ambiguous))
            )
            link_seeded(session, number, source, [row.id for row in rows])
        report(Progress("load", f"seed {source}", rows=len(rows)))


@contextmanager
def _seeding(engine: sa.Engine, user: str, source: str) -> Iterator[tuple[Session, int, int]]:
    """Yield a session in a transaction that alone works on this seed, its number and its space."""
    with Session(engine) as session, session.begin():
        space = act_as(session, user=user).private
        values = {"space_id": space, "source": source}
        session.execute(pg.insert(seeds).values(values).on_conflict_do_nothing())
        mine = sa.and_(seeds.c.space_id == space, seeds.c.source == source)
        number = session.execute(sa.select(seeds.c.number).where(mine).with_for_update())
        yield session, number.scalar_one(), space


def _remember(
    session: Session,
    seed_number: int,
    space: int,
    user: str,
    source: str,
    chunk: Sequence[Original],
) -> int:
    """Remember a chunk; return how many memories it added."""
    there = _there(session, space, chunk)
    new: dict[str, Original] = {}
    for one in chunk:
        if one.digest not in there and one.id not in there:
            new.setdefault(one.digest, one)
    put_in = _insert(session, space, user, source, list(new.values()))
    if len(put_in) < len(new):
        there |= _there(session, space, chunk)
    there |= {new[digest].digest: number for digest, number in put_in.items()}
    added = frozenset(new[digest].original for digest in put_in)
    placed = {one.original: there.get(one.digest) or there[one.id] for one in chunk}
    session.execute(
        sa.insert(seed_ids),
        [
            {
                "seed": seed_number,
                "original": one.original,
                "memory": placed[one.original],
                "space_id": space,
                "duplicate": one.original not in added,
            }
            for one in chunk
        ],
    )
    write_postings(session, sorted(put_in.values()))
    _embed(session, space, [(placed[one.original], one) for one in chunk if one.original in added])
    _count_accesses(session, space, [(placed[one.original], one) for one in chunk])
    return len(added)


def _there(session: Session, space: int, chunk: Sequence[Original]) -> dict[Any, int]:
    """Return digest or id -> number of memories of the space that are there already."""
    m = memories.c
    open_text = sa.select(m.content_digest, m.number).where(
        m.space_id == space,
        m.content_digest == sa.any_(sa.literal([one.digest for one in chunk], _TEXTS)),
        *(m.retracted_at.is_(None), m.superseded_by.is_(None), m.valid_until.is_(None)),
    )
    by_id = sa.select(m.id, m.number).where(
        m.id == sa.any_(sa.literal([one.id for one in chunk], sa.ARRAY(sa.Uuid())))
    )
    found: dict[Any, int] = {row.content_digest: row.number for row in session.execute(open_text)}
    return found | {row.id: row.number for row in session.execute(by_id)}


_TEXTS: Final = sa.ARRAY(sa.Text())


def _insert(
    session: Session, space: int, user: str, source: str, new: Sequence[Original]
) -> dict[str, int]:
    """Insert memories and their first beliefs; return digest -> number of the new ones."""
    if not new:
        return {}
    now = session.execute(sa.select(sa.func.now())).scalar_one()
    rows = [
        {
            "id": one.id,
            "space_id": space,
            "user_id": user,
            "kind": one.kind,
            "content": one.content,
            "content_digest": one.digest,
            "words": 0,
            "attributes": one.attributes,
            "source": f"memos:{source}",
            "confidence": one.confidence,
            "recorded_at": one.recorded_at or now,
        }
        for one in new
    ]
    statement = pg.insert(memories).on_conflict_do_nothing()
    m = memories.c
    put_in = session.execute(
        statement.returning(m.content_digest, m.number, m.recorded_at), rows
    ).all()
    said = [
        {
            "memory": row.number,
            "space_id": space,
            "action": "remember",
            "known_from": row.recorded_at,
            "retracted": False,
            "user_id": user,
        }
        for row in sorted(put_in, key=lambda row: row.number)
    ]
    if said:
        session.execute(sa.insert(revisions), said)
    return {row.content_digest: row.number for row in put_in}


def _embed(session: Session, space: int, new: Sequence[tuple[int, Original]]) -> None:
    """Keep the embeddings of the current model; the other memories wait."""
    # As `vectors.write_embeddings`: the model is the current one until the commit.
    advisory_locks.MODELS.share(session.connection())
    model: Model | None = current_model(session)
    kept = [
        EmbeddingRow(number, 0, space, None, one.embedding)
        for number, one in new
        if model is not None
        and one.embedding is not None
        and one.is_of(model.name, model.dimension)
    ]
    if model is not None and kept:
        put(session.connection(), model, kept)
    embedded = {row.memory for row in kept}
    enqueue(session, [(number, space) for number, _ in new if number not in embedded], WAITS)


def _count_accesses(session: Session, space: int, chunk: Sequence[tuple[int, Original]]) -> None:
    counts: Counter[int] = Counter()
    last: dict[int, Any] = {}
    for number, one in chunk:
        if one.accesses and one.accessed_at is not None:
            counts[number] += one.accesses
            last[number] = max(one.accessed_at, last.get(number, one.accessed_at))
    if not counts:
        return
    rows = [
        {"memory": number, "space_id": space, "count": counts[number], "last_at": last[number]}
        for number in sorted(counts)
    ]
    session.execute(upsert(accesses, merge=counted).values(rows))


def _finish(session: Session, number: int, source: str) -> Mapping[str, int]:
    """Read the seed back, enter its counts, and return them."""
    ids = sa.select(
        sa.func.count().label("memories"), sa.func.count().filter(seed_ids.c.duplicate)
    ).where(seed_ids.c.seed == number)
    total, duplicates = session.execute(ids).one()
    waiting = sa.select(sa.func.count()).select_from(
        sa.text(
            "agent.seed_ids s join agent.outbox o on o.memory = s.memory "
            "where s.seed = :seed and not s.duplicate"
        ).bindparams(seed=number)
    )
    waits = session.execute(waiting).scalar_one()
    content = links_of_source(session, number, source)
    done = sa.select(seeds.c.finished_at).where(seeds.c.number == number)
    # Once it is finished, agents may have removed links of it.
    if content.missing and session.execute(done).scalar_one() is None:
        raise AgentError(
            "M722",
            f"{content.links:,} links are consolidated, and {content.missing:,} of them were not "
            "read back",
            where=f"seed of {source}",
            fix="run it again; if it fails again, report both counts",
        )
    counts = {
        "memories": total,
        "duplicates": duplicates,
        **left_out(session, source),
        "embedded": total - duplicates - waits,
        "links": content.links,
        "dangling": content.dangling,
        "loops": content.loops,
        "joined": content.joined,
    }
    session.execute(
        sa.update(seeds)
        .where(seeds.c.number == number)
        .values(counts=counts, links_digest=content.digest, finished_at=sa.func.now())
    )
    return counts
