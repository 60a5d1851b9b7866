"""The words of memories, for BM25: lexemes of PostgreSQL, and how many a space has.

They are computed from the text within the database, so a row and its words cannot differ by who
wrote it.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory.arrays import BIGINTS
from memos_assets.postgres import advisory_locks
from memos_assets.search.postings import WRITE


def write_postings(session: Session, numbers: Sequence[int]) -> None:
    """Write the words of memories that have none yet; one statement.

    Args:
        session: the caller's.
        numbers: of the memories.
    """
    statement = sa.text(WRITE.as_string()).bindparams(sa.bindparam("numbers", type_=BIGINTS))
    session.execute(statement, {"numbers": list(numbers)})


_COMPACT = sa.text(
    """
    with many as (
        select space_id from agent.word_counts group by space_id having count(*) > :most
    ), gone as (
        delete from agent.word_counts w using many where w.space_id = many.space_id
        returning w.space_id, w.memories, w.words
    ), put as (
        insert into agent.word_counts (space_id, memories, words)
        select space_id, sum(memories), sum(words) from gone group by space_id
    )
    select count(*) from gone
    """
)
#: Rows of a space that are left: so few cost a recall nothing that could be measured.
MOST_COUNTS: Final = 100


def compact_counts(conn: sa.Connection, most: int = MOST_COUNTS) -> int:
    """Add the rows of `word_counts` of spaces that have many up to one row each.

    Each call of remember adds a row, so that none waits for another, and each recall adds them up.
    Writers go on meanwhile: their rows stay beside the sum.

    Args:
        conn: in a transaction, as the owner of the tables.
        most: rows of a space that are left as they are.

    Returns:
        How many rows went into sums.
    """
    advisory_locks.WORD_COUNTS.wait(conn)
    return int(conn.execute(_COMPACT, {"most": most}).scalar_one())
