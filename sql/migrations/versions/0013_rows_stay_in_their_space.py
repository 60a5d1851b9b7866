"""what belongs to a memory is in its space, by foreign keys.

Row-level security trusts the space of a row. A posting, link or revision that named a memory of
another space would be seen by its users, and would tell whether that memory is there.

Revision: 0013, after 0012.
"""

from alembic import op

from memos_assets.postgres import row_security

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

#: Table, column with the number of a memory, column with its space.
KEYS = (
    ("accesses", "memory", "space_id"),
    ("links", "a", "a_space_id"),
    ("links", "b", "b_space_id"),
    ("outbox", "memory", "space_id"),
    ("postings", "memory", "space_id"),
    ("proposals", "memory", "space_id"),
    ("proposals", "other", "space_id"),
    ("provenance", "memory", "space_id"),
    ("revisions", "memory", "space_id"),
)


def _keys() -> list[tuple[str, str, str]]:
    """Return the keys, with those of the embeddings of each model, which no metadata names."""
    models = op.get_bind().exec_driver_sql("select id from agent.models order by id").scalars()
    return [*KEYS, *((f"embeddings_{model}", "memory", "space_id") for model in models)]


def upgrade() -> None:
    op.create_unique_constraint(
        "memories_number_space", "memories", ["number", "space_id"], schema="agent"
    )
    for table, memory, space in _keys():
        op.drop_constraint(f"{table}_{memory}_fkey", table, schema="agent", type_="foreignkey")
        op.create_foreign_key(
            f"{table}_{memory}_fkey",
            table,
            "memories",
            [memory, space],
            ["number", "space_id"],
            source_schema="agent",
            referent_schema="agent",
            ondelete="cascade",
        )


def downgrade() -> None:
    row_security.remove(op.get_bind())
    for table, memory, _ in _keys():
        op.drop_constraint(f"{table}_{memory}_fkey", table, schema="agent", type_="foreignkey")
        op.create_foreign_key(
            f"{table}_{memory}_fkey",
            table,
            "memories",
            [memory],
            ["number"],
            source_schema="agent",
            referent_schema="agent",
            ondelete="cascade",
        )
    op.drop_constraint("memories_number_space", "memories", schema="agent", type_="unique")
