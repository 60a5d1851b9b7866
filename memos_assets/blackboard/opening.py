"""Boards as such: open one, list those that a user sees, count what is on one."""

from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.blackboard.posting import Who, refusal
from memos_assets.blackboard.reading import HEADS, Head, head
from memos_assets.blackboard.requests import named, storable, unusable
from memos_assets.errors import AgentError
from memos_assets.postgres.acting import make_private_space
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema.agent import grants, spaces
from memos_assets.postgres.schema.agent_board import (
    MOST_BYTES,
    MOST_EVENTS,
    board_entries,
    board_outbox,
    board_refusals,
    boards,
)

_s, _g = spaces.c, grants.c
#: Most boards of one listing.
_SHOWN: Final = 1_000


def open_board(
    session: Session,
    who: Who,
    goal: str,
    *,
    space: str | None = None,
    max_events: int = MOST_EVENTS,
    max_bytes: int = MOST_BYTES,
) -> UUID:
    """Open a board in the user's own space or in a shared one; the session acts for the user.

    Args:
        session: that acts for the user.
        who: opens it.
        goal: what is worked on.
        space: name of a shared space; None: the user's own.
        max_events: most events.
        max_bytes: most bytes of their values.

    Raises:
        AgentError: M910 there is no such space, or it is not granted; M918; M923.
    """
    storable(goal, "goal")
    if max_events < 1 or max_bytes < 1:
        raise unusable("the budget is not positive", "budget")
    found = _space(session, who, space)
    if found is None and space is None:
        make_private_space(session, who.user)
        found = _space(session, who, space)
    if found is None:
        raise AgentError(
            "M910",
            "no such space, or it is not granted to this user",
            where=f"space {space!r}",
            fix="ask its owner for a grant",
        )
    new = uuid4()
    if found.access != "read_write":
        raise refusal({"status": "read only"}, new)
    session.execute(
        sa.insert(boards).values(
            id=new,
            space_id=found.id,
            user_id=who.user,
            agent_id=who.agent,
            goal=goal,
            max_events=max_events,
            max_bytes=max_bytes,
        )
    )
    return new


def _space(session: Session, who: Who, name: str | None) -> Any:
    mine = sa.and_(_s.owner == who.user, _s.private)
    shared = sa.false() if name is None else sa.and_(_s.name == named(name, "space"), ~_s.private)
    return session.execute(
        sa.select(_s.id, _g.access)
        .join(grants, _g.space_id == _s.id)
        .where(_g.user_id == who.user, mine if name is None else shared)
    ).one_or_none()


def list_boards(
    session: Session | sa.Connection, *, state: str | None = None, limit: int = _SHOWN
) -> list[Head]:
    """Return the boards that are visible, the newest first, at most a thousand."""
    c = boards.c
    statement = HEADS.order_by(c.number.desc()).limit(min(limit, _SHOWN))
    if state is not None:
        statement = statement.where(c.state == state)
    return [Head(*row) for row in session.execute(statement)]


def stats(session: Session | sa.Connection, board: UUID) -> dict[str, Any]:
    """Return the size of a board, what was refused and what waits; nothing is changed.

    Raises:
        AgentError: M910.
    """
    row = head(session, board)
    e, r = board_entries.c, board_refusals.c
    levels = session.execute(
        sa.select(e.level, sa.func.count().label("count"))
        .where(e.board == row.number)
        .group_by(e.level)
        .order_by(e.level)
    )
    refused = session.execute(
        sa.select(r.reason, sa.func.count().label("count"))
        .where(r.board == row.number)
        .group_by(r.reason)
        .order_by(r.reason)
    )
    waiting = count_rows(session, board_outbox, board_outbox.c.board == row.number)
    return {
        "state": row.state,
        "seq": row.seq,
        "events": row.events,
        "bytes": row.bytes,
        "max_events": row.max_events,
        "max_bytes": row.max_bytes,
        "compacted_to": row.compacted_to,
        "entries": dict(map(tuple, levels)),
        "refused": dict(map(tuple, refused)),
        "waiting": waiting,
    }
