"""Make objects in the session's temporary schema for a moment, to read how PostgreSQL has them.

So an expected definition is in PostgreSQL's own spelling, of this server and version, and no
second list of definitions is kept. Only the right TEMP is needed, which loads need as well.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from memos_assets.postgres.connection import driver_of

#: The session's temporary schema by the name that any session may use.
SCRATCH = "pg_temp"


def vector_schema(conn: sa.Connection) -> str:
    """Return the schema that the extension ``vector`` is in."""
    return str(
        conn.execute(
            sa.text(
                "select n.nspname from pg_catalog.pg_extension e join pg_catalog.pg_namespace n "
                "on n.oid = e.extnamespace where e.extname = 'vector'"
            )
        ).scalar_one()
    )


@contextmanager
def scratch(conn: sa.Connection) -> Iterator[sa.Connection]:
    """Yield the connection for a block whose changes are all taken back.

    Within it names are looked for in ``pg_catalog`` alone; those of pgvector have their schema.

    Args:
        conn: to the target database; in a transaction or not.
    """
    driver = driver_of(conn)
    # The driver's block also works on a connection without transactions.
    with driver.transaction(force_rollback=True):
        driver.execute("set local search_path = pg_catalog")
        driver.execute("set local check_function_bodies = off")
        driver.execute("set local client_min_messages = warning")
        yield conn
