"""Tables of embeddings, one for each model of agents, and the vector indexes of large spaces.

No revision makes them: a table comes with its model, an index when a space has become large. So
their description is apart from the metadata of `schema.agent`.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from psycopg import sql

from memos_assets.postgres.schema import agent
from memos_assets.postgres.vector_names import VectorName

#: Memories of a space from which on it gets an index.
FEWEST_INDEXED: Final = 8_000
#: Most elements that pgvector's halfvec has.
MOST_ELEMENTS: Final = 16_000
#: Most elements of a halfvec that HNSW indexes; above it a search is exact.
MOST_INDEXABLE: Final = 4_000
_NAME: Final = re.compile(r"embeddings_(\d+)_space_(\d+)_to_(\d+)")


@lru_cache(maxsize=64)
def embedding_table(model_id: int, dimension: int, schema: str = agent.AGENT_SCHEMA) -> sa.Table:
    """Return the table of a model's embeddings, in metadata of its own.

    Part 0 and up are the parts of a text; -1 is the text with the one before it in its source.
    `closed_at` is when the memory ended (retracted or no longer true), so that rows that ended are
    left out before candidates are cut. Vectors are of length 1.
    """
    metadata = sa.MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
        }
    )
    memories = agent.memories
    if schema != agent.AGENT_SCHEMA:
        memories = agent.memories.to_metadata(
            sa.MetaData(), schema=schema, referred_schema_fn=lambda *_: schema
        )
    memory = sa.Column("memory", sa.BigInteger(), primary_key=True, autoincrement=False)
    table = sa.Table(
        f"{agent.EMBEDDINGS}{model_id}",
        metadata,
        memory,
        sa.Column("part", sa.SmallInteger(), primary_key=True, autoincrement=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True)),
        sa.Column("embedding", HALFVEC(dimension), nullable=False),
        sa.ForeignKeyConstraint(
            ["memory", "space_id"],
            [memories.c.number, memories.c.space_id],
            ondelete="cascade",
        ),
        schema=schema,
        comment="Embeddings of one model, of parts of memories.",
    )
    sa.Index(f"{table.name}_space_id", table.c.space_id, memory)
    return table


def kept_in_the_row(table: str) -> str:
    """Return the statement that keeps embeddings in the row: a search reads every one of a space.

    Args:
        table: of embeddings, with its schema.
    """
    return f"alter table {table} alter column embedding set storage main"


@dataclass(frozen=True, slots=True)
class SpaceIndex:
    """An index of the embeddings of one space.

    Attributes:
        model: id of the model.
        space: id of the space.
        bound: the highest number of a memory that is in it.
    """

    model: int
    space: int
    bound: int

    @property
    def name(self) -> str:
        """Its name, which says what is in it."""
        return f"embeddings_{self.model}_space_{self.space}_to_{self.bound}"

    def create(self, schema: str = agent.AGENT_SCHEMA, *, concurrently: bool) -> sql.Composed:
        """Return the statement that builds it."""
        return sql.SQL(
            "create index {concurrently} {name} on {table} using hnsw (embedding {cosine}) "
            "where space_id = {space} and memory <= {bound} and part >= 0"
        ).format(
            concurrently=sql.SQL("concurrently" if concurrently else ""),
            name=sql.Identifier(self.name),
            table=sql.Identifier(schema, f"{agent.EMBEDDINGS}{self.model}"),
            cosine=VectorName("halfvec_cosine_ops"),
            space=sql.Literal(self.space),
            bound=sql.Literal(self.bound),
        )


def parsed(name: str, model: int | None = None) -> SpaceIndex | None:
    """Return what the name of an index says; None: it is another index.

    Args:
        name: of an index.
        model: id of the model whose indexes are asked for; None: of any.
    """
    found = _NAME.fullmatch(name)
    if found is None or (model is not None and int(found[1]) != model):
        return None
    return SpaceIndex(*map(int, found.groups()))
