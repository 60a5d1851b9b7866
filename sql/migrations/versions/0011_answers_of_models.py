"""agent.models keeps the answer of a model to the three fixed texts, and has one next model.

A digest alone cannot tell noise of the last digits from another model.

Revision: 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "models",
        sa.Column(
            "answer",
            sa.LargeBinary(),
            nullable=True,
            comment="Its answer to the three fixed texts: little-endian float32, each of length 1.",
        ),
        schema="agent",
    )
    op.create_index(
        "models_one_next",
        "models",
        ["state"],
        unique=True,
        schema="agent",
        postgresql_where=sa.text("state = 'next'"),
    )


def downgrade() -> None:
    op.drop_index("models_one_next", table_name="models", schema="agent")
    op.drop_column("models", "answer", schema="agent")
