"""A tombstone keeps the texts that are still looked for, encrypted, until they are found nowhere.

An erasure that was killed between its commit and its search could not be finished: nobody knew any
more what to look for.

Revision: 0018, after 0017.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "erasures",
        sa.Column(
            "sample",
            sa.LargeBinary(),
            comment="Texts to look for, encrypted by a key that is derived from the user's id; "
            "NULL once they were found nowhere.",
        ),
        schema="agent",
    )


def downgrade() -> None:
    op.drop_column("erasures", "sample", schema="agent")
