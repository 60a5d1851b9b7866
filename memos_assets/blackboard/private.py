"""What an agent keeps for itself on a board: in no event, and seen by nobody else.

Row-level security shows a row to the user and the agent that wrote it, whatever a service asks.
"""

from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.blackboard.posting import Who, refusal
from memos_assets.blackboard.reading import Head, head
from memos_assets.blackboard.requests import digest, named, storable_json, unusable
from memos_assets.errors import AgentError
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema.agent_board import board_private, board_refusals
from memos_assets.postgres.upsert import upsert

#: Most keys of one agent on one board.
MOST_KEYS: Final = 1_000
_p = board_private.c
_NOW: Final = sa.func.clock_timestamp()


def write(
    session: Session, board: UUID, who: Who, key: str, value: Any, ttl: float | None = None
) -> None:
    """Write a key of the agent; the session is one that acts for it.

    Raises:
        AgentError: M910; M911; M914 the agent has too many keys; M923.
    """
    name = named(key, "key")
    storable_json(value, "value")
    if ttl is not None and not ttl > 0:
        raise unusable("the life is not a positive number of seconds", "ttl")
    row = head(session, board)
    if row.state != "open":
        raise refusal({"status": "closed", "state": row.state}, board)
    mine = sa.and_(_p.board == row.number, _p.user_id == who.user, _p.agent_id == who.agent)
    session.execute(sa.delete(board_private).where(mine, _p.expires_at < _NOW, _p.key != name))
    count = count_rows(session, board_private, sa.and_(mine, _p.key != name))
    if count >= MOST_KEYS:
        raise AgentError(
            "M914",
            f"the agent has {count:,} private keys on this board, and no more are kept",
            where=f"board {board}",
            fix="give keys a life (ttl), or use one key for several values",
        )
    ends = None if ttl is None else _NOW + sa.func.make_interval(0, 0, 0, 0, 0, 0, float(ttl))
    new: dict[str, Any] = {"value": value, "written_at": _NOW, "expires_at": ends}
    statement = upsert(board_private, *new).values(
        board=row.number,
        slot=digest(who.user, who.agent, name),
        space_id=row.space,
        user_id=who.user,
        agent_id=who.agent,
        key=name,
        **new,
    )
    session.execute(statement)


def read(session: Session, board: UUID, who: Who, key: str) -> Any:
    """Return the value of a key of the agent; None, if it was never written.

    Raises:
        AgentError: M910; M921 it has expired.
    """
    row = head(session, board)
    found = session.execute(
        sa.select(_p.value, _p.expires_at, (_p.expires_at <= _NOW).label("expired")).where(
            _p.board == row.number, _p.slot == digest(who.user, who.agent, named(key, "key"))
        )
    ).one_or_none()
    if found is None:
        return None
    if found.expired:
        raise expired(row.id, "private key", found.expires_at)
    return found.value


def refuse_other(session: Session, board: UUID, who: Who, key: str) -> AgentError:
    """Note in the audit that an agent asked for a key of another one, and return the error."""
    row: Head = head(session, board)
    session.execute(
        sa.insert(board_refusals).values(
            board=row.number,
            space_id=row.space,
            user_id=who.user,
            agent_id=who.agent,
            reason="private",
            level="private",
            key=named(key, "key"),
        )
    )
    return AgentError(
        "M922",
        "private keys are those of one agent, and this one is another's",
        where=f"board {board}",
        fix="let that agent write it to the public space",
    )


def expired(board: UUID, what: str, at: object) -> AgentError:
    """Return M921."""
    return AgentError(
        "M921",
        f"the {what} has expired ({at:%Y-%m-%d %H:%M:%S} UTC)",
        where=f"board {board}",
        fix="write it again, or read with a default",
    )
