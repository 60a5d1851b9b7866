"""postings: counts are in the key's index, so a search does not read the table.

Revision: 0012, after 0011.
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

KEY = (
    "alter table agent.postings add constraint postings_pkey primary key (space_id, lexeme, memory)"
)


def upgrade() -> None:
    op.execute("alter table agent.postings drop constraint postings_pkey")
    op.execute(f"{KEY} include (count, words)")


def downgrade() -> None:
    op.execute("alter table agent.postings drop constraint postings_pkey")
    op.execute(KEY)
