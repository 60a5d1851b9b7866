"""Search from a row: find it by its key, and read the embedding that is stored with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table
from memos_assets.errors import UsageError
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.search.queries import columns, placed
from memos_assets.sqlite.printable import shown_value

#: Rows of one key that an error names.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class QueryRow:
    """A row to search from; ``embedding`` has shape (dimension,), as it is stored."""

    table: str
    key: Mapping[str, str]
    embedding: npt.NDArray[np.float32]


def rows_with_key(
    conn: sa.Connection, table: Table, name: str, *, owner: str | None = None
) -> list[QueryRow]:
    """Return the rows that have a key and an embedding.

    Args:
        conn: to the target database.
        table: that is searched.
        name: the key as a hit shows it, its columns joined by ``/``; with ``SOURCE/`` before it;
            or its last column alone.
        owner: only rows of this source.

    Returns:
        None, one, or several where sources or domains share the key.

    Raises:
        UsageError: M581 every row of this key is without an embedding.
    """
    names = [column for column in table.key if column != table.owner]
    statement = sql.SQL(
        "select {key}, {embedding}::text from {table} where %(name)s in ("
        "{last}::text, concat_ws('/', {names}), concat_ws('/', {key})){owned}"
        " order by {key} limit {most}"
    ).format(
        key=columns(table.key),
        embedding=sql.Identifier(table.vector_indexes[0].column),
        table=placed(table, schema_in(conn, table.schema)),
        last=sql.Identifier(names[-1]),
        names=columns(names),
        owned=_owned_by(table),
        most=sql.Literal(_NAMED),
    )
    rows = driver_of(conn).execute(statement, {"name": name, "owner": owner}).fetchall()
    found = [
        QueryRow(
            table.name,
            dict(zip(table.key, map(str, row[:-1]), strict=True)),
            np.array(json.loads(row[-1]), dtype=np.float32),
        )
        for row in rows
        if row[-1] is not None
    ]
    if rows and not found:
        raise UsageError(
            "M581",
            "the row has no embedding, so no row is near it",
            where=f"table {table.name}, {shown_value(name)}",
            fix="search from another row, or by words: memos-assets search TEXT",
        )
    return found


def _owned_by(table: Table) -> sql.Composable:
    """Return the condition of an owner's rows; empty for a table without an owner."""
    if table.owner is None:
        return sql.SQL("")
    return sql.SQL(" and (%(owner)s::text is null or {}::text = %(owner)s)").format(
        sql.Identifier(table.owner)
    )


def only_row(rows: list[QueryRow], name: str, where: str) -> QueryRow:
    """Return the only row that has a key.

    Raises:
        UsageError: M581 there is none, or there are several.
    """
    if len(rows) == 1:
        return rows[0]
    if not rows:
        raise UsageError(
            "M581",
            "no row has this key",
            where=f"{where}, {shown_value(name)}",
            fix="pass a key as a search shows it: memos-assets search TEXT",
        )
    shown = ", ".join(shown_value("/".join(row.key.values())) for row in rows)
    raise UsageError(
        "M581",
        f"several rows have this key ({shown})",
        where=f"{where}, {shown_value(name)}",
        fix="pass one of these keys: --like SOURCE/KEY",
    )
