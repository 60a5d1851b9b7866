"""The role that services run as: neither superuser nor BYPASSRLS, and a member of no other role.

Roles belong to the cluster, so all its databases share this one, and several processes may create
it at once. It cannot log in: the user of a connection is a member and changes to it.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
import sqlalchemy as sa

ROLE: Final = "memos_agent"

_log = logging.getLogger(__name__)

_FACTS = sa.text(
    """
    select r.oid is not null as there, u.rolsuper or u.rolcreaterole as may_create,
        current_user::text as "user",
        case when u.rolsuper then r.oid is not null
            else coalesce(pg_catalog.pg_has_role(
                u.oid, r.oid,
                case when current_setting('server_version_num')::int >= 160000
                    then 'SET' else 'MEMBER' end), false) end as may_become
    from pg_catalog.pg_roles u left join pg_catalog.pg_roles r on r.rolname = :role
    where u.rolname = current_user
    """
)
_CREATE = f"""
do $$ begin
    create role {ROLE} nologin;
exception when duplicate_object or unique_violation then null;
end $$
"""
#: From PostgreSQL 16 on a member need not have the rights of a role to change to it.
_GRANT = f"""
do $$ begin
    if pg_catalog.current_setting('server_version_num')::int >= 160000 then
        grant {ROLE} to current_user with inherit false, set true;
    else
        grant {ROLE} to current_user;
    end if;
exception when unique_violation then null;
end $$
"""
_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class RoleFacts:
    """The role as the current user sees it.

    Attributes:
        there: the cluster has it.
        may_become: the user may ``set role`` to it.
        may_create: the user has CREATEROLE, or is a superuser.
        user: the current user.
    """

    there: bool
    may_become: bool
    may_create: bool
    user: str

    @property
    def ready(self) -> bool:
        """Whether sessions of this user can run as the role."""
        return self.there and self.may_become


def role_facts(conn: sa.Connection) -> RoleFacts:
    """Return whether the role is there, and what the current user may do with it."""
    row = conn.execute(_FACTS, {"role": ROLE}).one()
    return RoleFacts(row.there, row.may_become, row.may_create, row.user)


def create_role(engine: sa.Engine) -> RoleFacts:
    """Create the role and make the current user a member, where that is missing and allowed.

    In transactions of its own, so that a long migration keeps no other database waiting for the
    name of the role. A user who may not do that gets no error: only services need the role.
    """
    with engine.connect() as conn:
        facts = role_facts(conn)
        for attempt in range(_ATTEMPTS):
            if facts.ready or not facts.may_create:
                break
            try:
                conn.exec_driver_sql(_CREATE)
                conn.exec_driver_sql(_GRANT)
                conn.commit()
            except sa.exc.DBAPIError as error:
                conn.rollback()
                refused = (
                    psycopg.errors.InsufficientPrivilege,
                    psycopg.errors.ReadOnlySqlTransaction,
                )
                if isinstance(error.orig, refused):
                    break
                # "tuple concurrently updated": another database of the cluster does the same.
                if not isinstance(error.orig, psycopg.errors.InternalError_) or (
                    attempt + 1 == _ATTEMPTS
                ):
                    raise
                time.sleep(0.05 * (attempt + 1))
            facts = role_facts(conn)
        if not facts.ready:
            _log.info("Role %s is not there, or %s may not change to it", ROLE, facts.user)
        return facts


def administrators_statements(facts: RoleFacts) -> str:
    """Return the SQL by which an administrator makes the role, and the user a member of it."""
    quoted = '"' + facts.user.replace('"', '""') + '"'
    create = "" if facts.there else f"create role {ROLE} nologin; "
    return f"{create}grant {ROLE} to {quoted};"


_STANDING = sa.text(
    """
    select r.rolsuper, r.rolbypassrls, r.rolcanlogin, r.rolcreaterole, r.rolcreatedb,
        r.rolreplication,
        array(select pg_catalog.pg_get_userbyid(m.roleid)::text from pg_catalog.pg_auth_members m
            where m.member = r.oid order by 1) as member_of
    from pg_catalog.pg_roles r where r.rolname = :role
    """
)


def role_faults(conn: sa.Connection) -> list[str]:
    """Say what is wrong with the role: a right of a superuser, or a role that it is a member of."""
    row = conn.execute(_STANDING, {"role": ROLE}).one_or_none()
    if row is None:
        return ["is missing"]
    faults = [
        said
        for given, said in (
            (row.rolsuper, "is a superuser"),
            (row.rolbypassrls, "has BYPASSRLS"),
            (row.rolcreaterole, "has CREATEROLE"),
            (row.rolcreatedb, "has CREATEDB"),
            (row.rolreplication, "has REPLICATION"),
            (row.rolcanlogin, "may log in"),
        )
        if given
    ]
    return [*faults, *(f"is a member of {name}" for name in row.member_of)]


#: Relations beside the described ones on which the role has a right, its own or everybody's.
_FURTHER = sa.text(
    """
    select n.nspname || '.' || c.relname
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f')
        and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        and (n.nspname || '.' || c.relname) <> all(:known)
        and pg_catalog.has_schema_privilege(:role, n.oid, 'USAGE')
        and (pg_catalog.has_table_privilege(:role, c.oid, 'DELETE, TRUNCATE')
            or pg_catalog.has_any_column_privilege(:role, c.oid, 'SELECT, INSERT, UPDATE'))
        and not exists (select from pg_catalog.pg_depend d where d.objid = c.oid
            and d.classid = 'pg_catalog.pg_class'::regclass and d.deptype = 'e')
    order by 1
    """
)


def further_relations(conn: sa.Connection, known: Sequence[str]) -> list[str]:
    """Return schema.name of relations that nothing describes and that the role has rights on."""
    return list(conn.execute(_FURTHER, {"role": ROLE, "known": list(known)}).scalars())
