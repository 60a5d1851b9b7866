"""Engines: where the database is, how we connect to it, and whether it can do what we need."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

import psycopg
import sqlalchemy as sa

from memos_assets.errors import TargetError, UsageError
from memos_assets.postgres import advisory_locks, channel, schemas, vector_names
from memos_assets.postgres.driver_errors import refusal
from memos_assets.postgres.pools import AsyncPool, Pool
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings

#: Oldest server: 15 has `security_invoker` views and `merge`, and is what Debian 12 ships.
MINIMUM_SERVER = 15
#: Oldest pgvector: 0.8 has iterative index scans, without which filters lose rows.
MINIMUM_PGVECTOR = (0, 8)

_DRIVER = "postgresql+psycopg"
_DRIVERS = frozenset({"postgres", "postgresql", _DRIVER, "postgresql+psycopg2"})
#: Connection parameters whose values are secrets. Only `password` has a place in a URL.
_SECRET_PARAMETERS = frozenset({"sslpassword", "oauth_client_secret", "scram_client_key"})
_MASK = "***"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Versions found on a server that passed `check_server`, e.g. ``18.4`` and ``0.8.5``."""

    server: str
    pgvector: str


def database_url(settings: Settings) -> sa.URL:
    """Return the address of the database; starts the embedded server if none is configured.

    Raises:
        UsageError: M502 ``MEMOS_DATABASE_URL`` is not a PostgreSQL URL; its value is not repeated.
        ServerError: M601 to M609 the embedded server does not start.
    """
    if settings.database_url is None:
        server = EmbeddedServer(settings.home)
        server.start()
        return server.url()
    return parse_url(settings.database_url.get_secret_value())


def parse_url(value: str) -> sa.URL:
    """Read a PostgreSQL URL in any usual spelling, with its password where it will be masked.

    Raises:
        UsageError: M502 it does not parse, names another database system or no database, or
            carries a secret that could not be masked.
    """
    try:
        url = sa.make_url(value)
    except (sa.exc.ArgumentError, ValueError):
        raise _unusable("does not parse as a URL") from None
    if url.drivername not in _DRIVERS:
        raise _unusable("is not a PostgreSQL URL")
    if "@" in (url.host or ""):
        raise _unusable("has more than one @, so part of the password would be taken for the host")
    query = {key: value for key, value in url.query.items() if key != "password"}
    if _SECRET_PARAMETERS & query.keys():
        raise _unusable("carries a secret parameter other than the password")
    password = url.password
    if password is None and "password" in url.query:
        given = url.query["password"]
        password = given if isinstance(given, str) else given[-1]
    if not (url.database or "dbname" in query or "service" in query):
        raise _unusable("names no database")
    return url.set(drivername=_DRIVER, password=password, query=query)


def _unusable(what: str) -> UsageError:
    return UsageError(
        "M502",
        what,
        where="MEMOS_DATABASE_URL",
        fix="write postgresql://USER:PASSWORD@HOST:5432/DATABASE, with %40 for @ in a password; "
        "unset it for the embedded server",
    )


def create_engine(
    url: sa.URL, settings: Settings, *, application_name: str, pooled: bool = True
) -> sa.Engine:
    """Make an engine whose connections say who they are, wait bounded times, and speak UTC.

    Args:
        url: from `database_url`.
        settings: pool sizes and times, and ``lock_timeout_ms``.
        application_name: shown by ``pg_stat_activity``, e.g. ``memos_assets:consolidate``.
        pooled: false opens a connection for each use and closes it, for short commands.
    """
    pool = pool_options(settings) if pooled else {"poolclass": sa.NullPool}
    engine = sa.create_engine(url, **connection_options(application_name), **pool)
    set_up_connections(engine, settings)
    return engine


def connection_options(application_name: str) -> dict[str, Any]:
    """Return the arguments by which SQLAlchemy and psycopg connect; see `create_engine`."""
    request = {**channel.REQUEST, "application_name": application_name, "connect_timeout": 10}
    # SQLAlchemy would ask each database for a type that nothing here uses, and its errors would
    # show what was sent: texts of memories, in logs and in Dagster's events.
    return {"connect_args": request, "use_native_hstore": False, "hide_parameters": True}


def set_up_connections(engine: sa.Engine, settings: Settings) -> None:
    """Have each connection of an engine set what `channel` says, and how long it waits for locks.

    Connecting raises TargetError M308 or M309 where the server cannot keep that.
    """
    timeouts = {**channel.NO_TIMEOUTS, "lock_timeout": f"{settings.lock_timeout_ms}"}
    channel.keep_channel(engine, channel.Channel(shown(engine.url), timeouts))
    vector_names.qualify(engine.dialect)

    def tell_sqlalchemy(*_: object) -> None:
        vector_names.recognise(engine.dialect)

    sa.event.listen(engine, "connect", tell_sqlalchemy)


def pool_options(settings: Settings, *, asynchronous: bool = False) -> dict[str, Any]:
    """Return the arguments of SQLAlchemy's pools; a connection is tested before each use.

    Waits for a connection end with TargetError M348.
    """
    return {
        "poolclass": AsyncPool if asynchronous else Pool,
        "pool_pre_ping": True,
        "pool_size": settings.pool_size,
        "max_overflow": settings.max_overflow,
        "pool_recycle": settings.pool_recycle_seconds,
        "pool_timeout": settings.pool_timeout_seconds,
    }


