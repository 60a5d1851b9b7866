"""Install row-level security on the tables that have an owner, and compare it with its description.

`owned_rows` describes it. Where the cluster does not have the services' role, and this user may not
create it, nothing is installed: consolidation goes on, and services are refused until an
administrator has created the role (`service_role`).
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import TargetError
from memos_assets.postgres import service_role
from memos_assets.postgres.connection import driver_of, first_line
from memos_assets.postgres.owned_rows import (
    FUNCTIONS,
    OWNERS_POLICY,
    PREFIX,
    Policy,
    Wall,
    agents_wall,
    walls,
)
from memos_assets.postgres.schema.agent import AGENT_SCHEMA
from memos_assets.postgres.service_role import ROLE
from memos_assets.postgres.shape.functions import (
    described_functions,
    function_faults,
    read_functions,
)
from memos_assets.postgres.shape.scratch import SCRATCH, scratch, vector_schema

_log = logging.getLogger(__name__)

_COMMANDS: Final = {"*": "all", "r": "select", "a": "insert", "w": "update", "d": "delete"}
_IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


@dataclass(frozen=True, slots=True)
class PolicyState:
    """A policy as PostgreSQL has it; conditions in its spelling, None where there is none."""

    command: str
    permissive: bool
    roles: tuple[str, ...]
    using: str | None
    check: str | None

    def __str__(self) -> str:
        """Write it on one line."""
        kind = "" if self.permissive else "restrictive "
        return (
            f"{kind}for {self.command} to {', '.join(self.roles)} "
            f"using ({self.using or ''}) check ({self.check or ''})"
        )


@dataclass(frozen=True, slots=True)
class TableState:
    """The row-level security of one table as it is.

    Attributes:
        owner: role that owns the table.
        others: roles, beside the owner and that of services, that were granted rights on it.
        may_change: the current user has the rights of the owner.
        enabled: row-level security is on.
        forced: it holds for the owner, too.
        rights: that the services' role has by name.
        policies: name -> policy.
        opening: names of permissive policies that hold for the services' role.
    """

    owner: str
    others: tuple[str, ...]
    may_change: bool
    enabled: bool
    forced: bool
    rights: tuple[str, ...]
    policies: Mapping[str, PolicyState]
    opening: tuple[str, ...]


_STATE = """
select c.oid::bigint as oid, n.nspname, c.relname, pg_get_userbyid(c.relowner)::text as owner,
    pg_has_role(c.relowner, 'USAGE') as may_change, c.relrowsecurity, c.relforcerowsecurity,
    array(select distinct lower(a.privilege_type) from aclexplode(c.relacl) a
        join pg_roles r on r.oid = a.grantee where r.rolname = %(role)s order by 1) as rights,
    array(select distinct r.rolname::text from aclexplode(c.relacl) a
        join pg_roles r on r.oid = a.grantee
        where a.grantee <> c.relowner and r.rolname <> %(role)s order by 1) as others
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and (n.nspname || '.' || c.relname) = any(%(names)s)
"""
_POLICIES = """
select p.polrelid::bigint, p.polname::text, p.polcmd::text, p.polpermissive,
    array(select case when r = 0 then 'public' else pg_get_userbyid(r)::text end
        from unnest(p.polroles) r order by 1),
    pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid),
    p.polpermissive and exists (select from unnest(p.polroles) r where case when r = 0 then true
        else coalesce(pg_has_role(to_regrole(%(role)s), r, 'USAGE'), false) end)
