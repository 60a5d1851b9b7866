"""embeddings within their rows, where a page of PostgreSQL holds them.

Rows that are there keep their layout until they are written again: by a consolidation with --swap,
or by VACUUM FULL.

Revision: 0005, after 0004.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Table -> bytes that its rows are shortened to, and the columns that stay in them.
TABLES = {
    "hybrid_documents": (8_160, ("embedding",)),
    "corpus_entities": (4_080, ("embedding",)),
    "corpus_documents": (4_080, ("embedding",)),
    "corpus_chunks": (4_080, ("embedding",)),
    "thought_templates": (4_080, ("embedding",)),
    "hyperbolic_documents": (8_160, ("embedding", "hyperbolic_embedding")),
    "semantic_memories": (8_160, ("embedding",)),
}


def upgrade() -> None:
    for table, (target, columns) in TABLES.items():
        stored = ", ".join(f"alter column {name} set storage main" for name in columns)
        op.execute(f"alter table memos.{table} {stored}, set (toast_tuple_target = {target})")


def downgrade() -> None:
    for table, (_, columns) in TABLES.items():
        stored = ", ".join(f"alter column {name} set storage external" for name in columns)
        op.execute(f"alter table memos.{table} {stored}, reset (toast_tuple_target)")
