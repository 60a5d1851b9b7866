"""A digest of what others have in a database, to tell whether a dump of it is still the same.

It reads where each row is and which transaction wrote it, and no value: every change, addition and
deletion, of rows or of definitions, changes the digest. So do rewrites that change no value.
"""

import hashlib
from collections.abc import Sequence

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.connection import driver_of

#: Catalogs of what a dump of one database describes.
_CATALOGS = (
    *("attrdef", "attribute", "cast", "class", "collation", "constraint", "conversion"),
    *("default_acl", "description", "enum", "event_trigger", "extension", "foreign_server"),
    *("foreign_table", "index", "inherits", "language", "namespace", "opclass", "operator"),
    *("partitioned_table", "policy", "proc", "publication", "range", "rewrite", "sequence"),
    *("statistic_ext", "transform", "trigger", "ts_config", "ts_dict", "type"),
)
_RELATIONS = sa.text(
    """
    select n.nspname, c.relname, c.relkind = 'S' as is_sequence from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'm', 'S') and n.nspname !~ '^pg_'
        and n.nspname <> 'information_schema' and n.nspname <> all(:left_out)
    order by 1, 2
    """
)
_ROWS = sql.SQL(
    "select count(*), sum(pg_catalog.hashtextextended(ctid::text || ' ' || xmin::text, 0))"
    " from only {}"
)
_VALUE = sql.SQL("select last_value, is_called from {}")
_IDENTITY = """
    select system_identifier, (select oid from pg_catalog.pg_database
        where datname = current_database()),
        (select count(*) from pg_catalog.pg_largeobject_metadata)
    from pg_catalog.pg_control_system()
"""


def content_digest(conn: sa.Connection, left_out: Sequence[str]) -> str | None:
    """Return the digest of a database, 64 hexadecimal digits; None where it cannot tell.

    It cannot where there are large objects, or where something may not be read.

    Args:
        conn: in a transaction of its own, which may end here.
        left_out: schemas that do not count.
    """
    driver = driver_of(conn)
    try:
        driver.execute("set local row_security = off")
        identity = driver.execute(_IDENTITY).fetchone()
        if identity is None or identity[2]:
            return None
        digest = hashlib.sha256(repr(identity).encode())
        for name in _CATALOGS:
            rows = _ROWS.format(sql.Identifier("pg_catalog", f"pg_{name}"))
            digest.update(repr((name, driver.execute(rows).fetchone())).encode())
        for schema, name, is_sequence in conn.execute(_RELATIONS, {"left_out": list(left_out)}):
            place = sql.Identifier(schema, name)
            read = _VALUE if is_sequence else _ROWS
            row = driver.execute(read.format(place)).fetchone()
            digest.update(repr((schema, name, row)).encode())
    except psycopg.Error:
        return None
    finally:
        conn.rollback()
    return digest.hexdigest()
