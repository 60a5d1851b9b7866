"""The words of stored texts, computed within the database: postings of BM25, and their counts.

The tables are those of schema `agent`, or of another schema that has the same ones.
"""

from typing import Final

from psycopg import sql

from memos_assets.search.bm25 import lexemes_of

#: Writes the words of the memories whose numbers are bound as ``numbers``, which have none yet.
WRITE: Final = sql.SQL(
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

#: Write the words of all memories of a schema whose tables of words are empty. The lengths of
#: memories are in their rows already.
WRITE_ALL: Final = (
    sql.SQL(
        """
        insert into agent.postings (space_id, lexeme, memory, count, words)
        select m.space_id, l.lexeme, m.number, l.count, m.words
        from agent.memories m cross join lateral ({lexemes}) as l order by 1, 2, 3
        """
    ).format(lexemes=lexemes_of(sql.SQL("m.content"))),
    sql.SQL(
        """
        insert into agent.word_counts (space_id, memories, words)
        select space_id, count(*), sum(words) from agent.memories group by space_id
        """
    ),
)
