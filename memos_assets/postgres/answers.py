"""What PostgreSQL says, as the rooms want it: counts, and the first line of a refusal."""

import sqlalchemy as sa


def count_rows(conn: sa.Connection, table: sa.Table, where: sa.ColumnElement[bool]) -> int:
    """Count the rows of a table for which a condition holds."""
    statement = sa.select(sa.func.count()).select_from(table).where(where)
    return int(conn.execute(statement).scalar_one())


def first_line(error: Exception) -> str:
    """Return the first line of what the driver said; the rest repeats the statement."""
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) and error.orig else error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
