"""Memories that wait for an embedding: the schedule's work, and what is still waiting.

A batch is taken by moving its next attempt into the future, so that no transaction is open while
the model works, several processes share the work, and the rows of one that died come up again.
Runs as the owner of the tables: the rows are of all users.
"""

# session-rule: file S001 because a schedule works from the engine, between calls of the model

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from memos_assets.errors import MemosAssetsError
from memos_assets.memory.links import link_new
from memos_assets.memory.model_identity import answer_of
from memos_assets.memory.models import Model, current_model, ensure_registered, not_current
from memos_assets.memory.prepared import cause
from memos_assets.memory.stored_texts import (
    Embedded,
    as_they_are,
    embed_texts,
    read_texts,
    verify,
)
from memos_assets.memory.vectors import write_embeddings
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.schema import agent
from memos_assets.search.embed import Embedder

#: Memories of one call of the model.
BATCH: Final = 64
#: The first wait after a failure, doubled with each further one, and the longest: seconds. It is
#: also the time in which a batch that was taken has to be embedded before another process takes it.
FIRST_WAIT: Final = 60
LONGEST_WAIT: Final = 3_600


@dataclass(frozen=True, slots=True)
class Waiting:
    """What is in the outbox.

    Attributes:
        count: memories.
        since: when the oldest began to wait; None: none waits.
        reasons: code and cause -> memories.
    """

    count: int
    since: datetime | None
    reasons: Mapping[str, int]


@dataclass(slots=True)
class Progress:
    """Outcome of `embed_waiting`.

    Attributes:
        embedded: memories that were.
        linked: new links.
        failures: code and cause -> memories that go on waiting for it.
        stopped: why the embedder was not asked for more; None: nothing was due any more.
    """

    embedded: int = 0
    linked: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None


def waiting(conn: sa.Connection) -> Waiting:
    """Count the memories that wait, by reason."""
    box = agent.outbox.c
    reason = sa.func.coalesce(box.last_error, "not tried yet")
    rows = conn.execute(
        sa.select(reason, sa.func.count(), sa.func.min(box.waits_since)).group_by(reason)
    ).all()
    return Waiting(
        sum(row[1] for row in rows),
        min((row[2] for row in rows), default=None),
        {row[0]: row[1] for row in sorted(rows, key=lambda row: -row[1])},
    )


def enqueue_missing(engine: sa.Engine) -> int:
    """Have every memory wait that has no embedding of the current model; their number.

    None is missing after `remember`; this mends what was changed by hand.
    """
    with engine.begin() as conn:
        advisory_locks.MODELS.share(conn)
        model = current_model(conn)
        return 0 if model is None else wait_for(conn, model)


def wait_for(conn: sa.Connection, model: Model) -> int:
    """Have every memory wait that has no embedding of a model; their number."""
    memory, table = agent.memories, model.table
    missing = sa.select(memory.c.number, memory.c.space_id).where(
        ~sa.exists().where(table.c.memory == memory.c.number, table.c.part == 0)
    )
    put = insert(agent.outbox).from_select(["memory", "space_id"], missing)
    made = put.on_conflict_do_nothing().returning(agent.outbox.c.memory)
    return len(conn.execute(made).all())


def embed_waiting(engine: sa.Engine, embedder: Embedder, *, batch: int = BATCH) -> Progress:
    """Embed and link every memory whose next attempt is due; may be killed and run again.

    The first embedder that answers on a database without a model is registered.

    Args:
        engine: whose user owns the tables, or is a superuser.
        embedder: of the current model.
        batch: memories of one call of the model, and of one transaction.

    Returns:
        What was done. An embedder that does not answer, or answers as another model, is in
        `stopped`: due memories then wait for their next attempt.
    """
    progress = Progress()
    if not any_due(engine):
        return progress
    try:
        model = ensure_registered(engine, embedder)
        if model is None:
            # For its reason.
            answer_of(embedder)
        if model is None or model.name != embedder.model:
            raise not_current(embedder.model, model)
        verify(embedder, model)
        while numbers := _take(engine, batch):
            _embed(engine, embedder, model, numbers, progress)
    except MemosAssetsError as error:
        progress.stopped = cause(error)
        with engine.begin() as conn:
            _postpone(conn, agent.outbox.c.next_attempt_at <= sa.func.now(), progress.stopped)
    return progress


def _embed(
    engine: sa.Engine, embedder: Embedder, model: Model, numbers: list[int], progress: Progress
) -> None:
    with Session(engine) as session:
        texts = read_texts(session, numbers)
    try:
        found = embed_texts(embedder, model, texts)
    except MemosAssetsError as error:
        with engine.begin() as conn:
            _note(conn, numbers, cause(error))
        raise
    with Session(engine) as session, session.begin():
        _store(session, model, found, progress)


def _store(session: Session, model: Model, found: Embedded, progress: Progress) -> None:
    """Write embeddings and links, and take their memories off the outbox, in one transaction."""
    for number, reason in found.refused.items():
        _note(session.connection(), [number], reason)
        progress.failures[reason] += 1
    rows = as_they_are(session, found.rows)
    numbers = sorted({row.memory for row in rows})
    if not rows or not write_embeddings(session, rows, model.name):
        return
    links = link_new(session, numbers, model.name)
    session.execute(agent.outbox.delete().where(agent.outbox.c.memory.in_(numbers)))
    progress.embedded += len(numbers)
    progress.linked += sum(map(len, links.values()))


def any_due(engine: sa.Engine) -> bool:
    """Whether the next attempt of a memory that waits is due."""
    due = sa.exists().where(agent.outbox.c.next_attempt_at <= sa.func.now())
    with engine.connect() as conn:
        return bool(conn.scalar(sa.select(due)))


def _take(engine: sa.Engine, batch: int) -> list[int]:
    """Take due memories for as long as they would wait after a failure; numbers, in order."""
    box = agent.outbox
    due = (
        sa.select(box.c.memory)
        .where(box.c.next_attempt_at <= sa.func.now())
        .order_by(box.c.next_attempt_at, box.c.memory)
        .limit(batch)
        .with_for_update(skip_locked=True)
    )
    with engine.begin() as conn:
        taken = (
            box.update().where(box.c.memory.in_(due)).values(**_attempt()).returning(box.c.memory)
        )
        return sorted(conn.execute(taken).scalars())


def _postpone(conn: sa.Connection, which: sa.ColumnElement[bool], reason: str) -> None:
    conn.execute(agent.outbox.update().where(which).values(last_error=reason, **_attempt()))


def _attempt() -> Mapping[str, sa.ColumnElement[object]]:
    """Return the columns of one more attempt; the next waits twice as long as the one before."""
    attempts = agent.outbox.c.attempts
    seconds = sa.func.least(
        FIRST_WAIT * sa.func.power(2, sa.func.least(attempts, 16)), LONGEST_WAIT
    )
    later = sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return {"attempts": attempts + 1, "next_attempt_at": later}


def _note(conn: sa.Connection, numbers: list[int], reason: str) -> None:
    """Keep why memories go on waiting; their next attempt is set already."""
    box = agent.outbox
    conn.execute(box.update().where(box.c.memory.in_(numbers)).values(last_error=reason))
