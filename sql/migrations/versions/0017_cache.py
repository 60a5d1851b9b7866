"""Tables of the cache, and what ends answers that cite a memory.

Answers, their embeddings and their uses are UNLOGGED: they can be computed again. Leases and labels
are logged. The functions run with the rights of their owner, since a memory of a shared space may
be cited by answers of other users than the one who changes it.

Revision: 0017, after 0016.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = (
    *("cache_thresholds", "cache_pairs", "cache_leases", "cache_counts", "cache_uses"),
    *("cache_sources", "cache_embeddings", "cache_entries"),
)
#: Memories that changed -> answers that cite them go, in the order of their numbers.
FOLLOW = """
    create function agent.cache_follow_memories() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog
    as $body$
    begin
        if tg_op = 'TRUNCATE' then
            delete from agent.cache_entries e
            where exists (select from agent.cache_sources s where s.entry = e.number);
        elsif tg_op = 'DELETE' then
            delete from agent.cache_entries where number in (
                select e.number from agent.cache_entries e
                join agent.cache_sources s on s.entry = e.number
                join before b on b.id = s.memory_id
                order by 1 for update of e);
        else
            delete from agent.cache_entries where number in (
                select e.number from agent.cache_entries e
                join agent.cache_sources s on s.entry = e.number
                join before b on b.id = s.memory_id
                join after a on a.number = b.number
                where (a.id, a.content, a.valid_from, a.valid_until, a.retracted_at,
                    a.superseded_by) is distinct from (b.id, b.content, b.valid_from,
                    b.valid_until, b.retracted_at, b.superseded_by)
                order by 1 for update of e);
        end if;
        return null;
    end
    $body$
    """
#: An answer that cites a memory which ended while it was computed goes at once, and one whose
#: memory will end lives no longer. The lock has a change of the memory wait for the answer.
CHECK = """
    create function agent.cache_check_sources() returns trigger
    language plpgsql security definer
    set search_path = pg_catalog
    as $body$
    begin
        perform from agent.memories m
        where m.id in (select memory_id from added) order by m.number for share;
        delete from agent.cache_entries e
        where e.number in (select entry from added) and exists (
            select from added s left join agent.memories m on m.id = s.memory_id
            where s.entry = e.number and (m.number is null or m.retracted_at is not null
                or m.superseded_by is not null or m.valid_until <= clock_timestamp()));
        update agent.cache_entries e
        set expires_at = least(e.expires_at, cited.ends),
            stale_until = least(e.stale_until, cited.ends)
        from (select s.entry, min(m.valid_until) as ends
            from added s join agent.memories m on m.id = s.memory_id group by 1) cited
        where e.number = cited.entry and cited.ends < e.stale_until;
        return null;
    end
    $body$
    """
#: One round trip: the user of the transaction, and the answer that it may see.
READ = """
    create function agent.cache_read(asked bytea, acting text) returns table (
        number bigint, query text, value text, negative boolean, age double precision,
        fresh boolean, usable boolean, seconds_left double precision)
    language plpgsql
    set search_path = pg_catalog
    as $body$
    begin
        perform set_config('app.current_user_id', acting, true);
        return query
            select e.number, e.query, e.value, e.negative,
                extract(epoch from clock_timestamp() - e.stored_at)::double precision,
                e.expires_at > clock_timestamp(), e.stale_until > clock_timestamp(),
                extract(epoch from e.expires_at - clock_timestamp())::double precision
            from agent.cache_entries e where e.key = asked;
    end
    $body$
    """

#: In the transaction of a writer who sees the rows of one user: entries of others go, too, and so
#: do the leases, so that an answer that is computed at this moment is not stored. NULL: of any.
EVICT = """
    create function agent.cache_evict(
        of_key bytea, of_memory uuid, of_user text, of_namespace text) returns bigint
    language plpgsql security definer
    set search_path = pg_catalog
    as $body$
    declare evicted bigint;
    begin
        if num_nonnulls(of_key, of_memory, of_user, of_namespace) = 0 then
            return 0;
        end if;
        -- Nobody knows yet which memories an answer cites that is computed at this moment.
        delete from agent.cache_leases where key in (
            select l.key from agent.cache_leases l
            where (of_key is null or l.key = of_key)
                and (of_user is null or l.user_id = of_user)
                and (of_namespace is null or l.namespace = of_namespace)
            order by 1 for update of l);
        delete from agent.cache_entries where number in (
            select e.number from agent.cache_entries e
            where (of_key is null or e.key = of_key)
                and (of_user is null or e.user_id = of_user)
                and (of_namespace is null or e.namespace = of_namespace)
                and (of_memory is null or exists (select from agent.cache_sources s
                    where s.entry = e.number and s.memory_id = of_memory))
            order by 1 for update of e);
        get diagnostics evicted = row_count;
        return evicted;
    end
    $body$
    """


def _time(name: str, about: str | None = None, *, now: bool = False) -> sa.Column[Any]:
    default = sa.func.now() if now else None
    return sa.Column(
        name, sa.DateTime(timezone=True), nullable=False, comment=about, server_default=default
    )


def _text(name: str, about: str | None = None, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=null, comment=about)


def _number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _identity(name: str, about: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), sa.Identity(always=True), nullable=False, comment=about)


def _digest(name: str, about: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False, comment=about)


def _user() -> sa.Column[Any]:
    return _text("user_id", "NULL: of all users of the tenant.", null=True)


def _entry(table: str) -> tuple[Any, ...]:
    return (
        sa.Column("entry", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(
            ["entry"],
            ["agent.cache_entries.number"],
            name=f"{table}_entry_fkey",
            ondelete="cascade",
        ),
    )


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"{table}_pkey")


def _create(table: str, *parts: Any, comment: str, logged: bool = False) -> None:
    prefixes = [] if logged else ["UNLOGGED"]
    op.create_table(table, *parts, schema="agent", comment=comment, prefixes=prefixes)


def _index(table: str, name: str, columns: list[str], where: str | None = None) -> None:
    only = None if where is None else sa.text(where)
    op.create_index(f"{table}_{name}", table, columns, schema="agent", postgresql_where=only)


def upgrade() -> None:
    _create(
        "cache_entries",
        _digest(
            "key",
            "sha256 of namespace, tenant, user, conversation, model, parameters, version and "
            "query.",
        ),
        _identity("number"),
        _text("namespace"),
        _digest("scope", "sha256 of the key without its query."),
        _text("tenant", null=True),
        _user(),
        _text("query"),
        _text("value", "JSON, as it is given back."),
        sa.Column("bytes", sa.Integer(), nullable=False, comment="Of query and value."),
        sa.Column("negative", sa.Boolean(), nullable=False, comment="Nothing was found."),
        sa.Column(
            "fence", sa.BigInteger(), nullable=False, comment="Of the lease it was made under."
        ),
        _time("stored_at"),
        _time("expires_at"),
        _time("stale_until", "Served until then while one caller computes anew."),
        _key("cache_entries", "key"),
        sa.UniqueConstraint("number"),
        comment="Answers by their key.",
    )
    _index("cache_entries", "namespace", ["namespace", "number"])
    _index("cache_entries", "stale_until", ["stale_until"])
    _index("cache_entries", "user_id", ["user_id"], "user_id is not null")
    _create(
        "cache_embeddings",
        *_entry("cache_embeddings"),
        _digest(
            "bucket",
            "sha256 of the scope, the embedder's model and its dimension: rows of one bucket can "
            "be compared.",
        ),
        _user(),
        sa.Column("embedding", HALFVEC(), nullable=False, comment="Of the query, of length 1."),
        _key("cache_embeddings", "entry"),
        comment="Embeddings of queries; apart from rows that are written by reads.",
    )
    _index("cache_embeddings", "bucket", ["bucket", "entry"])
    _create(
        "cache_sources",
        sa.Column("memory_id", sa.Uuid(), nullable=False, comment="Of agent.memories.id."),
        *_entry("cache_sources"),
        _user(),
        _key("cache_sources", "memory_id", "entry"),
        comment="Memories that answers cite; an answer ends with each of them.",
    )
    _index("cache_sources", "entry", ["entry"])
    _create(
        "cache_uses",
        *_entry("cache_uses"),
        _user(),
        _number("hits"),
        _time("used_at"),
        _key("cache_uses", "entry"),
        comment="Hits of entries, added up some seconds later; apart from the rows with indexes.",
    )
    _create(
        "cache_counts",
        _text("namespace"),
        _time("hour"),
        _text("outcome", "hit, miss, computed or refused."),
        _text("reason"),
        _number("count"),
        _key("cache_counts", "namespace", "hour", "outcome", "reason"),
        comment="Hits by origin and misses by reason, per hour; of all users.",
    )
    _create(
        "cache_leases",
        _digest("key"),
        _text("namespace"),
        _text("tenant", null=True),
        _user(),
        sa.Column("holder", sa.Uuid(), nullable=False),
        _identity("fence", "Grows with each holder: a former one publishes nothing."),
        sa.Column(
            "refused",
            sa.Boolean(),
            nullable=False,
            server_default=sa.false(),
            comment="The last answer may not be stored: nobody waits for the next.",
        ),
        _time("expires_at"),
        _key("cache_leases", "key"),
        comment="Who computes which answer, and until when others wait.",
        logged=True,
    )
    _create(
        "cache_pairs",
        _identity("number"),
        _text("namespace"),
        _text("tenant", null=True),
        _user(),
        _text("asked"),
        _text("matched"),
        _digest("pair", "sha256 of namespace and the two queries."),
        sa.Column("similarity", sa.Double(), nullable=True, comment="NULL: the query itself."),
        sa.Column("model", sa.Text(), nullable=False, server_default=""),
        sa.Column("wrong", sa.Boolean(), nullable=False),
        _text("origin", "feedback or shadow."),
        _time("said_at", now=True),
        sa.CheckConstraint("origin in ('feedback', 'shadow')", name="cache_pairs_known_origin"),
        _key("cache_pairs", "number"),
        comment="Pairs of queries with a label: wrong ones are never served again, and thresholds "
        "are calibrated with all.",
        logged=True,
    )
    _index("cache_pairs", "pair", ["pair"], "wrong")
    _index("cache_pairs", "user_id", ["user_id"], "user_id is not null")
    _create(
        "cache_thresholds",
        _text("namespace"),
        _text("model", "That embeds."),
        sa.Column("threshold", sa.Double(), nullable=False, comment="Least cosine of a winner."),
        sa.Column("budget", sa.Double(), nullable=False, comment="Most false hits, as a share."),
        sa.Column("upper_bound", sa.Double(), nullable=False, comment="Wilson's, of false hits."),
        _number("pairs"),
        sa.Column("curve", postgresql.JSONB(), nullable=False, server_default="[]"),
        _time("calibrated_at", now=True),
        sa.CheckConstraint(
            "threshold between 0 and 1", name="cache_thresholds_threshold_is_a_cosine"
        ),
        _key("cache_thresholds", "namespace", "model"),
        comment="Thresholds in force; a namespace and model without one has the strict default.",
        logged=True,
    )
    for function in (FOLLOW, CHECK, READ, EVICT):
        op.execute(sa.text(function.replace(":", r"\:")))
    for event, transition in (
        ("update", "referencing old table as before new table as after "),
        ("delete", "referencing old table as before "),
        ("truncate", ""),
    ):
        op.execute(
            f"create trigger cache_follow_{event} after {event} on agent.memories {transition}"
            "for each statement execute function agent.cache_follow_memories()"
        )
    op.execute(
        "create trigger cache_check_sources after insert on agent.cache_sources "
        "referencing new table as added "
        "for each statement execute function agent.cache_check_sources()"
    )


def downgrade() -> None:
    for event in ("update", "delete", "truncate"):
        op.execute(f"drop trigger cache_follow_{event} on agent.memories")
    for table in TABLES:
        op.drop_table(table, schema="agent")
    op.execute("drop function agent.cache_follow_memories()")
    op.execute("drop function agent.cache_check_sources()")
    op.execute("drop function agent.cache_read(bytea, text)")
    op.execute("drop function agent.cache_evict(bytea, uuid, text, text)")
