"""Links of seeded memories from memOS's edges: both directions in one row, nothing that dangles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.postgres.schema.agent import DIRECTED, LINK_TYPES

_TABLE: Final = f"{MEMOS.schema}.{MEMOS.table('semantic_links').name}"
#: Edges whose ends are both seeded. The mirrored rows of the table are left out: the flag says it.
_EDGES: Final = f"""
    edges as (
        select least(f.memory, t.memory) as a, greatest(f.memory, t.memory) as b, k.type,
            least(greatest(coalesce(l.strength, 0.5), 0), 1) as weight,
            case when not coalesce(l.bidirectional, true)
                then case when f.memory < t.memory then 1 else -1 end
                when k.type = any(:directed) then 2 else 0 end as direction
        from {_TABLE} l
        join agent.seed_ids f on f.seed = :seed and f.original = l.from_id
        join agent.seed_ids t on t.seed = :seed and t.original = l.to_id
        cross join lateral (select case when l.connection_type = any(:types)
            then l.connection_type else 'related' end) as k(type)
        where l.source = :source and not l.reversed
            and (:chunk is null or f.original = any(:chunk) or t.original = any(:chunk))
    ), pairs as (
        select a, b, type, max(weight) as weight, count(*) as edges,
            case when count(distinct direction) = 1 then min(direction)
                when type = any(:directed) then 2 else 0 end as direction
        from edges where a <> b group by a, b, type
    )"""
_LINK: Final = f"""
    with {_EDGES}
    insert into agent.links as there
        (a, b, type, direction, weight, automatic, a_space_id, b_space_id)
    select p.a, p.b, p.type, p.direction, p.weight, false, one.space_id, other.space_id
    from pairs p join agent.memories one on one.number = p.a
    join agent.memories other on other.number = p.b
    order by p.a, p.b, p.type
    on conflict (a, b, type) do update set
        weight = greatest(there.weight, excluded.weight), automatic = false,
        direction = case when there.direction = excluded.direction then there.direction
            when there.type = any(:directed) then 2 else 0 end
"""
_CONTENT: Final = f"""
    with {_EDGES}
    select coalesce(encode(sha256(string_agg(
            concat_ws(' ', p.a, p.b, p.type, p.direction, round(p.weight * 1000000)::bigint),
            E'\\n' order by p.a, p.b, p.type collate "C")::bytea), 'hex'), '') as digest,
        count(*) as links,
        count(*) filter (where l.a is null or l.weight < p.weight
            or l.direction not in (p.direction, case when p.type = any(:directed) then 2 else 0 end)
            ) as missing,
        (select count(*) from {_TABLE} e where e.source = :source and not e.reversed
            and (not exists (select from agent.seed_ids s
                    where s.seed = :seed and s.original = e.from_id)
                or not exists (select from agent.seed_ids s
                    where s.seed = :seed and s.original = e.to_id))) as dangling,
        (select count(*) from edges where a = b) as loops,
        coalesce(sum(p.edges), 0)::bigint - count(*) as joined
    from pairs p left join agent.links l on l.a = p.a and l.b = p.b and l.type = p.type
"""


@dataclass(frozen=True, slots=True)
class LinkContent:
    """The links that memOS's edges of one source are.

    Attributes:
        digest: sha256 of ``a b type direction weight`` of each, weights in millionths, in order.
        links: their count.
        missing: of them, those that `agent.links` does not have, or has weaker.
        dangling: edges whose other end is not seeded.
        loops: edges between equal texts, which are one memory.
        joined: edges that say the same as another one.
    """

    digest: str
    links: int
    missing: int
    dangling: int
    loops: int
    joined: int


def link_seeded(session: Session, seed: int, source: str, chunk: Sequence[str]) -> None:
    """Link the memories of a chunk with one another and with those that were seeded before."""
    session.execute(_bound(_LINK, seed, source, list(chunk)))


def links_of_source(session: Session, seed: int, source: str) -> LinkContent:
    """Return the links of a seed, as memOS's edges say, beside those that are there."""
    return LinkContent(*session.execute(_bound(_CONTENT, seed, source, None)).one())


def _bound(statement: str, seed: int, source: str, chunk: list[str] | None) -> sa.TextClause:
    texts: Any = sa.ARRAY(sa.Text())
    return sa.text(statement.replace("::", r"\:\:")).bindparams(
        sa.bindparam("chunk", chunk, texts),
        sa.bindparam("types", list(LINK_TYPES), texts),
        sa.bindparam("directed", list(DIRECTED), texts),
        seed=seed,
        source=source,
    )
