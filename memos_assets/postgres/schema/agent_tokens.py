"""Tables of access tokens in schema `agent`, in its metadata.

They are not in `memos_ops`, because a dump has to have them: nobody can make the same tokens again,
and the agents that have them would stand outside. Services see the one row whose digest they name,
see `owned_rows`; commands of operators, as the owner of the tables, see and write all of them.
"""

from typing import Any, Final

import sqlalchemy as sa

from memos_assets.postgres.schema.agent import AGENT_SCHEMA, metadata

#: The digest that a transaction names, 64 hex digits; it ends with the transaction.
TOKEN_SETTING: Final = "memos.token_digest"


def _time(name: str, about: str, *, null: bool = True) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null, comment=about)


tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column(
        "token_digest",
        sa.LargeBinary(),
        nullable=False,
        unique=True,
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
    sa.Column("made_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    sa.Column("made_by", sa.Text(), nullable=False, comment="Who ran the command."),
    _time("expires_at", "NULL: never."),
    _time("revoked_at", "NULL: it holds."),
    comment="Access tokens of agents; a token itself is nowhere.",
)
sa.Index("tokens_user_id", tokens.c.user_id)

token_uses = sa.Table(
    "token_uses",
    metadata,
    sa.Column(
        "token",
        sa.BigInteger(),
        sa.ForeignKey(f"{AGENT_SCHEMA}.tokens.number", ondelete="cascade"),
        primary_key=True,
        autoincrement=False,
    ),
    sa.Column("uses", sa.BigInteger(), nullable=False),
    sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
    comment="When tokens were used last, added up some seconds later; apart from what they allow.",
)
