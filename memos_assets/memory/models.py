"""Embedding models of agent memory: registered, one of them current, a table of embeddings each.

A recall reads the table of the model that embedded its query, so no answer mixes models. A name is
bound to the model's answer to three fixed texts (see `model_identity`).

A table has no vector index of its own: nearly all spaces are small, and exact search within a space
is faster there (0.2 ms against 43 ms at 89 rows). Spaces of ten thousand rows and more get a
partial HNSW index, see `vector_indexes`. Models of more than `MOST_INDEXABLE` elements are stored,
too, and searched exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError, UsageError
from memos_assets.memory import model_identity
from memos_assets.postgres import advisory_locks, row_security
from memos_assets.postgres.schema import agent
from memos_assets.postgres.schema.embeddings import (
    MOST_ELEMENTS,
    embedding_table,
    kept_in_the_row,
)
from memos_assets.search.embed import Embedder, Vectors, same_model

State = Literal["current", "next", "former"]

#: Model -> least cosine of an automatic link, which 0.1 % of random pairs pass; else `_THRESHOLD`.
_THRESHOLDS: Final = {"all-MiniLM-L6-v2": 0.60, "mxbai-embed-large": 0.70}
_THRESHOLD: Final = 0.70


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model.

    Attributes:
        id: part of its table's name.
        name: as its embedder reports it.
        dimension: elements of its vectors.
        answer_digest: of its answer to three fixed texts, when it was registered.
        state: the current one embeds what is remembered and answers recalls.
        link_threshold: least cosine of an automatic link.
        ranking: list -> weight in the fusion of its recalls; None: the catalog's.
        answer: float32, (3, dimension), of length 1; None where it was not kept.
    """

    id: int
    name: str
    dimension: int
    answer_digest: str
    state: State
    link_threshold: float
    ranking: Mapping[str, float] | None
    answer: Vectors | None = field(compare=False, repr=False)

    @property
    def table(self) -> sa.Table:
        """Its table of embeddings, for statements."""
        return embedding_table(self.id, self.dimension)

    @property
    def table_name(self) -> str:
        """Its table of embeddings with its schema; needs no quotes."""
        return f"{agent.AGENT_SCHEMA}.{agent.EMBEDDINGS}{self.id}"


def register(
    conn: sa.Connection,
    name: str,
    dimension: int,
    digest: str,
    state: State,
    *,
    answer: Vectors | None = None,
    link_threshold: float | None = None,
) -> Model:
    """Register a model and make its table, in the caller's transaction, as the owner of the schema.

    Args:
        conn: whose transaction the caller commits.
        name: as the embedder reports it.
        dimension: elements of its vectors.
        digest: of its answer, see `model_identity.digest_of`.
        state: `current` for the first; `next` for one that is to replace it.
        answer: to the three texts, float32, (3, dimension), of length 1.
        link_threshold: least cosine of automatic links; None: what is known of the model.

    Raises:
        AgentError: M763 the name is registered, or the state is taken; M765 the dimension cannot be
            stored.
    """
    if not 1 <= dimension <= MOST_ELEMENTS:
        raise AgentError(
            "M765",
            f"{dimension:,} elements; pgvector's halfvec has 1 to {MOST_ELEMENTS:,}",
            where=f"model {name}",
            fix="register a model of fewer elements",
        )
    lock_models(conn, "share row exclusive")
    for other in registered(conn):
        if other.name == name or (state != "former" and other.state == state):
            raise AgentError(
                "M763",
                f"{other.name} is registered already, as {other.state}",
                where=f"model {name}",
                fix="see memos-assets memory models list; swap or drop that one first",
            )
    if link_threshold is None:
        known = (value for one, value in _THRESHOLDS.items() if same_model(one, name))
        link_threshold = next(known, _THRESHOLD)
    row = agent.models.insert().values(
        name=name,
        dimension=dimension,
        answer_digest=digest,
        state=state,
        link_threshold=link_threshold,
        answer=None if answer is None else model_identity.as_bytes(answer),
    )
    made = _model(conn.execute(row.returning(agent.models)).one())
    made.table.create(conn)
    conn.exec_driver_sql(kept_in_the_row(made.table_name))
    row_security.protect(conn, made.table.name)
    return made


