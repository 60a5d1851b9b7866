"""What keeps us from writing to a database, found before the first write and its backup.

Nothing here writes. What is refused: a read-only server, schemas of ours that others own, objects
of others in them, tables of others in the place of memOS's, and a user who lacks the rights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres import migrations, schemas
from memos_assets.postgres.application.adoptability import refuse_unadoptable
from memos_assets.postgres.application.found_tables import find_table
from memos_assets.postgres.application.presence import unadopted
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.engine import shown

_MOST_NAMED = 3

#: Schemas that a revision of ours, or Dagster's storage, creates and fills.
_OURS = tuple(schema.name for schema in schemas.SCHEMAS if schema is not schemas.APPLICATION)
#: Of these nothing is there before the first revision.
_EMPTY = (schemas.DATA.name, schemas.AGENT.name, schemas.OPS.name)

#: Owners that could do as they like anyway: ourselves, roles that we are a member of in fact (a
#: superuser is one of all only in effect), superusers, and the owner of the database.
_OWNERS = sa.text(
    """
    with recursive ours (member) as (
        select oid from pg_catalog.pg_roles where rolname = current_user
        union
        select a.roleid from pg_catalog.pg_auth_members a join ours on a.member = ours.member
    )
    select n.nspname as schema, pg_catalog.pg_get_userbyid(n.nspowner) as owner
    from pg_catalog.pg_namespace n
    where n.nspname = any(:names)
        and not exists (select from ours where ours.member = n.nspowner)
        and not exists (select from pg_catalog.pg_roles r where r.oid = n.nspowner and r.rolsuper)
        and n.nspowner <> (
            select datdba from pg_catalog.pg_database where datname = current_database()
        )
    order by 1
    """
)

#: Tables, views, sequences, functions and types; not what an extension brought.
_OBJECTS = sa.text(
    """
    select pg_catalog.pg_describe_object(class, object, 0)
    from (
        select 'pg_catalog.pg_class'::regclass as class, oid as object, relnamespace as schema
        from pg_catalog.pg_class where relkind not in ('i', 'I', 't', 'c') and relname <> :book
        union all
        select 'pg_catalog.pg_proc'::regclass, oid, pronamespace from pg_catalog.pg_proc
        union all
        select 'pg_catalog.pg_type'::regclass, oid, typnamespace from pg_catalog.pg_type t
        where typelem = 0 and (typrelid = 0 or exists (
            select from pg_catalog.pg_class c where c.oid = t.typrelid and c.relkind = 'c'
        )) and typtype <> 'm'
    ) found
    join pg_catalog.pg_namespace n on n.oid = found.schema
    where n.nspname = any(:names) and not exists (
        select from pg_catalog.pg_depend d
        where d.classid = found.class and d.objid = found.object and d.deptype = 'e'
    )
    order by 1
    """
)

_LACKS = sa.text(
    """
    with wanted (name) as (select pg_catalog.unnest(cast(:names as text[])))
    select 'create schemas in this database' from wanted
    where pg_catalog.to_regnamespace(name) is null
        and not pg_catalog.has_database_privilege(current_database(), 'CREATE')
    union
    select 'create in schema ' || name from wanted
    where not pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace(name), 'CREATE')
    order by 1
    """
)


def refuse_unwritable(engine: sa.Engine) -> None:
    """Refuse a database that `migrations.upgrade` could not, or should not, write to.

    Where the schema is at this checkout's revision, only tables of memOS that came since matter.

    Raises:
        TargetError: M305 its revision is unknown; M307 this user may not; M344 others have objects
            in our schemas; M345 others own one of these; M346 it is read-only; M350, M351, M353 as
            `refuse_unadoptable`.
    """
    where = shown(engine.url)
    revision = migrations.known_revision(engine)
    with engine.connect() as conn:
        if revision != migrations.head():
            _refuse_read_only(conn, where)
            if revision is None:
                refuse_foreign_schemas(conn, where, _OURS)
                _refuse_objects(conn, where)
            _refuse_rights(conn, where)
        for name in unadopted(conn):
            found = find_table(conn, name)
            if found is not None:
                refuse_unadoptable(conn, found, list(APPLICATION[name].columns))


def refuse_foreign_schemas(conn: sa.Connection, where: str, names: Sequence[str]) -> None:
    """Refuse schemas of ours that another role made beforehand: it could drop what we put there.

    Args:
        conn: to the database.
        where: its address, for people.
        names: of schemas; those that are missing are left out.

    Raises:
        TargetError: M345 names the first of them and its owner.
    """
    found = conn.execute(_OWNERS, {"names": list(names)}).first()
    if found is not None:
        raise TargetError(
            "M345",
            f"schema {found.schema} belongs to role {found.owner}, which could change or drop "
            "everything in it",
            where=where,
            fix=f"as a superuser: alter schema {found.schema} owner to this user, if it is empty "
            "or yours; or point MEMOS_DATABASE_URL to another database",
        )


def _refuse_objects(conn: sa.Connection, where: str) -> None:
    known: Mapping[str, Any] = {"names": list(_EMPTY), "book": migrations.VERSION_TABLE}
    found = conn.execute(_OBJECTS, known).scalars().all()
    if found:
        more = len(found) - _MOST_NAMED
        raise TargetError(
            "M344",
            "holds no consolidation, and others have objects in our schemas: "
            + ", ".join(found[:_MOST_NAMED])
            + (f" and {more} more" if more > 0 else ""),
            where=where,
            fix="move them to a schema of their own (alter table ... set schema ...) or drop them; "
            "or point MEMOS_DATABASE_URL to another database",
        )


def _refuse_read_only(conn: sa.Connection, where: str) -> None:
    standby, read_only = conn.exec_driver_sql(
        "select pg_catalog.pg_is_in_recovery(), "
        "pg_catalog.current_setting('transaction_read_only') = 'on'"
    ).one()
    if standby or read_only:
        reason = "it is a standby" if standby else "default_transaction_read_only is on"
        raise migrations.read_only(where, reason)


def _refuse_rights(conn: sa.Connection, where: str) -> None:
    lacks = conn.execute(_LACKS, {"names": list(_EMPTY)}).scalars().all()
    if lacks:
        raise migrations.may_not(where, f"it may not {lacks[0]}")
