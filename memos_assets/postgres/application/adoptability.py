"""Refusals to adopt a table of memOS, found by reading it alone."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import TargetError
from memos_assets.postgres.application.found_tables import FoundTable, differences_from

_MOST_NAMED = 5

#: Indexes, defaults, constraints and statistics are converted with a column; these are not.
_HOLDING = sa.text(
    """
    select distinct regexp_replace(
        pg_describe_object(d.classid, d.objid, d.objsubid), '^rule _RETURN on ', ''
    )
    from pg_depend d join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
    where d.refclassid = 'pg_class'::regclass and d.refobjid = :number
        and a.attname = any(:columns) and d.classid in (
            'pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass,
            'pg_proc'::regclass
        )
    order by 1
    """
)

_MAY_CHANGE = sa.text(
    "select pg_catalog.pg_has_role(relowner, 'USAGE') from pg_catalog.pg_class where oid = :number"
)


def refuse_unadoptable(
    conn: sa.Connection, table: FoundTable, columns: Sequence[sa.Column[Any]]
) -> None:
    """Refuse what an adoption would refuse, before anything is written.

    Args:
        conn: to the database.
        table: from `found_tables.find_table`.
        columns: those that memOS's table has, the key first.

    Raises:
        TargetError: M350 it is another table; M351 something hangs on a JSON column; M353 this
            user may not change it.
    """
    refuse_others(table, columns)
    converted = [c.name for c in columns if table.columns[c.name] == "json"]
    if not converted:
        return
    if not conn.execute(_MAY_CHANGE, {"number": table.number}).scalar_one():
        raise may_not_adopt(f"must be owner of table {table.name}")
    refuse_dependents(conn, table, converted)


def may_not_adopt(reason: str) -> TargetError:
    """Return the refusal of a user who lacks the rights, M353."""
    return TargetError(
        "M353",
        f"this user may not adopt memOS's tables ({reason})",
        where=f"schema {APPLICATION_SCHEMA}",
        fix="connect once as their owner, with the right to create in the schema and "
        "to see every row; or run `memos-assets migrate` as a superuser",
    )


def refuse_others(table: FoundTable, columns: Sequence[sa.Column[Any]]) -> None:
    """Refuse a table that has the name of one of memOS's and another structure, M350."""
    differences = differences_from(table, columns)
    if differences:
        more = len(differences) - _MOST_NAMED
        raise TargetError(
            "M350",
            "it has the name of a table of memOS and is another one: "
            + ", ".join(differences[:_MOST_NAMED])
            + (f" and {more} more" if more > 0 else ""),
            where=table.where,
            fix="rename it or move it to another schema; or point MEMOS_DATABASE_URL to another "
            "database",
        )


def refuse_dependents(conn: sa.Connection, table: FoundTable, columns: list[str]) -> None:
    """Refuse columns whose type something else depends on, M351."""
    found = conn.execute(_HOLDING, {"number": table.number, "columns": columns}).scalars().all()
    if found:
        more = len(found) - _MOST_NAMED
        named = ", ".join(found[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        raise dependent(table, f"{named} depend{'s' if len(found) == 1 else ''} on it")


def dependent(table: FoundTable, what: str) -> TargetError:
    """Return the refusal of a table whose column cannot be changed, M351."""
    return TargetError(
        "M351",
        f"the type of a JSON column cannot be changed: {what}",
        where=table.where,
        fix="drop what it names, run again, and create it again",
    )
