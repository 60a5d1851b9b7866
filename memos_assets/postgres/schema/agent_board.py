"""Tables of boards in schema `agent`, in its metadata.

The events of a board are numbered without a gap in the order in which they were posted; what a
board holds now is computed from them as they come. Both are written by ``agent.board_post`` alone:
services may only read them. What an agent keeps for itself, requests that wait to be numbered and
requests that were refused are beside them.

Every row has the space of its board, by which users see it. Times are the server's.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from memos_assets.postgres.schema.agent import AGENT_SCHEMA, metadata

#: Most events and bytes of a board that names no others.
MOST_EVENTS: Final = 20_000
MOST_BYTES: Final = 32_000_000


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _moment(name: str, about: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=about)


def _text(name: str, about: str | None = None, *, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), primary_key=key, nullable=False, comment=about)


def _agent() -> sa.Column[Any]:
    return sa.Column("agent_id", sa.Text(), nullable=False, server_default="")


def _number() -> sa.Column[Any]:
    return sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True)


def _board(*, key: bool = True) -> sa.Column[Any]:
    return sa.Column("board", sa.BigInteger(), primary_key=key, nullable=False, autoincrement=False)


def _space() -> sa.Column[Any]:
    return sa.Column("space_id", sa.BigInteger(), nullable=False)


def _on_its_board() -> sa.ForeignKeyConstraint:
    """Return the key by which a row has the space of its board, which policies rely on."""
    named = [f"{AGENT_SCHEMA}.boards.number", f"{AGENT_SCHEMA}.boards.space_id"]
    return sa.ForeignKeyConstraint(["board", "space_id"], named, ondelete="cascade")


boards = sa.Table(
    "boards",
    metadata,
    _number(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    sa.Column(
        "space_id",
        sa.BigInteger(),
        sa.ForeignKey(f"{AGENT_SCHEMA}.spaces.id"),
        nullable=False,
    ),
    _text("user_id", "Who opened it."),
    _agent(),
    _text("goal", "What the agents on it work on."),
    sa.Column("state", sa.Text(), nullable=False, server_default="open"),
    sa.Column("max_events", sa.BigInteger(), nullable=False),
    sa.Column("max_bytes", sa.BigInteger(), nullable=False),
    sa.Column(
        "compacted_to",
        sa.BigInteger(),
        nullable=False,
        server_default="0",
        comment="States before this event cannot be replayed any more.",
    ),
    _now("opened_at"),
    _moment("completed_at"),
    _moment("archived_at"),
    sa.Column("archive_sha256", sa.Text(), comment="Of its file in the archive."),
    sa.CheckConstraint("state in ('open', 'complete', 'archived')", name="known_state"),
    sa.UniqueConstraint("number", "space_id", name="boards_number_space"),
    comment="Boards on which agents work together.",
)
sa.Index("boards_space_opened", boards.c.space_id, boards.c.opened_at)
sa.Index("boards_state", boards.c.state, boards.c.number)

board_events = sa.Table(
    "board_events",
    metadata,
    _board(),
    sa.Column("seq", sa.BigInteger(), primary_key=True, autoincrement=False),
    sa.Column(
        "count",
        sa.BigInteger(),
        nullable=False,
        comment="Events of the board up to this one; a compaction takes emptied ones off.",
    ),
    sa.Column("bytes", sa.BigInteger(), nullable=False, comment="Of the values of these events."),
    _space(),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    _text("user_id"),
    _agent(),
    _text("level"),
    _text("key"),
    _text("item", "Of a key with several values, its digest; '' otherwise."),
    _text("slot", "sha256 of level, key and item, which outlives their erasure."),
    _text("strategy"),
    sa.Column("version", sa.BigInteger(), nullable=False, comment="Of the slot, from 1."),
    sa.Column("value", pg.JSONB(none_as_null=True), comment="NULL: removed, erased or compacted."),
    _moment("expires_at"),
    _on_its_board(),
    comment="What was posted to boards, in one order per board. Rows are only added.",
)
sa.Index("board_events_slot", board_events.c.board, board_events.c.slot, board_events.c.seq)

board_entries = sa.Table(
    "board_entries",
    metadata,
    _board(),
    _text("level", key=True),
    _text("key", key=True),
    _text("item", key=True),
    _space(),
    _text("user_id"),
    _agent(),
    _text("strategy"),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("seq", sa.BigInteger(), nullable=False, comment="Of the event that wrote it."),
    sa.Column("first_seq", sa.BigInteger(), nullable=False, comment="Of the first one."),
    sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("value", pg.JSONB(), nullable=False),
    _moment("expires_at"),
    _on_its_board(),
    comment="What boards hold now; computed from their events.",
)

board_private = sa.Table(
    "board_private",
    metadata,
    _board(),
    _text("slot", "sha256 of user, agent and key.", key=True),
    _space(),
    _text("user_id"),
    _text("agent_id"),
    _text("key"),
    sa.Column("value", pg.JSONB(), nullable=False),
    _now("written_at"),
    _moment("expires_at"),
    _on_its_board(),
    comment="What an agent keeps for itself on a board; nobody else sees it.",
)

board_outbox = sa.Table(
    "board_outbox",
    metadata,
    _number(),
    _board(key=False),
    _space(),
    _text("user_id"),
    _agent(),
    sa.Column("requests", pg.JSONB(), nullable=False),
    _now("posted_at"),
    _on_its_board(),
    comment="Requests that were posted in transactions of callers, until they are numbered.",
)
sa.Index("board_outbox_board", board_outbox.c.board, board_outbox.c.number)

board_refusals = sa.Table(
    "board_refusals",
    metadata,
    _number(),
    _board(key=False),
    _space(),
    _text("user_id"),
    _agent(),
    _text("reason"),
    _text("level"),
    _text("key"),
    _now("refused_at"),
    _on_its_board(),
    comment="Writes that boards refused, without their values.",
)
sa.Index("board_refusals_board", board_refusals.c.board, board_refusals.c.number)
