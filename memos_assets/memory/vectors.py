"""Embeddings of memories in the tables of their models: write them, or have memories wait.

Writers share a lock with each other that a change of the model waits for, so that no embedding is
written for a model that is no longer current when it is committed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.arrays import array_text, numbers_text
from memos_assets.memory.models import Model, current_model
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.schema import agent
from memos_assets.postgres.upsert import upsert
from memos_assets.search.embed import unit
from memos_assets.search.query_embedding import EmbeddingArray, bound

#: Rows of one statement.
_BATCH: Final = 1_000


@dataclass(frozen=True, slots=True)
class EmbeddingRow:
    """An embedding of a part of a memory.

    Attributes:
        memory: number of the memory.
        part: 0 and up: of a text; -1: the text with the one before it.
        space_id: of the memory.
        closed_at: when the memory ended; None: it has not.
        vector: float32, (dimension,), of any length but 0.
    """

    memory: int
    part: int
    space_id: int
    closed_at: datetime | None
    vector: npt.NDArray[np.float32]


def write_embeddings(session: Session, rows: Sequence[EmbeddingRow], model: str) -> bool:
    """Write embeddings of the current model, one statement for each thousand; twice is as once.

    Where the model has been replaced since the texts were embedded, the memories wait in the outbox
    for the one that is current now.

    Args:
        session: the caller's.
        rows: in any order; memories that exist.
        model: name of the model that embedded them.

    Returns:
        Whether they were written; false: they wait.

    Raises:
        AgentError: M761 a vector of another dimension than the model's, not finite, or of zeros.
    """
    if not rows:
        return True
    conn = session.connection()
    advisory_locks.MODELS.share(conn)
    current = current_model(session)
    if current is None or current.name != model:
        waiting = {row.memory: row.space_id for row in rows}
        enqueue(session, waiting.items(), f"M760 {model} is not the current model")
        return False
    put(conn, current, rows)
    return True


def put(conn: sa.Connection, model: Model, rows: Iterable[EmbeddingRow]) -> None:
    """Write embeddings of a model, whatever its state; see `write_embeddings`."""
    # In the order of the key, so that two writers of the same rows do not wait for each other.
    ordered = sorted(rows, key=lambda row: (row.memory, row.part))
    for start in range(0, len(ordered), _BATCH):
        batch = ordered[start : start + _BATCH]
        given = {
            "memory": numbers_text(row.memory for row in batch),
            "part": numbers_text(row.part for row in batch),
            "space_id": numbers_text(row.space_id for row in batch),
            "closed_at": array_text(row.closed_at for row in batch),
            "embedding": EmbeddingArray(checked(model, [row.vector for row in batch])),
        }
        conn.execute(_put(model.table), bound(conn, given))


@lru_cache(maxsize=64)
def _put(table: sa.Table) -> sa.Insert:
    """Return the statement that writes rows, each of its columns an array as `put` sends it."""
    arrays = (
        sa.cast(
            sa.bindparam(c.name, type_=None if c is table.c.embedding else sa.Text()),
            sa.ARRAY(c.type),
        )
        for c in table.c
    )
    typed = (sa.column(c.name, c.type) for c in table.c)
    given = sa.func.unnest(*arrays).table_valued(*typed, name="given").render_derived()
    names = [c.name for c in table.c]
    return upsert(table).from_select(names, sa.select(*given.c))


def checked(model: Model, vectors: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """Return vectors of a model as they are stored: float32, (rows, dimension), of length 1.

    Raises:
        AgentError: M761.
    """
    lengths = {np.shape(vector) for vector in vectors}
    if lengths != {(model.dimension,)}:
        shapes = ", ".join(sorted(map(str, lengths - {(model.dimension,)})))
        raise _unusable(model, f"an embedding of shape {shapes}")
    stacked = np.stack([np.asarray(vector, dtype=np.float32) for vector in vectors])
    if not np.isfinite(stacked).all():
        raise _unusable(model, "an embedding with NaN or infinite elements")
    if not stacked.any(axis=1).all():
        raise _unusable(model, "an embedding of zeros, which has no direction")
    return unit(stacked)


def _unusable(model: Model, what: str) -> AgentError:
    return AgentError(
        "M761",
        f"{what}; the model has {model.dimension:,} elements",
        where=f"model {model.name}",
        fix="embed the text again with Memory.prepare, or with the model's own embedder",
    )


def enqueue(session: Session, memories: Iterable[tuple[int, int]], reason: str) -> None:
    """Have memories wait for an embedding; those that wait already keep their place.

    Args:
        session: the caller's.
        memories: number and space of each.
        reason: code and cause, without any text of theirs.
    """
    rows = [
        {"memory": number, "space_id": space, "last_error": reason}
        for number, space in sorted(memories)
    ]
    if rows:
        session.execute(insert(agent.outbox).on_conflict_do_nothing(), rows)
