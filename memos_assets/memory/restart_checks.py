"""V64: what agents remember is in tables that a server keeps over a crash and a restart."""

from typing import Final

import sqlalchemy as sa

from memos_assets.check import AnyCheck, Check, by_connection
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.memory.models import registered
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.schema.agent_board import boards
from memos_assets.postgres.schema.agent_cache import PREFIX

_PERSISTENCE: Final = sa.text(
    """
    select n.nspname || '.' || c.relname, c.relpersistence::text
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname || '.' || c.relname = any(:names)
    """
)
_BEFORE: Final = sa.text(
    """
    select pg_catalog.pg_postmaster_start_time(), count(*) filter (
        where recorded_at < pg_catalog.pg_postmaster_start_time()), count(*)
    from agent.memories
    """
)
_LOGGED: Final = "p"


def memories_survive_restarts(conn: sa.Connection, _asset: str) -> Finding:
    """V64: every table of memory is logged; PostgreSQL empties one that is not after a crash."""
    # What a cache holds can be computed again: its tables are emptied by a crash on purpose.
    ours = {t.fullname for t in boards.metadata.tables.values() if not t.name.startswith(PREFIX)}
    memos = {table.fullname for table in APPLICATION.values()}
    embeddings = {model.table_name for model in registered(conn)}
    wanted = ours | embeddings
    found = dict(map(tuple, conn.execute(_PERSISTENCE, {"names": sorted(wanted | memos)})))
    unlogged = sorted(name for name, kind in found.items() if kind != _LOGGED)
    missing = sorted(wanted - found.keys())
    started, before, all_of_them = conn.execute(_BEFORE).one()
    faults = [f"{name} is not logged" for name in unlogged]
    faults += [f"{name} is not there" for name in missing]
    return Finding(
        not faults,
        expected=f"{len(wanted | found.keys())} tables that are written to the log",
        observed="; ".join(faults)
        or f"{len(found)} tables; {before:,} of {all_of_them:,} memories are of before the server "
        f"started, at {started:%Y-%m-%d %H:%M}",
        evidence={"unlogged": unlogged, "missing": missing, "memories of before": before},
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=64,
        name="v64_memories_survive_restarts",
        title="What agents remember is in tables that survive a crash and a restart of the server.",
        fix="alter table NAME set logged, as the owner of the table",
        where="`memos/memories`",
        reads="the catalog of PostgreSQL for each table of `agent` and of memOS, and the times of "
        "memories beside the start of the server",
        when_failed="The remediation plan's line *A-MEM persists across server restarts*. "
        "PostgreSQL empties a table that is not logged after a crash.",
        subjects=memories_asset,
        judge=by_connection(memories_survive_restarts),
        group="memory",
    ),
)
