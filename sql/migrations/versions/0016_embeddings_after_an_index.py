"""The index of a model's embeddings by space is ordered by memory, too.

A recall compares the memories that were written after the index of their space was built. They were
found by reading all embeddings of the space.

Revision: 0016, after 0015.
"""

from collections.abc import Sequence

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def _build_anew(columns: Sequence[str]) -> None:
    models = op.get_bind().exec_driver_sql("select id from agent.models order by id").scalars()
    for table in [f"embeddings_{model}" for model in models]:
        op.drop_index(f"{table}_space_id", table, schema="agent")
        op.create_index(f"{table}_space_id", table, columns, schema="agent")


def upgrade() -> None:
    _build_anew(["space_id", "memory"])


def downgrade() -> None:
    _build_anew(["space_id"])
