"""Recall: what a question finds among the memories that a transaction sees.

Two lists propose memories: the nearest by meaning, and the best by their words (BM25). Each
proposal is scored by both, what is beside it in its source and linked to it adds a share, and the
best are answered: see `search.fusion`. The previous text of a source is not a list of its own: with
the neighbours' share it changes recall@10 on LoCoMo by less than .005.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal, TypedDict

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.moments import Moment, moment
from memos_assets.memory.normalised_text import normalised_name, storable_name
from memos_assets.memory.prepared import Asked
from memos_assets.memory.recall_plan import (
    BY_INDEX,
    RECALL,
    Plan,
    plan_of,
    set_locally,
    settings,
)
from memos_assets.memory.recall_statement import Shape, by_index, statement
from memos_assets.postgres.channel import channel_of
from memos_assets.postgres.schema.agent import KINDS
from memos_assets.postgres.vector_names import within
from memos_assets.search.fusion import Weights
from memos_assets.search.query_embedding import bound, query_embedding

State = Literal["current", "superseded", "wrong"]
#: Candidates of each list: on LoCoMo 100 and 50 find .001 more than 30, in 1.3 times the time.
CANDIDATES: Final = 30
#: See `Shape`: with 20,000 a recall takes as long, and its slowest ones twice as long.
MOST_POSTINGS: Final = 4_000
MOST_HITS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that was found.

    Attributes:
        id: of the memory.
        number: its key within the database.
        content: the text.
        space: name of the shared space that it is in; None: a private one.
        state: ``current``, ``superseded`` (was true until) or ``wrong``, by what is known at the
            moment asked about.
        score: the larger the better; of one answer only, scores of two are not compared.
        scores: list -> what it gave: ``meaning`` the cosine, ``words`` the relative BM25,
            ``neighbours`` and ``links`` what was added for those.
        via: id of the linked memory that added to its score; None: none did.
    """

    id: str
    number: int
    content: str
    kind: str
    space: str | None
    state: State
    subject: str | None
    attribute: str | None
    source: str
    valid_from: datetime | None
    valid_until: datetime | None
    recorded_at: datetime
    confidence: float | None
    trust: float
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    via: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """How an answer came about.

    Attributes:
        lists: the lists that proposed candidates.
        routes: space -> how its embeddings were searched: ``exact`` or the name of an index, and
            how many memories decided on it.
        weights: of the fusion.
        model: whose embeddings were compared; None: words alone.
        indexes: that PostgreSQL's plan uses.
    """

    lists: Sequence[str]
    routes: Mapping[int, tuple[str, int]]
    weights: Mapping[str, float]
    model: str | None
    indexes: Sequence[str]


class Recalled(list[Hit]):
    """Hits, the best first, with `evidence` where it was asked for."""

    evidence: Evidence | None = None


class Wanted(TypedDict, total=False):
    """Keyword arguments of `recall`."""

    as_of: Moment | None
    known_at: Moment | None
    kinds: Iterable[str] | None
    subject: str | None
    source: str | None
    spaces: Iterable[str | None] | None
    weights: Weights | None
    explain: bool


def recall(
    session: Session,
    asked: Asked,
    k: int = 10,
    *,
    as_of: Moment | None = None,
    known_at: Moment | None = None,
    kinds: Iterable[str] | None = None,
    subject: str | None = None,
    source: str | None = None,
    spaces: Iterable[str | None] | None = None,
    weights: Weights | None = None,
    explain: bool = False,
) -> Recalled:
    """Return the memories that answer a question best; at most six statements.

    Args:
        session: the caller's, whose transaction acts for a user.
        asked: from `Memory.query`. Without an embedding it is searched for by words alone.
        k: 1 to 1,000.
        as_of: what was true then; None: now.
        known_at: as it was known then, and true then unless ``as_of`` says otherwise; None: now.
        kinds: of memories; None: all.
        subject: only memories about it.
        source: only memories from it.
        spaces: names of spaces of `act_as` to which this recall is limited, None among them for
            the private one.
        weights: of the fusion, in place of the model's.
        explain: with `Recalled.evidence`; asks PostgreSQL for its plan, one more.

    Raises:
        AgentError: M700 the transaction acts for nobody; M702 no such space; M730 a subject or a
            source that no memory has; M731 a moment without a zone; M790 k or a kind that cannot
            be; M791 an embedding of another dimension than its model's; M792 the model of the
            embedding is not registered, another one is.
    """
    acting = acting_of(session)
    searched = _spaces(acting, spaces)
    at, known = moment(as_of, "as_of"), moment(known_at, "known_at")
    listed = _checked(k, kinds)
    filters = {
        "kinds": listed,
        "subject": None if subject is None else normalised_name(subject, "subject"),
        "source": None if source is None else storable_name(source, "source"),
    }
    conn = session.connection()
    plan = plan_of(conn, asked, searched)
    if weights is not None:
        plan = replace(plan, weights=weights)
    shape = Shape(
        model=plan.model,
        as_of=at is not None,
        known_at=known is not None,
        filters=frozenset(name for name, value in filters.items() if value is not None),
        candidates=max(CANDIDATES, 2 * k),
        most_postings=MOST_POSTINGS,
    )
    if shape.chosen:
        # An index of the whole space would pass over the few that are looked up first.
        plan = replace(plan, indexes={})
    values: dict[str, Any] = {
        "text": asked.text,
        "spaces": list(searched),
        "k": k,
        **plan.weights.stored(),
        "as_of": at,
        "known_at": known,
        **filters,
    }
    indexed = plan.indexed
    if plan.model is not None and asked.embedding is not None:
        bounds = dict(indexed)
        values["embedding"] = query_embedding(asked.embedding, "halfvec")
        values["after"] = [bounds.get(space, 0) for space in searched]
        values["near"] = []
    sent = {**bound(conn, values)}
    used: set[str] = set()
    # The settings of the second statement are among those of the first.
    with settings(conn, BY_INDEX if indexed else RECALL):
        if indexed:
            text = _spelled(shape, _vector_schema(conn), indexed)
            sent["near"] = list(conn.exec_driver_sql(text, sent).scalars())
            if explain:
                used |= _used(conn, text, sent)
            set_locally(conn, RECALL)
        text = _spelled(shape, _vector_schema(conn))
        rows = conn.exec_driver_sql(text, sent).all()
        answer = Recalled(map(_hit, rows))
        if explain:
            answer.evidence = _evidence(plan, used | _used(conn, text, sent))
    return answer


