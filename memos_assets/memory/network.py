"""The semantic network: memories with their links, what is similar, what is used, and its size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import acting_of
from memos_assets.memory.arrays import bigints
from memos_assets.memory.models import current_model, model_named, not_current
from memos_assets.memory.nodes import (
    COLUMNS,
    IS_CURRENT,
    Id,
    Node,
    Place,
    counted,
    is_readable,
    node_of,
    places,
    select_nodes,
)
from memos_assets.memory.prepared import Asked
from memos_assets.postgres.advisory_locks import MEMORIES
from memos_assets.postgres.schema.agent import (
    KINDS,
    LINK_TYPES,
    accesses,
    links,
    memories,
)
from memos_assets.postgres.upsert import upsert

#: ``out``: from the memory that was asked for to the other one.
Way = Literal["none", "out", "in", "both"]
#: Most memories of one answer.
MOST_SIMILAR: Final = 100
_NOW: Final = sa.func.now()


@dataclass(frozen=True, slots=True)
class Connected:
    """A memory at the other end of a link.

    Attributes:
        memory: itself.
        type: of the link.
        weight: of the link; of an automatic one the cosine.
        way: where it leads, seen from the memory that was asked for.
        automatic: whether linking by itself made it.
    """

    memory: Node
    type: str
    weight: float
    way: Way
    automatic: bool


@dataclass(frozen=True, slots=True)
class Similar:
    """A memory that is similar to a text.

    Attributes:
        memory: itself.
        similarity: cosine of its nearest part, -1 to 1.
        strength: of the memory by its use, see `strength_of`.
        score: by which it is ranked.
    """

    memory: Node
    similarity: float
    strength: float
    score: float


def get(session: Session, memory: Id) -> Node:
    """Return a memory, in whatever state it is, and count the access; it waits for nobody.

    Raises:
        AgentError: M705 it is unknown or not visible.
    """
    (place,) = places(session, [memory])
    _count_reading(session, place)
    return node_of(session.execute(select_nodes().where(memories.c.number == place.number)).one())


def get_connected(
    session: Session, memory: Id, link_type: str | None = None, min_strength: float = 0.0
) -> list[Connected]:
    """Return the memories that a memory is linked to, the strongest first; both ends of each link.

    Args:
        session: the caller's, which acts for a user.
        memory: its id.
        link_type: of the links; None: all.
        min_strength: least weight.

    Raises:
        AgentError: M705 it is unknown or not visible; M753 no such type of links.
    """
    if link_type is not None and link_type not in LINK_TYPES:
        raise AgentError(
            "M753",
            f"{str(link_type)[:40]!r} is not a type of links",
            where="link",
            fix=f"use one of {', '.join(LINK_TYPES)}",
        )
    (place,) = places(session, [memory])
    acting = acting_of(session)
    is_a = links.c.a == place.number
    other = sa.case((is_a, links.c.b), else_=links.c.a)
    seen = sa.case((is_a, links.c.direction), (links.c.direction == 2, 2), else_=-links.c.direction)
    statement = (
        select_nodes(links.c.type, links.c.weight, seen, links.c.automatic)
        .join(links, memories.c.number == other)
        .where(
            sa.or_(is_a, links.c.b == place.number),
            is_readable(acting, memories.c.space_id),
            links.c.weight >= min_strength,
        )
        .order_by(links.c.weight.desc(), memories.c.number, links.c.type)
    )
    if link_type is not None:
        statement = statement.where(links.c.type == link_type)
    ways: Mapping[int, Way] = {0: "none", 1: "out", -1: "in", 2: "both"}
    connected = []
    for row in session.execute(statement):
        kind, weight, direction, automatic = row[len(COLUMNS) :]
        connected.append(Connected(node_of(row), kind, weight, ways[direction], automatic))
    return connected


def find_similar(
    session: Session,
    asked: Asked,
    k: int = 5,
    kind: str | None = None,
) -> list[Similar]:
    """Return the current memories that are most similar to an embedding, by cosine alone.

    `recall` finds more: it counts words, neighbours and links, too.

    Args:
        session: the caller's, which acts for a user.
        asked: from `Memory.query`.
        k: most memories, at most 100.
        kind: of the memories; None: all.

    Raises:
        AgentError: M760 no such model, or it is the next one; M756 there is no embedding, or it,
            ``k`` or the kind is not one.
    """
    return _similar(session, asked, k, kind, recency_weight=0.0)


def find_similar_with_decay(
    session: Session,
    asked: Asked,
    k: int = 5,
    kind: str | None = None,
    recency_weight: float = 0.3,
) -> list[Similar]:
    """Return the current memories that are most similar and used, the best score first.

    The score is ``(1 - recency_weight) * similarity + recency_weight * strength``, over the
    `MOST_SIMILAR` nearest memories.

    Args:
        session: as `find_similar`, and so are the others.
        asked: see there.
        k: see there.
        kind: see there.
        recency_weight: share of the strength in the score, 0 to 1.

    Raises:
        AgentError: as `find_similar`; M756 the weight is not within 0 and 1.
    """
    return _similar(session, asked, k, kind, recency_weight=recency_weight)


def strength_of(count: int, last: datetime, now: datetime) -> float:
    """Return how strong a memory is by its use, 0 to 1, as memOS computes it.

    Args:
        count: of accesses.
        last: the last access; where there was none, when it was recorded.
        now: the same zone's time.
    """
    days = max((now - last).total_seconds(), 0.0) / 86_400
    return min(1.0, 0.3 + 0.05 * math.log1p(count)) * math.exp(-0.1 * days)


def boost(session: Session, memory: Id, amount: float = 0.1) -> None:
    """Strengthen a memory as ``10 * amount`` accesses now would.

    Raises:
        AgentError: M705 it is unknown or not visible; M756 the amount is not a number of 0 to 100.
    """
    if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount <= 100:
        raise _wrong("the amount is not within 0 and 100", "pass a number such as 0.1")
    # A tenth is not a binary fraction: 0.3 * 10 is below 3.
    count_accesses(session, places(session, [memory]), int(amount * 10 + 1e-9))


def _count_reading(session: Session, place: Place) -> None:
    """Count an access, unless another transaction is counting one of this memory at that moment.

    So who reads waits for nobody, and two who read the same memories do not deadlock.
    """
    this = accesses.c.memory == place.number
    free = sa.select(accesses.c.memory).where(this).with_for_update(skip_locked=True).cte("free")
    more = {"count": accesses.c.count + 1, "last_at": sa.func.greatest(accesses.c.last_at, _NOW)}
    put = sa.update(accesses).where(accesses.c.memory == free.c.memory).values(more)
    if session.execute(put.returning(accesses.c.memory)).first() is not None:
        return
    there = sa.exists().where(this)
    first = sa.case(
        (there, sa.false()), else_=MEMORIES.tried_within_transaction(_first_access(place))
    )
    row = sa.select(
        sa.literal(place.number), sa.literal(place.space_id), sa.literal(1), _NOW
    ).where(first)
    names = ["memory", "space_id", "count", "last_at"]
    session.execute(pg.insert(accesses).from_select(names, row).on_conflict_do_nothing())


def _first_access(place: Place) -> str:
    return f"first access {place.number}"


def count_accesses(session: Session, found: Sequence[Place], times: int = 1) -> None:
    """Count accesses of memories now, in the order of their keys. No row of an index changes."""
    rows = [
        {
            "memory": place.number,
            "space_id": place.space_id,
            "count": times,
            "last_at": _NOW,
        }
        for place in sorted(found, key=lambda place: place.number)
    ]
    if rows and times:
        MEMORIES.wait_for_each(session.connection(), map(_first_access, found))
        session.execute(upsert(accesses, merge=counted).values(rows))


def stats(session: Session) -> dict[str, Any]:
    """Return the size of the network that the user sees, with memOS's keys.

    ``total_connections`` counts each link once; memOS counts its two ends.
    """
    readable = is_readable(acting_of(session), memories.c.space_id)
    kinds = sa.select(memories.c.kind, sa.func.count().label("memories")).where(
        readable, IS_CURRENT
    )
    by_kind: dict[str, int] = {
        row.kind: row.memories for row in session.execute(kinds.group_by(memories.c.kind))
    }
    seen = [
        is_readable(acting_of(session), end) for end in (links.c.a_space_id, links.c.b_space_id)
    ]
    connections = session.execute(
        sa.select(sa.func.count()).select_from(links).where(*seen)
    ).scalar_one()
    model = current_model(session)
    total = sum(by_kind.values())
    return {
        "total_memories": total,
        "total_connections": connections,
        "memories_by_type": {kind: by_kind[kind] for kind in KINDS if kind in by_kind},
        "avg_connections_per_memory": 2 * connections / total if total else 0.0,
        "similarity_threshold": None if model is None else model.link_threshold,
    }


def _similar(
    session: Session,
    asked: Asked,
    k: int,
    kind: str | None,
    *,
    recency_weight: float,
) -> list[Similar]:
    if asked.embedding is None:
        raise _wrong(
            "the question has no embedding: the embedder did not answer, or none is set",
            "ask again when it answers; recall finds memories by words",
        )
    model = model_named(session, asked.model)
    if model.state == "next":
        # Some memories are not embedded by it yet.
        raise not_current(model.name, current_model(session))
    embedding = _checked(asked.embedding, model.dimension)
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_SIMILAR:
        raise _wrong(f"k is not within 1 and {MOST_SIMILAR}", "ask for so many memories")
    if kind is not None and kind not in KINDS:
        raise _wrong("there is no such kind", f"use one of {', '.join(KINDS)}")
    if not 0 <= recency_weight <= 1:
        raise _wrong("recency_weight is not within 0 and 1", "pass a number such as 0.3")
    table, readable = model.table, acting_of(session).readable
    distance = table.c.embedding.cosine_distance(embedding)
    nearest = (
        sa.select(table.c.memory, sa.func.min(distance).label("distance"))
        .join(memories, memories.c.number == table.c.memory)
        .where(
            table.c.space_id == sa.any_(bigints(readable)),
            table.c.part >= 0,
            IS_CURRENT,
            *([memories.c.kind == kind] if kind else []),
        )
        .group_by(table.c.memory)
        .order_by(sa.literal_column("distance"), table.c.memory)
        .limit(MOST_SIMILAR if recency_weight else k)
        .subquery("nearest")
    )
    statement = select_nodes(nearest.c.distance, sa.func.now()).join(
        nearest, nearest.c.memory == memories.c.number
    )
    found = []
    for row in session.execute(statement):
        away, now = row[len(COLUMNS) :]
        node = node_of(row)
        similarity = 1.0 - float(away)
        strength = strength_of(node.accesses, node.accessed_at or node.recorded_at, now)
        score = (1 - recency_weight) * similarity + recency_weight * strength
        found.append(Similar(node, similarity, strength, score))
    return sorted(found, key=lambda one: (-one.score, one.memory.number))[:k]


def _checked(embedding: npt.ArrayLike, dimension: int) -> npt.NDArray[np.float32]:
    try:
        elements = np.asarray(embedding, dtype=np.float32)
    except (TypeError, ValueError):
        elements = np.empty(0, dtype=np.float32)
    if elements.shape != (dimension,) or not np.isfinite(elements).all() or not elements.any():
        raise _wrong(
            f"the embedding is not one of {dimension} finite numbers that are not all zero",
            "pass what the model of these memories answers",
        )
    return elements


def _wrong(what: str, fix: str) -> AgentError:
    return AgentError("M756", what, where="network", fix=fix)
