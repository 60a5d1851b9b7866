"""Tables of schema `agent`, which agents write at run time, as SQLAlchemy metadata.

Rooms above (memory, cache, blackboard) read and write them through the caller's session. Alembic
compares a database with this. Embeddings are in tables of their own, one per model, which are made
when a model is registered: ``agent.embeddings_<models.id>``.

Times are UTC. ``number`` is the key within the database, in the order of writing; ``id`` is what
callers see.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from memos_assets.errors import TargetError
from memos_assets.postgres import schemas
from memos_assets.postgres.schema.tables import new_metadata

AGENT_SCHEMA: Final = schemas.AGENT.name
#: Kinds of a memory, as memOS names them.
KINDS: Final = (
    *("finding", "source", "entity", "reasoning", "observation", "example", "question", "answer"),
)
#: Types of links. Those of `DIRECTED` have a direction.
LINK_TYPES: Final = (
    *("semantic", "reference", "supports", "contradicts", "derived_from", "answers", "related"),
)
DIRECTED: Final = ("reference", "supports", "derived_from", "answers")

#: Begins the name of each table of embeddings, which no metadata names; a model's id ends it.
EMBEDDINGS: Final = "embeddings_"

metadata = new_metadata()
metadata.schema = AGENT_SCHEMA


def _one_of(column: str, values: tuple[str, ...], name: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} in ({listed})", name=name)


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _moment(name: str, about: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), comment=about)


def _number(name: str = "number") -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), sa.Identity(always=True), primary_key=True)


def _space() -> sa.Column[Any]:
    return sa.Column(
        "space_id",
        sa.BigInteger(),
        sa.ForeignKey(f"{AGENT_SCHEMA}.spaces.id"),
        nullable=False,
    )


def _memory(name: str, *, key: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), primary_key=key, nullable=False, autoincrement=False)


def _in_its_space(memory: str, space: str = "space_id") -> sa.ForeignKeyConstraint:
    """Return the key by which a row has the space of its memory, which policies rely on."""
    memories = f"{AGENT_SCHEMA}.memories"
    named = [f"{memories}.number", f"{memories}.space_id"]
    return sa.ForeignKeyConstraint([memory, space], named, ondelete="cascade")


models = sa.Table(
    "models",
    metadata,
    sa.Column("id", sa.Integer(), sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False, unique=True),
    sa.Column("dimension", sa.Integer(), nullable=False),
    sa.Column(
        "answer_digest",
        sa.Text(),
        nullable=False,
        comment="sha256 of the model's rounded answer to three fixed texts.",
    ),
    sa.Column("state", sa.Text(), nullable=False, comment="The current one answers recalls."),
    sa.Column(
        "link_threshold",
        sa.Double(),
        nullable=False,
        comment="Least cosine of an automatic link; about 0.1 % of random pairs are above it.",
    ),
    sa.Column("ranking", pg.JSONB(), comment="List -> weight in the fusion; NULL: the catalog's."),
    _now("registered_at"),
    sa.Column(
        "answer",
        sa.LargeBinary(),
        comment="Its answer to the three fixed texts: little-endian float32, each of length 1.",
    ),
    _one_of("state", ("current", "next", "former"), "known_state"),
    comment="Embedding models; agent.embeddings_<id> has the embeddings of each.",
)
sa.Index(
    "models_one_current",
    models.c.state,
    unique=True,
    postgresql_where=models.c.state == "current",
)
sa.Index(
    "models_one_next",
    models.c.state,
    unique=True,
    postgresql_where=models.c.state == "next",
)

spaces = sa.Table(
    "spaces",
    metadata,
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text(), nullable=False, unique=True),
    sa.Column("owner", sa.Text(), nullable=False, comment="The user who made it."),
    sa.Column("private", sa.Boolean(), nullable=False, comment="Of its owner alone, one for each."),
    _now("made_at"),
    comment="Where memories are: one private space per user, and shared ones.",
)
sa.Index("spaces_one_private", spaces.c.owner, unique=True, postgresql_where=spaces.c.private)

grants = sa.Table(
    "grants",
    metadata,
    sa.Column(
        "space_id",
        sa.BigInteger(),
        sa.ForeignKey(f"{AGENT_SCHEMA}.spaces.id", ondelete="cascade"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("user_id", sa.Text(), primary_key=True),
    sa.Column("access", sa.Text(), nullable=False),
    sa.Column("granted_by", sa.Text(), nullable=False),
    _now("granted_at"),
    _one_of("access", ("read", "read_write"), "known_access"),
    comment="Users who may read, or read and write, a space; the owner has a row, too.",
)
sa.Index("grants_user_id", grants.c.user_id, grants.c.space_id)

memories = sa.Table(
    "memories",
    metadata,
    _number(),
    sa.Column("id", sa.Uuid(), nullable=False, unique=True),
    _space(),
    sa.Column("user_id", sa.Text(), nullable=False, comment="Who remembered it."),
    sa.Column("agent_id", sa.Text(), nullable=False, server_default=""),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("content", sa.Text(), nullable=False),
    sa.Column(
        "content_digest",
        sa.Text(),
        nullable=False,
        comment="sha256 of the normalised text with subject and attribute.",
    ),
    sa.Column("words", sa.Integer(), nullable=False, comment="Lexemes, for BM25."),
    sa.Column("subject", sa.Text()),
    sa.Column("attribute", sa.Text()),
    sa.Column("attributes", pg.JSONB(), nullable=False, server_default="{}"),
    sa.Column("source", sa.Text(), nullable=False, comment="As `mail:4711`, or `user:<user_id>`."),
    sa.Column("confidence", sa.Double()),
    sa.Column("trust", sa.Double(), nullable=False, server_default="1", comment="Of its source."),
    _moment("valid_from", "True in the world since; NULL: since ever."),
    _moment("valid_until", "Not true in the world from then on; NULL: true."),
    _now("recorded_at"),
    _moment("retracted_at", "Known to be wrong since; it never was true."),
    sa.Column("superseded_by", sa.Uuid(), comment="The memory that ended it."),
    _one_of("kind", KINDS, "known_kind"),
    sa.CheckConstraint("content <> ''", name="has_content"),
    sa.CheckConstraint("valid_from < valid_until", name="ends_after_its_start"),
    sa.CheckConstraint("trust between 0 and 1", name="trust_is_a_share"),
    sa.CheckConstraint("confidence between 0 and 1", name="confidence_is_a_share"),
    sa.UniqueConstraint("number", "space_id", name="memories_number_space"),
    comment="What agents remember, as it is believed now; revisions has what was believed before.",
)
sa.Index("memories_space_recorded", memories.c.space_id, memories.c.recorded_at)
_current = sa.and_(memories.c.retracted_at.is_(None), memories.c.superseded_by.is_(None))
sa.Index(
    "memories_equal_text",
    memories.c.space_id,
    memories.c.content_digest,
    memories.c.valid_until,
    unique=True,
    postgresql_where=_current,
    postgresql_nulls_not_distinct=True,
)
sa.Index(
    "memories_subject",
    memories.c.space_id,
    memories.c.subject,
    memories.c.attribute,
    postgresql_where=memories.c.subject.is_not(None),
)
sa.Index("memories_source", memories.c.space_id, memories.c.source, memories.c.number)
sa.Index("memories_user_id", memories.c.user_id)

revisions = sa.Table(
    "revisions",
    metadata,
    _number(),
    _memory("memory", key=False),
    _space(),
    sa.Column("action", sa.Text(), nullable=False),
    _now("known_from"),
    _moment("valid_from"),
    _moment("valid_until"),
    sa.Column("retracted", sa.Boolean(), nullable=False),
    sa.Column("superseded_by", sa.Uuid()),
    sa.Column("user_id", sa.Text(), nullable=False, comment="Who changed the belief."),
    sa.Column("agent_id", sa.Text(), nullable=False, server_default=""),
    sa.Column("reason", sa.Text()),
    _in_its_space("memory"),
    comment="Each belief about a memory since when, its first one too. Rows are only added.",
)
sa.Index("revisions_memory", revisions.c.memory, revisions.c.known_from, revisions.c.number)
sa.Index("revisions_space_id", revisions.c.space_id, revisions.c.number)

postings = sa.Table(
    "postings",
    metadata,
    sa.Column("space_id", sa.BigInteger(), autoincrement=False),
    sa.Column("lexeme", sa.Text()),
    _memory("memory", key=False),
    sa.Column("count", sa.SmallInteger(), nullable=False, comment="In the memory, at most 32,767."),
    sa.Column("words", sa.Integer(), nullable=False, comment="Lexemes of the memory."),
    # A search reads thousands of postings: they are answered from the index alone.
    sa.PrimaryKeyConstraint(
        "space_id", "lexeme", "memory", name="postings_pkey", postgresql_include=["count", "words"]
    ),
    _in_its_space("memory"),
    comment="The words of memories, for BM25; computed from memories.content.",
)
sa.Index("postings_memory", postings.c.memory)

word_counts = sa.Table(
    "word_counts",
    metadata,
    _number(),
    sa.Column("space_id", sa.BigInteger(), nullable=False),
    sa.Column("memories", sa.BigInteger(), nullable=False),
    sa.Column("words", sa.BigInteger(), nullable=False),
    comment="Memories and lexemes of a space, as the sum of rows that each transaction adds: none "
    "waits for another. Computed from memories.",
)
sa.Index("word_counts_space_id", word_counts.c.space_id)

links = sa.Table(
    "links",
    metadata,
    _memory("a"),
    _memory("b"),
    sa.Column("type", sa.Text(), primary_key=True),
    sa.Column(
        "direction",
        sa.SmallInteger(),
        nullable=False,
        comment="0: none; 1: from a to b; -1: from b to a; 2: both.",
    ),
    sa.Column("weight", sa.Double(), nullable=False),
    sa.Column("automatic", sa.Boolean(), nullable=False),
    sa.Column("a_space_id", sa.BigInteger(), nullable=False),
    sa.Column("b_space_id", sa.BigInteger(), nullable=False),
    _now("linked_at"),
    _one_of("type", LINK_TYPES, "known_type"),
    sa.CheckConstraint("a < b", name="is_canonical"),
    sa.CheckConstraint("direction between -1 and 2", name="known_direction"),
    _in_its_space("a", "a_space_id"),
    _in_its_space("b", "b_space_id"),
    comment="Pairs of memories, each once per type.",
)
sa.Index("links_b", links.c.b, links.c.a)

provenance = sa.Table(
    "provenance",
    metadata,
    _memory("memory"),
    _memory("derived_from"),
    _space(),
    sa.CheckConstraint("memory <> derived_from", name="not_from_itself"),
    _in_its_space("memory"),
    sa.ForeignKeyConstraint(
        ["derived_from"], [f"{AGENT_SCHEMA}.memories.number"], ondelete="cascade"
    ),
    comment="Memories that others were derived from. There is no cycle.",
)
sa.Index("provenance_derived_from", provenance.c.derived_from)

accesses = sa.Table(
    "accesses",
    metadata,
    _memory("memory"),
    _space(),
    sa.Column("count", sa.Integer(), nullable=False),
    sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
    _in_its_space("memory"),
    comment="How often a memory was recalled; apart from the rows that have indexes.",
)

outbox = sa.Table(
    "outbox",
    metadata,
    _memory("memory"),
    _space(),
    sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
    sa.Column("last_error", sa.Text(), comment="Code and cause, without the text."),
    _now("waits_since"),
    _now("next_attempt_at"),
    _in_its_space("memory"),
    comment="Memories that wait for an embedding.",
)
sa.Index("outbox_next_attempt_at", outbox.c.next_attempt_at)

proposals = sa.Table(
    "proposals",
    metadata,
    _number(),
    sa.Column("action", sa.Text(), nullable=False),
    _memory("memory", key=False),
    _memory("other", key=False),
    _space(),
    sa.Column("score", sa.Double(), nullable=False),
    sa.Column("state", sa.Text(), nullable=False, server_default="open"),
    _now("proposed_at"),
    sa.Column("decided_by", sa.Text()),
    _moment("decided_at"),
    _one_of("action", ("merge", "supersede", "forget"), "known_action"),
    _one_of("state", ("open", "applied", "dismissed", "undone"), "known_state"),
    _in_its_space("memory"),
    _in_its_space("other"),
    comment="What consolidation of memory would do; nothing is done before somebody decides.",
)
sa.Index("proposals_memory", proposals.c.memory)
sa.Index("proposals_other", proposals.c.other)

erasures = sa.Table(
    "erasures",
    metadata,
    _number(),
    sa.Column("user_digest", sa.Text(), nullable=False, comment="sha256 of the user's id."),
    _now("erased_at"),
    sa.Column("erased_by", sa.Text(), nullable=False),
    sa.Column("counts", pg.JSONB(), nullable=False, comment="Place -> rows or files."),
    sa.Column(
        "sample",
        sa.LargeBinary(),
        comment="Texts to look for, encrypted by a key that is derived from the user's id; NULL "
        "once they were found nowhere.",
    ),
    comment="Users who were erased; nothing of what they said.",
)

seeds = sa.Table(
    "seeds",
    metadata,
    _number(),
    _space(),
    sa.Column("source", sa.Text(), nullable=False, comment="Of memos.semantic_memories."),
    _now("started_at"),
    _moment("finished_at", "NULL: some rows are not seeded yet."),
    sa.Column("counts", pg.JSONB(), nullable=False, server_default="{}", comment="What -> rows."),
    sa.Column("links_digest", sa.Text(), comment="sha256 of its links, read back at the end."),
    sa.UniqueConstraint("space_id", "source", name="seeds_space_id_source_key"),
    comment="Which source of the semantic network was seeded into which space, once each.",
)

seed_ids = sa.Table(
    "seed_ids",
    metadata,
    sa.Column(
        "seed",
        sa.BigInteger(),
        sa.ForeignKey(f"{AGENT_SCHEMA}.seeds.number", ondelete="cascade"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("original", sa.Text(), primary_key=True, comment="memOS's id."),
    _memory("memory", key=False),
    _space(),
    sa.Column("duplicate", sa.Boolean(), nullable=False, comment="Its text was there already."),
    _in_its_space("memory"),
    comment="memOS's ids -> memories; equal texts are one memory.",
)
sa.Index("seed_ids_memory", seed_ids.c.memory)


def refuse_to_drop(conn: sa.Connection) -> None:
    """Refuse a downgrade that would drop memories.

    Raises:
        TargetError: M349.
    """
    rows = conn.execute(sa.select(sa.func.count()).select_from(memories)).scalar_one()
    if rows:
        raise TargetError(
            "M349",
            f"holds {rows:,} memories of agents, for which older revisions have no place",
            where=f"schema {AGENT_SCHEMA}",
            fix=f"stay at this revision; or dump it (pg_dump --schema {AGENT_SCHEMA}), empty it, "
            "and run again",
        )


def is_of_embeddings(table: str) -> bool:
    """Whether a table of the schema, by its name, has the embeddings of a model."""
    return table.startswith(EMBEDDINGS) and table.removeprefix(EMBEDDINGS).isdecimal()