def lock_models(conn: sa.Connection, mode: str) -> None:
    """Have writers of embeddings wait for a table of a model that is made or dropped.

    In their order, the memories first: a transaction that remembered and is about to embed would
    wait for the models while these wait for its memories.

    Args:
        conn: in a transaction, as the owner of the tables.
        mode: of the lock that the foreign key of such a table takes on ``agent.memories``.
    """
    conn.exec_driver_sql(f"lock table {agent.memories.fullname} in {mode} mode")
    advisory_locks.MODELS.wait(conn)


def registered(bind: Session | sa.Connection) -> Sequence[Model]:
    """Return all models, in the order in which they were registered."""
    rows = bind.execute(sa.select(agent.models).order_by(agent.models.c.id))
    return [_model(row) for row in rows]


def current_model(bind: Session | sa.Connection) -> Model | None:
    """Return the model that embeds what is remembered; None before the first is registered."""
    found = sa.select(agent.models).where(agent.models.c.state == "current")
    row = bind.execute(found).one_or_none()
    return None if row is None else _model(row)


def model_named(bind: Session | sa.Connection, name: str) -> Model:
    """Return a registered model by its name, in whatever state.

    Raises:
        AgentError: M760.
    """
    row = bind.execute(sa.select(agent.models).where(agent.models.c.name == name)).one_or_none()
    if row is None:
        names = ", ".join(model.name for model in registered(bind)) or "none"
        raise AgentError(
            "M760",
            f"no such model is registered; registered: {names}",
            where=f"model {name}",
            fix="register it (memos-assets memory models register), or set MEMOS_EMBEDDER and "
            "MEMOS_EMBEDDER_MODEL to a registered one",
        )
    return _model(row)


def not_current(name: str, current: Model | None) -> AgentError:
    """Return M760 for an embedder that is not of the current model."""
    is_now = "no model is registered" if current is None else f"the current model is {current.name}"
    return AgentError(
        "M760",
        f"the embedder is not of the current model; {is_now}",
        where=f"model {name}",
        fix="set MEMOS_EMBEDDER and MEMOS_EMBEDDER_MODEL to the current model",
    )


def check_answer(model: Model, answer: Vectors) -> None:
    """Refuse an embedder that has a registered model's name, and answers as another model.

    Args:
        model: as registered.
        answer: of the embedder to the three texts, see `model_identity.answer_of`.

    Raises:
        AgentError: M762.
    """
    if model.answer_digest == model_identity.digest_of(answer):
        return
    if model.answer is not None and model_identity.is_same(model.answer, answer):
        return
    raise AgentError(
        "M762",
        f"the embedder calls itself {model.name}, and answers the three fixed texts as another "
        f"model ({answer.shape[1]:,} elements; registered: {model.dimension:,})",
        where=f"model {model.name}",
        fix="serve the model that was registered; or give the new one a name of its own "
        "(MEMOS_EMBEDDER_MODEL=NAME=NEW-NAME), register it as next, and re-embed",
    )


def ensure_registered(engine: sa.Engine, embedder: Embedder) -> Model | None:
    """Return the current model; on a database without one, register the embedder's.

    The embedder is called before a connection is taken, and only where no model is registered.

    Returns:
        None where there is none and the embedder does not answer: memories then wait in the outbox.

    Raises:
        UsageError: M577 the embedder lacks a setting or package.
    """
    with engine.connect() as conn:
        found = current_model(conn)
    if found is not None:
        return found
    try:
        answer = model_identity.answer_of(embedder)
    except UsageError as error:
        if error.code == "M577":
            raise
        return None
    with engine.begin() as conn:
        lock_models(conn, "share row exclusive")
        # Another process may have been first.
        return current_model(conn) or register(
            conn,
            embedder.model,
            answer.shape[1],
            model_identity.digest_of(answer),
            "current",
            answer=answer,
        )


def _model(row: sa.Row[Any]) -> Model:
    return Model(
        id=row.id,
        name=row.name,
        dimension=row.dimension,
        answer_digest=row.answer_digest,
        state=row.state,
        link_threshold=row.link_threshold,
        ranking=row.ranking,
        answer=None if row.answer is None else model_identity.from_bytes(row.answer, row.dimension),
    )
