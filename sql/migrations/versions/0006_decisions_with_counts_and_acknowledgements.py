"""decisions state how many rows they are about; NULL embeddings are accepted, tables acknowledged.

Decisions that are there keep no count: where their reason takes much of a table, V30 asks for the
decision again.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

OPS = "memos_ops"


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()")
    )


def upgrade() -> None:
    op.add_column(
        "repairs",
        sa.Column("rows", sa.BigInteger(), comment="How many rows were decided on."),
        schema=OPS,
    )
    op.create_table(
        "accepted_losses",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("column_name", sa.Text(), nullable=False, comment="The embedding column."),
        sa.Column("reason", sa.Text(), nullable=False, comment="Why the embeddings are NULL."),
        sa.Column("rows", sa.BigInteger(), nullable=False, comment="How many were accepted."),
        sa.Column("decided_by", sa.Text(), nullable=False),
        _moment("decided_at"),
        sa.Column("note", sa.Text(), comment="Why, in the words of who decided."),
        sa.PrimaryKeyConstraint(
            "source", "table_name", "column_name", "reason", name="accepted_losses_pkey"
        ),
        schema=OPS,
        comment="NULL embeddings that people accepted, and how many of them.",
    )
    op.create_table(
        "acknowledgements",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("origin_table", sa.Text(), nullable=False),
        sa.Column("origin_column", sa.Text(), nullable=False, comment="Empty for the whole table."),
        sa.Column("acknowledged_by", sa.Text(), nullable=False),
        _moment("acknowledged_at"),
        sa.Column("reason", sa.Text(), nullable=False, comment="In the words of that person."),
        sa.PrimaryKeyConstraint(
            "source", "origin_table", "origin_column", name="acknowledgements_pkey"
        ),
        schema=OPS,
        comment="Tables and columns of files that people leave behind knowingly.",
    )


def downgrade() -> None:
    op.drop_table("acknowledgements", schema=OPS)
    op.drop_table("accepted_losses", schema=OPS)
    op.drop_column("repairs", "rows", schema=OPS)
