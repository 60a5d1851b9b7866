"""Consolidation of memory as proposals: what could be joined, ended or forgotten, with both texts.

Nothing is done before somebody decides, and what was applied can be undone. Likeness alone decides
nothing: "citizenship is Argentina" and "citizenship is Armenia" are .96 alike, and are proposed as
a value that changed. Equal texts need no proposal: `remember` keeps them once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.equal_texts import normalised
from memos_assets.errors import AgentError
from memos_assets.memory.acting import Acting, acting_of
from memos_assets.memory.arrays import bigints
from memos_assets.memory.corrections import supersede
from memos_assets.memory.histories import history, restore, set_validity
from memos_assets.memory.nodes import IS_CURRENT, Node, node_of, select_nodes
from memos_assets.postgres.schema.agent import accesses, links, memories
from memos_assets.postgres.schema.agent import proposals as table

Action = Literal["merge", "supersede", "forget"]
State = Literal["open", "applied", "dismissed", "undone"]

#: Weight of a link from which on two memories may say the same, or be values of one attribute.
ALIKE: Final = 0.9
#: memOS's rule: memories as weak as this, and this many days old, may be forgotten.
WEAK, OLD_DAYS = 0.1, 7
#: Most proposals of one call.
MOST: Final = 200


@dataclass(frozen=True, slots=True)
class Proposal:
    """What could be done with a memory.

    Attributes:
        number: by which it is decided on; None: a dry run, nothing was written.
        action: ``merge``: ``memory`` says what ``other`` says, which goes on alone; ``supersede``:
            ``other`` is a later value, which ends ``memory``; ``forget``: nobody uses ``memory``.
        memory: that would end, with its text.
        other: that would stay; of ``forget`` the memory itself.
        score: how alike they are; of ``forget`` how weak it is, 0 to 1.
    """

    number: int | None
    action: Action
    memory: Node
    other: Node
    score: float
    state: State = "open"


def consolidate(session: Session, *, dry_run: bool = True) -> list[Proposal]:
    """Return what could be joined, ended or forgotten in the spaces that the user may write.

    What was proposed before is not proposed again, whatever was decided.

    Args:
        session: the caller's, which acts for a user.
        dry_run: false: enter the proposals, so that they can be decided on.

    Returns:
        New proposals, at most `MOST`: pairs, the most alike first; then the weakest memories.
    """
    acting = acting_of(session)
    new = [*_pairs(session, acting), *_weak(session, acting)][:MOST]
    if dry_run or not new:
        return new
    rows = [
        {
            "action": one.action,
            "memory": one.memory.number,
            "other": one.other.number,
            "space_id": one.memory.space_id,
            "score": one.score,
        }
        for one in new
    ]
    statement = sa.insert(table).returning(table.c.number, sort_by_parameter_order=True)
    numbers = session.execute(statement, rows).scalars()
    return [
        Proposal(number, one.action, one.memory, one.other, one.score)
        for number, one in zip(numbers, new, strict=True)
    ]


def proposals(session: Session, state: State = "open") -> list[Proposal]:
    """Return the proposals in a state that the user sees, in the order of their numbers."""
    acting = acting_of(session)
    rows = session.execute(
        sa.select(table)
        .where(table.c.state == state, table.c.space_id == sa.any_(bigints(acting.readable)))
        .order_by(table.c.number)
    ).all()
    nodes = _nodes(session, {end for row in rows for end in (row.memory, row.other)})
    return [
        Proposal(row.number, row.action, nodes[row.memory], nodes[row.other], row.score, row.state)
        for row in rows
    ]


def apply(session: Session, number: int) -> Proposal:
    """Do what was proposed: end the memory. `undo` takes it back.

    Raises:
        AgentError: M759 there is no such proposal, or it is not open; M703 its space is read-only;
            M732 to M734 its memories were changed since, so that it cannot be done.
    """
    one = _decide(session, number, "open", "applied")
    if one.action == "forget":
        now = session.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        set_validity(session, one.memory.id, valid_until=now, reason=_reason(number))
    else:
        supersede(session, one.memory.id, one.other.id, _reason(number))
    return one


def dismiss(session: Session, number: int) -> Proposal:
    """Decide against a proposal; it is not made again.

    Raises:
        AgentError: M759 there is no such proposal, or it is not open; M703 its space is read-only.
    """
    return _decide(session, number, "open", "dismissed")


def undo(session: Session, number: int) -> Proposal:
    """Take back what `apply` did.

    Raises:
        AgentError: M759 there is no such proposal, or it was not applied; M703 its space is
            read-only; M734 the memory was changed since.
    """
    one = _decide(session, number, "applied", "undone")
    if one.action == "forget":
        # The belief before the one that the proposal led to.
        said = history(session, one.memory.id).revisions
        place = next(n for n, each in enumerate(said) if each.reason == _reason(number))
        until = said[place - 1].belief.valid_until
        set_validity(session, one.memory.id, valid_until=until, reason=f"{_reason(number)} undone")
    else:
        restore(session, one.memory.id, f"{_reason(number)} undone")
    return one


def _reason(number: int) -> str:
    return f"proposal {number}"


def _decide(session: Session, number: int, before: State, after: State) -> Proposal:
    acting = acting_of(session)
    one = table.c.number == number
    readable = table.c.space_id == sa.any_(bigints(acting.readable))
    # Without a lock, which the policies refuse to those who only read.
    space = session.execute(sa.select(table.c.space_id).where(one, readable)).scalar_one_or_none()
    if space is not None and space not in acting.writable:
        raise AgentError(
            "M703",
            "the user may read its space, and not write it",
            where=f"proposal {number}",
            fix="ask the owner of the space for the grant read_write",
        )
    row = session.execute(sa.select(table).where(one, readable).with_for_update()).one_or_none()
    if row is None or row.state != before:
        raise AgentError(
            "M759",
            "there is no such proposal" if row is None else f"it is {row.state}, not {before}",
            where=f"proposal {number}",
            fix=f"decide on one that is {before}; proposals(session, {before!r}) lists them",
        )
    session.execute(
        sa.update(table)
        .where(table.c.number == number)
        .values(state=after, decided_by=acting.user, decided_at=sa.func.now())
    )
    nodes = _nodes(session, {row.memory, row.other})
    return Proposal(number, row.action, nodes[row.memory], nodes[row.other], row.score, after)


def _pairs(session: Session, acting: Acting) -> Iterator[Proposal]:
    """Yield pairs of current memories of one space that are very alike, the most alike first."""
    end = sa.or_(memories.c.number == links.c.a, memories.c.number == links.c.b)
    without_key = sa.or_(memories.c.subject.is_(None), memories.c.attribute.is_(None))
    proposed = sa.or_(
        sa.and_(table.c.memory == links.c.a, table.c.other == links.c.b),
        sa.and_(table.c.memory == links.c.b, table.c.other == links.c.a),
    )
    rows = session.execute(
        sa.select(links.c.a, links.c.b, links.c.weight)
        .where(
            links.c.type == "semantic",
            links.c.weight >= ALIKE,
            links.c.a_space_id == links.c.b_space_id,
            links.c.a_space_id == sa.any_(bigints(acting.writable)),
            sa.exists().where(memories.c.number == links.c.a, IS_CURRENT),
            sa.exists().where(memories.c.number == links.c.b, IS_CURRENT),
            # Of values of an attribute of a subject, `remember` ends the former by itself.
            sa.exists().where(end, without_key),
            ~sa.exists().where(proposed),
        )
        .order_by(links.c.weight.desc(), links.c.a, links.c.b)
        .limit(MOST)
    ).all()
    nodes = _nodes(session, {end for row in rows for end in (row.a, row.b)})
    for row in rows:
        yield _pair(nodes[row.a], nodes[row.b], row.weight)


def _pair(one: Node, other: Node, weight: float) -> Proposal:
    words, others = (frozenset(normalised(node.content).split()) for node in (one, other))
    if words <= others:
        return Proposal(None, "merge", one, other, weight)
    if others <= words:
        return Proposal(None, "merge", other, one, weight)
    first, later = sorted((one, other), key=_since)
    return Proposal(None, "supersede", first, later, weight)


def _since(node: Node) -> tuple[Any, int]:
    return node.valid_from or node.recorded_at, node.number


def _weak(session: Session, acting: Acting) -> Iterator[Proposal]:
    """Yield memories that memOS would delete, the weakest first."""
    last = sa.func.coalesce(accesses.c.last_at, memories.c.recorded_at)
    days = sa.func.extract("epoch", sa.func.now() - last) / 86_400.0
    used = sa.func.ln(1 + sa.func.coalesce(accesses.c.count, 0))
    # As `network.strength_of`; the exponent of rows from antiquity would be out of range.
    strength = sa.func.least(1.0, 0.3 + 0.05 * used) * sa.func.exp(
        -0.1 * sa.func.least(sa.func.greatest(days, 0.0), 3_650.0)
    )
    statement = (
        select_nodes(strength)
        .where(
            memories.c.space_id == sa.any_(bigints(acting.writable)),
            IS_CURRENT,
            strength < WEAK,
            ~sa.exists().where(table.c.memory == memories.c.number, table.c.action == "forget"),
            memories.c.recorded_at < sa.func.now() - sa.text(f"interval '{OLD_DAYS} days'"),
        )
        .order_by(strength, memories.c.number)
        .limit(MOST)
    )
    for row in session.execute(statement):
        node = node_of(row)
        yield Proposal(None, "forget", node, node, float(row[-1]))


def _nodes(session: Session, numbers: Iterable[int]) -> dict[int, Node]:
    statement = select_nodes().where(memories.c.number == sa.any_(bigints(numbers)))
    return {node.number: node for node in map(node_of, session.execute(statement))}
