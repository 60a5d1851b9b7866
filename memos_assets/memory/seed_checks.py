"""V43: what was seeded is what memOS's consolidated network has; both sides are read again.

Nothing of `seed_originals` and `seed_links` is used: a mistake made by one function on both sides
would prove nothing.
"""

import hashlib
import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.check import AnyCheck, Check, by_connection
from memos_assets.equal_texts import normalised
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.postgres.schema.agent import DIRECTED, KINDS, LINK_TYPES

_BATCH: Final = 1_000
_SHOWN: Final = 10
_LONGEST: Final = 262_144
#: As in `seed_originals`, on purpose a second time.
_NAMESPACE: Final = uuid.UUID("6d656d6f-7365-5eed-8000-616d656d0001")

_ROWS: Final = f"""
    select coalesce(o.id, s.original) as original, o.id is not null as there, o.memory_type,
        o.content, o.attributes, coalesce(o.created_at, o.last_accessed) as recorded,
        s.duplicate, m.id, m.kind, m.content as remembered, m.attributes as about, m.source,
        m.recorded_at
    from (select * from {MEMOS.schema}.semantic_memories where source = :source) o
    full join (select * from agent.seed_ids where seed = :seed) s on s.original = o.id
    left join agent.memories m on m.number = s.memory
    order by 1
"""
_EDGES: Final = f"""
    select l.from_id, l.to_id, l.connection_type, l.strength, l.bidirectional,
        f.memory as one, t.memory as other
    from {MEMOS.schema}.semantic_links l
    left join agent.seed_ids f on f.seed = :seed and f.original = l.from_id
    left join agent.seed_ids t on t.seed = :seed and t.original = l.to_id
    where l.source = :source and not l.reversed
"""
_SEEDS: Final = """
    select e.number, e.source, e.links_digest, s.owner, (e.counts ->> 'links')::bigint as links
    from agent.seeds e join agent.spaces s on s.id = e.space_id
    where e.finished_at is not null order by 1
"""


@dataclass(slots=True)
class _Compared:
    """One seed: both digests, and what differs."""

    consolidated: Any = field(default_factory=hashlib.sha256)
    seeded: Any = field(default_factory=hashlib.sha256)
    rows: int = 0
    gone: int = 0
    differing: list[str] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        return self.consolidated.digest() == self.seeded.digest() and not self.differing

    def add(self, row: sa.Row[Any], expected: str, observed: str) -> None:
        self.rows += 1
        self.consolidated.update(expected.encode())
        self.seeded.update(observed.encode())
        if expected != observed:
            self.differing.append(row.original)


def seeds_are_what_was_consolidated(conn: sa.Connection, _asset: str) -> Finding:
    """V43: memories of each finished seed, row by row, and the links of memOS's edges.

    Agents may end memories and remove links afterwards; neither changes what is compared: texts,
    kinds, attributes and times are never updated, and links are compared with the digest of those
    that were read back when the seed was finished.
    """
    faults: dict[str, list[str]] = {}
    evidence: dict[str, Any] = {}
    for seed in conn.execute(sa.text(_SEEDS)).all():
        compared = _memories(conn, seed)
        links, digest = _links(conn, seed.number, seed.source)
        name = f"{seed.source} (seed {seed.number})"
        evidence[name] = {
            "memories": compared.rows,
            "no longer consolidated": compared.gone,
            "consolidated": compared.consolidated.hexdigest(),
            "seeded": compared.seeded.hexdigest(),
            "links": links,
            "links digest": digest,
        }
        wrong = [f"memory {one}" for one in compared.differing[:_SHOWN]]
        if digest != (seed.links_digest or "") or links != seed.links:
            wrong.append(f"{links:,} links of memOS's edges, {seed.links or 0:,} were seeded")
        if wrong or not compared.is_equal:
            faults[name] = wrong
    return Finding(
        not faults,
        expected="memories and links of each seed as they are consolidated",
        observed="; ".join(f"{name}: {', '.join(wrong)}" for name, wrong in faults.items())
        or f"{len(evidence):,} seeds are",
        evidence={"seeds": evidence},
    )


