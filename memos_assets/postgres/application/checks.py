"""V25: the tables of memOS are whole, whatever memOS has written to them since the adoption."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Catalog
from memos_assets.catalog.application import ApplicationTable
from memos_assets.check import AnyCheck, Check, Subject, by_connection
from memos_assets.finding import Finding
from memos_assets.postgres.application.found_tables import FoundTable, differences_from, find_table
from memos_assets.postgres.application.presence import absent_finding, application_is_absent
from memos_assets.postgres.application.tables import APPLICATION
from memos_assets.postgres.connection import count_rows, driver_of
from memos_assets.postgres.schema import tables

#: How kept originals stand to the rows that they came from.
_ORIGINALS = sql.SQL(
    "select count(*) filter (where t.{column} = o.converted), "
    "count(*) filter (where t.{key} is null) "
    "from memos_ops.json_originals o left join {table} t on t.{key}::text = o.key "
    "where o.table_name = {name} and o.column_name = {column_name}"
)


def tables_are_whole(conn: sa.Connection, specs: Sequence[ApplicationTable]) -> Finding:
    """V25: keys, JSON columns, indexes and kept originals are as the adoption left them.

    It passes where memOS's tables are absent. Rows come, change and go as memOS works, so their
    number is not checked. What holds whatever memOS does: the adoption read the same before and
    after it, and everything that it wrote down or kept is there.

    Args:
        conn: to the target database.
        specs: the tables.
    """
    if application_is_absent(conn):
        return absent_finding()
    faults: list[str] = []
    counted: list[dict[str, Any]] = []
    for spec in specs:
        found = find_table(conn, spec.name)
        book = conn.execute(
            sa.select(tables.application_tables).where(
                tables.application_tables.c.table_name == spec.name
            )
        ).one_or_none()
        if found is None:
            faults.append(f"{spec.name} is gone")
            continue
        faults += [f"{spec.name}: {fault}" for fault in _faults_of_shape(spec, found)]
        if book is None:
            faults.append(f"{spec.name} is not in the bookkeeping tables of the adoption")
            continue
        if book.digest_when_adopted != book.digest_after:
            faults.append(f"{spec.name}: its rows after the adoption were not those before it")
        lost = sorted(set(book.indexes) - set(found.indexes))
        faults += [f"{spec.name}: index {name} is gone" for name in lost]
        kept = count_rows(
            conn, tables.json_originals, tables.json_originals.c.table_name == spec.name
        )
        if kept < book.originals:
            faults.append(f"{spec.name}: {book.originals - kept} original spellings are lost")
        unchanged, deleted = _originals(conn, spec, found)
        counted.append(
            {
                "table": spec.name,
                "adopted": book.adopted,
                "rows when adopted": book.rows_when_adopted,
                "originals": kept,
                "of values unchanged since": unchanged,
                "of rows deleted since": deleted,
            }
        )
    return Finding(
        not faults,
        expected=f"{len(specs)} tables with their keys, jsonb, and every original spelling",
        observed="; ".join(faults) or f"{len(specs)} tables as the adoption left them",
        evidence={"faults": faults, "tables": counted},
    )


def _faults_of_shape(spec: ApplicationTable, found: FoundTable) -> Iterator[str]:
    yield from differences_from(found, list(APPLICATION[spec.name].columns))
    for name in spec.json_columns:
        if found.columns.get(name) == "json":
            yield f"column {name} is json, not jsonb"


def _originals(conn: sa.Connection, spec: ApplicationTable, found: FoundTable) -> tuple[int, int]:
    """Count the kept originals whose value is as it was converted, and those whose row is gone."""
    unchanged = deleted = 0
    driver = driver_of(conn)
    for column in spec.json_columns:
        if found.columns.get(column) != "jsonb" or spec.key not in found.columns:
            continue
        row = driver.execute(
            _ORIGINALS.format(
                key=sql.Identifier(spec.key),
                column=sql.Identifier(column),
                table=found.identifier,
                name=sql.Literal(spec.name),
                column_name=sql.Literal(column),
            )
        ).fetchone()
        assert row is not None
        unchanged, deleted = unchanged + row[0], deleted + row[1]
    return unchanged, deleted


def _groups(catalog: Catalog) -> Iterator[Subject[tuple[ApplicationTable, ...]]]:
    for asset, specs in catalog.application.items():
        yield Subject(catalog.names.table(asset), tuple(specs), "application_checks")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=25,
        name="v25_application_tables_are_whole",
        title="The tables of memOS are as the adoption left them: keys, jsonb, every original "
        "spelling.",
        fix="put back what it names; the dump of before the adoption is in MEMOS_HOME/backups",
        where="`memos/memories`, `memos/quests`, `memos/model_specs`",
        reads="columns, keys and indexes of memOS's tables, the record of their adoption, the "
        "original spellings that are kept",
        when_failed="Put back what it names; the dump of before the adoption is in "
        "`MEMOS_HOME/backups`. Rows that memOS writes, changes or deletes never make it fail, "
        "nor does a database without tables of memOS.",
        subjects=_groups,
        judge=by_connection(tables_are_whole),
    ),
)