@contextmanager
def closing_pool(engine: sa.Engine) -> Iterator[sa.Engine]:
    """Yield an engine, and close its connections however the block ends."""
    try:
        yield engine
    finally:
        engine.dispose()


def check_server(engine: sa.Engine, *, create_extension: bool = True) -> ServerFacts:
    """Connect, compare versions, and create the extension ``vector`` where it is missing.

    Args:
        engine: of the database.
        create_extension: false changes nothing there.

    Raises:
        TargetError: M301 PostgreSQL too old; M302 no pgvector, or too old; M303 no right to create
            it; M304 it cannot be reached. No message or cause contains the password.
    """
    with reachable(engine), engine.begin() as conn:
        return _check(conn, shown(engine.url), create_extension=create_extension)


@contextmanager
def reachable(engine: sa.Engine) -> Iterator[None]:
    """Turn the driver's refusals in a block into errors whose cause is left out: it may print.

    Raises:
        TargetError: M304 the server cannot be reached, or what `driver_errors.refusal` makes of it.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        known = refusal(error, shown(engine.url))
        if known is not None and known.code != "M306":
            raise TargetError(
                known.code,
                without_password(known.what, engine.url),
                where=known.where,
                fix=known.fix,
            ) from None
        raise TargetError(
            "M304",
            f"cannot be used: {masked(error, engine.url)}",
            where=shown(engine.url),
            fix="check that the server runs and that MEMOS_DATABASE_URL is right; "
            "unset it for the embedded server",
        ) from None


def _check(conn: sa.Connection, where: str, *, create_extension: bool) -> ServerFacts:
    server = str(conn.exec_driver_sql("show server_version").scalar_one())
    number = int(conn.exec_driver_sql("show server_version_num").scalar_one())
    if number // 10_000 < MINIMUM_SERVER:
        raise TargetError(
            "M301",
            f"PostgreSQL {server}, {MINIMUM_SERVER} or newer is needed",
            where=where,
            fix="upgrade it, or unset MEMOS_DATABASE_URL for the embedded server",
        )
    advisory_locks.EXTENSION.wait(conn)
    row = conn.exec_driver_sql(
        "select default_version, installed_version from pg_available_extensions"
        " where name = 'vector'"
    ).one_or_none()
    available, installed = (row[0], row[1]) if row else (None, None)
    wanted = ".".join(map(str, MINIMUM_PGVECTOR))
    if not _is_enough(installed or available):
        on_hand = f"{installed or available} is" if row else "is not"
        update = "run `alter extension vector update` in this database as its owner"
        install = f"install pgvector {wanted} or newer for PostgreSQL {number // 10_000} there"
        raise TargetError(
            "M302",
            f"pgvector {on_hand} {'installed' if installed else 'available'}, "
            f"{wanted} or newer is needed",
            where=where,
            fix=update if _is_enough(available) else install,
        )
    if installed is None and create_extension:
        _create_extension(conn, where)
        found = channel.channel_of(conn.dialect)
        if found is not None:
            found.find_vector(conn)
            vector_names.recognise(conn.dialect)
            conn.engine.clear_compiled_cache()
    return ServerFacts(server=server, pgvector=str(installed or available))


def _is_enough(version: str | None) -> bool:
    if version is None:
        return False
    return tuple(int(part) for part in version.split(".")[:2]) >= MINIMUM_PGVECTOR


def _create_extension(conn: sa.Connection, where: str) -> None:
    # memOS looks for it in `public`, too, and creates it there.
    schema = schemas.APPLICATION.name
    try:
        conn.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
        conn.exec_driver_sql(f"create extension if not exists vector schema {schema}")
    except sa.exc.ProgrammingError as error:
        if not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        raise TargetError(
            "M303",
            "this user may not create the extension vector",
            where=where,
            fix="run `create extension vector` in this database as its owner or a superuser",
        ) from None


def masked(error: sa.exc.DBAPIError, url: sa.URL) -> str:
    """Return the driver's message on one line, without the password however it is spelt."""
    return without_password(" ".join(str(error.orig).split()), url)


def without_password(text: str, url: sa.URL) -> str:
    """Return a text without the password of an address, however it is spelt there."""
    if url.password:
        plain = str(url.password)
        for spelling in (plain, quote(plain, safe=""), quote_plus(plain), repr(plain)[1:-1]):
            text = text.replace(spelling, _MASK)
    return text


def shown(url: sa.URL) -> str:
    """Write a URL for people: the password is ``***``."""
    return libpq_url(url.set(password=_MASK) if url.password else url, password=True)


def libpq_url(url: sa.URL, *, password: bool = False) -> str:
    """Write a URL as psql, pg_dump and psycopg accept it, which is not how SQLAlchemy writes it.

    libpq knows no ``+driver``, and takes a ``+`` in a query for a plus rather than for a space.

    Args:
        url: from `database_url`.
        password: true puts the password in: for a child's environment, never for a screen.
    """
    user = quote(url.username or "", safe="")
    if password and url.password:
        user += ":" + ("***" if url.password == _MASK else quote(str(url.password), safe=""))
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host or ""
    query = {
        key: value if isinstance(value, str) else value[-1] for key, value in url.query.items()
    }
    if url.port and host:
        host += f":{url.port}"
    elif url.port:
        query["port"] = str(url.port)
    parameters = "&".join(f"{key}={quote(value, safe='/')}" for key, value in query.items())
    return (
        f"postgresql://{user}{'@' if user else ''}{host}/{quote(url.database or '', safe='')}"
        f"{'?' if parameters else ''}{parameters}"
    )
