"""rejects that can be settled, and versions of the tables.

Chunks with rejects leave the ledger: their rejects lack the source row, which the next
consolidation fills in by loading them again.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OPS = "memos_ops"


def _target() -> sa.Column[str]:
    return sa.Column(
        "target",
        sa.Text(),
        server_default="memos",
        nullable=False,
        comment="The schema that holds the rows: memos, or another version of it.",
    )


def upgrade() -> None:
    op.execute("delete from memos_ops.chunks where rejected > 0")
    op.execute("delete from memos_ops.rejects")
    op.add_column(
        "sources",
        sa.Column("retired_to", sa.Text(), comment="Where the file lies since it was retired."),
        schema=OPS,
    )
    op.add_column("chunks", _target(), schema=OPS)
    op.add_column(
        "chunks",
        sa.Column(
            "repaired",
            postgresql.JSONB(),
            server_default="{}",
            nullable=False,
            comment="Rule -> rows that it changed; they are among the loaded ones.",
        ),
        schema=OPS,
    )
    op.add_column(
        "chunks",
        sa.Column(
            "rules",
            postgresql.JSONB(),
            server_default="{}",
            nullable=False,
            comment="Reason -> rule, as decided when the chunk was loaded.",
        ),
        schema=OPS,
    )
    op.drop_constraint("chunks_pkey", "chunks", schema=OPS)
    op.create_primary_key(
        "chunks_pkey", "chunks", ["target", "source", "table_name", "chunk"], schema=OPS
    )
    op.add_column("rejects", _target(), schema=OPS)
    op.add_column(
        "rejects",
        sa.Column(
            "columns",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="SQLite columns of the row.",
        ),
        schema=OPS,
    )
    op.add_column(
        "rejects",
        sa.Column(
            "row",
            sa.LargeBinary(),
            nullable=False,
            comment="Their values as stored, see consolidate.content.row_bytes.",
        ),
        schema=OPS,
    )
    op.add_column(
        "rejects",
        sa.Column(
            "resolution",
            sa.Text(),
            comment="The rule that settled it; NULL while it is open. `drop`: the row stays out.",
        ),
        schema=OPS,
    )
    op.create_check_constraint(
        "rejects_row_is_whole", "rejects", "encode(sha256(row), 'hex') = row_digest", schema=OPS
    )
    op.drop_constraint("rejects_pkey", "rejects", schema=OPS)
    op.create_primary_key(
        "rejects_pkey", "rejects", ["target", "source", "table_name", "source_rowid"], schema=OPS
    )
    op.create_table_comment(
        "rejects",
        "Rows that could not be loaded as they are, why, and what was decided.",
        existing_comment="Rows that could not be loaded, and why.",
        schema=OPS,
    )
    op.create_table(
        "repairs",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column(
            "decided_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("note", sa.Text(), comment="Why, in the words of who decided."),
        sa.PrimaryKeyConstraint("source", "table_name", "reason", name=op.f("repairs_pkey")),
        schema=OPS,
        comment="What people decided to do with rejects of a reason; loads and proofs follow it.",
    )
    op.create_table(
        "evaluations",
        _target(),
        sa.Column("asset", sa.Text(), nullable=False, comment="As memos/embeddings."),
        sa.Column("claim", sa.Text(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("expected", sa.Text(), nullable=False),
        sa.Column("observed", sa.Text(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column(
            "began_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="What changed later was not read.",
        ),
        sa.Column(
            "evaluated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("target", "asset", "claim", name=op.f("evaluations_pkey")),
        schema=OPS,
        comment="The latest evaluation of every claim of the checklist.",
    )
    op.create_table(
        "versions",
        sa.Column("version", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "schema_name", sa.Text(), nullable=False, comment="Where its tables are, or were."
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("consolidation", sa.Text(), comment="The one that filled it."),
        sa.Column("schema_revision", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("swapped_in_at", sa.DateTime(timezone=True)),
        sa.Column("swapped_out_at", sa.DateTime(timezone=True)),
        sa.Column("dropped_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "state in ('shadow', 'live', 'previous', 'dropped')", name=op.f("versions_known_state")
        ),
        sa.PrimaryKeyConstraint("version", name=op.f("versions_pkey")),
        schema=OPS,
        comment="Versions of the consolidated tables: the live one, former ones, a shadow.",
    )


def downgrade() -> None:
    for table in ("versions", "evaluations", "repairs"):
        op.drop_table(table, schema=OPS)
    # What is not in `memos` is unknown to the older revision; settled rejects would be open there.
    op.execute("delete from memos_ops.rejects where target <> 'memos'")
    op.execute("delete from memos_ops.chunks where target <> 'memos' or repaired <> '{}'")
    op.execute(
        "delete from memos_ops.rejects r where not exists (select from memos_ops.chunks c "
        "where (c.source, c.table_name, c.chunk) = (r.source, r.table_name, r.chunk))"
    )
    op.drop_constraint("rejects_pkey", "rejects", schema=OPS)
    op.create_primary_key(
        "rejects_pkey", "rejects", ["source", "table_name", "source_rowid"], schema=OPS
    )
    op.drop_constraint("rejects_row_is_whole", "rejects", schema=OPS, type_="check")
    for column in ("resolution", "row", "columns", "target"):
        op.drop_column("rejects", column, schema=OPS)
    op.create_table_comment("rejects", "Rows that could not be loaded, and why.", schema=OPS)
    op.drop_constraint("chunks_pkey", "chunks", schema=OPS)
    op.create_primary_key("chunks_pkey", "chunks", ["source", "table_name", "chunk"], schema=OPS)
    for column in ("rules", "repaired", "target"):
        op.drop_column("chunks", column, schema=OPS)
    op.drop_column("sources", "retired_to", schema=OPS)
