"""Make the next model the current one, when it is complete and not worse; drop a former one.

Quality is measured by known items: half of the words of a memory are the query, the memory is the
answer. So no labels are needed, and both models are asked the same. Links are kept: they say that
two memories are alike, which another model does not undo; the new model's threshold, measured on
random pairs, decides on links of new memories.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa

from memos_assets.errors import AgentError
from memos_assets.memory import model_identity, vector_indexes
from memos_assets.memory.models import Model, current_model, lock_models, model_named, register
from memos_assets.memory.outbox import wait_for
from memos_assets.memory.quality import Comparison, paired_bootstrap
from memos_assets.memory.reembedding import Reembedded, next_model, reembed, without_embedding
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.schema import agent
from memos_assets.search.embed import Embedder

#: Known items that are asked for.
ITEMS: Final = 200
#: Words of a memory from which on its half is a query.
_FEWEST_WORDS: Final = 6
_DEPTH: Final = 10
#: Memories without an embedding of the next model with which it may become current; they wait in
#: the outbox then, for a minute.
MOST_MISSING: Final = 64
#: Passes over what was remembered during the pass before.
_PASSES: Final = 10
#: Embeddings of which random pairs are made, and the share of pairs that is linked.
_SAMPLED: Final = 1_000
_LINKED_SHARE: Final = 0.001


@dataclass(frozen=True, slots=True)
class Exchange:
    """Outcome of an exchange.

    Attributes:
        former: model that was current; None: there was none.
        current: model that is.
        quality: recall of known items among the first 10, former model against new; None: it was
            not asked for, or there are no memories to ask for.
        waiting: memories that wait for an embedding of the new model.
        indexes: spaces that have an HNSW index of it.
    """

    former: str | None
    current: str
    quality: Comparison | None
    waiting: int
    indexes: int


def register_next(engine: sa.Engine, embedder: Embedder) -> Model:
    """Register an embedder's model as the one that is to replace the current one.

    Raises:
        AgentError: M763 it is registered, or there is a next one; M765 its dimension.
        UsageError: M577 to M579 it does not answer.
    """
    answer = model_identity.answer_of(embedder)
    with engine.begin() as conn:
        return register(
            conn,
            embedder.model,
            answer.shape[1],
            model_identity.digest_of(answer),
            "next",
            answer=answer,
        )


def exchange(
    engine: sa.Engine, embedder: Embedder, former: Embedder | None, *, items: int = ITEMS
) -> Exchange:
    """Make the next model current in one transaction, when it is complete and not worse.

    Recalls go on. Writers of embeddings wait for the transaction, which embeds nothing.

    Args:
        engine: whose user owns the tables, or is a superuser.
        embedder: of the next model.
        former: embedder of the current model; None: quality is not compared.
        items: known items to compare by.

    Raises:
        AgentError: M764 memories are missing, or the next model finds less than the current one;
            M767 there is no next model; as `reembed`.
    """
    missing = _complete(engine, embedder)
    with engine.connect() as conn:
        model, current = next_model(conn), current_model(conn)
    if missing > MOST_MISSING:
        raise _refused(model, f"{missing:,} memories have no embedding of it")
    indexes = len(list(vector_indexes.build(engine, model)))
    quality = None
    if former is not None and current is not None:
        quality = compare_models(engine, current, former, model, embedder, items=items)
        if quality is not None and quality.worse:
            raise _refused(
                model,
                f"it finds {quality.after:.3f} of known memories among the first {_DEPTH}, "
                f"{current.name} {quality.before:.3f}; difference {quality.low:.3f} to "
                f"{quality.high:.3f}",
            )
    with engine.begin() as conn:
        conn.exec_driver_sql(f"analyze {model.table_name}")
        threshold = measured_threshold(conn, model)
    with engine.begin() as conn:
        advisory_locks.MODELS.wait(conn)
        count = _missing(conn, model)
        if count > MOST_MISSING:
            raise _refused(model, f"{count:,} memories were remembered meanwhile")
        wait_for(conn, model)
        one = agent.models
        conn.execute(one.update().where(one.c.state == "current").values(state="former"))
        changed = {"state": "current", "link_threshold": threshold or model.link_threshold}
        conn.execute(one.update().where(one.c.id == model.id).values(changed))
    return Exchange(None if current is None else current.name, model.name, quality, count, indexes)


def drop_model(engine: sa.Engine, name: str) -> None:
    """Drop a former or next model with its embeddings.

    Raises:
        AgentError: M760 it is not registered; M766 it is the current one.
    """
    with engine.begin() as conn:
        lock_models(conn, "access exclusive")
        model = model_named(conn, name)
        if model.state == "current":
            raise AgentError(
                "M766",
                "it is the current model, by which memories are found",
                where=f"model {name}",
                fix="make another model current first: memos-assets memory models swap",
            )
        model.table.drop(conn)
        conn.execute(agent.models.delete().where(agent.models.c.id == model.id))


def _complete(engine: sa.Engine, embedder: Embedder) -> int:
    """Embed what was remembered since the buckets ran; return how many memories are missing."""
    for _ in range(_PASSES):
        done: Reembedded = reembed(engine, embedder)
        with engine.connect() as conn:
            missing = _missing(conn, next_model(conn))
        # Those that the model refuses stay missing.
        if missing <= MOST_MISSING or not done.memories:
            break
    return missing


def _missing(conn: sa.Connection, model: Model) -> int:
    """Count memories without an embedding of a model that do not wait for one."""
    waits = sa.exists().where(agent.outbox.c.memory == agent.memories.c.number)
    counted = (
        sa.select(sa.func.count())
        .select_from(agent.memories)
        .where(without_embedding(model), ~waits)
    )
    return int(conn.execute(counted).scalar_one())


def compare_models(
    engine: sa.Engine,
    model: Model,
    embedder: Embedder,
    other: Model,
    other_embedder: Embedder,
    *,
    items: int = ITEMS,
) -> Comparison | None:
    """Compare two models by known items, exactly; None where there are no memories to ask for."""
    with engine.connect() as conn:
        known = _known_items(conn, model, other, items)
    if not known:
        return None
    found = [
        _found(engine, one, by, known) for one, by in ((model, embedder), (other, other_embedder))
    ]
    return paired_bootstrap(*found)


def _known_items(
    conn: sa.Connection, model: Model, other: Model, items: int
) -> list[tuple[int, int, str]]:
    """Return number, space and half of the words of memories that both models have."""
    one = agent.memories.c
    rows = conn.execute(
        sa.select(one.number, one.space_id, one.content)
        .where(~without_embedding(model), ~without_embedding(other))
        .where(one.retracted_at.is_(None), one.words >= _FEWEST_WORDS)
        # In an order that is the same each time, and has nothing to do with time or space.
        .order_by(one.content_digest, one.number)
        .limit(items)
    )
    return [(row[0], row[1], _half(row[2])) for row in rows]


def _half(content: str) -> str:
    words = content.split()
    return " ".join(words[len(words) // 2 :][:32])


def _found(
    engine: sa.Engine, model: Model, embedder: Embedder, known: Sequence[tuple[int, int, str]]
) -> list[float]:
    """Return for each item whether it is among the first 10 of its space: 1 or 0."""
    queries = [embedder.embed_query(text) for _, _, text in known]
    table = model.table
    found = []
    with engine.connect() as conn:
        for (number, space, _), query in zip(known, queries, strict=True):
            nearest = (
                sa.select(table.c.memory)
                .where(table.c.space_id == space, table.c.part == 0)
                .order_by(table.c.embedding.cosine_distance(query))
                .limit(_DEPTH)
            )
            found.append(float(number in set(conn.execute(nearest).scalars())))
    return found


def measured_threshold(conn: sa.Connection, model: Model) -> float | None:
    """Return the cosine that one random pair in a thousand is above; None for few memories."""
    table = model.table
    sent: sa.ColumnElement[bytes] = sa.func.halfvec_send(table.c.embedding)
    rows = conn.execute(
        sa.select(sent)
        .where(table.c.part == 0)
        .order_by(sa.func.md5(sa.cast(table.c.memory, sa.Text())))
        .limit(_SAMPLED)
    ).scalars()
    stored = [bytes(row)[4:] for row in rows]
    if len(stored) < _SAMPLED // 2:
        return None
    vectors = np.frombuffer(b"".join(stored), dtype=">f2").astype(np.float32)
    vectors = vectors.reshape(len(stored), model.dimension)
    cosines = (vectors @ vectors.T)[np.triu_indices(len(stored), k=1)]
    return round(float(np.quantile(cosines, 1 - _LINKED_SHARE)), 3)


def _refused(model: Model, why: str) -> AgentError:
    return AgentError(
        "M764",
        f"it does not become the current model: {why}",
        where=f"model {model.name}",
        fix="re-embed (memos-assets memory models re-embed), or memos-assets memory models drop",
    )
