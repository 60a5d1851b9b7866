"""The channel: what every connection of ours sets, and the check that the server took it.

A database, a role, a pooler or the environment may set an encoding, a date style, a search path or
a timeout for whoever connects. What we write and read must not depend on it, so each connection
sets all of it itself, in one round trip, after it is made: poolers such as PgBouncer refuse or drop
settings that come with the connection request (``options``).

``search_path`` is ``pg_catalog`` alone. A function or an operator that somebody else made in
``public`` is taken in place of PostgreSQL's wherever its arguments match better, and would run with
our rights. Tables are named with their schema; names of pgvector are given theirs by
`vector_names`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from memos_assets.errors import TargetError

ENCODING = "UTF8"
#: Part of the connection request: the driver decodes what the server says before any statement.
REQUEST: Mapping[str, str] = {"client_encoding": ENCODING}

#: The path of every connection and of every function of ours; see above.
SEARCH_PATH = "pg_catalog"
#: In force on every connection, and read back. PostgreSQL spells the values so.
SETTINGS: Mapping[str, str] = {
    "search_path": SEARCH_PATH,
    "client_encoding": ENCODING,
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    # Floats are written with as many digits as they need to be read back.
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "default_transaction_isolation": "read committed",
    # Searches by a GIN index return random rows below it.
    "gin_fuzzy_search_limit": "0",
}
#: Timeouts that we do not rely on: a load, a proof or a build takes as long as it takes.
NO_TIMEOUTS: Mapping[str, str] = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
}
#: Parameters that newer servers have -> the oldest version that has them.
_SINCE: Mapping[str, int] = {"transaction_timeout": 170_000}

#: Where pgvector is, by names that no search path can redirect.
_VECTOR_SCHEMA = (
    "(select n.nspname::pg_catalog.text from pg_catalog.pg_extension e "
    "join pg_catalog.pg_namespace n on n.oid operator(pg_catalog.=) e.extnamespace "
    "where e.extname operator(pg_catalog.=) 'vector'::pg_catalog.name)"
)


@dataclass(slots=True)
class Channel:
    """What the connections of one engine set, and what was learned when they were made.

    Attributes:
        where: the address as people may see it.
        settings: in place of those of `SETTINGS`, and beyond them, such as ``lock_timeout``.
        vector_schema: that pgvector is in; None while the database does not have it.
    """

    where: str
    settings: Mapping[str, str] = field(default_factory=dict)
    vector_schema: str | None = None
    _is_session: bool = field(default=False, repr=False)

    def set_up(self, connection: Any) -> None:
        """Set a new connection up, and check that the server took it. One round trip.

        Args:
            connection: of psycopg, of psycopg2, or SQLAlchemy's of psycopg on asyncio; outside of a
                transaction. It is left so.

        Raises:
            TargetError: M308 the database's encoding is not UTF8; M309 a setting was not taken;
                M312 a pooler gives each transaction another session.
        """
        wanted = {**SETTINGS, **self.settings}
        names = [*wanted, *(name for name in _SINCE if _version(connection) >= _SINCE[name])]
        values = [wanted.get(name, "0") for name in names]
        before, connection.autocommit = connection.autocommit, True
        cursor = connection.cursor()
        cursor.execute(_statement(names, values))
        server, process, replaying, vector, *taken = cursor.fetchone()
        cursor.close()
        connection.autocommit = before
        if server != ENCODING:
            raise self._wrong_encoding(server)
        self.vector_schema = vector
        _channels[_driver(connection)] = self
        differing = [
            f"{name} is {now}"
            for name, now in zip(names, taken, strict=True)
            if name in SETTINGS and now != wanted[name]
        ]
        if replaying != "origin":
            differing.append(f"session_replication_role is {replaying}")
        if (by_driver := _encoding(connection)) not in ("utf-8", "utf8"):
            differing.append(f"the driver's encoding is {by_driver}")
        if differing:
            raise TargetError(
                "M309",
                f"the connection does not take its settings ({'; '.join(differing)})",
                where=self.where,
                fix="connect to PostgreSQL directly, or through a pooler in session mode; undo the "
                "setting by alter role ROLE reset NAME, or alter database NAME reset NAME",
            )
        driver = _driver(connection)
        if not self._is_session and isinstance(driver, psycopg.BaseConnection):
            if driver.info.backend_pid != process:  # something is between us and PostgreSQL
                self._need_session(driver, process)
            self._is_session = True

    def _need_session(self, driver: psycopg.BaseConnection[Any], process: int) -> None:
        """Refuse a pooler whose clients share a session of PostgreSQL between transactions.

        A second client that gets the session of the first, which is idle, proves it.
        """
        request = {**driver.info.get_parameters(), "password": driver.info.password, **REQUEST}
        with psycopg.connect(make_conninfo("", **request), autocommit=True) as other:
            row = other.execute("select pg_catalog.pg_backend_pid()").fetchone()
        if row is not None and row[0] != process:
            return
        raise TargetError(
            "M312",
            "a pooler in transaction mode is in between: it drops settings of sessions, advisory "
            "locks and prepared statements",
            where=self.where,
            fix="connect to PostgreSQL directly (its own port, often 5432 and not 6543), or "
            "through the pooler in session mode",
        )

    def find_vector(self, conn: sa.Connection) -> None:
        """Find out in which schema pgvector is, after it was created or moved."""
        self.vector_schema = conn.exec_driver_sql(f"select {_VECTOR_SCHEMA}").scalar_one()

    def _wrong_encoding(self, server: str) -> TargetError:
        return TargetError(
            "M308",
            f"the database's encoding is {server}, and texts of memOS need UTF8",
            where=self.where,
            fix="create a database with encoding UTF8 (create database NAME template template0 "
            "encoding 'UTF8') and name it in MEMOS_DATABASE_URL; nothing was written",
        )


def _statement(names: list[str], values: list[str]) -> str:
    """Return the one statement; every name in it is qualified, because the path is not ours yet."""
    put = ", ".join(
        f"pg_catalog.set_config('{name}'::pg_catalog.text, '{value}'::pg_catalog.text, false)"
        for name, value in zip(names, values, strict=True)
    )
    return (
        "select pg_catalog.current_setting('server_encoding'::pg_catalog.text), "
        "pg_catalog.pg_backend_pid(), "
        "pg_catalog.current_setting('session_replication_role'::pg_catalog.text), "
        f"{_VECTOR_SCHEMA}, {put}"
    )


def _driver(connection: Any) -> Any:
    """Return psycopg's connection below SQLAlchemy's one on asyncio, or the connection itself."""
    return getattr(connection, "driver_connection", None) or connection


def _version(connection: Any) -> int:
    driver = _driver(connection)
    return int(
        driver.info.server_version
        if isinstance(driver, psycopg.BaseConnection)
        else driver.server_version
    )


def _encoding(connection: Any) -> str:
    """Return the encoding by which the driver reads text, in lower case."""
    driver = _driver(connection)
    name = driver.info.encoding if isinstance(driver, psycopg.BaseConnection) else driver.encoding
    return str(name).lower()


#: Connection of a driver, or dialect of an engine -> its channel.
_channels: WeakKeyDictionary[Any, Channel] = WeakKeyDictionary()


def channel_of(one: object) -> Channel | None:
    """Return the channel of a driver's connection, or of an engine's dialect; None: not ours."""
    return _channels.get(one)


def keep_channel(engine: sa.Engine, channel: Channel) -> None:
    """Have an engine set up each connection that it opens.

    SQLAlchemy's own questions to a new connection come after it.
    """
    _channels[engine.dialect] = channel

    def set_up(connection: Any, _record: object) -> None:
        before = channel.vector_schema
        try:
            channel.set_up(connection)
        except BaseException:
            connection.close()
            raise
        if channel.vector_schema != before:
            engine.clear_compiled_cache()

    def look_again(connection: Any, record: Any, _proxy: object) -> None:
        # Somebody else may have created the extension since this connection was made.
        if channel.vector_schema is None:
            set_up(connection, record)

    sa.event.listen(engine, "connect", set_up, insert=True)
    sa.event.listen(engine, "checkout", look_again)


@contextmanager
def connect(conninfo: str = "", **parameters: Any) -> Iterator[psycopg.Connection]:
    """Open a connection in autocommit mode without an engine; it is closed with the block.

    Raises:
        psycopg.OperationalError: it cannot be opened.
        TargetError: as `Channel.set_up`.
    """
    with psycopg.connect(conninfo, **{**REQUEST, **parameters}, autocommit=True) as connection:
        Channel("database", NO_TIMEOUTS).set_up(connection)
        yield connection
