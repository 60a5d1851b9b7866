"""The definitions of functions, as PostgreSQL has them and as a statement would make them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.shape.scratch import SCRATCH, scratch

_SQL = """
select p.proname, pg_get_function_identity_arguments(p.oid), case when p.prokind in ('f', 'w', 'p')
    then pg_get_functiondef(p.oid) else 'aggregate' end
from pg_proc p where p.pronamespace = {namespace} order by 1, 2
"""
_QUALIFIED = re.compile(r'^(CREATE OR REPLACE (?:FUNCTION|PROCEDURE) )(?:"(?:[^"]|"")*"|\w+)\.')
_NAMED = re.compile(r"^create(?: or replace)? function \S+?\(", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FunctionState:
    """A function: its name, the types of its arguments, its whole definition without its schema."""

    name: str
    arguments: str
    definition: str

    @property
    def signature(self) -> str:
        """Name and arguments."""
        return f"{self.name}({self.arguments})"


def read_functions(conn: sa.Connection, schema: str) -> list[FunctionState]:
    """Return every function of a schema."""
    namespace = "pg_my_temp_schema()" if schema == SCRATCH else "to_regnamespace(%(schema)s)"
    with scratch(conn):
        conn.exec_driver_sql("set local search_path = pg_catalog")
        quoted = conn.exec_driver_sql("select quote_ident(%s)", (schema,)).scalar_one()
        found = conn.exec_driver_sql(_SQL.format(namespace=namespace), {"schema": quoted}).all()
    return [FunctionState(row[0], row[1], _without_schema(row[2])) for row in found]


def _without_schema(definition: str) -> str:
    """Return a definition whose function is named without its schema; its body stays as it is."""
    return _QUALIFIED.sub(r"\1", definition, count=1)


def described_functions(
    conn: sa.Connection, statements: Mapping[str, str] | Iterable[tuple[str, str]]
) -> list[FunctionState]:
    """Return the functions that PostgreSQL makes of statements.

    Args:
        conn: to the target database.
        statements: name -> ``create function SCHEMA.NAME(...) ...``; the schema is not touched.
    """
    with scratch(conn):
        driver = driver_of(conn)
        for name, statement in dict(statements).items():
            place = sql.Identifier(SCRATCH, name).as_string()
            head = _NAMED.match(statement)
            assert head is not None, f"{name} is not one statement that makes a function"
            driver.execute(f"create function {place}({statement[head.end() :]}".encode())
        return read_functions(conn, SCRATCH)


def function_faults(
    expected: Iterable[FunctionState], observed: Iterable[FunctionState]
) -> dict[str, str]:
    """Say which functions are missing or differ, and which others a call may find instead.

    Functions of other names are not looked at.

    Returns:
        Fault -> the first line that differs, "" where none is compared.
    """
    wanted = {function.signature: function for function in expected}
    names = {function.name for function in wanted.values()}
    there = {function.signature: function for function in observed if function.name in names}
    faults = {}
    for signature, function in sorted(wanted.items()):
        found = there.get(signature)
        if found is None:
            faults[f"{function.name} is missing"] = ""
        elif found.definition != function.definition:
            faults[f"{function.name} differs"] = _place(function, found)
    for signature in sorted(there.keys() - wanted.keys()):
        faults[f"{signature} is another function of that name"] = ""
    return faults


def _place(expected: FunctionState, observed: FunctionState) -> str:
    """Show the first line that differs."""
    wanted, found = expected.definition.splitlines(), observed.definition.splitlines()
    for one, other in zip(wanted, found, strict=False):
        if one != other:
            return f"{other.strip()[:80]!r}, not {one.strip()[:80]!r}"
    return f"{len(found)} lines, not {len(wanted)}"
