"""Pairs of memories that are alike enough to be linked: which, and how alike.

Few new memories in a space are compared in the database, by the index of the space where it has
one. Many are compared here with the embeddings of the space, which are fetched once: 100 new ones
among 10,000 take a tenth of the time. Both are exact without an index.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory.models import Model
from memos_assets.postgres.schema.agent import word_counts

#: Candidates per part of a new memory.
CANDIDATES: Final = 10
#: New parts from which on the embeddings of a space are fetched, where it is not larger than
#: `MOST_FETCHED`: reading an embedding takes about five times as long as comparing it in the
#: database, and comparing it here takes next to nothing.
FEWEST_FOR_FETCH: Final = 6
MOST_FETCHED: Final = 20_000


#: (lower number, higher number) -> cosine.
Pairs = Mapping[tuple[int, int], float]


def candidates(session: Session, numbers: Sequence[int], model: Model) -> Pairs:
    """Return the pairs of new memories and others of their space at or above the threshold.

    At most `CANDIDATES` for each part of a new memory. A pair is as alike as its two nearest parts.
    Memories that ended, on either side, have none.

    Args:
        session: the caller's.
        numbers: of the new memories, whose embeddings are written. Those without one have no pair.
        model: that made the embeddings.
    """
    new = _parts_of(session, numbers, model)
    found: dict[tuple[int, int], float] = {}
    in_database: list[int] = []
    for space, group in new.items():
        few = len(group.memories) < FEWEST_FOR_FETCH
        if few or _memories_in(session, space) > MOST_FETCHED:
            in_database += group.memories.tolist()
        else:
            _keep(found, _compared_here(session, space, group, model))
    if in_database:
        _keep(found, _compared_there(session, in_database, model))
    return found


@dataclass(frozen=True, slots=True)
class _Parts:
    """Embeddings of one space: int64 ``(n,)`` and float32 ``(n, dimension)`` of length 1."""

    memories: npt.NDArray[np.int64]
    directions: npt.NDArray[np.float32]


def _keep(found: dict[tuple[int, int], float], pairs: Iterable[tuple[int, int, float]]) -> None:
    """Keep the greatest cosine of each pair."""
    for one, other, cosine in pairs:
        pair = (one, other) if one < other else (other, one)
        if cosine > found.get(pair, -1.0):
            found[pair] = cosine


def _is_open(table: sa.FromClause) -> sa.ColumnElement[bool]:
    ended = table.c.closed_at
    is_open = sa.or_(ended.is_(None), ended > sa.func.statement_timestamp())
    return sa.and_(is_open, table.c.part >= 0)


def _read(session: Session, model: Model, where: sa.ColumnElement[bool]) -> dict[int, _Parts]:
    """Return space -> its parts, the embeddings as one value of bytes."""
    table = model.table
    ordered = (table.c.memory, table.c.part)
    sent: sa.ColumnElement[bytes] = sa.func.halfvec_send(table.c.embedding, type_=sa.LargeBinary())
    empty = sa.cast(sa.literal(""), sa.LargeBinary())
    rows = (
        sa.select(table.c.space_id, *ordered, sent.label("sent"))
        .where(_is_open(table), where)
        .subquery()
    )
    statement = sa.select(
        rows.c.space_id,
        sa.func.array_agg(rows.c.memory),
        sa.func.string_agg(rows.c.sent, empty, type_=sa.LargeBinary()),
    ).group_by(rows.c.space_id)
    return {
        space: _Parts(np.asarray(memories, dtype=np.int64), _directions(bytes(sent), model))
        for space, memories, sent in session.execute(statement)
    }


def _directions(sent: bytes, model: Model) -> npt.NDArray[np.float32]:
    """Return embeddings as ``halfvec_send`` sends them, each scaled to length 1.

    The form: two int16, the dimension and an unused one, then the elements as float16, all big
    endian.
    """
    form = np.dtype([("head", ">i2", (2,)), ("elements", ">f2", (model.dimension,))])
    elements = np.frombuffer(sent, dtype=form)["elements"].astype(np.float32)
    lengths = np.linalg.norm(elements, axis=1, keepdims=True)
    scaled: npt.NDArray[np.float32] = np.zeros_like(elements)
    np.divide(elements, lengths, out=scaled, where=lengths > 0)
    return scaled


def _parts_of(session: Session, numbers: Sequence[int], model: Model) -> dict[int, _Parts]:
    return _read(
        session, model, model.table.c.memory == sa.any_(sa.literal(list(numbers), _BIGINTS))
    )


_BIGINTS: Final = sa.ARRAY(sa.BigInteger())


def _memories_in(session: Session, space: int) -> int:
    rows = sa.select(sa.func.coalesce(sa.func.sum(word_counts.c.memories), 0))
    return int(session.execute(rows.where(word_counts.c.space_id == space)).scalar_one())


def _compared_here(
    session: Session, space: int, new: _Parts, model: Model
) -> Iterable[tuple[int, int, float]]:
    others = _read(session, model, model.table.c.space_id == space).get(space)
    if others is None:
        return
    cosines = new.directions @ others.directions.T
    cosines[new.memories[:, None] == others.memories[None, :]] = -1.0
    k = min(CANDIDATES, cosines.shape[1])
    nearest = np.argpartition(cosines, -k, axis=1)[:, -k:]
    for row, memory in enumerate(new.memories.tolist()):
        for place in nearest[row].tolist():
            cosine = float(cosines[row, place])
            if cosine >= model.link_threshold:
                yield memory, int(others.memories[place]), min(cosine, 1.0)


def _compared_there(
    session: Session, numbers: Sequence[int], model: Model
) -> Iterable[tuple[int, int, float]]:
    table = model.table
    new = (
        sa.select(table.c.memory, table.c.space_id, table.c.embedding)
        .where(_is_open(table), table.c.memory == sa.any_(sa.literal(list(numbers), _BIGINTS)))
        .cte("new")
        .prefix_with("materialized")
    )
    other = model.table.alias("other")
    distance: sa.ColumnElement[Any] = other.c.embedding.cosine_distance(new.c.embedding)
    near = (
        sa.select(other.c.memory, distance.label("distance"))
        .where(other.c.space_id == new.c.space_id, _is_open(other), other.c.memory != new.c.memory)
        .order_by(sa.literal_column("distance"))
        .limit(CANDIDATES)
        .lateral("near")
    )
    cosine = 1 - near.c.distance
    statement = sa.select(new.c.memory, near.c.memory, cosine).where(cosine >= model.link_threshold)
    for memory, found, alike in session.execute(statement.select_from(new.join(near, sa.true()))):
        yield memory, found, min(float(alike), 1.0)
