"""Insert, or replace columns of the row that is there: PostgreSQL's ``on conflict do update``."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import Insert, insert

#: Makes the new values of columns out of the row that is there and the one that is inserted.
Merge = Callable[[Any, Any], Mapping[str, Any]]


def upsert(
    table: sa.Table,
    *columns: str,
    where: sa.ColumnElement[bool] | None = None,
    merge: Merge | None = None,
) -> Insert:
    """Return an insert that changes columns where a row of the same primary key is there.

    A column that the inserted row does not name is replaced by its default, such as ``now()``.

    Args:
        table: with a primary key.
        columns: to be replaced; none: every column outside of the primary key.
        where: a condition on the row that is there; where it does not hold, that row stays.
        merge: in place of ``columns``: given the columns of both rows, the values to put.

    Returns:
        A statement for `Connection.execute` with one row, as a mapping of column to value, or many.
    """
    statement = insert(table)
    if merge is not None:
        values = merge(table.columns, statement.excluded)
    else:
        replaced = columns or [column.name for column in table.columns if not column.primary_key]
        values = {name: statement.excluded[name] for name in replaced}
    return statement.on_conflict_do_update(
        index_elements=list(table.primary_key), set_=values, where=where
    )
