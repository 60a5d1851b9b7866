"""V45 is red when words or counts are not those of the texts."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory import SyncMemory
from memos_assets.memory.postings import compact_counts
from memos_assets.memory.word_checks import words_equal_the_memories
from memos_assets.settings import Settings


@pytest.fixture(scope="module")
def remembered(shared_engine: sa.Engine) -> sa.Engine:
    memory = SyncMemory(Settings())
    with Session(shared_engine) as session, session.begin():
        memory.act_as(session, user="u1")
        texts = ("Anna moved to Oslo, Oslo.", "Bob likes cats.", "the of and")
        memory.remember(session, memory.prepare_many(texts))
    return shared_engine


def test_v45_passes_on_what_remember_wrote(remembered: sa.Engine) -> None:
    with remembered.connect() as conn:
        finding = words_equal_the_memories(conn, "memories")
    assert finding.passed, finding.observed
    assert finding.evidence["memories"] == 3


@pytest.mark.parametrize(
    ("statement", "observed"),
    [
        ("delete from agent.postings where lexeme = 'oslo'", "1 memories"),
        ("update agent.postings set count = 9 where lexeme = 'oslo'", "1 memories"),
        ("update agent.postings set words = words + 1 where lexeme = 'cat'", "1 memories"),
        ("update agent.postings set lexeme = 'riga' where lexeme = 'oslo'", "1 memories"),
        (
            "update agent.memories set content = 'Bob' where content = 'Bob likes cats.'",
            "1 memories",
        ),
        ("update agent.memories set words = 7 where content = 'the of and'", "1 memories"),
        ("delete from agent.word_counts", "0 memories with other words, 1 spaces"),
        ("update agent.word_counts set memories = memories + 1", "1 spaces"),
        ("insert into agent.word_counts (space_id, memories, words) values (99, 1, 1)", "1 spaces"),
    ],
)
def test_v45_words_equal_the_memories_fails_when_they_differ(
    remembered: sa.Engine, statement: str, observed: str
) -> None:
    with remembered.connect() as conn:
        conn.exec_driver_sql(statement)
        finding = words_equal_the_memories(conn, "memories")
        conn.rollback()
    assert not finding.passed
    assert observed in finding.observed


def test_counts_of_many_calls_are_added_up_beside_a_writer(engine: sa.Engine) -> None:
    memory = SyncMemory(Settings())
    with Session(engine) as session:
        for number in range(6):
            memory.act_as(session, user="u1" if number else "u2")
            memory.remember(session, memory.prepare(f"Text number {number}."))
            session.commit()
        memory.act_as(session, user="u1")
        memory.remember(session, memory.prepare("Not committed yet."))
        with engine.begin() as conn:
            assert compact_counts(conn, most=2) == 5
        session.commit()
    with engine.connect() as conn:
        counts = "select memories, words from agent.word_counts order by number"
        assert conn.exec_driver_sql(counts).all() == [(1, 3), (1, 2), (5, 15)]
        finding = words_equal_the_memories(conn, "memories")
    assert finding.passed, finding.observed
