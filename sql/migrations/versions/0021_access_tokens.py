"""Access tokens of agents, and the newest belief of a space by an index.

A service names the digest of a token and sees that row alone; `token_read` does both in one round
trip, with the rights of its caller. Cached answers that rest on memories are found by the newest
belief of their spaces, which is asked for with each of them.

Revision: 0021, after 0020.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

READ = """
    create function agent.token_read(asked bytea) returns table (
        number bigint, digest bytea, user_id text, agent_id text, spaces text[],
        expired boolean, revoked boolean)
    language plpgsql
    set search_path = pg_catalog
    as $body$
    begin
        perform set_config('memos.token_digest', encode(asked, 'hex'), true);
        return query
            select t.number, t.token_digest, t.user_id, t.agent_id, t.spaces,
                coalesce(t.expires_at <= clock_timestamp(), false), t.revoked_at is not null
            from agent.tokens t where t.token_digest = asked;
    end
    $body$
    """


def _moment(name: str, about: str | None = None, *, null: bool = True) -> sa.Column:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null, comment=about)


def upgrade() -> None:
    op.create_table(
        "tokens",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "token_digest",
            sa.LargeBinary(),
            nullable=False,
            comment="sha256 of the token, whose 256 random bits need no slower hash.",
        ),
        sa.Column("label", sa.Text(), nullable=False, server_default="", comment="For people."),
        sa.Column("user_id", sa.Text(), nullable=False, comment="For whom its bearer acts."),
        sa.Column("agent_id", sa.Text(), nullable=False, server_default=""),
        sa.Column(
            "spaces",
            sa.ARRAY(sa.Text()),
            nullable=False,
            server_default="{}",
            comment="Shared spaces beside the private one, by name.",
        ),
        sa.Column(
            "made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()
        ),
        sa.Column("made_by", sa.Text(), nullable=False, comment="Who ran the command."),
        _moment("expires_at", "NULL: never."),
        _moment("revoked_at", "NULL: it holds."),
        sa.PrimaryKeyConstraint("number", name="tokens_pkey"),
        sa.UniqueConstraint("token_digest"),
        schema="agent",
        comment="Access tokens of agents; a token itself is nowhere.",
    )
    op.create_index("tokens_user_id", "tokens", ["user_id"], schema="agent")
    op.create_table(
        "token_uses",
        sa.Column("token", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("uses", sa.BigInteger(), nullable=False),
        _moment("used_at", null=False),
        sa.PrimaryKeyConstraint("token", name="token_uses_pkey"),
        sa.ForeignKeyConstraint(
            ["token"],
            ["agent.tokens.number"],
            name="token_uses_token_fkey",
            ondelete="cascade",
        ),
        schema="agent",
        comment="When tokens were used last, added up some seconds later; apart from what they "
        "allow.",
    )
    op.execute(READ)
    op.create_index("revisions_space_id", "revisions", ["space_id", "number"], schema="agent")


def downgrade() -> None:
    op.drop_index("revisions_space_id", "revisions", schema="agent")
    op.execute("drop function agent.token_read(bytea)")
    op.drop_table("token_uses", schema="agent")
    op.drop_table("tokens", schema="agent")
