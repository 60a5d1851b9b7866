"""Nothing is stored beside an eviction that is not committed yet, and not everybody may evict.

An answer that began and ended between the last eviction of a writer and its commit was kept,
computed by what was there before. An eviction now holds a shared advisory lock until its
transaction ends, which those look for who take a lease or store; and it waits for those who are
storing at this moment. `cache_evict` runs with the rights of its owner, so PUBLIC may not run it:
`memos-assets migrate` grants it to the services' role.

Revision: 0019, after 0018.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

_EVICT = "agent.cache_evict(bytea, uuid, text, text)"
_HEAD = """
    create or replace function agent.cache_evict(
        of_key bytea, of_memory uuid, of_user text, of_namespace text) returns bigint
    language plpgsql security definer
    set search_path = pg_catalog
    as $body$
    declare evicted bigint;
    begin
        if num_nonnulls(of_key, of_memory, of_user, of_namespace) = 0 then
            return 0;
        end if;
"""
#: Until the caller's transaction ends nothing of this is stored; what is being stored at this
#: moment is waited for, and seen by the statements that follow. Evictions do not wait for another.
_BARRIER = """
        perform pg_advisory_xact_lock_shared(hashtextextended('memos_assets.cache ' || case
            when of_key is not null then 'key ' || encode(of_key, 'hex')
            when of_user is not null then 'user ' || of_user
            when of_namespace is not null then 'namespace ' || of_namespace
            else 'all' end, 0));
        perform pg_advisory_lock(hashtextextended('memos_assets.cache stores', 0));
        perform pg_advisory_unlock(hashtextextended('memos_assets.cache stores', 0));
"""
_BODY = """
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
#: Whether no eviction of it waits for its commit; none that begins later misses what is stored.
_MAY_STORE = """
    create function agent.cache_may_store(of_key bytea, of_user text, of_namespace text)
    returns boolean
    language plpgsql
    set search_path = pg_catalog
    as $body$
    begin
        perform pg_advisory_xact_lock_shared(hashtextextended('memos_assets.cache stores', 0));
        return not exists (
            select from pg_locks l
            where l.locktype = 'advisory' and l.objsubid = 1 and l.granted
                and l.database = (select oid from pg_database where datname = current_database())
                and ((l.classid::bigint << 32) | l.objid::bigint) in (
                    hashtextextended('memos_assets.cache all', 0),
                    hashtextextended('memos_assets.cache key ' || encode(of_key, 'hex'), 0),
                    hashtextextended('memos_assets.cache user ' || of_user, 0),
                    hashtextextended('memos_assets.cache namespace ' || of_namespace, 0)));
    end
    $body$
"""


def upgrade() -> None:
    for function in (_HEAD + _BARRIER + _BODY, _MAY_STORE):
        op.execute(sa.text(function.replace(":", r"\:")))
    op.execute(f"revoke all on function {_EVICT} from public")
    _describe("hit, miss or refused.")


def downgrade() -> None:
    op.execute("drop function agent.cache_may_store(bytea, text, text)")
    op.execute(sa.text((_HEAD + _BODY).replace(":", r"\:")))
    op.execute(f"grant execute on function {_EVICT} to public")
    _describe("hit, miss, computed or refused.")


def _describe(outcomes: str) -> None:
    op.alter_column("cache_counts", "outcome", schema="agent", comment=outcomes)
