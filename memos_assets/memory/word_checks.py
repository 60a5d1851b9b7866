"""V45: the words of memories, by which BM25 ranks, are those of their texts."""

import sqlalchemy as sa
from psycopg import sql

from memos_assets.check import AnyCheck, Check, by_connection
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.search.bm25 import lexemes_of

#: Memories that a failed check names by their numbers.
_NAMED = 20

_COMPARED = sql.SQL(
    """
    with expected as (
        select m.number as memory, m.space_id, l.lexeme, l.count,
            sum(l.count) over (partition by m.number)::integer as words
        from agent.memories m cross join lateral ({lexemes}) as l
    ), differing as (
        select coalesce(e.memory, p.memory) as memory
        from expected e full join agent.postings p
            on p.space_id = e.space_id and p.lexeme = e.lexeme and p.memory = e.memory
        where e.memory is null or p.memory is null or p.count <> e.count or p.words <> e.words
        union
        select m.number from agent.memories m left join (
            select memory, sum(count) as words from expected group by memory
        ) as e on e.memory = m.number where m.words <> coalesce(e.words, 0)
    ), counted as (
        select coalesce(m.space_id, w.space_id) as space_id
        from (
            select m.space_id, count(*) as memories, coalesce(sum(e.words), 0) as words
            from agent.memories m left join (
                select memory, sum(count) as words from expected group by memory
            ) as e on e.memory = m.number group by m.space_id
        ) as m full join (
            select space_id, sum(memories) as memories, sum(words) as words
            from agent.word_counts group by space_id
        ) as w using (space_id)
        where coalesce(m.memories, 0) <> coalesce(w.memories, 0)
            or coalesce(m.words, 0) <> coalesce(w.words, 0)
    )
    select (select count(*) from agent.memories),
        (select count(*) from differing),
        (select array_agg(memory) from (select memory from differing order by 1 limit {named}) s),
        (select array_agg(space_id order by space_id) from counted)
    """
).format(lexemes=lexemes_of(sql.SQL("m.content")), named=sql.Literal(_NAMED))


def words_equal_the_memories(conn: sa.Connection, _asset: str) -> Finding:
    """V45: postings and word_counts are what PostgreSQL makes of the texts of all memories.

    Args:
        conn: to the target database, as the owner of the tables, who sees every space.
    """
    row = conn.exec_driver_sql(_COMPARED.as_string()).one()
    memories, differing, numbers, spaces = row
    passed = not differing and not spaces
    return Finding(
        passed,
        expected=f"the words of {memories:,} memories",
        observed="the same"
        if passed
        else f"{differing:,} memories with other words, {len(spaces or ()):,} spaces with other "
        "counts",
        evidence={
            "memories": memories,
            "numbers of memories that differ": list(numbers or ()),
            "ids of spaces that differ": list(spaces or ()),
        },
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=45,
        name="v45_words_equal_the_memories",
        title="Postings and word counts, by which words are ranked, equal what the texts of the "
        "memories give.",
        fix="write the words of the named memories again: memos-assets explain V45",
        where="`memos/memories`",
        reads="every text of `agent.memories`, divided into lexemes again, beside `agent.postings` "
        "and `agent.word_counts`",
        when_failed="Recalls rank by words that are not those of the text: a row was written past "
        "`remember`, or PostgreSQL's dictionaries changed with a new version. For each space that "
        "it names, or of whose memories it names one, delete the rows of `agent.postings` and of "
        "`agent.word_counts`, and let `memos_assets.memory.postings.write_postings` write those of "
        "all its memories again, in one transaction.",
        subjects=memories_asset,
        judge=by_connection(words_equal_the_memories),
        group="memory",
    ),
)
