"""schema agent: what agents write at run time.

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from memos_assets.postgres.schema.agent import refuse_to_drop

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("create schema if not exists agent")
    op.create_table(
        "erasures",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("user_digest", sa.Text(), nullable=False, comment="sha256 of the user's id."),
        sa.Column(
            "erased_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("erased_by", sa.Text(), nullable=False),
        sa.Column("counts", postgresql.JSONB(), nullable=False, comment="Place -> rows or files."),
        sa.PrimaryKeyConstraint("number", name="erasures_pkey"),
        schema="agent",
        comment="Users who were erased; nothing of what they said.",
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
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
        sa.Column(
            "ranking",
            postgresql.JSONB(),
            nullable=True,
            comment="List -> weight in the fusion; NULL: the catalog's.",
        ),
        sa.Column(
            "registered_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.CheckConstraint("state in ('current', 'next', 'former')", name="models_known_state"),
        sa.PrimaryKeyConstraint("id", name="models_pkey"),
        sa.UniqueConstraint("name"),
        schema="agent",
        comment="Embedding models; agent.embeddings_<id> has the embeddings of each.",
    )
    op.create_index(
        "models_one_current",
        "models",
        ["state"],
        unique=True,
        schema="agent",
        postgresql_where=sa.text("state = 'current'"),
    )
    op.create_table(
        "spaces",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False, comment="The user who made it."),
        sa.Column(
            "private", sa.Boolean(), nullable=False, comment="Of its owner alone, one for each."
        ),
        sa.Column(
            "made_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name="spaces_pkey"),
        sa.UniqueConstraint("name"),
        schema="agent",
        comment="Where memories are: one private space per user, and shared ones.",
    )
    op.create_index(
        "spaces_one_private",
        "spaces",
        ["owner"],
        unique=True,
        schema="agent",
        postgresql_where=sa.text("private"),
    )
    op.create_table(
        "word_counts",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("memories", sa.BigInteger(), nullable=False),
        sa.Column("words", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="word_counts_pkey"),
        schema="agent",
        comment="Memories and lexemes of a space, as the sum of rows that each transaction "
        "adds: none waits for another. Computed from memories.",
    )
    op.create_index(
        "word_counts_space_id", "word_counts", ["space_id"], unique=False, schema="agent"
    )
    op.create_table(
        "grants",
        sa.Column("space_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("access", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column(
            "granted_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.CheckConstraint("access in ('read', 'read_write')", name="grants_known_access"),
        sa.ForeignKeyConstraint(
            ["space_id"], ["agent.spaces.id"], name="grants_space_id_fkey", ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("space_id", "user_id", name="grants_pkey"),
        schema="agent",
        comment="Users who may read, or read and write, a space; the owner has a row, too.",
    )
    op.create_index(
        "grants_user_id", "grants", ["user_id", "space_id"], unique=False, schema="agent"
    )
    op.create_table(
        "memories",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False, comment="Who remembered it."),
        sa.Column("agent_id", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column(
            "content_digest",
            sa.Text(),
            nullable=False,
            comment="sha256 of the normalised text with subject and attribute.",
        ),
        sa.Column("words", sa.Integer(), nullable=False, comment="Lexemes, for BM25."),
        sa.Column("subject", sa.Text(), nullable=True),
        sa.Column("attribute", sa.Text(), nullable=True),
        sa.Column("attributes", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column(
            "source", sa.Text(), nullable=False, comment="As `mail:4711`, or `user:<user_id>`."
        ),
        sa.Column("confidence", sa.Double(), nullable=True),
        sa.Column(
            "trust", sa.Double(), server_default="1", nullable=False, comment="Of its source."
        ),
        sa.Column(
            "valid_from",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="True in the world since; NULL: since ever.",
        ),
        sa.Column(
            "valid_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Not true in the world from then on; NULL: true.",
        ),
        sa.Column(
            "recorded_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column(
            "retracted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Known to be wrong since; it never was true.",
        ),
        sa.Column("superseded_by", sa.Uuid(), nullable=True, comment="The memory that ended it."),
        sa.CheckConstraint("content <> ''", name="memories_has_content"),
        sa.CheckConstraint(
            "kind in ('finding', 'source', 'entity', 'reasoning', 'observation', 'example', "
            "'question', 'answer')",
            name="memories_known_kind",
        ),
        sa.CheckConstraint("confidence between 0 and 1", name="memories_confidence_is_a_share"),
        sa.CheckConstraint("trust between 0 and 1", name="memories_trust_is_a_share"),
        sa.CheckConstraint("valid_from < valid_until", name="memories_ends_after_its_start"),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="memories_space_id_fkey"),
        sa.PrimaryKeyConstraint("number", name="memories_pkey"),
        sa.UniqueConstraint("id"),
        schema="agent",
        comment="What agents remember, as it is believed now; revisions has what was believed "
        "before.",
    )
    op.create_index(
        "memories_equal_text",
        "memories",
        ["space_id", "content_digest"],
        unique=True,
        schema="agent",
        postgresql_where=sa.text(
            "retracted_at IS NULL AND superseded_by IS NULL AND valid_until IS NULL"
        ),
    )
    op.create_index(
        "memories_source",
        "memories",
        ["space_id", "source", "number"],
        unique=False,
        schema="agent",
    )
    op.create_index(
        "memories_space_recorded",
        "memories",
        ["space_id", "recorded_at"],
        unique=False,
        schema="agent",
    )
    op.create_index(
        "memories_subject",
        "memories",
        ["space_id", "subject", "attribute"],
        unique=False,
        schema="agent",
        postgresql_where=sa.text("subject IS NOT NULL"),
    )
    op.create_index("memories_user_id", "memories", ["user_id"], unique=False, schema="agent")
    op.create_table(
        "accesses",
        sa.Column("memory", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["memory"], ["agent.memories.number"], name="accesses_memory_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="accesses_space_id_fkey"),
        sa.PrimaryKeyConstraint("memory", name="accesses_pkey"),
        schema="agent",
        comment="How often a memory was recalled; apart from the rows that have indexes.",
    )
    op.create_table(
        "links",
        sa.Column("a", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("b", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
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
        sa.Column(
            "linked_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.CheckConstraint(
            "type in ('semantic', 'reference', 'supports', 'contradicts', 'derived_from', "
            "'answers', 'related')",
            name="links_known_type",
        ),
        sa.CheckConstraint("a < b", name="links_is_canonical"),
        sa.CheckConstraint("direction between -1 and 2", name="links_known_direction"),
        sa.ForeignKeyConstraint(
            ["a"], ["agent.memories.number"], name="links_a_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(
            ["b"], ["agent.memories.number"], name="links_b_fkey", ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("a", "b", "type", name="links_pkey"),
        schema="agent",
        comment="Pairs of memories, each once per type.",
    )
    op.create_index("links_b", "links", ["b", "a"], unique=False, schema="agent")
    op.create_table(
        "outbox",
        sa.Column("memory", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column(
            "last_error", sa.Text(), nullable=True, comment="Code and cause, without the text."
        ),
        sa.Column(
            "waits_since", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column(
            "next_attempt_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["memory"], ["agent.memories.number"], name="outbox_memory_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="outbox_space_id_fkey"),
        sa.PrimaryKeyConstraint("memory", name="outbox_pkey"),
        schema="agent",
        comment="Memories that wait for an embedding.",
    )
    op.create_index(
        "outbox_next_attempt_at", "outbox", ["next_attempt_at"], unique=False, schema="agent"
    )
    op.create_table(
        "postings",
        sa.Column("space_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lexeme", sa.Text(), nullable=False),
        sa.Column("memory", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "count", sa.SmallInteger(), nullable=False, comment="In the memory, at most 32,767."
        ),
        sa.Column("words", sa.Integer(), nullable=False, comment="Lexemes of the memory."),
        sa.ForeignKeyConstraint(
            ["memory"], ["agent.memories.number"], name="postings_memory_fkey", ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("space_id", "lexeme", "memory", name="postings_pkey"),
        schema="agent",
        comment="The words of memories, for BM25; computed from memories.content.",
    )
    op.create_index("postings_memory", "postings", ["memory"], unique=False, schema="agent")
    op.create_table(
        "proposals",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("memory", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("other", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column(
            "proposed_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "action in ('merge', 'supersede', 'forget')", name="proposals_known_action"
        ),
        sa.CheckConstraint(
            "state in ('open', 'applied', 'dismissed', 'undone')", name="proposals_known_state"
        ),
        sa.ForeignKeyConstraint(
            ["memory"], ["agent.memories.number"], name="proposals_memory_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(
            ["other"], ["agent.memories.number"], name="proposals_other_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="proposals_space_id_fkey"),
        sa.PrimaryKeyConstraint("number", name="proposals_pkey"),
        schema="agent",
        comment="What consolidation of memory would do; nothing is done before somebody decides.",
    )
    op.create_index("proposals_memory", "proposals", ["memory"], unique=False, schema="agent")
    op.create_index("proposals_other", "proposals", ["other"], unique=False, schema="agent")
    op.create_table(
        "provenance",
        sa.Column("memory", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("derived_from", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("memory <> derived_from", name="provenance_not_from_itself"),
        sa.ForeignKeyConstraint(
            ["derived_from"],
            ["agent.memories.number"],
            name="provenance_derived_from_fkey",
            ondelete="cascade",
        ),
        sa.ForeignKeyConstraint(
            ["memory"], ["agent.memories.number"], name="provenance_memory_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="provenance_space_id_fkey"),
        sa.PrimaryKeyConstraint("memory", "derived_from", name="provenance_pkey"),
        schema="agent",
        comment="Memories that others were derived from. There is no cycle.",
    )
    op.create_index(
        "provenance_derived_from", "provenance", ["derived_from"], unique=False, schema="agent"
    )
    op.create_table(
        "revisions",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("memory", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column(
            "known_from", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retracted", sa.Boolean(), nullable=False),
        sa.Column("superseded_by", sa.Uuid(), nullable=True),
        sa.Column("user_id", sa.Text(), nullable=False, comment="Who changed the belief."),
        sa.Column("agent_id", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["memory"], ["agent.memories.number"], name="revisions_memory_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="revisions_space_id_fkey"),
        sa.PrimaryKeyConstraint("number", name="revisions_pkey"),
        schema="agent",
        comment="Each belief about a memory since when, its first one too. Rows are only added.",
    )
    op.create_index(
        "revisions_memory",
        "revisions",
        ["memory", "known_from", "number"],
        unique=False,
        schema="agent",
    )


def downgrade() -> None:
    conn = op.get_bind()
    refuse_to_drop(conn)
    for model in conn.exec_driver_sql("select id from agent.models").scalars().all():
        op.execute(f"drop table if exists agent.embeddings_{int(model)}")
    op.drop_table("revisions", schema="agent")
    op.drop_table("provenance", schema="agent")
    op.drop_table("proposals", schema="agent")
    op.drop_table("postings", schema="agent")
    op.drop_table("outbox", schema="agent")
    op.drop_table("links", schema="agent")
    op.drop_table("accesses", schema="agent")
    op.drop_table("memories", schema="agent")
    op.drop_table("grants", schema="agent")
    op.drop_table("word_counts", schema="agent")
    op.drop_table("spaces", schema="agent")
    op.drop_table("models", schema="agent")
    op.drop_table("erasures", schema="agent")
    op.execute("drop schema agent")
