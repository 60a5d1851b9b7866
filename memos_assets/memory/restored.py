"""Whether memory answers from a schema that is being restored: recalls, and golden queries.

Users are asked for what they remembered: a memory has to be found by its own embedding and text.
What an index does not find shows here, before the schema is exchanged.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import MemosAssetsError
from memos_assets.memory import golden
from memos_assets.memory.acting import act_as
from memos_assets.memory.facade import SyncMemory
from memos_assets.memory.models import Model, current_model
from memos_assets.memory.prepared import Asked
from memos_assets.memory.recall import recall
from memos_assets.postgres.sessions import use_schema
from memos_assets.settings import Settings

#: Memories that are asked for, over all users.
ASKED: Final = 50
#: Characters of their text that are asked.
_CHARACTERS: Final = 200
#: Recall@10 of memories asked for by themselves, below which an index lacks some.
LEAST_FOUND: Final = 0.95
#: Share of golden queries that have to find some of their evidence.
LEAST_GOLDEN: Final = 0.5
_SAMPLE: Final = """
select m.id, m.content, s.owner, s.name, s.private, e.embedding::real[]::float8[] as embedding
from agent.memories m join agent.spaces s on s.id = m.space_id
join agent.grants g on g.space_id = s.id and g.user_id = s.owner
join agent.embeddings_{model} e on e.memory = m.number and e.part = 0
where m.retracted_at is null and m.valid_until is null and m.superseded_by is null
order by md5(m.id::text) limit {asked}
"""


def prove_restored(conn: sa.Connection, schema: str, settings: Settings) -> Sequence[str]:
    """Return what is wrong with memory on a schema; nothing is left behind.

    Args:
        conn: of the owner, in a transaction that the caller takes back.
        schema: that has the tables of `agent`.
        settings: with the embedder of the golden queries; without one they are not asked.
    """
    undo = use_schema(conn, schema)
    try:
        # session-rule: S001 because a command has a connection, and what is asked is taken back
        with Session(conn, join_transaction_mode="create_savepoint") as session:
            return list(_faults(session, settings))
    finally:
        undo()


def _faults(session: Session, settings: Settings) -> Iterator[str]:
    model = current_model(session)
    if model is None:
        return
    asked, found = _found(session, model)
    if asked and found / asked < LEAST_FOUND:
        yield f"recall finds {found} of {asked} memories by their own text"
    memory = SyncMemory(settings)
    if memory.model != model.name:
        return
    try:
        ready = golden.ready(golden.read_golden(), memory)
        run = golden.measure(session, memory, ready)
    except MemosAssetsError as error:
        yield f"golden queries cannot be asked ({error.code})"
        return
    answered = sum(any(score.found.values()) for score in run.scores)
    if answered < LEAST_GOLDEN * len(run.scores):
        yield f"{answered} of {len(run.scores)} golden queries find any of their evidence"


def _found(session: Session, model: Model) -> tuple[int, int]:
    """Return how many memories were asked for, and how many of them were found."""
    asked = found = 0
    sample = session.execute(sa.text(_SAMPLE.format(model=model.id, asked=ASKED))).all()
    for row in sample:
        act_as(session, user=row.owner, spaces=() if row.private else (row.name,))
        question = Asked(
            row.content[:_CHARACTERS], np.array(row.embedding, dtype=np.float32), model.name
        )
        hits = recall(session, question, spaces=[None if row.private else row.name])
        asked += 1
        found += str(row.id) in {hit.id for hit in hits}
    return asked, found
