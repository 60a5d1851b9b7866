"""Traversal of the network: one statement, bounded, safe in cycles, directions respected.

Each step keeps the strongest way to a memory alone. Weights are at most 1, so the strongest way has
no cycle, and a memory with thousands of links costs thousands of rows, never their product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.arrays import BIGINTS
from memos_assets.memory.nodes import COLUMNS, Id, Node, node_of, places, select_nodes
from memos_assets.postgres.schema.agent import KINDS, LINK_TYPES, memories

#: Most links of a way.
DEEPEST: Final = 3

#: From one memory to the next; links of other spaces, and memories that ended, are not passed.
_WALK: Final = """
    with recursive walk(number, depth, strength, path) as (
        select m.number, 0, 1::float8, array[m.number]
        from agent.memories m where m.number = :start and m.space_id = any(:readable)
        union all
        select step.number, step.depth, step.strength, step.path from (
            select distinct on (next.number) next.number, w.depth + 1 as depth,
                w.strength * next.weight as strength, w.path || next.number as path
            from walk w cross join lateral (
                select l.b as number, l.weight from agent.links l
                where l.a = w.number and l.direction in (0, 1, 2) and l.type = any(:types)
                    and l.b_space_id = any(:readable)
                union all
                select l.a, l.weight from agent.links l
                where l.b = w.number and l.direction in (0, -1, 2) and l.type = any(:types)
                    and l.a_space_id = any(:readable)
            ) next join agent.memories m on m.number = next.number
            where w.depth < :deepest and w.strength * next.weight >= :weakest
                and next.number <> all(w.path) and m.space_id = any(:readable)
                and m.retracted_at is null
                and (m.valid_from is null or m.valid_from <= statement_timestamp())
                and (m.valid_until is null or m.valid_until > statement_timestamp())
            order by next.number, w.strength * next.weight desc, w.path
        ) step
    ), best as (
        select distinct on (number) number, depth, strength, path from walk where depth > 0
        order by number, strength desc, depth, path
    )
    select number, depth, strength, array(
        select p.id::text from unnest(path) with ordinality as way(number, place)
        join agent.memories p on p.number = way.number order by way.place
    ) as path from best
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """A memory that a traversal reached.

    Attributes:
        memory: itself.
        depth: count of links on the way.
        strength: product of their weights, the greatest of all ways.
        path: ids on that way, from the start to this memory.
    """

    memory: Node
    depth: int
    strength: float
    path: Sequence[str]


def traverse(
    session: Session,
    start: Id,
    max_depth: int = DEEPEST,
    min_strength: float = 0.3,
    types: Sequence[str] | None = None,
    target_kind: str | None = None,
) -> list[Reached]:
    """Return the current memories that links lead to, the strongest first.

    Links of types without a direction lead both ways; ``supports`` and the others that have one
    lead where they point.

    Args:
        session: the caller's, which acts for a user.
        start: id of a memory; it is not among those returned.
        max_depth: most links of a way, 1 to 3.
        min_strength: least product of the weights on a way, 0 to 1.
        types: of links to follow; None: all.
        target_kind: of the memories to return; ways pass through others. None: all.

    Raises:
        AgentError: M705 the memory is unknown or not visible; M753 no such type of links;
            M756 the depth, the strength or the kind is not one that there is.
    """
    followed = list(LINK_TYPES if types is None else types)
    _check(max_depth, min_strength, followed, target_kind)
    acting = acting_of(session)
    (place,) = places(session, [start])
    return _reached(session, acting, place.number, max_depth, min_strength, followed, target_kind)


def _reached(
    session: Session,
    acting: Acting,
    start: int,
    deepest: int,
    weakest: float,
    types: Sequence[str],
    kind: str | None,
) -> list[Reached]:
    walk = sa.text(_WALK).bindparams(
        sa.bindparam("readable", list(acting.readable), BIGINTS),
        sa.bindparam("types", list(types), sa.ARRAY(sa.Text())),
        start=start,
        deepest=deepest,
        weakest=weakest,
    )
    found = walk.columns(
        sa.column("number", sa.BigInteger()),
        sa.column("depth", sa.Integer()),
        sa.column("strength", sa.Double()),
        sa.column("path", sa.ARRAY(sa.Text())),
    ).subquery("found")
    way: tuple[sa.ColumnElement[Any], ...] = (found.c.depth, found.c.strength, found.c.path)
    statement = (
        select_nodes(*way)
        .join(found, found.c.number == memories.c.number)
        .order_by(found.c.strength.desc(), found.c.depth, memories.c.number)
    )
    if kind is not None:
        statement = statement.where(memories.c.kind == kind)
    return [Reached(node_of(row), *row[len(COLUMNS) :]) for row in session.execute(statement)]


def _check(depth: int, strength: float, types: Sequence[str], kind: str | None) -> None:
    for one in types:
        if one not in LINK_TYPES:
            raise AgentError(
                "M753",
                f"{str(one)[:40]!r} is not a type of links",
                where="traversal",
                fix=f"use some of {', '.join(LINK_TYPES)}",
            )
    wrong = ""
    if isinstance(depth, bool) or not isinstance(depth, int) or not 1 <= depth <= DEEPEST:
        wrong = f"max_depth is not within 1 and {DEEPEST}"
    elif isinstance(strength, bool) or not isinstance(strength, int | float):
        wrong = "min_strength is not a number"
    elif not 0 <= strength <= 1:
        wrong = "min_strength is not within 0 and 1"
    elif kind is not None and kind not in KINDS:
        wrong = "target_kind is not a kind of memories"
    if wrong:
        raise AgentError(
            "M756",
            wrong,
            where="traversal",
            fix=f"pass 1 to {DEEPEST} links, a strength such as 0.3, and one of {', '.join(KINDS)}",
        )
