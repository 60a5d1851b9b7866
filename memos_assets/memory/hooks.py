"""The hooks of memOS's orchestrator: what a request observed and concluded, as memories.

Observations and conclusions are memories of their kinds, whose subject is the request: the same
text in two requests is two memories, twice in one request is one. A text is embedded later, by the
schedule of the outbox, because no model is called while a session is in use; hand over what
`Memory.prepare` returned where the embedding is needed at once.

Conclusions and observations that are good enough become findings, each once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import acting_of
from memos_assets.memory.explicit_links import connect
from memos_assets.memory.models import current_model
from memos_assets.memory.nodes import (
    IS_CURRENT,
    Id,
    Node,
    is_readable,
    node_of,
    places,
    select_nodes,
)
from memos_assets.memory.normalised_text import content_digest, normalised_name, storable_name
from memos_assets.memory.prepared import About, Part, Prepared, draft, finish
from memos_assets.memory.quality_signal import QualitySignal, quality_signal
from memos_assets.memory.remember import Kept, remember
from memos_assets.memory.splitting import split
from memos_assets.postgres.schema.agent import links, memories, provenance
from memos_assets.postgres.schema.embeddings import embedding_table

#: Why a memory waits that was given as a text.
WAITS: Final = "M781 given as a text, and no model is called in a transaction"
OBSERVATION_TYPES: Final = (
    *("tool_output", "document", "search_result", "user_input", "system_data"),
    "scraped_content",
)
REASONING_TYPES: Final = (
    *("deduction", "induction", "abduction", "comparison", "synthesis", "critique"),
    "hypothesis",
)
#: Least confidence of a finding.
PROMOTED: Final = 0.6


def add_to_semantic_memory(
    session: Session,
    content: str | Prepared,
    memory_type: str,
    attributes: Mapping[str, Any] | None = None,
    source_ids: Sequence[Id] | None = None,
    explicit_connections: Iterable[tuple[Id, str]] | None = None,
    *,
    space: str | None = None,
) -> Kept:
    """Remember a content of the orchestrator, what it was concluded from, and its links.

    Args:
        session: the caller's, which acts for a user.
        content: a text, or what was prepared of it.
        memory_type: one of `KINDS`.
        attributes: more about it; added to those of what was prepared.
        source_ids: ids of memories that it was concluded from.
        explicit_connections: (id of a memory, type of the link) pairs.
        space: name of a shared space; None: the user's own.

    Raises:
        AgentError: as `remember.remember` and `explicit_links.connect`.
    """
    prepared = _prepared(content, kind=memory_type, attributes=attributes)
    sources = [str(one) for one in source_ids or ()]
    return _keep(session, prepared, sources, explicit_connections or (), space)


def record_observation(
    session: Session,
    request_id: str,
    query: str,
    content: str | Prepared,
    observation_type: str,
    source: str,
    quality_score: float = 0.5,
    *,
    is_relevant: bool = True,
    metadata: Mapping[str, Any] | None = None,
    space: str | None = None,
) -> Kept:
    """Remember an observation of a request: what a tool, a page or a person said.

    Args:
        session: the caller's, which acts for a user.
        request_id: of the request.
        query: that the request is about.
        content: a text, or what was prepared of it.
        observation_type: one of `OBSERVATION_TYPES`.
        source: address or tool that it is from.
        quality_score: 0 to 1.
        is_relevant: whether it counts for the quality of the request.
        metadata: more about it.
        space: name of a shared space; None: the user's own.

    Raises:
        AgentError: M782 there is no such type of observation; as `remember.remember`.
    """
    _known(observation_type, OBSERVATION_TYPES, "observation")
    attributes = {
        **(metadata or {}),
        **_of_request(request_id, query),
        "observation_type": observation_type,
        "quality_score": float(quality_score),
        "is_relevant": bool(is_relevant),
    }
    prepared = _prepared(
        content,
        kind="observation",
        attributes=attributes,
        source=source,
        confidence=quality_score,
        subject=_subject(request_id),
    )
    return _keep(session, prepared, (), (), space)


def record_reasoning(
    session: Session,
    request_id: str,
    query: str,
    conclusion: str | Prepared,
    reasoning_type: str,
    confidence: float = 0.5,
    agent: str = "",
    premises: Sequence[Id] = (),
    *,
    notes: str = "",
    space: str | None = None,
) -> Kept:
    """Remember a conclusion of a request, and the memories that it was drawn from.

    Args:
        session: the caller's, which acts for a user.
        request_id: of the request.
        query: that the request is about.
        conclusion: a text, or what was prepared of it.
        reasoning_type: one of `REASONING_TYPES`.
        confidence: 0 to 1.
        agent: that drew it.
        premises: ids of observations and conclusions.
        notes: more about it.
        space: name of a shared space; None: the user's own.

    Raises:
        AgentError: M782 there is no such type of reasoning; as `remember.remember`.
    """
    _known(reasoning_type, REASONING_TYPES, "reasoning")
    attributes = {
        **_of_request(request_id, query),
        "reasoning_type": reasoning_type,
        "agent": agent,
        "notes": notes,
    }
    prepared = _prepared(
        conclusion,
        kind="reasoning",
        attributes=attributes,
        confidence=confidence,
        subject=_subject(request_id),
    )
    return _keep(session, prepared, [str(one) for one in premises], (), space)


def get_quality_signal(session: Session, request_id: str) -> QualitySignal:
    """Return the quality of a request by what was recorded of it, in every space that is seen.

    Raises:
        AgentError: M700 `act_as` was not called in this transaction.
    """
    steps = _steps(session, request_id)
    observed = [node for node, _ in steps if node.kind == "observation"]
    return quality_signal(
        [
            (node.confidence or 0.0, bool(node.attributes.get("is_relevant", True)))
            for node in observed
        ],
        [node.confidence or 0.0 for node, _ in steps if node.kind == "reasoning"],
        conflicts=sum(contradicted for _, contradicted in steps),
    )


def promote_findings(
    session: Session, request_id: str, *, least: float = PROMOTED, space: str | None = None
) -> list[Kept]:
    """Make findings of what a request concluded and observed, each once however often it is called.

    A step is promoted if its confidence is at least ``least``, it is relevant, and no memory that
    is current contradicts it. The finding has the text, the source, the trust and the embedding of
    the step, and is derived from it. A text that the space had before is not promoted again, even
    where the finding was found to be wrong since. Equal texts are one finding.

    Args:
        session: the caller's, which acts for a user.
        request_id: of the request.
        least: confidence that is enough.
        space: where the findings go; None: the user's own space.

    Returns:
        The findings that this call made, in the order of the steps.

    Raises:
        AgentError: as `remember.remember`.
    """
    target = acting_of(session).target(space)
    good = {
        content_digest(node.content, None, None): node
        for node, contradicted in reversed(_steps(session, request_id))
        if not contradicted
        and (node.confidence or 0.0) >= least
        and node.attributes.get("is_relevant", True)
    }
    there = sa.select(memories.c.content_digest).where(
        memories.c.space_id == target, memories.c.content_digest.in_(list(good))
    )
    known = set(session.execute(there).scalars()) if good else set()
    steps = [node for digest, node in reversed(good.items()) if digest not in known]
    if not steps:
        return []
    parts = _stored_parts(session, steps)
    findings = [_finding(node, request_id, *parts[node.number]) for node in steps]
    kept = remember(session, findings, space=space)
    assert isinstance(kept, list)
    # Another transaction may have made one at the same time.
    return [one for one in kept if one.duplicate_of is None]


def _prepared(content: str | Prepared, **about: Any) -> Prepared:
    """Return a memory with what a hook knows of it; a text has no embedding yet."""
    given = {name: value for name, value in about.items() if value is not None}
    if isinstance(content, str):
        checked: About = given  # type: ignore[assignment]  # checked by draft
        return finish(draft(content, "", checked), "", WAITS)
    checked = draft(content.content, content.model, given).fields  # type: ignore[arg-type, assignment]
    changed = {name: checked[name] for name in given}  # type: ignore[literal-required]
    changed["attributes"] = {**content.attributes, **changed.get("attributes", {})}
    subject, attribute = changed.get("subject", content.subject), content.attribute
    return replace(
        content, **changed, content_digest=content_digest(content.content, subject, attribute)
    )


def _keep(
    session: Session,
    prepared: Prepared,
    sources: Sequence[str],
    connections: Iterable[tuple[Id, str]],
    space: str | None,
) -> Kept:
    from_places = places(session, sources) if sources else ()
    kept = remember(session, prepared, space=space)
    assert isinstance(kept, Kept)
    target = acting_of(session).target(space)
    _derive(session, kept, [place.number for place in from_places], target)
    for other, link_type in connections:
        connect(session, kept.id, other, link_type)
    return kept


def _derive(session: Session, kept: Kept, sources: Sequence[int], space: int) -> None:
    """Note what a new memory was derived from: of one that was there a cycle might close."""
    rows = [
        {"memory": kept.number, "derived_from": number, "space_id": space}
        for number in sorted(set(sources))
    ]
    if rows and kept.duplicate_of is None:
        session.execute(insert(provenance).on_conflict_do_nothing(), rows)


def _steps(session: Session, request_id: str) -> list[tuple[Node, bool]]:
    """Return what is known of a request in order, each with whether something contradicts it."""
    acting = acting_of(session)
    wanted = storable_name(request_id, "request")
    other = memories.alias("other")
    pair = sa.or_(
        sa.and_(links.c.a == memories.c.number, links.c.b == other.c.number),
        sa.and_(links.c.b == memories.c.number, links.c.a == other.c.number),
    )
    contradicted = (
        sa.select(sa.literal(1))
        .select_from(links.join(other, sa.true()))
        .where(links.c.type == "contradicts", pair, *_is_current(other))
        .exists()
    )
    statement = (
        select_nodes(contradicted.label("contradicted"))
        .where(
            is_readable(acting, memories.c.space_id),
            memories.c.subject == normalised_name(_subject(request_id), "subject"),
            memories.c.kind.in_(("observation", "reasoning")),
            memories.c.attributes["request_id"].astext == wanted,
            IS_CURRENT,
        )
        .order_by(memories.c.number)
    )
    return [(node_of(row), bool(row.contradicted)) for row in session.execute(statement)]


def _is_current(of: sa.FromClause) -> Iterable[sa.ColumnElement[bool]]:
    now = sa.func.statement_timestamp()
    yield of.c.retracted_at.is_(None)
    yield sa.or_(of.c.valid_until.is_(None), of.c.valid_until > now)


def _stored_parts(
    session: Session, nodes: Sequence[Node]
) -> dict[int, tuple[tuple[Part, ...], str]]:
    """Return number -> the stored parts of a memory, and their model; none where it waits."""
    found: dict[int, tuple[tuple[Part, ...], str]] = {node.number: ((), "") for node in nodes}
    model = current_model(session)
    if model is None:
        return found
    table = embedding_table(model.id, model.dimension)
    rows = session.execute(
        sa.select(table.c.memory, table.c.embedding)
        .where(table.c.memory.in_(list(found)), table.c.part >= 0)
        .order_by(table.c.memory, table.c.part)
    )
    vectors: dict[int, list[Any]] = {}
    for row in rows:
        vectors.setdefault(row.memory, []).append(row.embedding)
    for node in nodes:
        offsets = split(node.content, model.name)
        stored = vectors.get(node.number, [])
        if stored and len(stored) == len(offsets):
            parts = zip(offsets, stored, strict=True)
            found[node.number] = (
                tuple(Part(*offset, _float32(vector)) for offset, vector in parts),
                model.name,
            )
    return found


def _float32(vector: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    values = vector.to_list() if hasattr(vector, "to_list") else vector
    return np.asarray(values, dtype=np.float32)


def _finding(node: Node, request_id: str, parts: tuple[Part, ...], model: str) -> Prepared:
    return Prepared(
        content=node.content,
        content_digest=content_digest(node.content, None, None),
        kind="finding",
        attributes={"request_id": request_id, "promoted_from": node.id},
        source=node.source,
        confidence=node.confidence,
        trust=node.trust,
        derived_from=(node.id,),
        model=model,
        parts=parts,
        waits=None if parts else WAITS,
    )


def _of_request(request_id: str, query: str) -> dict[str, str]:
    return {"request_id": storable_name(request_id, "request"), "query": query}


def _subject(request_id: str) -> str:
    return f"request:{request_id}"


def _known(given: str, known: Sequence[str], what: str) -> None:
    value = getattr(given, "value", given)
    if value not in known:
        raise AgentError(
            "M782",
            f"{str(value)[:40]!r} is not a type of {what}",
            where=what,
            fix=f"use one of {', '.join(known)}",
        )
