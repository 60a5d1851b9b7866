"""How a recall is executed: whose embeddings, exactly or by index, and with which weights.

A space of few memories is searched exactly, which finds every one and takes a millisecond for each
thousand. A large one has an index of its own (`vector_indexes`). Its number of memories decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from memos_assets.errors import AgentError
from memos_assets.memory.prepared import Asked
from memos_assets.postgres.schema.embeddings import SpaceIndex, parsed
from memos_assets.search.fusion import Weights

#: Memories of a space up to which it is searched exactly, whether or not it has an index.
MOST_EXACT: Final = 5_000
#: Compiling a statement that looks up a thousand links takes thirty times as long as running it.
WITHOUT_JIT: Final = {"jit": "off"}
#: Compiling the statement takes longer than running it, and planning it anew takes three
#: milliseconds, for a plan that no value changes: its order is written down.
RECALL: Final = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_sort": "on",
}
#: Settings of a search by index. A filter must not leave fewer candidates than there are. Whatever
#: PostgreSQL expects of the space, it does not compare all of it and sort.
BY_INDEX: Final = {
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "enable_seqscan": "off",
    "enable_sort": "off",
    "hnsw.ef_search": "100",
    "hnsw.iterative_scan": "strict_order",
}

_READ: Final = """
select s.model_id, s.dimension, s.ranking, s.answers, s.registered,
    coalesce(c.counts, '{}'::jsonb) as counts, i.names
from (
    select (array_agg(m.id) filter (where m.name = %(name)s))[1] as model_id,
        (array_agg(m.dimension) filter (where m.name = %(name)s))[1] as dimension,
        (array_agg(m.ranking) filter (where m.name = %(name)s))[1] as ranking,
        bool_or(m.name = %(name)s and m.state <> 'next') as answers, count(*) as registered
    from agent.models m
) as s cross join lateral (
    select jsonb_object_agg(w.space_id, w.memories) as counts from (
        select space_id, sum(memories) as memories from agent.word_counts
        where space_id = any(%(spaces)s::bigint[]) group by space_id
    ) as w
) as c cross join lateral (
    select array_agg(r.relname::text) as names from pg_catalog.pg_index x
    join pg_catalog.pg_class r on r.oid = x.indexrelid
    where x.indrelid = pg_catalog.to_regclass('agent.embeddings_' || s.model_id) and x.indisvalid
) as i"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a recall is executed.

    Attributes:
        model: id of the model whose embeddings are searched; None: words alone.
        model_name: its name.
        weights: of the fusion.
        counts: space -> its memories, those that ended, too.
        indexes: space -> its index, where it is searched by one.
    """

    model: int | None
    model_name: str | None
    weights: Weights
    counts: Mapping[int, int]
    indexes: Mapping[int, SpaceIndex] = field(default_factory=dict)

    def routes(self) -> dict[int, tuple[str, int]]:
        """Return space -> ``exact`` or the name of its index, and the memories it has."""
        if self.model is None:
            return {}
        return {
            space: (self.indexes[space].name if space in self.indexes else "exact", count)
            for space, count in sorted(self.counts.items())
        }

    @property
    def indexed(self) -> tuple[tuple[int, int], ...]:
        """(space, highest number in its index) of the spaces that have one."""
        return tuple((space, index.bound) for space, index in sorted(self.indexes.items()))


@contextmanager
def settings(conn: sa.Connection, wanted: Mapping[str, str]) -> Iterator[None]:
    """Have PostgreSQL's settings within the block, and the former ones after it.

    An error ends the transaction or savepoint, and the settings with it. Within the block,
    `set_locally` may give the same settings other values.
    """
    before = set_locally(conn, wanted)
    yield
    if before != wanted:
        set_locally(conn, before)


#: Defaults of pgvector's settings. A connection that has not compared a vector yet does not know
#: them, and later refuses an empty one.
_OF_PGVECTOR: Final = {"hnsw.ef_search": "40", "hnsw.iterative_scan": "off"}


def set_locally(conn: sa.Connection, values: Mapping[str, str]) -> dict[str, str]:
    """Set settings until the transaction ends, and return what they were; one statement."""
    # The subquery is evaluated first: it is asked for what was before.
    former = ", ".join(
        f"pg_catalog.current_setting('{name}', true) as s{n}" for n, name in enumerate(values)
    )
    put = ", ".join(f"pg_catalog.set_config('{name}', %s, true)" for name in values)
    row = conn.exec_driver_sql(
        f"with former as materialized (select {former}) select former.*, {put} from former",
        tuple(values.values()),
    ).one()
    return {name: row[number] or _OF_PGVECTOR.get(name, "") for number, name in enumerate(values)}


def plan_of(conn: sa.Connection, asked: Asked, spaces: Sequence[int]) -> Plan:
    """Read how a recall has to be executed; one statement.

    Raises:
        AgentError: M791, M792.
    """
    row = conn.exec_driver_sql(_READ, {"name": asked.model, "spaces": list(spaces)}).one()
    counts = {int(space): int(count) for space, count in row.counts.items()}
    if asked.embedding is None or not row.registered:
        return Plan(None, None, Weights.of(row.ranking), counts)
    if not row.answers:
        raise AgentError(
            "M792",
            "the question was embedded by a model whose embeddings are not there to be compared",
            where=f"model {asked.model}",
            fix="embed the question with the current model: memos-assets memory models lists them",
        )
    if asked.embedding.shape != (row.dimension,):
        raise AgentError(
            "M791",
            f"the embedding of the question has the shape {asked.embedding.shape}; "
            f"the model has {row.dimension:,} elements",
            where=f"model {asked.model}",
            fix="embed the question with Memory.query",
        )
    return Plan(
        row.model_id,
        asked.model,
        Weights.of(row.ranking),
        counts,
        _indexes(row, counts),
    )


def _indexes(row: sa.Row[Any], counts: Mapping[int, int]) -> dict[int, SpaceIndex]:
    """Return the newest index of each large space."""
    found: dict[int, SpaceIndex] = {}
    for name in row.names or ():
        index = parsed(name, row.model_id)
        if index is None or counts.get(index.space, 0) <= MOST_EXACT:
            continue
        if index.space not in found or index.bound > found[index.space].bound:
            found[index.space] = index
    return found
