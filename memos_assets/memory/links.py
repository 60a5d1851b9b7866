"""Automatic links of new memories: to the most alike ones of their space, at most 10 at both ends.

Links by themselves stay within one space. A link from a private space to a shared one would take
one of the ten places of a memory that others read, and displace a link that they see by one that
they cannot. Links across spaces are made by `explicit_links.connect`.

Linking does not wait: a memory that another transaction is linking, superseding or deleting at that
moment gets no automatic link from this one. So none dangles, and the cap holds at both ends
whatever runs at once (read committed, which our connections set). Who supersedes or retracts a
memory waits until the transactions that linked it have ended: keep them short.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.memory.arrays import bigints
from memos_assets.memory.link_candidates import Pairs, candidates
from memos_assets.memory.models import model_named
from memos_assets.postgres.schema.agent import links, memories

#: Most automatic links of a memory; explicit ones are not counted.
MOST_LINKS: Final = 10
#: The type of automatic links.
AUTOMATIC: Final = "semantic"


@dataclass(frozen=True, slots=True)
class NewLink:
    """A link that was made.

    Attributes:
        number: of the memory at the other end.
        id: of that memory.
        type: of the link.
        weight: its cosine.
    """

    number: int
    id: str
    type: str
    weight: float


_Pair = tuple[int, int]


def link_new(
    session: Session, numbers: Sequence[int], model: str
) -> Mapping[int, Sequence[NewLink]]:
    """Link memories whose embeddings were just written.

    The number of statements does not depend on how many memories there are.

    Args:
        session: the caller's; its user may write the spaces of these memories.
        numbers: of the memories. Those that have links keep them.
        model: that made their embeddings; its threshold is the least cosine of a link.

    Returns:
        Number -> its new links, the strongest first; a memory without one is left out.

    Raises:
        AgentError: M760 the model is not registered.
    """
    if not numbers:
        return {}
    pairs = candidates(session, numbers, model_named(session, model))
    locked = _lock(session, {number for pair in pairs for number in pair})
    pairs = {pair: cosine for pair, cosine in pairs.items() if locked.keys() >= set(pair)}
    if not pairs:
        return {}
    ends = {number for pair in pairs for number in pair}
    there = _automatic_links(session, ends)
    pairs = {pair: cosine for pair, cosine in pairs.items() if pair not in there}
    made, displaced = _trimmed(pairs, there, ends)
    if displaced:
        free = _lock_links(session, displaced)
        if free != displaced:
            taken = {pair: 2.0 if pair in displaced - free else w for pair, w in there.items()}
            made, displaced = _trimmed(pairs, taken, ends)
        _delete(session, displaced)
    inserted = _insert(session, {pair: pairs[pair] for pair in made}, locked)
    return _by_end(inserted, locked, frozenset(numbers))


def _trimmed(pairs: Pairs, there: Pairs, ends: Iterable[int]) -> tuple[set[_Pair], set[_Pair]]:
    """Return new pairs that have a place at both ends, and old ones that lose theirs.

    The strongest first; of equal ones the old one, then the lower key.
    """
    every = [(-cosine, False, pair) for pair, cosine in there.items()]
    every += [(-cosine, True, pair) for pair, cosine in pairs.items()]
    capped, used = frozenset(ends), Counter[int]()
    made, displaced = set(), set()
    for _, is_new, pair in sorted(every):
        # The other end of an old link may be outside of `ends`: it gets nothing new.
        if all(used[end] < MOST_LINKS for end in pair if end in capped):
            used.update(pair)
            if is_new:
                made.add(pair)
        elif not is_new:
            displaced.add(pair)
    return made, displaced


@dataclass(frozen=True, slots=True)
class _Locked:
    """A memory that is locked."""

    id: str
    space: int


def _lock(session: Session, numbers: Iterable[int]) -> dict[int, _Locked]:
    """Lock memories in the order of their keys, and return those that nobody else has locked."""
    statement = (
        sa.select(memories.c.number, memories.c.id, memories.c.space_id)
        .where(memories.c.number == sa.any_(bigints(sorted(numbers))))
        .order_by(memories.c.number)
        .with_for_update(key_share=True, skip_locked=True)
    )
    rows = session.execute(statement).all()
    return {number: _Locked(str(id_), space) for number, id_, space in rows}


def _automatic_links(session: Session, ends: Iterable[int]) -> dict[_Pair, float]:
    """Return the automatic links of memories; each is looked up, however many links there are."""
    asked = sa.func.unnest(bigints(sorted(ends))).table_valued(
        sa.column("number", sa.BigInteger()), name="asked"
    )
    asked = asked.render_derived()
    halves = []
    for end in (links.c.a, links.c.b):
        # offset 0 keeps the planner, which may not know yet how many links there are, from joining.
        of_one = (
            sa.select(links.c.a, links.c.b, links.c.weight)
            .where(end == asked.c.number, links.c.automatic)
            .offset(sa.literal_column("0"))
            .lateral("of_one")
        )
        columns = (of_one.c.a, of_one.c.b, of_one.c.weight)
        halves.append(sa.select(*columns).select_from(asked.join(of_one, sa.true())))
    found = session.execute(sa.union_all(*halves)).all()
    return {(a, b): weight for a, b, weight in found}


def _keys(pairs: Iterable[_Pair]) -> sa.TableValuedAlias:
    ordered = sorted(pairs)
    named = sa.func.unnest(
        bigints(a for a, _ in ordered), bigints(b for _, b in ordered)
    ).table_valued(sa.column("a", sa.BigInteger()), sa.column("b", sa.BigInteger()), name="keys")
    return named.render_derived()


def _is_one_of(keys: sa.TableValuedAlias) -> sa.ColumnElement[bool]:
    return sa.and_(
        links.c.a == keys.c.a,
        links.c.b == keys.c.b,
        links.c.type == AUTOMATIC,
        links.c.automatic,
    )


def _lock_links(session: Session, pairs: set[_Pair]) -> set[_Pair]:
    """Lock automatic links in the order of their keys, and return those that are ours to delete."""
    keys = _keys(pairs)
    statement = (
        sa.select(links.c.a, links.c.b)
        .join(keys, _is_one_of(keys))
        .order_by(links.c.a, links.c.b)
        .with_for_update(of=links, skip_locked=True)
    )
    return {(a, b) for a, b in session.execute(statement)}


def _delete(session: Session, pairs: set[_Pair]) -> None:
    """Delete automatic links that are locked."""
    if pairs:
        session.execute(sa.delete(links).where(_is_one_of(_keys(pairs))))


def _insert(
    session: Session, pairs: Pairs, locked: Mapping[int, _Locked]
) -> Sequence[tuple[int, int, float]]:
    """Insert links in the order of their keys, and return those that were not there."""
    if not pairs:
        return ()
    ordered = sorted(pairs)
    keys = sa.func.unnest(
        bigints(a for a, _ in ordered),
        bigints(b for _, b in ordered),
        sa.literal([pairs[pair] for pair in ordered], sa.ARRAY(sa.Double())),
        bigints(locked[a].space for a, _ in ordered),
        bigints(locked[b].space for _, b in ordered),
    ).table_valued(
        sa.column("a", sa.BigInteger()),
        sa.column("b", sa.BigInteger()),
        sa.column("weight", sa.Double()),
        sa.column("a_space", sa.BigInteger()),
        sa.column("b_space", sa.BigInteger()),
        name="made",
    )
    keys = keys.render_derived()
    rows = sa.select(
        keys.c.a,
        keys.c.b,
        sa.literal(AUTOMATIC),
        sa.literal(0),
        keys.c.weight,
        sa.true(),
        keys.c.a_space,
        keys.c.b_space,
    ).order_by(keys.c.a, keys.c.b)
    names = ("a", "b", "type", "direction", "weight", "automatic", "a_space_id", "b_space_id")
    statement: Any = (
        pg.insert(links)
        .from_select(names, rows)
        .on_conflict_do_nothing()
        .returning(links.c.a, links.c.b, links.c.weight)
    )
    return [(a, b, weight) for a, b, weight in session.execute(statement).all()]


def _by_end(
    made: Iterable[tuple[int, int, float]],
    locked: Mapping[int, _Locked],
    numbers: frozenset[int],
) -> dict[int, list[NewLink]]:
    by_end: dict[int, list[NewLink]] = {}
    for a, b, weight in sorted(made, key=lambda link: (-link[2], link[0], link[1])):
        for end, other in ((a, b), (b, a)):
            if end in numbers:
                new = NewLink(other, locked[other].id, AUTOMATIC, weight)
                by_end.setdefault(end, []).append(new)
    return by_end
