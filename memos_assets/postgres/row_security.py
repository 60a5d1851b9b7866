"""Install row-level security on the tables that have an owner, and compare it with its description.

`owned_rows` describes it. Where the cluster does not have the services' role, and this user may not
create it, nothing is installed: consolidation goes on, and services are refused until an
administrator has created the role (`service_role`).
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import TargetError
from memos_assets.postgres import service_role
from memos_assets.postgres.connection import driver_of, first_line
from memos_assets.postgres.forks import fork_walls, forks
from memos_assets.postgres.owned_rows import (
    FUNCTIONS,
    OWNERS_POLICY,
    PREFIX,
    Policy,
    Wall,
    agents_wall,
    walls,
)
from memos_assets.postgres.policy_states import (
    PolicyState,
    TableState,
    create_statement,
    described_policies,
    enable_statement,
    expected_policies,
    owners_statement,
    read_states,
    table_faults,
)
from memos_assets.postgres.schema.agent import AGENT_SCHEMA
from memos_assets.postgres.schemas import renamed
from memos_assets.postgres.service_role import ROLE
from memos_assets.postgres.shape.functions import (
    described_functions,
    function_faults,
    read_functions,
)
from memos_assets.postgres.shape.scratch import vector_schema

_log = logging.getLogger(__name__)

_IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


def wall_faults(conn: sa.Connection) -> dict[str, list[str]]:
    """Return what differs from the description: table, role or function -> faults; empty: none.

    Args:
        conn: to the target database; as an owner or superuser, for what it makes in its temporary
            schema.
    """
    found, unknown = walls(conn)
    faults: dict[str, list[str]] = {
        f"{AGENT_SCHEMA}.{name}": ["no description says to whom its rows belong"]
        for name in unknown
    }
    if of_role := service_role.role_faults(conn):
        faults[f"role {ROLE}"] = of_role
    if not service_role.role_facts(conn).there:
        return faults
    if of_functions := list(_function_faults(conn)):
        faults[f"functions of {AGENT_SCHEMA}"] = of_functions
        if any(" is missing" in fault for fault in of_functions):
            return faults
    described = described_policies(conn, found)
    states = read_states(conn, [wall.qualified for wall in found])
    for wall in found:
        state = states[wall.qualified]
        differing = table_faults(wall, state, expected_policies(wall, state, described))
        if differing:
            faults[wall.qualified] = differing
    known = [wall.qualified for wall in found]
    for fork in forks(conn):
        of_fork = fork_walls(conn, fork)
        known += [wall.qualified for wall in of_fork]
        faults |= dict(_fork_faults(conn, of_fork, described))
    for relation in service_role.further_relations(conn, known):
        faults.setdefault(relation, []).append(f"{ROLE} has rights on it, and it has no owner")
    return faults


def _fork_faults(
    conn: sa.Connection,
    found: list[Wall],
    described: Mapping[tuple[Policy, ...], dict[str, PolicyState]],
) -> Iterator[tuple[str, list[str]]]:
    """Yield tables of a fork that are not walled off as those of schema `agent` should be."""
    states = read_states(conn, [wall.qualified for wall in found])
    for wall in found:
        state = states[wall.qualified]
        expected = {
            name: replace(
                policy,
                using=policy.using and renamed(policy.using, wall.schema),
                check=policy.check and renamed(policy.check, wall.schema),
            )
            for name, policy in expected_policies(wall, state, described).items()
        }
        if differing := table_faults(wall, state, expected):
            yield wall.qualified, differing


def _function_faults(conn: sa.Connection) -> Iterator[str]:
    if AGENT_SCHEMA not in sa.inspect(conn).get_schema_names():
        return
    described = described_functions(conn, FUNCTIONS)
    observed = read_functions(conn, AGENT_SCHEMA)
    for what, where in function_faults(described, observed).items():
        yield f"{what}: {where}".rstrip(": ")


def install(conn: sa.Connection) -> list[str]:
    """Have every table with an owner walled off as described; changes only what differs.

    Args:
        conn: in a transaction, at the newest revision.

    Returns:
        The tables that were changed; empty, too, where the role is not there.

    Raises:
        TargetError: M352 memOS has one of its tables in use for longer than ``lock_timeout``.
    """
    if not service_role.role_facts(conn).there:
        return []
    found, unknown = walls(conn)
    for name in unknown:
        _log.warning("No description says to whom rows of %s.%s belong", AGENT_SCHEMA, name)
    if not any(wall.schema == AGENT_SCHEMA for wall in found):
        return []  # before schema `agent` there is nobody to wall off
    if list(_function_faults(conn)):
        for statement in FUNCTIONS.values():
            conn.exec_driver_sql(statement.replace("create function", "create or replace function"))
    _grant_schemas(conn)
    _grant_functions(conn)
    described = described_policies(conn, found)
    states = read_states(conn, [wall.qualified for wall in found])
    changed = []
    for wall in found:
        state = states[wall.qualified]
        expected = expected_policies(wall, state, described)
        if not table_faults(wall, state, expected):
            continue
        if not state.may_change:
            _log.warning(
                "%s belongs to %s, who has to run `memos-assets migrate`: its rows are not walled "
                "off from services",
                wall.qualified,
                state.owner,
            )
            continue
        _change(conn, wall, state, expected)
        changed.append(wall.qualified)
    return changed


def protect(conn: sa.Connection, name: str) -> None:
    """Wall a table of schema `agent` off that was made just now, such as a model's embeddings.

    Without the services' role nothing is done; `install` completes it later.

    Args:
        conn: in the transaction that made it, as its owner.
        name: of the table, without its schema.
    """
    wall = agents_wall(name)
    assert wall is not None, f"no description says to whom rows of {name} belong"
    if not service_role.role_facts(conn).there:
        return
    state = read_states(conn, [wall.qualified])[wall.qualified]
    _change(conn, wall, state, expected_policies(wall, state, described_policies(conn, [wall])))


def _change(
    conn: sa.Connection, wall: Wall, state: TableState, expected: Mapping[str, PolicyState]
) -> None:
    driver, table = driver_of(conn), sql.Identifier(wall.schema, wall.name)
    create = {policy.name: create_statement(policy, table) for policy in wall.policies}
    create[OWNERS_POLICY] = owners_statement(wall, state, table)
    try:
        ours = {name: one for name, one in state.policies.items() if name.startswith(PREFIX)}
        for name, policy in ours.items():
            if policy != expected.get(name):
                drop = sql.SQL("drop policy {} on {}").format(sql.Identifier(name), table)
                driver.execute(drop)
        for name, policy in expected.items():
            if policy != ours.get(name):
                driver.execute(create[name])
        if wall.policies and not (state.enabled and state.forced):
            driver.execute(enable_statement(table))
        for verb, rights in (
            ("revoke {} on {} from {}", set(state.rights) - set(wall.rights)),
            ("grant {} on {} to {}", set(wall.rights) - set(state.rights)),
        ):
            if rights:
                listed = sql.SQL(", ".join(sorted(rights)))
                driver.execute(sql.SQL(verb).format(listed, table, sql.Identifier(ROLE)))
    except _IN_USE as error:
        raise TargetError(
            "M352",
            f"a table of memOS is in use ({first_line(error)})",
            where=wall.qualified,
            fix="let memOS finish or stop it for a moment, then run again; "
            "MEMOS_LOCK_TIMEOUT_MS says how long to wait",
        ) from None


def _grant_schemas(conn: sa.Connection) -> None:
    """Let services name what is in the schemas; that alone shows no row."""
    names = {AGENT_SCHEMA, MEMOS.schema, APPLICATION_SCHEMA, vector_schema(conn)}
    lacking = sa.text(
        "select n.nspname from pg_catalog.pg_namespace n where n.nspname = any(:names) "
        "and not pg_catalog.has_schema_privilege(:role, n.oid, 'USAGE')"
    )
    for name in conn.execute(lacking, {"names": sorted(names), "role": ROLE}).scalars().all():
        grant = sql.SQL("grant usage on schema {} to {}")
        driver_of(conn).execute(grant.format(sql.Identifier(name), sql.Identifier(ROLE)))


#: Functions that run with the rights of their owner: of all users, services alone may run them.
_OF_SERVICES: Final = ("cache_evict",)


def _grant_functions(conn: sa.Connection) -> None:
    """Let services run what PUBLIC may not."""
    lacking = sa.text(
        "select p.oid::regprocedure::text from pg_catalog.pg_proc p "
        "where p.pronamespace = cast(:schema as regnamespace) and p.proname = any(:names) "
        "and not pg_catalog.has_function_privilege(:role, p.oid, 'EXECUTE')"
    )
    values = {"schema": AGENT_SCHEMA, "names": list(_OF_SERVICES), "role": ROLE}
    for signature in conn.execute(lacking, values).scalars().all():
        grant = sql.SQL("grant execute on function {} to {}")
        # PostgreSQL writes the signature, quoted where it has to be.
        driver_of(conn).execute(grant.format(sql.SQL(signature), sql.Identifier(ROLE)))


#: Tables whose policies hold for the current user, and hide rows unless ours shows all to it.
_HIDING = sa.text(
    """
    select c.oid::regclass::text from pg_catalog.pg_class c
    where c.relrowsecurity and pg_catalog.row_security_active(c.oid) and not exists (
        select from pg_catalog.pg_policy p cross join pg_catalog.unnest(p.polroles) r
        where p.polrelid = c.oid and p.polname = :name and pg_catalog.pg_has_role(r, 'USAGE'))
    """
)


def shows_everything(conn: sa.Connection) -> bool:
    """Whether every policy that holds for this user is ours for owners, which hides no row."""
    return conn.execute(_HIDING, {"name": OWNERS_POLICY}).first() is None


def remove(conn: sa.Connection) -> None:
    """Take all of it back, for a downgrade; policies of others stay, and the role."""
    found, _ = walls(conn)
    states = read_states(conn, [wall.qualified for wall in found])
    driver = driver_of(conn)
    there = service_role.role_facts(conn).there
    for wall in found:
        table, state = sql.Identifier(wall.schema, wall.name), states[wall.qualified]
        ours = [name for name in state.policies if name.startswith(PREFIX)]
        for name in ours:
            driver.execute(sql.SQL("drop policy {} on {}").format(sql.Identifier(name), table))
        if ours:
            alter: Any = "alter table {} no force row level security"
            if len(ours) == len(state.policies):
                alter += ", disable row level security"
            driver.execute(sql.SQL(alter).format(table))
        if there and state.rights:
            revoke = sql.SQL("revoke all on {} from {}")
            driver.execute(revoke.format(table, sql.Identifier(ROLE)))
    for name in FUNCTIONS:
        driver.execute(
            sql.SQL("drop function if exists {}()").format(sql.Identifier(AGENT_SCHEMA, name))
        )
