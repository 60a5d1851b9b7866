"""Schemas that killed restores left: loaded, and never exchanged."""

from typing import Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of

#: Begins the names of shadow schemas; nobody else may use it.
PREFIX: Final = "memos_restore_"
_LEFT = sa.text(
    "select nspname::text from pg_catalog.pg_namespace where nspname like :pattern order by 1"
)


def drop_leftovers(engine: sa.Engine) -> list[str]:
    """Drop them, and return their names; the caller has the lock `RESTORE`.

    Args:
        engine: of the owner of the tables.
    """
    with engine.begin() as conn:
        found = conn.execute(_LEFT, {"pattern": PREFIX.replace("_", r"\_") + "%"}).scalars().all()
        for name in found:
            driver_of(conn).execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(name)))
    return list(found)
