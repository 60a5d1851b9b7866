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
        type: of the link.
        weight: its cosine.
    """

    number: int
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
    pairs = {pair: cosine for pair, cosine in pairs.items() if locked.issuperset(pair)}
    if not pairs:
        return {}
    ends = locked.intersection(number for pair in pairs for number in pair)
    there = _automatic_links(session, ends)
    pairs = {pair: cosine for pair, cosine in pairs.items() if pair not in there}
    made, displaced = _trimmed(pairs, there, ends)
    if displaced:
        free = _lock_links(session, displaced)
        if free != displaced:
            taken = {pair: 2.0 if pair in displaced - free else w for pair, w in there.items()}
            made, displaced = _trimmed(pairs, taken, ends)
        _delete(session, displaced)
    return _by_end(_insert(session, {pair: pairs[pair] for pair in made}), frozenset(numbers))


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


def _lock(session: Session, numbers: Iterable[int]) -> set[int]:
    """Lock memories in the order of their keys, and return those that nobody else has locked."""
    statement = (
        sa.select(memories.c.number)
        .where(memories.c.number == sa.any_(bigints(sorted(numbers))))
        .order_by(memories.c.number)
        .with_for_update(key_share=True, skip_locked=True)
    )
    return set(session.execute(statement).scalars())


def _automatic_links(session: Session, ends: Iterable[int]) -> dict[_Pair, float]:
    asked = bigints(sorted(ends))
    columns = (links.c.a, links.c.b, links.c.weight)
    halves = [
        sa.select(*columns).where(end == sa.any_(asked), links.c.automatic)
        for end in (links.c.a, links.c.b)
    ]
    found = session.execute(sa.union(*halves))
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


def _insert(session: Session, pairs: Pairs) -> Iterable[tuple[int, int, float]]:
    """Insert links in the order of their keys, and return those that were not there."""
    if not pairs:
        return ()
    ordered = sorted(pairs)
    keys = sa.func.unnest(
        bigints(a for a, _ in ordered),
        bigints(b for _, b in ordered),
        sa.literal([pairs[pair] for pair in ordered], sa.ARRAY(sa.Double())),
    ).table_valued(
        sa.column("a", sa.BigInteger()),
        sa.column("b", sa.BigInteger()),
        sa.column("weight", sa.Double()),
        name="made",
    )
    keys = keys.render_derived()
    one, other = memories.alias("one"), memories.alias("other")
    rows = (
        sa.select(
            keys.c.a,
            keys.c.b,
            sa.literal(AUTOMATIC),
            sa.literal(0),
            keys.c.weight,
            sa.true(),
            one.c.space_id,
            other.c.space_id,
        )
        .join(one, one.c.number == keys.c.a)
        .join(other, other.c.number == keys.c.b)
        .order_by(keys.c.a, keys.c.b)
    )
    names = ("a", "b", "type", "direction", "weight", "automatic", "a_space_id", "b_space_id")
    statement: Any = (
        pg.insert(links)
        .from_select(names, rows)
        .on_conflict_do_nothing()
        .returning(links.c.a, links.c.b, links.c.weight)
    )
    return [(a, b, weight) for a, b, weight in session.execute(statement)]


def _by_end(
    made: Iterable[tuple[int, int, float]], numbers: frozenset[int]
) -> dict[int, list[NewLink]]:
    by_end: dict[int, list[NewLink]] = {}
    for a, b, weight in sorted(made, key=lambda link: (-link[2], link[0], link[1])):
        for end, other in ((a, b), (b, a)):
            if end in numbers:
                by_end.setdefault(end, []).append(NewLink(other, AUTOMATIC, weight))
    return by_end
