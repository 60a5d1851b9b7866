"""What is remembered is a row of the caller's transaction; equal text is one row."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import SyncMemory
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings


@pytest.fixture
def memory() -> SyncMemory:
    return SyncMemory(Settings(), embedder=DeterministicEmbedder(64))


def test_a_memory_is_a_row_with_its_words_and_its_first_belief(
    engine: sa.Engine, memory: SyncMemory
) -> None:
    prepared = memory.prepare("Anna moved from Riga to Oslo, Oslo!", subject="Anna")
    with Session(engine) as session, session.begin():
        memory.act_as(session, user="u1", agent="planner")
        kept = memory.remember(session, prepared)
        again = memory.remember(
            session, memory.prepare("anna  moved from riga to OSLO, Oslo!", subject="anna")
        )
    assert again.duplicate_of == kept.id
    with engine.connect() as conn:
        (row,) = conn.execute(sa.text("select * from agent.memories")).mappings()
        assert (str(row["id"]), row["words"], row["source"]) == (kept.id, 5, "user:u1")
        words = conn.execute(sa.text("select lexeme, count from agent.postings order by 1"))
        assert words.all() == [("anna", 1), ("move", 1), ("oslo", 2), ("riga", 1)]
        (belief,) = conn.execute(sa.text("select * from agent.revisions")).mappings()
        assert (belief["action"], belief["known_from"]) == ("remember", row["recorded_at"])


def test_without_act_as_in_this_transaction_nothing_is_remembered(
    engine: sa.Engine, memory: SyncMemory
) -> None:
    prepared = memory.prepare("Anna lives in Oslo.")
    with Session(engine) as session:
        memory.act_as(session, user="u1")
        session.commit()
        with pytest.raises(AgentError, match="M700"):
            memory.remember(session, prepared)
