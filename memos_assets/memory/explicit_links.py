"""Links that an agent makes: typed, with a direction where the type has one, across spaces.

Both memories have to be in spaces that the user may write. A pair has one link of each type. Links
of this kind count towards no cap, and linking by itself never removes them.
"""

from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.nodes import Id, Place, places
from memos_assets.postgres.schema.agent import DIRECTED, LINK_TYPES, links, memories
from memos_assets.postgres.upsert import upsert

#: ``forward``: from the first memory to the second.
Direction = Literal["none", "forward", "both"]
#: Weight of an explicit link where none is given, as in memOS.
EXPLICIT_WEIGHT: Final = 0.9


def connect(
    session: Session,
    a: Id,
    b: Id,
    link_type: str,
    weight: float = EXPLICIT_WEIGHT,
    direction: Direction | None = None,
) -> None:
    """Link two memories, or change the weight of their link of this type.

    A link from ``a`` to ``b`` beside one from ``b`` to ``a`` becomes one in both directions.

    Args:
        session: the caller's, which acts for a user.
        a: id of a memory; of the one that supports, answers, ... the other.
        b: id of another memory.
        link_type: one of `LINK_TYPES`.
        weight: above 0, at most 1.
        direction: None: ``forward`` for types that have a direction, ``none`` for others.

    Raises:
        AgentError: M705 a memory is unknown or not visible; M752 both are the same; M753 no such
            type, or the type does not have such a direction; M703 a space is read-only for this
            user; M755 the weight is not within 0 and 1.
    """
    _check_type(link_type)
    chosen = direction or ("forward" if link_type in DIRECTED else "none")
    if chosen not in (("forward", "both") if link_type in DIRECTED else ("none",)):
        raise AgentError(
            "M753",
            f"links of type {link_type} do not have the direction {chosen!r}",
            where="link",
            fix="leave the direction out"
            + (', or pass "forward" or "both"' if link_type in DIRECTED else ""),
        )
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight <= 1:
        raise AgentError(
            "M755",
            "its weight is not above 0 and at most 1",
            where=f"link of type {link_type}",
            fix="pass a number such as 0.9",
        )
    one, other = _two(session, a, b)
    low, high = sorted((one, other), key=lambda place: place.number)
    code = {"none": 0, "both": 2, "forward": 1 if low is one else -1}[chosen]
    _lock(session, low, high)
    _write(session, low, high, {"type": link_type, "weight": float(weight), "direction": code})


def disconnect(session: Session, a: Id, b: Id, link_type: str | None = None) -> int:
    """Remove the link of a type between two memories, or all their links; both directions.

    Returns:
        The count of removed links, automatic ones among them.

    Raises:
        AgentError: M705, M752, M703 as `connect`; M753 no such type.
    """
    if link_type is not None:
        _check_type(link_type)
    low, high = sorted(_two(session, a, b), key=lambda place: place.number)
    condition = sa.and_(links.c.a == low.number, links.c.b == high.number)
    if link_type is not None:
        condition = sa.and_(condition, links.c.type == link_type)
    keys = sa.select(links.c.type).where(condition).order_by(links.c.type).with_for_update()
    found = session.execute(keys).scalars().all()
    if found:
        session.execute(sa.delete(links).where(condition, links.c.type.in_(found)))
    return len(found)


def _check_type(link_type: str) -> None:
    if link_type not in LINK_TYPES:
        raise AgentError(
            "M753",
            f"{str(link_type)[:40]!r} is not a type of links",
            where="link",
            fix=f"use one of {', '.join(LINK_TYPES)}",
        )


def _two(session: Session, a: Id, b: Id) -> tuple[Place, Place]:
    one, *others = places(session, (a, b), to_write=True)
    if not others:
        raise AgentError(
            "M752",
            "a memory is not linked to itself",
            where=f"memory {one.id}",
            fix="pass the ids of two memories",
        )
    return one, others[0]


def _lock(session: Session, low: Place, high: Place) -> None:
    """Keep both memories from being deleted, the lower key first: nothing dangles or deadlocks."""
    statement = (
        sa.select(memories.c.number)
        .where(memories.c.number.in_((low.number, high.number)))
        .order_by(memories.c.number)
        .with_for_update(read=True, key_share=True)
    )
    there = set(session.execute(statement).scalars())
    for place in (low, high):
        if place.number not in there:
            raise AgentError(
                "M705",
                "it was deleted at that moment",
                where=f"memory {place.id}",
                fix="leave the link out",
            )


def _write(session: Session, low: Place, high: Place, values: dict[str, Any]) -> None:
    row = {
        "a": low.number,
        "b": high.number,
        "automatic": False,
        **values,
        "a_space_id": low.space_id,
        "b_space_id": high.space_id,
    }
    session.execute(upsert(links, merge=_connected), [row])


def _connected(there: Any, given: Any) -> dict[str, Any]:
    """Return the values of a link that is there; a second one in the other direction makes both."""
    same = sa.or_(there.automatic, there.direction == given.direction)
    return {
        "weight": given.weight,
        "automatic": sa.false(),
        "direction": sa.case((same, given.direction), else_=2),
    }
