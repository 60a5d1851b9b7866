"""V39 and V44: memories are embedded soon, and each table has embeddings of one model alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, CheckContext, Subject, by_connection
from memos_assets.finding import Finding
from memos_assets.memory import model_identity, outbox
from memos_assets.memory.beliefs import ended_at
from memos_assets.memory.check_subjects import STEP
from memos_assets.memory.models import Model, registered
from memos_assets.memory.service.waiting import count_waiting
from memos_assets.postgres.schema import agent

#: Numbers of memories that the evidence lists.
_SHOWN = 20
#: Largest difference of a stored length from 1: of a halfvec, rounding makes it 0.0005.
_LENGTH_TOLERANCE = 0.01


def outbox_is_young(context: CheckContext, _asset: str) -> Finding:
    """V39: no memory has waited for its embedding for longer than ``MEMOS_OUTBOX_MINUTES``.

    Rows of ``public.memories`` without an embedding are counted, and fail nothing: memOS does not
    say since when they wait, and keeps some without.
    """
    most = timedelta(minutes=context.settings.outbox_minutes)
    with context.engine.connect() as conn:
        found = outbox.waiting(conn)
        of_memos = count_waiting(conn)
    age = timedelta() if found.since is None else datetime.now(UTC) - found.since
    evidence = {
        "waiting": found.count,
        "reasons": dict(found.reasons),
        "waiting in public.memories": of_memos,
    }
    expected = f"none waits for more than {context.settings.outbox_minutes:g} minutes"
    if found.since is None:
        return Finding(True, expected, "none waits", evidence)  # noqa: FBT003
    reason = next(iter(found.reasons))
    return Finding(
        age <= most,
        expected,
        f"{found.count:,} wait, the oldest for {age.total_seconds() / 60:,.0f} minutes; most of "
        f"them: {reason}",
        evidence,
    )


def one_model_per_table(conn: sa.Connection, _asset: str) -> Finding:
    """V44: every table has the embeddings of one model, and the current one those of all memories.

    Args:
        conn: as the owner of the tables.
    """
    models = registered(conn)
    faults: list[str] = []
    evidence: dict[str, Any] = {}
    tables = _tables(conn)
    unknown = tables.keys() - {model.table.name for model in models}
    faults += [f"{name} is of no registered model" for name in sorted(unknown)]
    for model in models:
        if model.answer is None or model_identity.digest_of(model.answer) != model.answer_digest:
            faults.append(f"the digest of {model.name} is not that of its stored answer")
        wanted = f"halfvec({model.dimension})"
        stored = tables.get(model.table.name)
        if stored != wanted:
            faults.append(f"{model.table.name} has {stored or 'no table'}, not {wanted}")
            continue
        counts = _counts(conn, model)
        evidence[model.name] = counts
        faults += [f"{model.table.name}: {n:,} {what}" for what, n in counts.items() if n]
    current = next((model for model in models if model.state == "current"), None)
    if models and current is None:
        faults.append("no model is current")
    count, some = _missing(conn, current) if current and current.table.name in tables else (0, [])
    if count:
        faults.append(f"{count:,} memories neither have an embedding nor wait for one")
        evidence["missing"] = some
    named = ", ".join(f"{model.name} ({model.state})" for model in models) or "no model"
    return Finding(
        not faults,
        "a table for each model, of its dimension; every memory has an embedding of the current "
        "one, or waits",
        "; ".join(faults) or f"so it is for {named}",
        evidence,
    )


def _tables(conn: sa.Connection) -> dict[str, str]:
    """Return table of embeddings -> type of its column, without pgvector's schema."""
    rows = conn.execute(
        sa.text(
            "select c.relname::text, "
            "t.typname || coalesce('(' || nullif(a.atttypmod, -1) || ')', '') "
            "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "left join pg_attribute a on a.attrelid = c.oid and a.attname = 'embedding' "
            "left join pg_type t on t.oid = a.atttypid "
            "where n.nspname = :schema and c.relkind = 'r' "
            "and starts_with(c.relname::text, :prefix)"
        ),
        {"schema": agent.AGENT_SCHEMA, "prefix": agent.EMBEDDINGS},
    )
    return {row[0]: row[1] for row in rows}


def _counts(conn: sa.Connection, model: Model) -> dict[str, int]:
    """Count embeddings that are not as they were written, or not of their memory."""
    table, memory = model.table, agent.memories
    length: sa.ColumnElement[float] = sa.func.l2_norm(table.c.embedding, type_=sa.Double())
    ends = table.c.closed_at.is_distinct_from(ended_at(memory))
    wrong = {
        "of a length other than 1": sa.not_(sa.func.abs(length - 1) <= _LENGTH_TOLERANCE),
        "in another space than their memory": table.c.space_id != memory.c.space_id,
        "that end at another time than their memory": ends,
    }
    counted = [sa.func.count().filter(condition) for condition in wrong.values()]
    joined = table.join(memory, memory.c.number == table.c.memory)
    return dict(
        zip(wrong, conn.execute(sa.select(*counted).select_from(joined)).one(), strict=True)
    )


def _missing(conn: sa.Connection, model: Model) -> tuple[int, list[int]]:
    """Count memories without part 0 of a model that do not wait; with the numbers of some."""
    memory, table, box = agent.memories, model.table, agent.outbox
    missing = (
        sa.select(memory.c.number, sa.func.count().over().label("all"))
        .where(~sa.exists().where(table.c.memory == memory.c.number, table.c.part == 0))
        .where(~sa.exists().where(box.c.memory == memory.c.number))
        .order_by(memory.c.number)
        .limit(_SHOWN)
    )
    rows = conn.execute(missing).all()
    return (rows[0][1], [row[0] for row in rows]) if rows else (0, [])


def _outbox(catalog: Catalog) -> Iterator[Subject[str]]:
    if catalog.application:
        yield Subject(catalog.names.agent("outbox"), "outbox", STEP)


def _models(catalog: Catalog) -> Iterator[Subject[str]]:
    if catalog.application:
        yield Subject(catalog.names.agent("models"), "models", STEP)


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=39,
        name="v39_outbox_is_young",
        title="No memory waits for its embedding for longer than MEMOS_OUTBOX_MINUTES.",
        fix="start the embedder, or set MEMOS_EMBEDDER; then memos-assets memory embed",
        where="`memos/agent/outbox`",
        reads="`agent.outbox`: when the oldest memory began to wait, and why; it also counts rows "
        "of `public.memories` without an embedding",
        when_failed="Memories are found by their words alone meanwhile. See the reasons: start the "
        "embedder, or set `MEMOS_EMBEDDER`; then run `memos-assets memory embed`.",
        subjects=_outbox,
        judge=outbox_is_young,
        severity="warning",
        left_to_do="waiting",
        group="memory",
    ),
    Check(
        number=44,
        name="v44_one_model_per_table",
        title="Every table of embeddings is of one model and its dimension, and every memory has "
        "an embedding of the current model or waits for one.",
        fix="memos-assets memory embed --missing",
        where="`memos/agent/models`",
        reads="`agent.models` with the stored answers, the tables of embeddings with every row's "
        "length, space and end, `agent.memories` and `agent.outbox`",
        when_failed="Missing embeddings: `memos-assets memory embed --missing`. Anything else was "
        "changed by hand: register the model under another name and re-embed.",
        subjects=_models,
        judge=by_connection(one_model_per_table),
        group="memory",
    ),
)
