"""The SQL functions by which any client searches: made, compared, and dropped."""

from collections.abc import Iterable, Sequence

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table
from memos_assets.errors import TargetError
from memos_assets.finding import Finding
from memos_assets.postgres import advisory_locks, migrations, schemas
from memos_assets.postgres.connection import driver_of, first_line
from memos_assets.postgres.shape.functions import (
    FunctionState,
    described_functions,
    function_faults,
    read_functions,
)
from memos_assets.postgres.shape.scratch import vector_schema
from memos_assets.search.function_sources import Function, functions

__all__ = ["functions_are_ours", "install", "vector_schema"]

#: Begins the comment of every function of ours; the digest of its source follows.
_MARK = "memos-assets "


def _marked(conn: sa.Connection, schema: str) -> list[tuple[str, str]]:
    """Return name and signature of every installed function of ours, also of former checkouts."""
    found = conn.execute(
        sa.text(
            "select p.proname, p.oid::regprocedure::text from pg_proc p "
            "join pg_namespace n on n.oid = p.pronamespace "
            "join pg_description d on d.objoid = p.oid and d.classoid = 'pg_proc'::regclass "
            "where n.nspname = :schema and d.description like :mark order by 1"
        ),
        {"schema": schema, "mark": f"{_MARK}%"},
    )
    return [(row[0], row[1]) for row in found]


def _described(conn: sa.Connection, wanted: Iterable[Function]) -> dict[str, FunctionState]:
    """Return name -> the function that PostgreSQL makes of each."""
    statements = {function.name: function.statement for function in wanted}
    return {made.name: made for made in described_functions(conn, statements)}


def install(conn: sa.Connection, schema: str, tables: Sequence[Table]) -> list[str]:
    """Make the functions that are missing or differ, and drop those of former checkouts.

    Args:
        conn: in a transaction.
        schema: of the functions.
        tables: all that are searched by functions of this schema; those of others are dropped.

    Returns:
        Names of the functions that were made.

    Raises:
        TargetError: M325 PostgreSQL refuses, such as where a view of others uses one.
    """
    wanted = {
        function.name: function for function in functions(schema, tables, vector_schema(conn))
    }
    advisory_locks.FUNCTIONS.wait(conn)
    described = _described(conn, wanted.values())
    there = {state.signature: state for state in read_functions(conn, schema)}
    installed = _marked(conn, schema)
    current = {
        name
        for name, _ in installed
        if name in described and there.get(described[name].signature) == described[name]
    }
    made = [name for name in wanted if name not in current]
    driver = driver_of(conn)
    try:
        for name, signature in installed:
            if name not in current:
                driver.execute(sql.SQL("drop function {}").format(sql.SQL(signature)))
        for name in made:
            function = wanted[name]
            driver.execute(function.statement.encode())
            driver.execute(
                sql.SQL("comment on function {}({}) is {}").format(
                    sql.Identifier(schema, name),
                    sql.SQL(described[name].arguments),
                    sql.Literal(f"{_MARK}{function.digest}"),
                )
            )
    except psycopg.Error as error:
        raise TargetError(
            "M325",
            f"the search functions cannot be made ({first_line(error)})",
            where=f"schema {schema}",
            fix="drop what is named or depends on it, then run again",
        ) from error
    return made


def functions_are_ours(conn: sa.Connection, schema: str, tables: Sequence[Table]) -> Finding:
    """V15: the search functions are exactly those of this checkout, and the only ones of a name.

    Definitions are compared as PostgreSQL writes them, so a database that was dumped and restored
    is judged like the one that it was. The functions that make ``search_text`` are in it.
    """
    wanted = functions(schema, tables, vector_schema(conn))
    faults = function_faults(_described(conn, wanted).values(), read_functions(conn, schema))
    documents = migrations.functions_made()
    faults |= function_faults(
        described_functions(conn, documents), read_functions(conn, schemas.DATA.name)
    )
    names = sorted({function.name for function in wanted} | documents.keys())
    return Finding(
        not faults,
        expected=f"{len(names)} functions as this checkout makes them, one of each name",
        observed="; ".join(faults) or f"{len(names)} of them",
        evidence={
            "functions": names,
            "faults": [f"{what}: {where}".rstrip(": ") for what, where in faults.items()],
        },
    )
