"""Tables of the cache in schema `agent`, in its metadata.

What can be computed again is UNLOGGED: a crash of the server empties it, and nothing else is lost.
Leases are logged, since their holders outlive a crash of the server, and so that fences only grow;
so is what people said about answers, and what was measured from it.

A row without a user is of all users of its tenant. Times are the server's.
"""

from typing import Any, Final

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql as pg

from memos_assets.postgres.schema.agent import AGENT_SCHEMA, metadata

#: Begins the name of each table of the cache.
PREFIX: Final = "cache_"
_UNLOGGED: Final = ["UNLOGGED"]
_DIGEST: Final = sa.LargeBinary()


def _now(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def _time(name: str, about: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, comment=about)


def _user() -> sa.Column[Any]:
    return sa.Column("user_id", sa.Text(), comment="NULL: of all users of the tenant.")


def _entry(*, key: bool = True) -> sa.Column[Any]:
    return sa.Column(
        "entry",
        sa.BigInteger(),
        sa.ForeignKey(f"{AGENT_SCHEMA}.cache_entries.number", ondelete="cascade"),
        primary_key=key,
        nullable=False,
        autoincrement=False,
    )


cache_entries = sa.Table(
    "cache_entries",
    metadata,
    sa.Column(
        "key",
        _DIGEST,
        primary_key=True,
        comment="sha256 of namespace, tenant, user, conversation, model, parameters, version and "
        "query.",
    ),
    sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False, unique=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("scope", _DIGEST, nullable=False, comment="sha256 of the key without its query."),
    sa.Column("tenant", sa.Text()),
    _user(),
    sa.Column("query", sa.Text(), nullable=False),
    sa.Column("value", sa.Text(), nullable=False, comment="JSON, as it is given back."),
    sa.Column("bytes", sa.Integer(), nullable=False, comment="Of query and value."),
    sa.Column("negative", sa.Boolean(), nullable=False, comment="Nothing was found."),
    sa.Column("fence", sa.BigInteger(), nullable=False, comment="Of the lease it was made under."),
    _time("stored_at"),
    _time("expires_at"),
    _time("stale_until", "Served until then while one caller computes anew."),
    prefixes=_UNLOGGED,
    comment="Answers by their key.",
)
sa.Index("cache_entries_namespace", cache_entries.c.namespace, cache_entries.c.number)
sa.Index("cache_entries_stale_until", cache_entries.c.stale_until)
sa.Index(
    "cache_entries_user_id",
    cache_entries.c.user_id,
    postgresql_where=cache_entries.c.user_id.is_not(None),
)

cache_embeddings = sa.Table(
    "cache_embeddings",
    metadata,
    _entry(),
    sa.Column(
        "bucket",
        _DIGEST,
        nullable=False,
        comment="sha256 of the scope, the embedder's model and its dimension: rows of one bucket "
        "can be compared.",
    ),
    _user(),
    sa.Column("embedding", HALFVEC(), nullable=False, comment="Of the query, of length 1."),
    prefixes=_UNLOGGED,
    comment="Embeddings of queries; apart from rows that are written by reads.",
)
sa.Index("cache_embeddings_bucket", cache_embeddings.c.bucket, cache_embeddings.c.entry)

cache_sources = sa.Table(
    "cache_sources",
    metadata,
    sa.Column("memory_id", sa.Uuid(), primary_key=True, comment="Of agent.memories.id."),
    _entry(),
    _user(),
    prefixes=_UNLOGGED,
    comment="Memories that answers cite; an answer ends with each of them.",
)
sa.Index("cache_sources_entry", cache_sources.c.entry)

cache_uses = sa.Table(
    "cache_uses",
    metadata,
    _entry(),
    _user(),
    sa.Column("hits", sa.BigInteger(), nullable=False),
    _time("used_at"),
    prefixes=_UNLOGGED,
    comment="Hits of entries, added up some seconds later; apart from the rows with indexes.",
)

cache_counts = sa.Table(
    "cache_counts",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column("hour", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("outcome", sa.Text(), primary_key=True, comment="hit, miss or refused."),
    sa.Column("reason", sa.Text(), primary_key=True),
    sa.Column("count", sa.BigInteger(), nullable=False),
    prefixes=_UNLOGGED,
    comment="Hits by origin and misses by reason, per hour; of all users.",
)

cache_leases = sa.Table(
    "cache_leases",
    metadata,
    sa.Column("key", _DIGEST, primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("tenant", sa.Text()),
    _user(),
    sa.Column("holder", sa.Uuid(), nullable=False),
    sa.Column(
        "fence",
        sa.BigInteger(),
        sa.Identity(always=True),
        nullable=False,
        comment="Grows with each holder: a former one publishes nothing.",
    ),
    sa.Column(
        "refused",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        comment="The last answer may not be stored: nobody waits for the next.",
    ),
    _time("expires_at"),
    comment="Who computes which answer, and until when others wait.",
)

cache_pairs = sa.Table(
    "cache_pairs",
    metadata,
    sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("namespace", sa.Text(), nullable=False),
    sa.Column("tenant", sa.Text()),
    _user(),
    sa.Column("asked", sa.Text(), nullable=False),
    sa.Column("matched", sa.Text(), nullable=False),
    sa.Column("pair", _DIGEST, nullable=False, comment="sha256 of namespace and the two queries."),
    sa.Column("similarity", sa.Double(), comment="NULL: the query itself."),
    sa.Column("model", sa.Text(), nullable=False, server_default=""),
    sa.Column("wrong", sa.Boolean(), nullable=False),
    sa.Column("origin", sa.Text(), nullable=False, comment="feedback or shadow."),
    _now("said_at"),
    sa.CheckConstraint("origin in ('feedback', 'shadow')", name="known_origin"),
    comment="Pairs of queries with a label: wrong ones are never served again, and thresholds are "
    "calibrated with all.",
)
sa.Index("cache_pairs_pair", cache_pairs.c.pair, postgresql_where=cache_pairs.c.wrong)
sa.Index(
    "cache_pairs_user_id",
    cache_pairs.c.user_id,
    postgresql_where=cache_pairs.c.user_id.is_not(None),
)

cache_thresholds = sa.Table(
    "cache_thresholds",
    metadata,
    sa.Column("namespace", sa.Text(), primary_key=True),
    sa.Column("model", sa.Text(), primary_key=True, comment="That embeds."),
    sa.Column("threshold", sa.Double(), nullable=False, comment="Least cosine of a winner."),
    sa.Column("budget", sa.Double(), nullable=False, comment="Most false hits, as a share."),
    sa.Column("upper_bound", sa.Double(), nullable=False, comment="Wilson's, of false hits."),
    sa.Column("pairs", sa.BigInteger(), nullable=False),
    sa.Column("curve", pg.JSONB(), nullable=False, server_default="[]"),
    _now("calibrated_at"),
    sa.CheckConstraint("threshold between 0 and 1", name="threshold_is_a_cosine"),
    comment="Thresholds in force; a namespace and model without one has the strict default.",
)