from pg_policy p where p.polrelid = any(%(oids)s::oid[])
"""


def read_states(conn: sa.Connection, names: Sequence[str]) -> dict[str, TableState]:
    """Return schema.name -> row-level security, of the tables that are there."""
    driver = driver_of(conn)
    rows = driver.execute(_STATE, {"role": ROLE, "names": list(names)}).fetchall()
    policies: dict[int, dict[str, PolicyState]] = {}
    opening: dict[int, list[str]] = {}
    known = {"role": ROLE, "oids": [row[0] for row in rows]}
    for oid, name, command, permissive, roles, using, check, opens in driver.execute(
        _POLICIES, known
    ):
        state = PolicyState(_COMMANDS[command], permissive, tuple(roles), using, check)
        policies.setdefault(oid, {})[name] = state
        if opens:
            opening.setdefault(oid, []).append(name)
    return {
        f"{schema}.{name}": TableState(
            owner=owner,
            others=tuple(others),
            may_change=may_change,
            enabled=enabled,
            forced=forced,
            rights=tuple(rights),
            policies=policies.get(oid, {}),
            opening=tuple(sorted(opening.get(oid, []))),
        )
        for oid, schema, name, owner, may_change, enabled, forced, rights, others in rows
    }


def described_policies(
    conn: sa.Connection, found: Iterable[Wall]
) -> dict[tuple[Policy, ...], dict[str, PolicyState]]:
    """Return the policies that PostgreSQL makes of descriptions, on empty copies of the tables."""
    made: dict[tuple[Policy, ...], dict[str, PolicyState]] = {(): {}}
    copies: dict[str, tuple[Policy, ...]] = {}
    with scratch(conn):
        driver = driver_of(conn)
        for wall in found:
            if wall.policies in made:
                continue
            # Conditions with a subquery spell the name of their table.
            name = wall.name if wall.name not in copies else f"{wall.schema}_{wall.name}"
            copies[name] = wall.policies
            made[wall.policies] = {}
            copy = sql.Identifier(SCRATCH, name)
            driver.execute(
                sql.SQL("create table {} (like {})").format(
                    copy, sql.Identifier(wall.schema, wall.name)
                )
            )
            for policy in wall.policies:
                driver.execute(_create(policy, copy))
        rows = driver.execute(
            "select c.oid, c.relname from pg_class c where c.relnamespace = pg_my_temp_schema() "
            "and c.relname = any(%s)",
            (list(copies),),
        ).fetchall()
        by_oid = {oid: copies[name] for oid, name in rows}
        known = {"role": ROLE, "oids": list(by_oid)}
        for oid, name, command, permissive, roles, using, check, _ in driver.execute(
            _POLICIES, known
        ):
            state = PolicyState(_COMMANDS[command], permissive, tuple(roles), using, check)
            made[by_oid[oid]][name] = state
    return made


def _create(policy: Policy, table: sql.Identifier) -> sql.Composed:
    statement = sql.SQL("create policy {} on {} for {} to {}").format(
        sql.Identifier(policy.name), table, sql.SQL(policy.command), sql.Identifier(ROLE)
    )
    if policy.using is not None:
        statement += sql.SQL(f" using ({policy.using})")
    if policy.check is not None:
        statement += sql.SQL(f" with check ({policy.check})")
    return statement


def _owners(wall: Wall, state: TableState) -> tuple[str, ...]:
    """Return the roles that see every row: the owner, and memOS's own roles on memOS's tables."""
    of_memos = state.others if wall.schema == APPLICATION_SCHEMA else ()
    return tuple(sorted({state.owner, *of_memos}))


def expected_policies(
    wall: Wall, state: TableState, described: Mapping[tuple[Policy, ...], dict[str, PolicyState]]
) -> dict[str, PolicyState]:
    """Return every policy that a table should have, in PostgreSQL's spelling."""
    if not wall.policies:
        return {}
    owners = PolicyState(
        "all", permissive=True, roles=_owners(wall, state), using="true", check="true"
    )
    return {**described[wall.policies], OWNERS_POLICY: owners}


def table_faults(wall: Wall, state: TableState, expected: Mapping[str, PolicyState]) -> list[str]:
    """Say how the row-level security of a table differs from its description."""
    faults: list[str] = []
    if wall.policies and not state.enabled:
        faults.append("row-level security is disabled")
    if wall.policies and not state.forced:
        faults.append("row-level security is not forced")
    ours = {name: one for name, one in state.policies.items() if name.startswith(PREFIX)}
    for name in sorted({*expected, *ours}):
        if name not in ours:
            faults.append(f"policy {name} is missing")
        elif name not in expected:
            faults.append(f"policy {name} is not described")
        elif ours[name] != expected[name]:
            faults.append(f"policy {name} is {ours[name]}, not {expected[name]}")
    # memOS may have policies for roles of its own.
    faults += [
        f"policy {name} of others opens it"
        for name in sorted(state.policies.keys() - ours.keys())
        if name in state.opening or wall.schema == AGENT_SCHEMA
    ]
    if more := sorted(set(state.rights) - set(wall.rights)):
        faults.append(f"{ROLE} has the right {', '.join(more)}")
    if fewer := sorted(set(wall.rights) - set(state.rights)):
        faults.append(f"{ROLE} lacks the right {', '.join(fewer)}")
    return faults


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
    for relation in service_role.further_relations(conn, known):
        faults.setdefault(relation, []).append(f"{ROLE} has rights on it, and it has no owner")
    return faults


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
    create = {policy.name: _create(policy, table) for policy in wall.policies}
    create[OWNERS_POLICY] = sql.SQL(
        "create policy {} on {} to {} using (true) with check (true)"
    ).format(
        sql.Identifier(OWNERS_POLICY),
        table,
        sql.SQL(", ").join(map(sql.Identifier, _owners(wall, state))),
    )
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
            alter = "alter table {} enable row level security, force row level security"
            driver.execute(sql.SQL(alter).format(table))
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
