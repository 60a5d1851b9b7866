"""What tables take over from the live ones whose place they take: owners, options, privileges."""

from collections.abc import Mapping

import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of

_GRANTS = sa.text(
    """
    select c.relname as name, null as attribute, x.grantee, x.privilege_type, x.is_grantable
    from pg_class c, aclexplode(c.relacl) x
    where c.oid = any(:relations) and x.grantee <> c.relowner
    union all
    select c.relname, a.attname, x.grantee, x.privilege_type, x.is_grantable
    from pg_class c join pg_attribute a on a.attrelid = c.oid, aclexplode(a.attacl) x
    where c.oid = any(:relations) and x.grantee <> c.relowner
    """
)


def carry_over(
    conn: sa.Connection, live: Mapping[str, int], other: Mapping[str, int], schema: str
) -> None:
    """Give tables the owners, options and privileges of the live ones of the same name.

    Args:
        conn: in a transaction, as the owner of both.
        live: name -> number of the live tables.
        other: name -> number of those that take their place.
        schema: of these.
    """
    traits = sa.text(
        "select relname, pg_get_userbyid(relowner) as owner, coalesce(reloptions, '{}') as options "
        "from pg_class where oid = any(:relations)"
    )
    wanted = {row.relname: row for row in conn.execute(traits, {"relations": list(live.values())})}
    for row in conn.execute(traits, {"relations": list(other.values())}).all():
        model = wanted.get(row.relname)
        if model is None:
            continue
        table = sql.Identifier(schema, row.relname)
        if model.owner != row.owner:
            change = sql.SQL("alter table {} owner to {}")
            driver_of(conn).execute(change.format(table, sql.Identifier(model.owner)))
        for option in sorted(set(model.options) - set(row.options)):
            key, _, value = option.partition("=")
            change = sql.SQL("alter table {} set ({} = {})")
            driver_of(conn).execute(change.format(table, sql.Identifier(key), sql.Literal(value)))
    granted = {tuple(row) for row in conn.execute(_GRANTS, {"relations": list(live.values())})}
    present = {tuple(row) for row in conn.execute(_GRANTS, {"relations": list(other.values())})}
    names: Mapping[int, str] = {
        row.oid: row.rolname
        for row in conn.execute(sa.text("select oid::bigint as oid, rolname from pg_roles"))
    }
    for verb, grants in (("revoke", present - granted), ("grant", granted - present)):
        for name, attribute, grantee, privilege, grantable in sorted(grants, key=repr):
            role = sql.Identifier(names[grantee]) if grantee else sql.SQL("public")
            driver_of(conn).execute(
                sql.SQL("{verb} {privilege} {column} on table {table} {to} {role} {option}").format(
                    verb=sql.SQL(verb),
                    privilege=sql.SQL(privilege),
                    column=sql.SQL("({})").format(sql.Identifier(attribute))
                    if attribute
                    else sql.SQL(""),
                    table=sql.Identifier(schema, name),
                    to=sql.SQL("to" if verb == "grant" else "from"),
                    role=role,
                    option=sql.SQL("with grant option" if grantable and verb == "grant" else ""),
                )
            )
