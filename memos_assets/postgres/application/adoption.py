"""Take tables of memOS over where they are: `json` becomes `jsonb`, and nothing else changes.

Revision 0004 calls this, in its one transaction, with the tables as they were described then.
jsonb keeps neither spelling nor order nor repeated keys, and refuses some of what json takes; the
original text of every such value is kept, so that the way back is exact. docs/decisions/007.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.errors import TargetError
from memos_assets.postgres.application.adoptability import (
    dependent,
    may_not_adopt,
    refuse_dependents,
    refuse_others,
)
from memos_assets.postgres.application.found_tables import FoundTable, find_table
from memos_assets.postgres.connection import driver_of, first_line, has_rows, in_force, put_in_force
from memos_assets.postgres.vector_names import VectorName

_log = logging.getLogger(__name__)

#: Values in the text that a digest is made of must not depend on how a session is set up. A policy
#: that hides rows from us is an error: hidden rows would lose their originals.
_SETTINGS = {
    "extra_float_digits": "1",
    "DateStyle": "ISO",
    "bytea_output": "hex",
    "row_security": "off",
}

#: A value that jsonb refuses changes as the rule `replace_characters` changes it: \u0000 and halves
#: of surrogate pairs become U+FFFD. What is refused even then becomes a string of its JSON text.
_FUNCTIONS = (
    r"""
    create function memos_ops.with_characters_replaced(value text) returns text
    language sql immutable strict as $body$
        select string_agg(
            case when token[1] ~* '^\\u(0000|d[89a-f][0-9a-f]{2})$' then '\ufffd' else token[1] end,
            '' order by place
        )
        from regexp_matches(
            value,
            '\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
                || '|\\u[0-9a-fA-F]{4}|\\.|[^\\]+',
            'g'
        ) with ordinality as found (token, place)
    $body$
    """,
    """
    create function memos_ops.as_jsonb(value json) returns jsonb
    language plpgsql immutable strict as $body$
    begin
        return value::text::jsonb;
    exception when data_exception or program_limit_exceeded then
        begin
            return memos_ops.with_characters_replaced(value::text)::jsonb;
        exception when data_exception or program_limit_exceeded then
            return to_jsonb(value::text);
        end;
    end $body$
    """,
    """
    create function memos_ops.as_json(
        held_table text, held_column text, held_key text, value jsonb
    ) returns json
    language sql stable strict as $body$
        select coalesce(
            (
                select o.original::json from memos_ops.json_originals o
                where (o.table_name, o.column_name, o.key) = (held_table, held_column, held_key)
                    and o.converted = value
            ),
            value::text::json
        )
    $body$
    """,
)
_DROP_FUNCTIONS = (
    "drop function memos_ops.as_json, memos_ops.as_jsonb, memos_ops.with_characters_replaced"
)


@contextmanager
def adopting(conn: sa.Connection, names: Sequence[str]) -> Iterator[None]:
    """Lock the tables that are there, and have what a conversion needs, for a block.

    Raises:
        TargetError: M352 the application holds one of them for longer than ``lock_timeout``; M353
            this user may not change or read one of them, or not create one.
    """
    before = in_force(conn, _SETTINGS)
    try:
        put_in_force(conn, _SETTINGS)
        for statement in _FUNCTIONS:
            conn.exec_driver_sql(statement)
        for name in names:
            found = find_table(conn, name)
            if found is not None and found.is_table:
                _run(conn, sql.SQL("lock table {} in access exclusive mode"), found)
        yield
        conn.exec_driver_sql(_DROP_FUNCTIONS)
        put_in_force(conn, before)
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        if isinstance(cause, psycopg.errors.LockNotAvailable | psycopg.errors.DeadlockDetected):
            raise TargetError(
                "M352",
                f"a table of memOS is in use ({first_line(error)})",
                where=f"schema {APPLICATION_SCHEMA}",
                fix="let memOS finish or stop it for a moment, then run again; "
                "MEMOS_LOCK_TIMEOUT_MS says how long to wait",
            ) from None
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise may_not_adopt(first_line(error)) from None
        raise


def adopt(conn: sa.Connection, table: FoundTable, columns: Sequence[sa.Column[Any]]) -> None:
    """Convert the JSON columns of a table that memOS made, and write down how it was.

    Args:
        conn: within `adopting`.
        table: from `find_table`.
        columns: those that memOS's table has, the key first; others beside them are left alone.

    Raises:
        TargetError: M350 it is another table; M351 something hangs on a JSON column; M354 a value
            would not be what it was.
    """
    refuse_others(table, columns)
    converted = [c.name for c in columns if table.columns[c.name] == "json"]
    key = columns[0].name
    as_jsonb = {
        name: sql.SQL("memos_ops.as_jsonb({})").format(sql.Identifier(name)) for name in converted
    }
    for name in converted:
        _keep_originals(conn, table, key, name)
    before, after = _convert(conn, table, "jsonb", as_jsonb)
    _write_down(conn, table, before, after, adopted=True, converted=converted)


def record_created(conn: sa.Connection, name: str) -> None:
    """Write down a table that we created, as empty as it is."""
    table = find_table(conn, name)
    assert table is not None
    digest = _digest(conn, table, {})
    _write_down(conn, table, digest, digest, adopted=False, converted=[])


def give_back(conn: sa.Connection, described: Mapping[str, Sequence[sa.Column[Any]]]) -> None:
    """Undo an adoption: columns are `json` again; what we created goes, unless it has rows.

    A value that is still what was made of it at the adoption gets its original text, byte for byte.

    Args:
        conn: within `adopting`.
        described: name -> columns, the key first; tables come after those that they name.

    Raises:
        TargetError: M350, M351, M354 as `adopt`.
    """
    book = sa.text(
        "select adopted, converted from memos_ops.application_tables where table_name = :name"
    )
    for name, columns in reversed(list(described.items())):
        table, entry = find_table(conn, name), conn.execute(book, {"name": name}).one_or_none()
        if table is None or not table.is_table or entry is None:
            continue
        if not entry.adopted:
            _drop_empty(conn, table)
            continue
        key = columns[0].name
        if key not in table.columns:
            refuse_others(table, columns)
        as_json = {
            column: sql.SQL("memos_ops.as_json({}, {}, {}::text, {})").format(
                sql.Literal(name), sql.Literal(column), sql.Identifier(key), sql.Identifier(column)
            )
            for column in entry.converted
            if table.columns.get(column) == "jsonb"
        }
        _convert(conn, table, "json", as_json)


def _keep_originals(conn: sa.Connection, table: FoundTable, key: str, column: str) -> None:
    """Keep the text of every value that jsonb does not give back as it was."""
    # `offset 0` keeps the planner from evaluating the conversion twice.
    _run(
        conn,
        sql.SQL(
            "insert into memos_ops.json_originals (table_name, column_name, key, original, "
            "converted) select {name}, {column_name}, key, original, converted from ("
            "select {key}::text as key, {column}::text as original, "
            "memos_ops.as_jsonb({column}) as converted from {table} where {column} is not null "
            "offset 0) found where original <> converted::text"
        ),
        table,
        name=sql.Literal(table.name),
        column_name=sql.Literal(column),
        key=sql.Identifier(key),
        column=sql.Identifier(column),
    )


def _convert(
    conn: sa.Connection,
    table: FoundTable,
    type_name: str,
    expressions: Mapping[str, sql.Composable],
) -> tuple[str, str]:
    """Change the type of columns and compare every value before and after."""
    before = _digest(conn, table, expressions)
    if expressions:
        refuse_dependents(conn, table, list(expressions))
        changes = sql.SQL(", ").join(
            sql.SQL("alter column {} type {} using {}").format(
                sql.Identifier(column), sql.SQL(type_name), expression
            )
            for column, expression in expressions.items()
        )
        try:
            _run(conn, sql.SQL("alter table {} {changes}"), table, changes=changes)
        except psycopg.errors.InsufficientPrivilege:
            raise
        except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
            detail = error.diag.message_detail or first_line(error)
            raise dependent(table, detail.rstrip(".")) from None
        _run(conn, sql.SQL("analyze {} ({columns})"), table, columns=_names(list(expressions)))
    after = _digest(conn, table, {})
    if before != after:
        raise TargetError(
            "M354",
            f"its rows are not what they were after columns became {type_name}; "
            "everything is as it was before",
            where=table.where,
            fix="find out what else changes the table then (an event trigger?), run again",
        )
    return before, after


def _digest(
    conn: sa.Connection, table: FoundTable, expressions: Mapping[str, sql.Composable]
) -> str:
    """Return rows and a digest of all values of all rows, in any order of them.

    Args:
        conn: within `adopting`.
        table: that is read.
        expressions: what to read instead of a column.
    """
    values = sql.SQL(", ").join(
        expressions.get(name) or _read(name, type_name)
        for name, type_name in sorted(table.columns.items())
    )
    row = _run(
        conn,
        sql.SQL(
            "select count(*), encode(sha256(convert_to(coalesce(sum(('x' || left(digest, 16))"
            "::bit(64)::bigint), 0) || ':' || coalesce(sum(('x' || right(digest, 16))"
            "::bit(64)::bigint), 0), 'UTF8')), 'hex') from (select encode(sha256(convert_to("
            "row({values})::text, 'UTF8')), 'hex') as digest from {}) rows"
        ),
        table,
        values=values,
    ).fetchone()
    assert row is not None
    return f"{row[0]} {row[1]}"


def _read(column: str, type_name: str) -> sql.Composable:
    """Return a column as the digest reads it; to write the elements of embeddings out is slow."""
    if not type_name.startswith("vector("):
        return sql.Identifier(column)
    return sql.SQL("sha256({}({}))").format(VectorName("vector_send"), sql.Identifier(column))


def _write_down(
    conn: sa.Connection,
    table: FoundTable,
    before: str,
    after: str,
    *,
    adopted: bool,
    converted: list[str],
) -> None:
    rows, _, digest = before.partition(" ")
    conn.execute(
        sa.text(
            "insert into memos_ops.application_tables (table_name, adopted, converted, indexes, "
            "rows_when_adopted, digest_when_adopted, digest_after, originals) "
            "select :name, :adopted, :converted, :indexes, :rows, :digest, :after, count(*) "
            "from memos_ops.json_originals where table_name = :name"
        ),
        {
            "name": table.name,
            "adopted": adopted,
            "converted": converted,
            "indexes": list(table.indexes),
            "rows": int(rows),
            "digest": digest,
            "after": after.partition(" ")[2],
        },
    )


def _drop_empty(conn: sa.Connection, table: FoundTable) -> None:
    """Drop a table that we created; it stays if it has rows, or if others depend on it."""
    if has_rows(conn, table.identifier):
        _log.warning("%s has rows and stays; it was created by an upgrade.", table.where)
        return
    savepoint = conn.begin_nested()
    try:
        _run(conn, sql.SQL("drop table {}"), table)
        savepoint.commit()
    except psycopg.errors.DependentObjectsStillExist as error:
        savepoint.rollback()
        _log.warning("%s stays: %s", table.where, error.diag.message_detail)


def _names(columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _run(
    conn: sa.Connection, statement: sql.SQL, table: FoundTable, **parts: sql.Composable
) -> psycopg.Cursor:
    """Execute a statement on a table, whose name goes in place of ``{}`` or ``{table}``."""
    placed = statement.format(table.identifier, table=table.identifier, **parts)
    return driver_of(conn).execute(placed)
