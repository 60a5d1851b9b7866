"""The words of memories, for BM25: lexemes of PostgreSQL, and how many a space has.

They are computed from the text within the database, so a row and its words cannot differ by who
wrote it.
"""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from memos_assets.memory.arrays import BIGINTS
from memos_assets.postgres import advisory_locks
from memos_assets.search.bm25 import lexemes_of

_WRITE = sql.SQL(
    """
    with found as materialized (
        select m.space_id, m.number as memory, l.lexeme, l.count
        from agent.memories m cross join lateral ({lexemes}) as l
        where m.number = any(:numbers)
    ), lengths as (
        select m.space_id, m.number as memory, coalesce(sum(f.count), 0)::integer as words
        from agent.memories m left join found f on f.memory = m.number
        where m.number = any(:numbers) group by 1, 2
    ), measured as (
        update agent.memories m set words = l.words from lengths l where m.number = l.memory
    ), counted as (
        insert into agent.word_counts (space_id, memories, words)
        select space_id, count(*), sum(words) from lengths group by space_id
    )
    insert into agent.postings (space_id, lexeme, memory, count, words)
    select f.space_id, f.lexeme, f.memory, f.count, l.words
    from found f join lengths l using (memory) order by 1, 2, 3
    """
).format(lexemes=lexemes_of(sql.SQL("m.content")))


def write_postings(session: Session, numbers: Sequence[int]) -> None:
    """Write the words of memories that have none yet; one statement.

    Args:
        session: the caller's.
        numbers: of the memories.
    """
    statement = sa.text(_WRITE.as_string()).bindparams(sa.bindparam("numbers", type_=BIGINTS))
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
