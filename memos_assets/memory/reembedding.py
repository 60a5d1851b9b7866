"""Embed all memories by the next model, beside readers: 64 buckets, each as often as needed.

A bucket embeds the memories of its numbers that the next model has not yet, so it may be killed and
run again. What is remembered meanwhile is embedded by the current model alone, and found by the
next pass; `exchange` has the last pass. No connection is in use while a model works.
"""

# session-rule: file S001 because an operator works from the engine, between calls of the model

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.beliefs import ended_at
from memos_assets.memory.models import Model, registered
from memos_assets.memory.stored_texts import embed_texts, read_texts, verify
from memos_assets.memory.vectors import EmbeddingRow, checked
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema import agent
from memos_assets.search.embed import Embedder

#: Parts of the work, by the remainder of a memory's number.
BUCKETS: Final = 64
#: Memories of one call of the model, and of one transaction.
BATCH: Final = 512
#: Signature, flags and length of the extension of COPY BINARY.
_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TRAILER: Final = struct.pack("!h", -1)


@dataclass(slots=True)
class Reembedded:
    """Outcome of a pass over one bucket or all.

    Attributes:
        memories: that were embedded.
        failures: code and cause -> memories that the model refuses; they have no embedding.
    """

    memories: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def next_model(bind: Session | sa.Connection) -> Model:
    """Return the model that is to replace the current one.

    Raises:
        AgentError: M767 none is registered.
    """
    for model in registered(bind):
        if model.state == "next":
            return model
    raise AgentError(
        "M767",
        "no model is registered to replace the current one",
        where="agent.models",
        fix="set MEMOS_EMBEDDER_NEXT, then memos-assets memory models register",
    )


def without_embedding(model: Model) -> sa.ColumnElement[bool]:
    """Return the condition of memories that have no embedding of a model."""
    table = model.table
    return ~sa.exists().where(table.c.memory == agent.memories.c.number, table.c.part == 0)


def reembed(engine: sa.Engine, embedder: Embedder, *, bucket: int | None = None) -> Reembedded:
    """Embed what the next model has not yet: of a bucket, or of all of them.

    Args:
        engine: whose user owns the tables, or is a superuser.
        embedder: of the next model.
        bucket: remainder of the numbers by `BUCKETS`; None: all memories.

    Raises:
        AgentError: M760 the embedder is of another model than the next; M762 it answers as another;
            M767 there is no next model.
        UsageError: M577 to M579 the embedder does not answer.
    """
    with engine.connect() as conn:
        model = next_model(conn)
    if model.name != embedder.model:
        raise AgentError(
            "M760",
            f"the embedder is not of the next model, which is {model.name}",
            where=f"model {embedder.model}",
            fix="set MEMOS_EMBEDDER_NEXT to the embedder of the next model",
        )
    verify(embedder, model)
    done, after = Reembedded(), 0
    while numbers := _numbers(engine, model, bucket, after):
        after = numbers[-1]
        with Session(engine) as session:
            texts = read_texts(session, numbers)
        found = embed_texts(embedder, model, texts)
        done.failures.update(found.refused.values())
        if found.rows:
            with engine.begin() as conn:
                done.memories += write_by_copy(conn, model, found.rows)
    return done


def _numbers(engine: sa.Engine, model: Model, bucket: int | None, after: int) -> list[int]:
    number = agent.memories.c.number
    found = (
        sa.select(number)
        .where(number > after, without_embedding(model))
        .order_by(number)
        .limit(BATCH)
    )
    if bucket is not None:
        found = found.where(number % BUCKETS == bucket)
    with engine.connect() as conn:
        return list(conn.execute(found).scalars())


def write_by_copy(conn: sa.Connection, model: Model, rows: Sequence[EmbeddingRow]) -> int:
    """Write embeddings by COPY, with the space and the end that their memories have now.

    A table with forced policies takes no COPY from its owner, so one of this transaction does.

    Args:
        conn: in a transaction, as the owner of the tables.
        model: whose embeddings they are.
        rows: that the table does not have yet; others are left as they are.

    Returns:
        Memories that were there still.
    """
    driver, staged = driver_of(conn), f"pg_temp.staged_{model.id}"
    driver.execute(
        f"create temporary table staged_{model.id} on commit drop as "
        f"select memory, part, embedding from {model.table_name} with no data"
    )
    with driver.cursor().copy(f"copy {staged} from stdin (format binary)") as copy:
        copy.write(_HEADER + _binary(model, rows) + _TRAILER)
    memory = agent.memories
    given = sa.table(
        f"staged_{model.id}",
        *(sa.column(name) for name in ("memory", "part", "embedding")),
        schema="pg_temp",
    )
    locked = (
        sa.select(
            given.c.memory, given.c.part, memory.c.space_id, ended_at(memory), given.c.embedding
        )
        .select_from(given.join(memory, memory.c.number == given.c.memory))
        .order_by(given.c.memory, given.c.part)
        .with_for_update(read=True, of=memory)
    )
    put = insert(model.table).from_select(
        ["memory", "part", "space_id", "closed_at", "embedding"], locked
    )
    made = put.on_conflict_do_nothing().returning(model.table.c.memory)
    return len(set(conn.execute(made).scalars()))


def _binary(model: Model, rows: Sequence[EmbeddingRow]) -> bytes:
    """Return rows of memory, part and embedding as COPY BINARY has them."""
    vectors = checked(model, [row.vector for row in rows])
    size = model.dimension
    kind = np.dtype(
        [
            ("fields", ">i2"),
            *(("memory_bytes", ">i4"), ("memory", ">i8")),
            *(("part_bytes", ">i4"), ("part", ">i2")),
            *(("embedding_bytes", ">i4"), ("dimension", ">i2"), ("unused", ">i2")),
            ("embedding", ">f2", (size,)),
        ]
    )
    made: npt.NDArray[np.void] = np.zeros(len(rows), dtype=kind)
    made["fields"] = 3
    made["memory_bytes"], made["memory"] = 8, [row.memory for row in rows]
    made["part_bytes"], made["part"] = 2, [row.part for row in rows]
    made["embedding_bytes"], made["dimension"] = 4 + 2 * size, size
    made["embedding"] = vectors
    return made.tobytes()
