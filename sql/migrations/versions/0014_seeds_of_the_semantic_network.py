"""agent.seeds, agent.seed_ids: which sources were seeded into which spaces.

Revision: 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "seeds",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="Of memos.semantic_memories."),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="NULL: some rows are not seeded yet.",
        ),
        sa.Column(
            "counts",
            postgresql.JSONB(),
            server_default="{}",
            nullable=False,
            comment="What -> rows.",
        ),
        sa.Column(
            "links_digest",
            sa.Text(),
            nullable=True,
            comment="sha256 of its links, read back at the end.",
        ),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="seeds_space_id_fkey"),
        sa.PrimaryKeyConstraint("number", name="seeds_pkey"),
        sa.UniqueConstraint("space_id", "source", name="seeds_space_id_source_key"),
        schema="agent",
        comment="Which source of the semantic network was seeded into which space, once each.",
    )
    op.create_table(
        "seed_ids",
        sa.Column("seed", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("original", sa.Text(), nullable=False, comment="memOS's id."),
        sa.Column("memory", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("space_id", sa.BigInteger(), nullable=False),
        sa.Column("duplicate", sa.Boolean(), nullable=False, comment="Its text was there already."),
        sa.ForeignKeyConstraint(
            ["memory", "space_id"],
            ["agent.memories.number", "agent.memories.space_id"],
            name="seed_ids_memory_fkey",
            ondelete="cascade",
        ),
        sa.ForeignKeyConstraint(
            ["seed"], ["agent.seeds.number"], name="seed_ids_seed_fkey", ondelete="cascade"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["agent.spaces.id"], name="seed_ids_space_id_fkey"),
        sa.PrimaryKeyConstraint("seed", "original", name="seed_ids_pkey"),
        schema="agent",
        comment="memOS's ids -> memories; equal texts are one memory.",
    )
    op.create_index("seed_ids_memory", "seed_ids", ["memory"], unique=False, schema="agent")


def downgrade() -> None:
    op.drop_table("seed_ids", schema="agent")
    op.drop_table("seeds", schema="agent")
