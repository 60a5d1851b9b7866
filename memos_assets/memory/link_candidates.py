"""Pairs of memories that are alike enough to be linked: which, and how alike.

A few new memories are compared in the database. Many are compared here with the embeddings of their
space, which are fetched once: 100 new ones among 1,000 take a tenth of the time. Both are exact. A
space that is too large for that has an index (`vector_indexes`): what is in it is compared by it,
and what was remembered since as in a small space.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory.arrays import bigints
from memos_assets.memory.models import Model
from memos_assets.memory.recall_plan import BY_INDEX, settings
from memos_assets.memory.vector_indexes import space_indexes
from memos_assets.postgres.schema.agent import word_counts

#: Candidates per part of a new memory.
CANDIDATES: Final = 10
#: A candidate that an index misses is a link less. Of 100,000 embeddings, a list of 30 misses none
#: of 2,345 that are alike enough, in three quarters of the time of 40; one of 20 misses 6 of those
#: 111 that are half way between clusters.
_BY_INDEX: Final = {**BY_INDEX, "hnsw.ef_search": "30"}
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
    found: list[_Found] = []
    bounds = _bounds(session, model)
    for space, new in _parts_of(session, numbers, model).items():
        bound = bounds.get(space)
        if bound is not None:
            found.append(_compared_by_index(session, space, new, model, bound))
        if len(new.memories) < FEWEST_FOR_FETCH or (
            bound is None and _memories_in(session, space) > MOST_FETCHED
        ):
            found.append(_compared_there(session, space, new, model, _after(model, bound)))
        else:
            found.append(_compared_here(session, space, new, model, bound))
    return _nearest(found)


def _bounds(session: Session, model: Model) -> dict[int, int]:
    """Return space -> the highest number of a memory in its index, of spaces that have one."""
    bounds: dict[int, int] = {}
    for index in space_indexes(session.connection(), model):
        bounds[index.space] = max(index.bound, bounds.get(index.space, index.bound))
    return bounds


def _after(model: Model, bound: int | None) -> sa.ColumnElement[bool]:
    """Return the condition of memories that are not in an index."""
    return sa.true() if bound is None else model.table.c.memory > bound


@dataclass(frozen=True, slots=True)
class _Parts:
    """Embeddings of one space: int64 ``(n,)`` and float32 ``(n, dimension)`` of length 1."""

    memories: npt.NDArray[np.int64]
    directions: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Found:
    """Parts that are alike: int64 and float64, all ``(n,)``.

    Attributes:
        new: numbers of the new memories.
        others: numbers of the memories that they were compared with.
        cosines: of each two.
    """

    new: npt.NDArray[np.int64]
    others: npt.NDArray[np.int64]
    cosines: npt.NDArray[np.float64]


def _nearest(found: Sequence[_Found]) -> dict[tuple[int, int], float]:
    """Return the pairs, each with its greatest cosine."""
    if not found:
        return {}
    new = np.concatenate([some.new for some in found])
    others = np.concatenate([some.others for some in found])
    cosines = np.concatenate([some.cosines for some in found])
    # Of equal pairs, a dictionary keeps the last.
    order = np.argsort(cosines, kind="stable")
    low, high = np.minimum(new, others)[order].tolist(), np.maximum(new, others)[order].tolist()
    return dict(zip(zip(low, high, strict=True), cosines[order].tolist(), strict=True))


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
    return _read(session, model, model.table.c.memory == sa.any_(bigints(numbers)))


def _memories_in(session: Session, space: int) -> int:
    rows = sa.select(sa.func.coalesce(sa.func.sum(word_counts.c.memories), 0))
    return int(session.execute(rows.where(word_counts.c.space_id == space)).scalar_one())


def _compared_here(
    session: Session, space: int, new: _Parts, model: Model, bound: int | None
) -> _Found:
    in_space = sa.and_(model.table.c.space_id == space, _after(model, bound))
    others = _read(session, model, in_space).get(space)
    if others is None:
        return _Found(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float64))
    cosines = new.directions @ others.directions.T
    cosines[new.memories[:, None] == others.memories[None, :]] = -1.0
    k = min(CANDIDATES, cosines.shape[1])
    nearest = np.argpartition(cosines, -k, axis=1)[:, -k:]
    rows = np.arange(len(new.memories))[:, None]
    alike = cosines[rows, nearest]
    row, place = np.nonzero(alike >= model.link_threshold)
    return _Found(
        new.memories[row],
        others.memories[nearest[row, place]],
        np.minimum(alike[row, place], 1.0).astype(np.float64),
    )


def _compared_by_index(
    session: Session, space: int, new: _Parts, model: Model, bound: int
) -> _Found:
    # As literals, by which the planner knows that the partial index has these rows.
    table = model.table
    within = sa.and_(
        table.c.space_id == sa.literal_column(str(space)),
        table.c.memory <= sa.literal_column(str(bound)),
    )
    with settings(session.connection(), _BY_INDEX):
        return _compared_there(session, space, new, model, within)


def _compared_there(
    session: Session, space: int, new: _Parts, model: Model, within: sa.ColumnElement[bool]
) -> _Found:
    other = model.table
    mine = other.alias("mine")
    asked = (
        sa.select(mine.c.memory, mine.c.embedding)
        .where(_is_open(mine), mine.c.memory == sa.any_(bigints(new.memories.tolist())))
        .cte("asked")
        .prefix_with("materialized")
    )
    distance: sa.ColumnElement[Any] = other.c.embedding.cosine_distance(asked.c.embedding)
    near = (
        sa.select(other.c.memory, distance.label("distance"))
        .where(other.c.space_id == space, within, _is_open(other), other.c.memory != asked.c.memory)
        .order_by(sa.literal_column("distance"))
        .limit(sa.literal_column(str(CANDIDATES)))
        .lateral("near")
    )
    cosine = 1 - near.c.distance
    statement = (
        sa.select(asked.c.memory, near.c.memory, cosine)
        .where(cosine >= model.link_threshold)
        .select_from(asked.join(near, sa.true()))
    )
    rows = session.execute(statement).all()
    return _Found(
        np.fromiter((row[0] for row in rows), np.int64, len(rows)),
        np.fromiter((row[1] for row in rows), np.int64, len(rows)),
        np.fromiter((min(row[2], 1.0) for row in rows), np.float64, len(rows)),
    )
