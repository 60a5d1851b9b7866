"""retired files in the bookkeeping tables, and confirmations of what runs move.

Manifests that are in the archive already are entered by the first command that reads them.

Revision: 0007, after 0006.
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OPS = "memos_ops"


def upgrade() -> None:
    op.create_table(
        "archived",
        sa.Column(
            "folder", sa.Text(), primary_key=True, comment="Of the file and its manifest, absolute."
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("is_source", sa.Boolean(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="The original path."),
        sa.Column("sha256", sa.Text(), nullable=False, comment="Of the bytes of the file."),
        sa.Column(
            "manifest_digest",
            sa.Text(),
            nullable=False,
            comment="sha256 of the manifest without its state.",
        ),
        sa.Column(
            "state",
            sa.Text(),
            nullable=False,
            comment="As in the manifest; written before a move begins.",
        ),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            server_default=sa.func.now(),
            nullable=False,
        ),
        schema=OPS,
        comment="Retired files, and files that are being moved.",
    )
    op.create_table(
        "confirmations",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
        sa.Column(
            "key", sa.Text(), nullable=False, comment="What the next confirmation is made with."
        ),
        sa.Column("action", sa.Text()),
        sa.Column("used_at", sa.DateTime(timezone=True), comment="NULL: of the next one."),
        schema=OPS,
        comment="Confirmations of runs that move files; each is used once.",
    )
    key = sa.table("confirmations", sa.column("key"), schema=OPS)
    op.execute(key.insert().values(key=secrets.token_hex(32)))


def downgrade() -> None:
    for table in ("confirmations", "archived"):
        op.drop_table(table, schema=OPS)
