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
from itertools import chain
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.orm import Session

from memos_assets.memory.arrays import bigints, bigints_named, numbers_text
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
    wanted = Counter(chain(chain.from_iterable(there), chain.from_iterable(pairs)))
    # The other end of an old link may be outside of `ends`: it gets nothing new.
    full = {end for end in ends if wanted[end] > MOST_LINKS}
    made = {pair for pair in pairs if pair[0] not in full and pair[1] not in full}
    every = [(-cosine, False, pair) for pair, cosine in there.items() if not full.isdisjoint(pair)]
    every += [(-cosine, True, pair) for pair, cosine in pairs.items() if pair not in made]
    displaced, used = set(), dict.fromkeys(full, 0)
    for _, is_new, pair in sorted(every):
        a, b = pair
        if used.get(a, 0) < MOST_LINKS and used.get(b, 0) < MOST_LINKS:
            for end in pair:
                if end in used:
                    used[end] += 1
            if is_new:
                made.add(pair)
        elif not is_new:
            displaced.add(pair)
    return made, displaced


@dataclass(frozen=True, slots=True)
class _Locked:
    """A memory that is locked."""

    id: UUID
    space: int


def _lock(session: Session, numbers: Iterable[int]) -> dict[int, _Locked]:
    """Lock memories in the order of their keys, and return those that nobody else has locked."""
    rows = session.execute(_LOCK, {"numbers": numbers_text(sorted(numbers))}).all()
    return {number: _Locked(id_, space) for number, id_, space in rows}


_LOCK: Final = (
    sa.select(memories.c.number, memories.c.id, memories.c.space_id)
    .where(memories.c.number == sa.any_(bigints_named("numbers")))
    .order_by(memories.c.number)
    .with_for_update(key_share=True, skip_locked=True)
)


def _automatic_links(session: Session, ends: Iterable[int]) -> dict[_Pair, float]:
    """Return the automatic links of memories; each is looked up, however many links there are."""
    found = session.execute(_LINKS_OF, {"numbers": numbers_text(sorted(ends))}).all()
    return {(a, b): weight for a, b, weight in found}


def _links_of() -> sa.CompoundSelect[Any]:
    asked = sa.func.unnest(bigints_named("numbers")).table_valued(
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
    return sa.union_all(*halves)


_LINKS_OF: Final = _links_of()


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
    columns = {
        "a": (a for a, _ in ordered),
        "b": (b for _, b in ordered),
        "weight": (pairs[pair] for pair in ordered),
        "a_space": (locked[a].space for a, _ in ordered),
        "b_space": (locked[b].space for _, b in ordered),
    }
    given = {name: numbers_text(values) for name, values in columns.items()}
    return [(a, b, weight) for a, b, weight in session.execute(_INSERT, given).all()]


def _insert_links() -> Any:
    keys = sa.func.unnest(
        bigints_named("a"),
        bigints_named("b"),
        sa.cast(sa.bindparam("weight", type_=sa.Text()), sa.ARRAY(sa.Double())),
        bigints_named("a_space"),
        bigints_named("b_space"),
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
    return (
        pg.insert(links)
        .from_select(names, rows)
        .on_conflict_do_nothing()
        .returning(links.c.a, links.c.b, links.c.weight)
    )


_INSERT: Final = _insert_links()


def _by_end(
    made: Iterable[tuple[int, int, float]],
    locked: Mapping[int, _Locked],
    numbers: frozenset[int],
) -> dict[int, list[NewLink]]:
    by_end: dict[int, list[NewLink]] = {}
    ids: dict[int, str] = {}
    for a, b, weight in sorted(made, key=lambda link: (-link[2], link[0], link[1])):
        for end, other in ((a, b), (b, a)):
            if end in numbers:
                id_ = ids.get(other) or ids.setdefault(other, str(locked[other].id))
                new = NewLink(other, id_, AUTOMATIC, weight)
                by_end.setdefault(end, []).append(new)
    return by_end
