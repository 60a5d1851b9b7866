"""V37 is red for two current values, a row that nobody believes, and a cycle."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memory import SyncMemory
from memos_assets.memory.time_checks import one_value_is_current

AS_IT_IS = "one current value at most, as revisions say"


TWO = (
    "1 attributes with more than one current value, 1 memories that differ from their last revision"
)
CYCLE = (
    "1 memories that differ from their last revision, "
    "2 memories that end themselves, through others"
)
OPEN = (
    "update agent.memories set valid_until = null, superseded_by = null "
    "where number = (select min(number) from agent.memories)"
)
CLOSE = (
    "update agent.memories m set valid_until = coalesce(m.valid_until, '2030-01-01'), "
    "superseded_by = (select o.id from agent.memories o where o.number <> m.number)"
)


@pytest.mark.parametrize(
    ("statement", "observed"),
    [
        ("select 1", AS_IT_IS),
        (OPEN, TWO),
        ("delete from agent.revisions", "2 memories that differ from their last revision"),
        (CLOSE, CYCLE),
    ],
)
def test_v37_one_value_is_current_fails_when_rows_were_written_past_memory(
    shared_sessions: sessionmaker[Session],
    owner: sa.Connection,
    memory: SyncMemory,
    user: str,
    statement: str,
    observed: str,
) -> None:
    texts = [
        {"text": f"Anna lives in {city}.", "subject": "anna", "attribute": "city"}
        for city in ("Riga", "Oslo")
    ]
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        memory.remember(session, memory.prepare_many(texts))
    owner.execute(sa.text("delete from agent.memories where user_id <> :user"), {"user": user})
    owner.exec_driver_sql(statement)
    finding = one_value_is_current(owner, "memories")
    assert (finding.observed, finding.passed) == (observed, observed == AS_IT_IS)
    owner.rollback()
