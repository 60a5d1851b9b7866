"""The SQL functions by which any client searches: made, compared, and dropped."""

from collections.abc import Iterator, Sequence

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table
from memos_assets.errors import TargetError
from memos_assets.finding import Finding
from memos_assets.postgres import advisory_locks
from memos_assets.postgres.connection import driver_of, first_line
from memos_assets.search.function_sources import functions

#: Begins the comment of every function of ours; its digest follows.
_MARK = "memos-assets "
#: Digest of a function as PostgreSQL has it: source, settings, types, rights.
_INSTALLED = (
    "left(encode(sha256(convert_to(concat_ws(' ', p.prosrc, p.proconfig, p.proargtypes, "
    "p.provolatile, p.prosecdef, p.prorettype), 'UTF8')), 'hex'), 16)"
)


def vector_schema(conn: sa.Connection) -> str:
    """Return the schema that the extension ``vector`` is in."""
    return str(
        conn.execute(
            sa.text(
                "select n.nspname from pg_extension e join pg_namespace n "
                "on n.oid = e.extnamespace where e.extname = 'vector'"
            )
        ).scalar_one()
    )


def _present(conn: sa.Connection, schema: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, signature and digest of every installed function of ours."""
    for name, signature, comment, installed in conn.execute(
        sa.text(
            f"select p.proname, p.oid::regprocedure::text, d.description, {_INSTALLED} "
            "from pg_proc p "
            "join pg_namespace n on n.oid = p.pronamespace "
            "join pg_description d on d.objoid = p.oid and d.classoid = 'pg_proc'::regclass "
            "where n.nspname = :schema and d.description like :mark order by 1"
        ),
        {"schema": schema, "mark": f"{_MARK}%"},
    ):
        digest, _, when_made = comment.removeprefix(_MARK).partition(" ")
        yield name, signature, digest if when_made == installed else "changed"


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
    installed = list(_present(conn, schema))
    current = {
        name for name, _, digest in installed if name in wanted and wanted[name].digest == digest
    }
    made = [name for name in wanted if name not in current]
    driver = driver_of(conn)
    try:
        for name, signature, _ in installed:
            if name not in current:
                driver.execute(sql.SQL("drop function {}").format(sql.SQL(signature)))
        for name in made:
            function = wanted[name]
            driver.execute(function.statement.encode())
            (installed_now,) = driver.execute(
                f"select {_INSTALLED} from pg_proc p where p.oid = %s::regproc",
                (f"{schema}.{name}",),
            ).fetchone() or ("",)
            driver.execute(
                sql.SQL("comment on function {} is {}").format(
                    sql.Identifier(schema, name),
                    sql.Literal(f"{_MARK}{function.digest} {installed_now}"),
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
    """V15: the search functions are exactly those of this checkout."""
    wanted = {f.name: f.digest for f in functions(schema, tables, vector_schema(conn))}
    installed = {name: digest for name, _, digest in _present(conn, schema)}
    missing = sorted(wanted.keys() - installed.keys())
    other = sorted(n for n, digest in installed.items() if n in wanted and wanted[n] != digest)
    faults = [f"{name} is missing" for name in missing] + [f"{name} differs" for name in other]
    return Finding(
        not faults,
        expected=f"{len(wanted)} functions as this checkout makes them",
        observed="; ".join(faults) or f"{len(wanted)} of them",
        evidence={"functions": sorted(wanted)},
    )
