"""Equal texts with the same end are one row, too; a text that is retracted or superseded is not.

Before, a text with an end could be remembered any number of times.

Revision: 0015, after 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("memories_equal_text", "memories", schema="agent")
    op.create_index(
        "memories_equal_text",
        "memories",
        ["space_id", "content_digest", "valid_until"],
        unique=True,
        schema="agent",
        postgresql_where=sa.text("retracted_at IS NULL AND superseded_by IS NULL"),
        postgresql_nulls_not_distinct=True,
    )


def downgrade() -> None:
    op.drop_index("memories_equal_text", "memories", schema="agent")
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
