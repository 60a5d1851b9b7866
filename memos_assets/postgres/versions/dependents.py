"""What of others hangs on the consolidated tables, and would stay with them when they move away.

A view, a foreign key or a trigger follows a table by its number, not by its name: after a swap it
would still show, guard or feed the former version.
"""

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.errors import TargetError
from memos_assets.postgres.schema.consolidated import tables_of

_MOST_NAMED = 5

_RELATIONS = sa.text(
    "select c.relname, c.oid::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace "
    "where n.nspname = :schema and c.relname = any(:names) and c.relkind in ('r', 'p') "
    "order by c.relname"
)

#: Dependencies of kind n and a are those that others may have; i belongs to the table itself.
_HANGING = sa.text(
    """
    with ours as (
        select 'pg_class'::regclass as classid, c.oid from pg_class c where c.oid = any(:relations)
        union all
        select 'pg_type'::regclass, t.oid from pg_class c
        join pg_type own on own.oid = c.reltype
        join pg_type t on t.oid in (own.oid, own.typarray)
        where c.oid = any(:relations)
    )
    select pg_describe_object(d.classid, d.objid, d.objsubid)
    from pg_depend d
    join ours on ours.classid = d.refclassid and ours.oid = d.refobjid
    left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
    left join pg_class r on d.classid = 'pg_class'::regclass and r.oid = d.objid
    left join pg_trigger g on d.classid = 'pg_trigger'::regclass and g.oid = d.objid
    left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
    where d.deptype in ('n', 'a')
        and (k.oid is null or k.conrelid <> all(:relations)
            or k.contype <> 'n' and k.conname <> all(:constraints))
        and (r.oid is null or r.oid <> all(:relations) and r.relname <> all(:indexes))
        and (g.oid is null or not g.tgisinternal)
        and (f.oid is null or not exists (select from pg_attribute a
            where a.attrelid = f.adrelid and a.attnum = f.adnum and a.attgenerated <> ''))
    union
    select 'publication ' || quote_ident(pubname) from pg_publication_tables
    where schemaname = :schema and tablename = any(:names)
    union
    select 'row security of table ' || oid::regclass from pg_class
    where oid = any(:relations) and relrowsecurity
    union
    select 'column ' || quote_ident(a.attname) || ' of table ' || c.oid::regclass
    from pg_attribute a join pg_class c on c.oid = a.attrelid
    where c.oid = any(:relations) and a.attnum > 0 and not a.attisdropped
        and c.relname || '.' || a.attname <> all(:columns)
    order by 1
    """
)


def own_indexes(catalog: Catalog) -> frozenset[str]:
    """Return the names of the indexes that are ours: of keys, of chunks, for searches."""
    tables = tables_of(catalog).tables.values()
    names = {str(index.name) for table in tables for index in table.indexes}
    names |= {f"{spec.name}_pkey" for spec in catalog.tables}
    for spec in catalog.tables:
        names |= {index.name for index in spec.vector_indexes}
        names |= {f"{spec.name}_{column.name}_gin" for column in spec.searched}
        names |= {spec.text_index} if spec.text_index else set()
    return frozenset(names)


def relations(conn: sa.Connection, catalog: Catalog, schema: str) -> dict[str, int]:
    """Return the consolidated tables that a schema holds, by name, with their numbers."""
    found = conn.execute(
        _RELATIONS, {"schema": schema, "names": [spec.name for spec in catalog.tables]}
    )
    return {row.relname: row.oid for row in found}


def hanging_on(conn: sa.Connection, catalog: Catalog) -> list[str]:
    """Describe every object of others that depends on the live tables."""
    schema, tables = catalog.schema, tables_of(catalog).tables.values()
    ours = relations(conn, catalog, schema)
    preparer = conn.dialect.identifier_preparer
    found = conn.execute(
        _HANGING,
        {
            "schema": schema,
            "names": list(ours),
            "relations": list(ours.values()),
            "indexes": sorted(own_indexes(catalog)),
            "constraints": [
                preparer.format_constraint(constraint)
                for table in tables
                for constraint in table.constraints
            ],
            "columns": [
                f"{table.name}.{column.name}" for table in tables for column in table.columns
            ],
        },
    )
    return [str(what) for what in found.scalars()]


def refuse_hanging(conn: sa.Connection, catalog: Catalog) -> None:
    """Refuse to move the live tables away from under objects of others.

    Raises:
        TargetError: M331 naming them.
    """
    found = hanging_on(conn, catalog)
    if found:
        more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        raise TargetError(
            "M331",
            f"{', '.join(found[:_MOST_NAMED])}{more} would stay with the former version",
            where=f"schema {catalog.schema}",
            fix="drop them, swap, and create them again (functions and queries by name do "
            "not stop a swap); or consolidate without --swap",
        )