def _memories(conn: sa.Connection, seed: sa.Row[Any]) -> _Compared:
    compared = _Compared()
    options = {"stream_results": True, "max_row_buffer": _BATCH}
    values = {"source": seed.source, "seed": seed.number}
    for row in conn.execute(sa.text(_ROWS), values, execution_options=options):
        if not row.there:
            compared.gone += 1
        elif row.content is not None and row.content.strip():
            if len(row.content.encode()) <= _LONGEST:
                compared.add(row, *_both(row, seed.source, seed.owner))
        elif row.id is not None:
            compared.differing.append(row.original)
    return compared


def _both(row: sa.Row[Any], source: str, owner: str) -> tuple[str, str]:
    """Return a memory as it is consolidated, and as it is seeded."""
    if row.duplicate:
        return normalised(row.content), normalised(row.remembered or "")
    known = row.attributes
    attributes = known if isinstance(known, dict) else {} if known is None else {"value": known}
    one = str(uuid.uuid5(_NAMESPACE, "\x1f".join((source, owner, row.original))))
    kind = row.memory_type if row.memory_type in KINDS else "finding"
    # Where memOS has no time, it is that of the seed.
    recorded = row.recorded_at if row.recorded is None else row.recorded
    return (
        _canonical(one, kind, row.content, attributes, f"memos:{source}", recorded),
        _canonical(str(row.id), row.kind, row.remembered, row.about, row.source, row.recorded_at),
    )


def _canonical(*values: Any) -> str:
    return json.dumps(values, sort_keys=True, default=str)


def _links(conn: sa.Connection, seed: int, source: str) -> tuple[int, str]:
    """Return the count and the digest of the links that memOS's edges are."""
    found: dict[tuple[int, int, str], tuple[float, set[int]]] = {}
    edges: Iterable[Any] = conn.execute(sa.text(_EDGES), {"source": source, "seed": seed})
    for edge in edges:
        if edge.one is None or edge.other is None or edge.one == edge.other:
            continue
        kind = edge.connection_type if edge.connection_type in LINK_TYPES else "related"
        low, high = sorted((edge.one, edge.other))
        both = 2 if kind in DIRECTED else 0
        forward = 1 if edge.one == low else -1
        direction = forward if edge.bidirectional is False else both
        strength = 0.5 if edge.strength is None else min(max(edge.strength, 0.0), 1.0)
        weight, directions = found.get((low, high, kind), (0.0, set()))
        found[low, high, kind] = max(weight, strength), directions | {direction}
    lines = sorted(_line(key, *value) for key, value in found.items())
    if not lines:
        return 0, ""
    text = "\n".join(line for _, line in lines)
    return len(lines), hashlib.sha256(text.encode()).hexdigest()


def _line(
    key: tuple[int, int, str], weight: float, directions: set[int]
) -> tuple[tuple[int, int, str], str]:
    low, high, kind = key
    both = 2 if kind in DIRECTED else 0
    (direction,) = directions if len(directions) == 1 else (both,)
    return key, f"{low} {high} {kind} {direction} {round(weight * 1_000_000)}"


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=43,
        name="v43_seeds_are_proven",
        title="What was seeded from memOS's semantic network is what is consolidated, by counts "
        "and digests.",
        fix="run `memos-assets memory seed` again; a memory that differs was changed by hand",
        where="`memos/memories`",
        reads="`memos.semantic_memories` and `memos.semantic_links`, `agent.memories`, "
        "`agent.seed_ids` and `agent.seeds`",
        when_failed="A seeded memory is missing or differs from the consolidated one, or memOS's "
        "edges have changed since: run `memos-assets memory seed` again, which adds what was "
        "consolidated since. A memory that still differs was changed by hand.",
        subjects=memories_asset,
        judge=by_connection(seeds_are_what_was_consolidated),
        group="memory",
    ),
)
