"""Row-level security of tables as it is, and as a description would make it, to compare them.

`row_security` installs what differs; V34 is red for it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.owned_rows import OWNERS_POLICY, PREFIX, Policy, Wall
from memos_assets.postgres.schema.agent import AGENT_SCHEMA
from memos_assets.postgres.service_role import ROLE
from memos_assets.postgres.shape.scratch import SCRATCH, scratch

_COMMANDS: Final = {"*": "all", "r": "select", "a": "insert", "w": "update", "d": "delete"}


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
        public_rights: that everybody has, and so the services' role, too.
        policies: name -> policy.
        opening: names of permissive policies that hold for the services' role.
    """

    owner: str
    others: tuple[str, ...]
    may_change: bool
    enabled: bool
    forced: bool
    rights: tuple[str, ...]
    public_rights: tuple[str, ...]
    policies: Mapping[str, PolicyState]
    opening: tuple[str, ...]


_STATE = """
select c.oid::bigint as oid, n.nspname, c.relname, pg_get_userbyid(c.relowner)::text as owner,
    pg_has_role(c.relowner, 'USAGE') as may_change, c.relrowsecurity, c.relforcerowsecurity,
    array(select distinct lower(a.privilege_type) from aclexplode(c.relacl) a
        join pg_roles r on r.oid = a.grantee where r.rolname = %(role)s order by 1) as rights,
    array(select distinct lower(a.privilege_type) from aclexplode(c.relacl) a
        where a.grantee = 0 order by 1) as public_rights,
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
            public_rights=tuple(of_all),
            policies=policies.get(oid, {}),
            opening=tuple(sorted(opening.get(oid, []))),
        )
        for oid, schema, name, owner, may_change, enabled, forced, rights, of_all, others in rows
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
                driver.execute(create_statement(policy, copy))
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


def create_statement(policy: Policy, table: sql.Identifier) -> sql.Composed:
    """Return the statement that makes a policy of the services' role."""
    statement = sql.SQL("create policy {} on {} for {} to {}").format(
        sql.Identifier(policy.name), table, sql.SQL(policy.command), sql.Identifier(ROLE)
    )
    if policy.using is not None:
        statement += sql.SQL(f" using ({policy.using})")
    if policy.check is not None:
        statement += sql.SQL(f" with check ({policy.check})")
    return statement


def owners_of(wall: Wall, state: TableState) -> tuple[str, ...]:
    """Return the roles that see every row: the owner, and memOS's own roles on memOS's tables."""
    of_memos = state.others if wall.schema == APPLICATION_SCHEMA else ()
    return tuple(sorted({state.owner, *of_memos}))


def owners_statement(wall: Wall, state: TableState, table: sql.Identifier) -> sql.Composed:
    """Return the statement that makes the policy by which owners see every row."""
    owners = sql.SQL(", ").join(map(sql.Identifier, owners_of(wall, state)))
    return sql.SQL("create policy {} on {} to {} using (true) with check (true)").format(
        sql.Identifier(OWNERS_POLICY), table, owners
    )


def enable_statement(table: sql.Identifier) -> sql.Composed:
    """Return the statement from which on policies hold, for the owner too."""
    return sql.SQL("alter table {} enable row level security, force row level security").format(
        table
    )


def expected_policies(
    wall: Wall, state: TableState, described: Mapping[tuple[Policy, ...], dict[str, PolicyState]]
) -> dict[str, PolicyState]:
    """Return every policy that a table should have, in PostgreSQL's spelling."""
    if not wall.policies:
        return {}
    owners = PolicyState(
        "all", permissive=True, roles=owners_of(wall, state), using="true", check="true"
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
    if of_all := sorted(set(state.public_rights) - set(wall.rights)):
        faults.append(f"everybody (PUBLIC) has the right {', '.join(of_all)}")
    if fewer := sorted(set(wall.rights) - set(state.rights)):
        faults.append(f"{ROLE} lacks the right {', '.join(fewer)}")
    return faults
