"""What is on boards, as counts: no text, no key and no user."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

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
    """

    states: dict[str, int]
    events: int
    bytes: int
    levels: dict[str, int]
    refused: dict[str, int]
    waiting: int
    largest_share: float


def census(conn: sa.Connection, start: datetime, end: datetime) -> Census:
    """Count the boards that were opened in a period, as the owner of the tables.

    Args:
        conn: to the database.
        start: aware; the first moment of the period.
        end: aware; the first moment after it.
    """
    b, e, v, r, o = (
        one.c for one in (boards, board_entries, board_events, board_refusals, board_outbox)
    )
    opened = sa.and_(b.opened_at >= start, b.opened_at < end)
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
    )
