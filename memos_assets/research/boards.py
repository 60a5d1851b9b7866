"""The board as the state of a run: which one a question goes on with, and phases that ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.blackboard import Board, Request, State
from memos_assets.errors import AgentError
from memos_assets.postgres.schema.agent import memories
from memos_assets.postgres.schema.agent_board import board_entries, boards

#: Level of what a run notes of itself: its start, and phases that ended.
RUN: Final = "research"
STARTED, ENDED = "started", "answer"
_b, _e = boards.c, board_entries.c


def noted(phase: str, value: Mapping[str, Any]) -> Request:
    """Return the request that notes that a phase ended, once."""
    return Request(level=RUN, key=phase, value=dict(value), strategy="once")


def phase_of(state: State, phase: str) -> dict[str, Any] | None:
    """Return what a board notes of a phase that ended; None: it did not."""
    entry = state.get(RUN, phase)
    return None if entry is None else dict(entry.value)


def unfinished(session: Session, user: str, question: str, fingerprint: str) -> UUID | None:
    """Return the newest open board of a run of the same question and parameters, or None."""
    started = board_entries.alias("started")
    found: UUID | None = session.execute(
        sa.select(_b.id)
        .join(started, started.c.board == _b.number)
        .where(
            _b.user_id == user,
            _b.goal == question,
            _b.state == "open",
            started.c.level == RUN,
            started.c.key == STARTED,
            started.c.value["fingerprint"].astext == fingerprint,
        )
        .order_by(_b.number.desc())
        .limit(1)
    ).scalar_one_or_none()
    return found


@dataclass(frozen=True)
class Earlier:
    """The last answer to a question: when, and memories that it rested on and that changed since.

    Attributes:
        at: when it was answered.
        changed: how many of its memories are not there any more, not current, or not visible.
        corpora: which tables were live.
    """

    at: datetime
    changed: int
    corpora: list[int | None]

    def why_not(self, corpora: Sequence[int | None]) -> str:
        """Return why it does not hold any more, "" where it may."""
        if self.changed:
            memories = "1 memory" if self.changed == 1 else f"{self.changed} memories"
            return f"{memories} that the answer of {self.at:%Y-%m-%d %H:%M} rests on changed since"
        if self.corpora != list(corpora):
            return f"the corpora were exchanged since the answer of {self.at:%Y-%m-%d %H:%M}"
        return ""


def earlier(session: Session, user: str, question: str, fingerprint: str) -> Earlier | None:
    """Return the last answer to the same question with the same parameters, or None."""
    ended, started = board_entries.alias("ended"), board_entries.alias("started")
    row = session.execute(
        sa.select(ended.c.at, ended.c.value, started.c.value.label("start"))
        .select_from(boards)
        .join(ended, ended.c.board == _b.number)
        .join(started, started.c.board == _b.number)
        .where(
            _b.user_id == user,
            _b.goal == question,
            _b.state == "complete",
            ended.c.level == RUN,
            ended.c.key == ENDED,
            started.c.level == RUN,
            started.c.key == STARTED,
            started.c.value["fingerprint"].astext == fingerprint,
        )
        .order_by(_b.number.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    changed = vanished(session, row.value["memories"])
    return Earlier(row.at, len(changed), row.start["corpora"])


def vanished(session: Session, ids: Sequence[str]) -> set[str]:
    """Return which memories are not visible, or not true any more."""
    if not ids:
        return set()
    m = memories.c
    now = sa.func.statement_timestamp()
    there = session.execute(
        sa.select(m.id).where(
            m.id.in_([UUID(one) for one in ids]),
            m.retracted_at.is_(None),
            sa.or_(m.valid_until.is_(None), m.valid_until > now),
        )
    ).scalars()
    return set(ids) - {str(one) for one in there}


async def require_of(board: Board, question: str, fingerprint: str) -> None:
    """Refuse a board that is of another question, or of other parameters.

    Raises:
        AgentError: M910 there is no such board; M995.
    """
    head = await board.head()
    started = phase_of(await board.state(RUN), STARTED)
    if head.goal == question and started is not None and started["fingerprint"] == fingerprint:
        return
    raise AgentError(
        "M995",
        "the board is of another question, or of a run with other parameters",
        where=f"board {board.id}",
        fix="leave the board out: an unfinished run of the same question is found by itself",
    )
