"""counts of rows that somebody accepts, and which sources are of a demo.

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accepted_counts",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("origin_table", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("accepted_by", sa.Text(), nullable=False),
        sa.Column(
            "accepted_at",
            sa.DateTime(timezone=True),
            nullable=False,
            server_default=sa.func.now(),
        ),
        sa.PrimaryKeyConstraint("source", "origin_table"),
        schema="memos_ops",
        comment="Counts of tables that lost most of their rows, until the next pin is taken.",
    )
    op.add_column(
        "sources",
        sa.Column(
            "is_demo",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="Of a folder that the demo wrote.",
        ),
        schema="memos_ops",
    )


def downgrade() -> None:
    op.drop_column("sources", "is_demo", schema="memos_ops")
    op.drop_table("accepted_counts", schema="memos_ops")
