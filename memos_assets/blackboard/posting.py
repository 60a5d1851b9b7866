"""Posts: short transactions in which PostgreSQL numbers writes, and refuses them with a reason.

`post` sends one statement that is a transaction of its own, so the row of the board is locked for
as long as the server works on it, and never while an agent thinks or the disk writes. It returns
when the disk has written. `enqueue`
writes within the caller's transaction, and locks nothing: what was enqueued is numbered by the next
post or read of anybody who may write the board.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.blackboard.requests import Request, checked
from memos_assets.errors import AgentError
from memos_assets.postgres.connection import autocommit
from memos_assets.postgres.owned_rows import AGENT_SETTING, USER_SETTING
from memos_assets.postgres.schema.agent_board import board_outbox, boards


@dataclass(frozen=True, slots=True)
class Who:
    """For whom a board is used.

    Attributes:
        user: their id.
        agent: that acts for them; "" for none.
        spaces: ids of the spaces that reads restrict themselves to; none: all that are granted.
    """

    user: str
    agent: str = ""
    spaces: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of one request.

    Attributes:
        status: ``added``; ``same``: it was there already, and no event was added.
        seq: of its event; of the one that added it before.
        version: of the entry, from 1.
    """

    status: Literal["added", "same"]
    seq: int
    version: int

    @property
    def added(self) -> bool:
        """Whether an event was added."""
        return self.status == "added"


class Conflict(AgentError):  # noqa: N818  it is named as what it is
    """M912: a key has another version than the writer has read.

    Attributes:
        version: of the entry now; 0: there is none.
        current: its value.
    """

    def __init__(self, where: str, version: int, current: Any) -> None:
        super().__init__(
            "M912",
            f"the key has version {version}, and the writer has read another one",
            where=where,
            fix="read the key again, merge, and write with the version that was read",
        )
        self.version, self.current = version, current

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between processes."""
        return type(self), (self.where, self.version, self.current)


_POST: Final = sa.text("select agent.board_post(:acting, :agent, :board, cast(:requests as jsonb))")


#: Numbering releases the row of the board before its commit is on disk. The commit of this one
#: waits until everything before it is, together with those of other writers.
_ON_DISK: Final = sa.text("select pg_catalog.pg_logical_emit_message(true, 'memos_board', '')")


def post(session: Session, board: UUID, who: Who, requests: Iterable[Request]) -> list[Posted]:
    """Write to a board, all requests or none, as a transaction of its own.

    Args:
        session: in no transaction; it is used for this statement alone.
        board: id of the board.
        who: writes.
        requests: at most `MOST_REQUESTS`.

    Returns:
        What became of each event, in the order of the requests; a ``decide`` that accepts has two.

    Raises:
        AgentError: M910 no such board, or not granted; M911 it is complete; M913 the key has
            another strategy; M914 the budget of the board is spent; M915 something was posted
            meanwhile that the writer has to know; M916, M917 of reviews; M918 it may only be read;
            M923, M927 of the requests.
        Conflict: M912.
    """
    whole = checked(requests)
    outcome = _called(session, board, who, whole)
    if outcome["status"] != "posted":
        raise refusal(outcome, board)
    return [Posted(**one) for one in outcome["results"]]


def settle(session: Session, board: UUID, who: Who) -> tuple[int, int]:
    """Number what was enqueued and committed, as a transaction of its own.

    Returns:
        Posts that were numbered or refused, and those of them that were refused.

    Raises:
        AgentError: M910.
    """
    outcome = _called(session, board, who, None)
    if outcome["status"] != "posted":
        raise refusal(outcome, board)
    return outcome["settled"], outcome["refused"]


def _called(
    session: Session, board: UUID, who: Who, requests: Sequence[Request] | None
) -> dict[str, Any]:
    connection = autocommit(session)
    sent = None
    if requests is not None:
        sent = json.dumps([one.as_json() for one in requests], ensure_ascii=False)
    values = {"acting": who.user, "agent": who.agent, "board": board, "requests": sent}
    outcome: dict[str, Any] = connection.execute(_POST, values).scalar_one()
    if outcome.get("results") or outcome.get("settled"):
        connection.execute(_ON_DISK)
    return outcome


def enqueue(session: Session, board: UUID, requests: Iterable[Request]) -> int:
    """Write to a board within the caller's transaction: numbered after its commit, or not at all.

    Nobody waits for the transaction, and what is refused then is in the audit of the board, since
    the caller cannot be told any more: use it for writes that cannot conflict, such as records.

    Args:
        session: the caller's, which acts for a user (`memory.act_as`).
        board: id of the board.
        requests: at most `MOST_REQUESTS`.

    Returns:
        The number by which it waits.

    Raises:
        AgentError: M910, M911, M918, M923, M927.
    """
    whole = checked(requests)
    row = session.execute(
        sa.select(
            boards.c.number,
            boards.c.space_id,
            boards.c.state,
            sa.func.current_setting(USER_SETTING, sa.true()).label("user"),
            sa.func.current_setting(AGENT_SETTING, sa.true()).label("agent"),
        ).where(boards.c.id == board)
    ).one_or_none()
    if row is None or not row.user:
        raise refusal({"status": "unknown"}, board)
    if row.state != "open":
        raise refusal({"status": "closed", "state": row.state}, board)
    statement = (
        pg.insert(board_outbox)
        .values(
            board=row.number,
            space_id=row.space_id,
            user_id=row.user,
            agent_id=row.agent or "",
            requests=[one.as_json() for one in whole],
        )
        .returning(board_outbox.c.number)
    )
    try:
        with session.begin_nested():
            number: int = session.execute(statement).scalar_one()
    except sa.exc.ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != _REFUSED_BY_POLICY:
            raise
        raise refusal({"status": "read only"}, board) from None
    return number


_REFUSED_BY_POLICY: Final = "42501"
#: Status of an outcome -> code, what, fix.
_REFUSALS: Final[dict[str, tuple[str, str, str]]] = {
    "unknown": (
        "M910",
        "no such board, or it is not granted to this user",
        "open one, or ask the owner of its space for a grant",
    ),
    "closed": (
        "M911",
        "the board takes no further events",
        "open another board",
    ),
    "strategy": (
        "M913",
        "the key has another conflict strategy since its first write",
        "write it by its own strategy, or use another key",
    ),
    "budget": (
        "M914",
        "the budget of the board is spent; nothing of this post was stored",
        "complete the board and open another one, or open it with larger max_events and max_bytes",
    ),
    "guard": (
        "M915",
        "something was posted since the state was read that this write depends on",
        "read the state again, and decide anew",
    ),
    "absent": (
        "M916",
        "there is no such entry, or it does not wait for a review",
        "read the board again: another agent may have decided",
    ),
    "own": (
        "M917",
        "an agent does not review its own proposal",
        "let another agent decide",
    ),
    "read only": (
        "M918",
        "the user may read this board, and not write it",
        "ask the owner of its space for the grant read_write",
    ),
}


def refusal(outcome: dict[str, Any], board: UUID) -> AgentError:
    """Return the error of an outcome; it does not repeat what was to be written."""
    status = outcome["status"]
    where = f"board {board}"
    if status == "conflict":
        return Conflict(where, outcome["version"], outcome["current"])
    code, what, fix = _REFUSALS[status]
    more = {
        "closed": lambda: f" (it is {outcome['state']})",
        "strategy": lambda: f" ({outcome['strategy']})",
        "budget": lambda: f" ({outcome['max_events']:,} events, {outcome['max_bytes']:,} bytes)",
    }.get(status, str)()
    return AgentError(code, what + more, where=where, fix=fix)
