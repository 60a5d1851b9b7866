"""What is on boards, as counts: no text, no key and no user."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.blackboard.reading import BYTES, COUNT, WITH_LAST
from memos_assets.blackboard.records import DECISIONS
from memos_assets.blackboard.requests import (
    CONTRADICTIONS,
    FINDINGS,
    PROMOTIONS,
    QUESTIONS,
    SEARCHES,
    SYNTHESES,
)
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema.agent_board import (
    board_entries,
    board_events,
    board_outbox,
    board_refusals,
    boards,
)

_decision = board_entries.alias("decision")
#: Whether the last decision on a contradiction is not to leave it open.
_decided: Final = (
    sa.exists()
    .where(
        _decision.c.board == board_entries.c.board,
        _decision.c.level == DECISIONS,
        _decision.c.key == board_entries.c.key,
        _decision.c.value["status"].astext != "open",
    )
    .correlate(board_entries)
)
#: Levels that are counted, in the order in which they are shown.
COUNTED = (QUESTIONS, SEARCHES, FINDINGS, CONTRADICTIONS, DECISIONS, SYNTHESES, PROMOTIONS)


@dataclass(frozen=True, slots=True)
class Census:
    """The boards that were opened in a period.

    Attributes:
        states: state -> boards.
        events: of them.
        bytes: of the values of their events.
        levels: level -> entries, of `COUNTED`.
        refused: reason -> writes that were refused.
        waiting: posts that wait for a number.
        largest_share: of its budget of events, by the board that has used most of it.
        open_contradictions: that nobody has resolved or dismissed.
    """

    states: dict[str, int]
    events: int
    bytes: int
    levels: dict[str, int]
    refused: dict[str, int]
    waiting: int
    largest_share: float
    open_contradictions: int


def census(
    conn: sa.Connection | Session, start: datetime | None = None, end: datetime | None = None
) -> Census:
    """Count the boards that were opened in a period; nothing is changed.

    Args:
        conn: as the owner of the tables, who sees all boards, or a session that acts for a user.
        start: aware; the first moment of the period; None: since ever.
        end: aware; the first moment after it; None: until now.
    """
    b, e, v, r, o = (
        one.c for one in (boards, board_entries, board_events, board_refusals, board_outbox)
    )
    opened = sa.and_(
        sa.true() if start is None else b.opened_at >= start,
        sa.true() if end is None else b.opened_at < end,
    )
    mine = sa.select(b.number).where(opened)

    def counts(column: sa.Column[str], condition: sa.ColumnElement[bool]) -> dict[str, int]:
        rows = conn.execute(
            sa.select(column, sa.func.count()).where(condition).group_by(column).order_by(column)
        )
        return {row[0]: row[1] for row in rows}

    size, share = conn.execute(
        sa.select(
            sa.cast(sa.func.coalesce(sa.func.sum(BYTES), 0), sa.BigInteger),
            sa.func.coalesce(sa.func.max(COUNT * 1.0 / b.max_events), 0.0),
        )
        .select_from(WITH_LAST)
        .where(opened)
    ).one()

    levels = counts(e.level, sa.and_(e.board.in_(mine), e.level.in_(COUNTED)))
    return Census(
        states=counts(b.state, opened),
        events=count_rows(conn, board_events, v.board.in_(mine)),
        bytes=int(size),
        levels={level: levels[level] for level in COUNTED if level in levels},
        refused=counts(r.reason, r.board.in_(mine)),
        waiting=count_rows(conn, board_outbox, o.board.in_(mine)),
        largest_share=round(float(share), 4),
        open_contradictions=count_rows(
            conn,
            board_entries,
            sa.and_(e.board.in_(mine), e.level == CONTRADICTIONS, sa.not_(_decided)),
        ),
    )