def _vector_schema(conn: sa.Connection) -> str | None:
    channel = channel_of(conn.dialect)
    return channel.vector_schema if channel is not None else None


@lru_cache(maxsize=256)
def _spelled(
    shape: Shape, schema: str | None, indexed: tuple[tuple[int, int], ...] | None = None
) -> str:
    composed = statement(shape) if indexed is None else by_index(shape, indexed)
    return within(composed, schema).as_string()


def _spaces(acting: Acting, names: Iterable[str | None] | None) -> tuple[int, ...]:
    if names is None:
        return acting.readable
    listed = [names] if isinstance(names, str) else list(names)
    if unknown := [name for name in listed if name is not None and name not in acting.named]:
        raise AgentError(
            "M702",
            "no such space, or it was not named in act_as",
            where="; ".join(map(repr, unknown)),
            fix="name it in act_as first",
        )
    ids = (acting.private if name is None else acting.named[name] for name in listed)
    return tuple(sorted(set(ids)))


def _checked(k: int, kinds: Iterable[str] | None) -> list[str] | None:
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= MOST_HITS:
        raise AgentError(
            "M790",
            f"k is not a whole number from 1 to {MOST_HITS:,}",
            where="recall",
            fix="pass how many memories are wanted, such as 10",
        )
    if kinds is None:
        return None
    listed = [kinds] if isinstance(kinds, str) else list(kinds)
    if unknown := [kind for kind in listed if kind not in KINDS]:
        raise AgentError(
            "M790",
            f"{len(unknown)} of the kinds are not ones that there are",
            where="recall",
            fix=f"use some of {', '.join(KINDS)}",
        )
    return listed


#: Columns that are scores of a hit.
_LISTS: Final = ("meaning", "words", "neighbours", "links")


def _hit(row: sa.Row[Any]) -> Hit:
    fields = row._asdict()
    scores = {name: fields.pop(name) for name in _LISTS}
    private, via = fields.pop("private"), fields["via"]
    return Hit(
        **{
            **fields,
            "id": str(fields["id"]),
            "space": None if private else fields["space"],
            "scores": {name: float(value) for name, value in scores.items() if value is not None},
            "via": None if via is None else str(via),
        }
    )


def _evidence(plan: Plan, used: Iterable[str]) -> Evidence:
    return Evidence(
        lists=("words",) if plan.model is None else ("meaning", "words"),
        routes=plan.routes(),
        weights=plan.weights.stored(),
        model=plan.model_name,
        indexes=sorted(used),
    )


def _used(conn: sa.Connection, text: str, values: Mapping[str, Any]) -> set[str]:
    """Return the indexes that PostgreSQL's plan of a statement uses."""
    (explained,) = conn.exec_driver_sql(f"explain (format json) {text}", values).one()
    return set(_indexes(explained))


def _indexes(node: Any) -> Iterator[str]:
    """Yield the names of indexes within a plan; its conditions, which have values, are left out."""
    if isinstance(node, Mapping):
        if "Index Name" in node:
            yield node["Index Name"]
        for part in node.values():
            yield from _indexes(part)
    elif isinstance(node, list):
        for part in node:
            yield from _indexes(part)
