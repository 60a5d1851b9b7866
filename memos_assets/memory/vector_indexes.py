"""HNSW indexes of embeddings, one for each space that is too large to be compared exactly.

An index of all spaces would be searched through the rows of others, and adding a row to it takes
milliseconds. So an index is of one space, and of its memories up to a number. Later ones are not in
it: they are written as fast as into a small space, and a recall compares them exactly. When they
have become many, a new index takes the place of the former one, beside readers and writers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.memory.models import Model
from memos_assets.postgres.connection import (
    autocommit_connection,
    driver_of,
    in_force,
    put_in_force,
)
from memos_assets.postgres.schema.embeddings import FEWEST_INDEXED, SpaceIndex, parsed

#: Memories that are not in the index of their space, at which it is built anew.
MOST_OUTSIDE: Final = 5_000
_MEMORY: Final = "maintenance_work_mem"


def space_indexes(conn: sa.Connection, model: Model) -> list[SpaceIndex]:
    """Return the indexes of spaces that there are and that answer."""
    names = conn.execute(
        sa.text(
            "select r.relname::text from pg_catalog.pg_index x "
            "join pg_catalog.pg_class r on r.oid = x.indexrelid "
            "where x.indrelid = pg_catalog.to_regclass(:table) and x.indisvalid"
        ),
        {"table": model.table_name},
    ).scalars()
    return [index for name in names if (index := parsed(name, model.id)) is not None]


@dataclass(frozen=True, slots=True)
class Pending:
    """A space that needs an index, or a new one.

    Attributes:
        index: to be built.
        memories: that the space has.
        outside: memories that its present index does not have.
        former: present indexes, to be dropped afterwards.
    """

    index: SpaceIndex
    memories: int
    outside: int
    former: tuple[SpaceIndex, ...] = ()


def pending(conn: sa.Connection, model: Model) -> list[Pending]:
    """Return the spaces that need an index of a model, the largest first.

    Args:
        conn: of the owner of the tables, who sees every space.
        model: registered.
    """
    there: dict[int, list[SpaceIndex]] = {}
    for index in space_indexes(conn, model):
        there.setdefault(index.space, []).append(index)
    counted = conn.execute(
        sa.text(
            "select space_id, sum(memories)::bigint as memories from agent.word_counts "
            "group by space_id having sum(memories) >= :fewest order by 2 desc"
        ),
        {"fewest": FEWEST_INDEXED},
    ).all()
    found = []
    for space, memories in counted:
        bound = max((index.bound for index in there.get(space, ())), default=-1)
        highest, outside = conn.execute(
            sa.text(
                "select max(number), count(*) from agent.memories "
                "where space_id = :space and number > :bound"
            ),
            {"space": space, "bound": bound},
        ).one()
        if highest is not None and (bound < 0 or outside >= MOST_OUTSIDE):
            made = SpaceIndex(model.id, space, highest)
            found.append(Pending(made, memories, outside, tuple(there.get(space, ()))))
    return found


def build(
    engine: sa.Engine, model: Model, *, maintenance_work_mem_mb: int = 512
) -> Iterator[Pending]:
    """Build what is pending, each beside readers and writers, and drop the former index of each.

    Args:
        engine: of the owner of the tables.
        model: registered.
        maintenance_work_mem_mb: of each build; a graph that needs more is built on disk beyond it,
            many times slower.

    Yields:
        Each space after its index answers.
    """
    with engine.connect() as conn:
        listed = pending(conn, model)
    for one in listed:
        with autocommit_connection(engine) as conn:
            driver = driver_of(conn)
            index = one.index
            former_memory = in_force(conn, [_MEMORY])
            put_in_force(conn, {_MEMORY: f"{maintenance_work_mem_mb}MB"}, local=False)
            driver.execute(
                sql.SQL("drop index concurrently if exists {}").format(
                    sql.Identifier("agent", index.name)
                )
            )
            try:
                driver.execute(index.create(concurrently=True))
            finally:
                put_in_force(conn, former_memory, local=False)
            for former in one.former:
                driver.execute(
                    sql.SQL("drop index concurrently if exists {}").format(
                        sql.Identifier("agent", former.name)
                    )
                )
        yield one
