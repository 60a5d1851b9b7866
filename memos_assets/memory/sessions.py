"""Sessions whose role is neither superuser nor BYPASSRLS: row-level security holds for them.

Memory holds no session and opens none. These make the caller's sessions; `act_as` names the user of
each transaction.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.errors import AgentError, SnapshotError
from memos_assets.memory.models import ensure_registered
from memos_assets.postgres import row_security, schemas, service_role
from memos_assets.postgres.engine import closing_pool, create_engine, shown
from memos_assets.postgres.forks import forks
from memos_assets.postgres.service_role import ROLE
from memos_assets.postgres.sessions import create_async_engine, use_schema
from memos_assets.postgres.target import prepare_target
from memos_assets.search.embed import configured_embedder
from memos_assets.settings import Settings

APPLICATION_NAME: Final = "memos_assets:memory"
_MOST_NAMED: Final = 3

#: Addresses whose role and policies this process has compared with their description.
_compared: set[str] = set()
#: Addresses of databases that have a model.
_has_model: set[str] = set()


def sessions_for(
    settings: Settings,
    *,
    application_name: str = APPLICATION_NAME,
    schema: str = schemas.AGENT.name,
) -> async_sessionmaker[AsyncSession]:
    """Return what makes asynchronous sessions of services, on one pool for this process.

    The database is prepared as a consolidation prepares it, its role and policies are compared
    with their description, and the first embedder that is set is registered as its model. Sessions
    keep their rows readable after a commit. The pool belongs to one event loop; ``await
    sessions.kw["bind"].dispose()`` closes it, as `open_memory_sessions` does at the end of its
    block.

    Args:
        settings: the address, pool sizes and times.
        application_name: shown by ``pg_stat_activity``.
        schema: whose memories these are: the live ones, or a fork of a snapshot.

    Raises:
        AgentError: M710 the role of services is missing, or this user may not change to it; M711
            row-level security is not as described; M712 the role would not be bound by it.
        UsageError, ServerError, TargetError: as `target.prepare_target`.
    """
    url = walled_off(settings, schema)
    engine = create_async_engine(url, settings, application_name=application_name)
    _run_as_role(engine.sync_engine)
    use_schema(engine.sync_engine, schema)
    return async_sessionmaker(engine, expire_on_commit=False)


def sync_sessions_for(
    settings: Settings,
    *,
    application_name: str = APPLICATION_NAME,
    schema: str = schemas.AGENT.name,
) -> sessionmaker[Session]:
    """Return what makes synchronous sessions of services; ``sessions.kw["bind"].dispose()`` closes.

    Raises:
        AgentError, SnapshotError, UsageError, ServerError, TargetError: as `sessions_for`.
    """
    url = walled_off(settings, schema)
    engine = create_engine(url, settings, application_name=application_name)
    _run_as_role(engine)
    use_schema(engine, schema)
    return sessionmaker(engine, expire_on_commit=False)


@asynccontextmanager
async def open_memory_sessions(
    settings: Settings,
    *,
    application_name: str = APPLICATION_NAME,
    schema: str = schemas.AGENT.name,
) -> AsyncIterator[async_sessionmaker[AsyncSession]]:
    """Yield `sessions_for`, and close its pool at the end of the block."""
    sessions = sessions_for(settings, application_name=application_name, schema=schema)
    try:
        yield sessions
    finally:
        await sessions.kw["bind"].dispose()


@contextmanager
def open_sync_memory_sessions(
    settings: Settings,
    *,
    application_name: str = APPLICATION_NAME,
    schema: str = schemas.AGENT.name,
) -> Iterator[sessionmaker[Session]]:
    """Yield `sync_sessions_for`, and close its pool at the end of the block."""
    sessions = sync_sessions_for(settings, application_name=application_name, schema=schema)
    with closing_pool(sessions.kw["bind"]):
        yield sessions


def walled_off(settings: Settings, schema: str = schemas.AGENT.name) -> sa.URL:
    """Return the address of a database whose role and policies keep users apart.

    Raises:
        SnapshotError: M823 the schema is not a fork.
        AgentError, SnapshotError, UsageError, ServerError, TargetError: as `sessions_for`.
    """
    url = prepare_target(settings, APPLICATION_NAME)
    address = url.render_as_string(hide_password=True)
    if schema != schemas.AGENT.name:
        # A fork may have been made since, so it is always compared.
        engine = create_engine(url, settings, application_name=APPLICATION_NAME, pooled=False)
        with engine.connect() as conn:
            if schema not in forks(conn):
                raise _not_a_fork(schema)
            _require_role(conn, shown(url))
            _require_wall(conn, shown(url))
        return url
    if address not in _compared:
        engine = create_engine(url, settings, application_name=APPLICATION_NAME, pooled=False)
        with engine.connect() as conn:
            _require_role(conn, shown(url))
            _require_wall(conn, shown(url))
        _compared.add(address)
    if settings.embedder is not None and address not in _has_model:
        # The first one that answers, so that the first memory has an embedding; while none does,
        # memories wait for it in the outbox. Further models are registered by request.
        engine = create_engine(url, settings, application_name=APPLICATION_NAME, pooled=False)
        if ensure_registered(engine, configured_embedder(settings)) is not None:
            _has_model.add(address)
    return url


def _not_a_fork(schema: str) -> SnapshotError:
    return SnapshotError(
        "M823",
        "there is no such fork of a snapshot",
        where=f"schema {schema!r}",
        fix="make it: memos-assets snapshots restore ID --mode fork --schema NAME",
    )


def _require_role(conn: sa.Connection, where: str) -> None:
    facts = service_role.role_facts(conn)
    if facts.ready:
        return
    lacks = f"user {facts.user} may not change to it" if facts.there else "it is not there"
    raise AgentError(
        "M710",
        f"services run as role {ROLE}, and {lacks}",
        where=where,
        fix=f"as an administrator: {service_role.administrators_statements(facts)} "
        "then run `memos-assets migrate`",
    )


def _require_wall(conn: sa.Connection, where: str) -> None:
    faults = row_security.wall_faults(conn)
    if not faults:
        return
    named = [f"{about}: {'; '.join(said)}" for about, said in faults.items()]
    more = len(named) - _MOST_NAMED
    raise AgentError(
        "M711",
        "users are not walled off as described: "
        + " | ".join(named[:_MOST_NAMED])
        + (f" | and {more} more" if more > 0 else ""),
        where=where,
        fix="run `memos-assets migrate` as the owner of the tables; undo what it does not change",
    )


_RUN_AS = (
    f"select pg_catalog.set_config('role', '{ROLE}', false), r.rolsuper, r.rolbypassrls "
    f"from pg_catalog.pg_roles r where r.rolname = '{ROLE}'"
)


def _run_as_role(engine: sa.Engine) -> None:
    """Have every new connection of an engine change to the role of services, and check it."""

    def become(connection: Any, _record: object) -> None:
        before, connection.autocommit = connection.autocommit, True
        cursor = connection.cursor()
        try:
            cursor.execute(_RUN_AS)
            row = cursor.fetchone()
        except psycopg.Error as error:
            connection.close()
            raise _not_the_role(f"PostgreSQL refuses it ({error})", engine) from None
        finally:
            cursor.close()
        if row is None or row[1] or row[2]:
            connection.close()
            has = "is missing" if row is None else "is a superuser or has BYPASSRLS"
            raise _not_the_role(f"it {has}", engine)
        connection.autocommit = before

    # After the channel has set the connection up.
    sa.event.listen(engine, "connect", become)


def _not_the_role(what: str, engine: sa.Engine) -> AgentError:
    return AgentError(
        "M712",
        f"services run as role {ROLE}, and {what}",
        where=shown(engine.url),
        fix=f"as an administrator: alter role {ROLE} nosuperuser nobypassrls; "
        "then run `memos-assets migrate`",
    )
