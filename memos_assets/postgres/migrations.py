"""The schema's history: Alembic revisions under sql/migrations, applied from Python.

No alembic.ini and no logging configuration: the connection is ours, and so is the log.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from memos_assets.errors import TargetError
from memos_assets.installation import PROJECT_ROOT
from memos_assets.postgres import advisory_locks, row_security, schemas, service_role
from memos_assets.postgres.application.presence import take_over
from memos_assets.postgres.connection import first_line
from memos_assets.postgres.engine import shown

SCRIPTS = PROJECT_ROOT / "sql" / "migrations"
#: memOS's own database has a public.alembic_version; ours stands beside our own tables.
VERSION_SCHEMA = schemas.OPS.name
VERSION_TABLE = "alembic_version"
_FUNCTION_NAME = re.compile(r"create (?:or replace )?function \w+\.(\w+)\(")

_TAKEN = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateFunction,
    psycopg.errors.WrongObjectType,
)


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did.

    Attributes:
        revisions: that were applied, oldest first.
        tables: of memOS that were adopted or created.
    """

    revisions: list[str]
    tables: list[str]


def upgrade(engine: sa.Engine, *, create_application: bool = False) -> list[str]:
    """Do the same as `upgrade_and_adopt`, and return the revisions alone."""
    return upgrade_and_adopt(engine, create_application=create_application).revisions


def upgrade_and_adopt(engine: sa.Engine, *, create_application: bool = False) -> Upgrade:
    """Bring the schema to this checkout's revision, in one transaction; adopt memOS's tables.

    Those that came since a former upgrade are adopted without a revision. Tables with an owner get
    their policies where the services' role is there, or this user may create it.

    Args:
        engine: of the target database.
        create_application: create memOS's tables where there are none.

    Returns:
        What was applied and adopted; both empty when there was nothing to do.

    Raises:
        TargetError: M305 the database is at a revision that this checkout does not have; M307 the
            user may not; M350 to M354 memOS's tables cannot be adopted.
    """
    with _permitted(engine):
        service_role.create_role(engine)
    with _migrating(engine) as (conn, config):
        scripts = ScriptDirectory.from_config(config)
        pending = scripts.iterate_revisions("heads", _current(conn) or "base")
        applied = [script.revision for script in pending][::-1]
        if applied:
            command.upgrade(config, "head")
        tables = take_over(conn, create=create_application)
        row_security.install(conn)
    return Upgrade(applied, tables)


def downgrade(engine: sa.Engine, revision: str) -> None:
    """Take the schema back to a revision, or to ``base``, in one transaction.

    Raises:
        TargetError: M305 the database's revision, or the one asked for, is not in this checkout;
            M307 the user may not.
    """
    with _migrating(engine, revision) as (_, config):
        command.downgrade(config, revision)


def steps(engine: sa.Engine, to: str | None = None) -> list[str]:
    """Return the revisions that a migration would apply, or take back, in this order.

    Args:
        engine: of the database, which is not changed.
        to: the revision that `downgrade` would go back to; None: to the newest one.

    Raises:
        TargetError: M305 this checkout does not have the revision.
    """
    scripts, here = ScriptDirectory.from_config(_config()), known_revision(engine)
    if to is None:
        pending = scripts.iterate_revisions("head", here or "base")
        return [revision.revision for revision in pending][::-1]
    if here is None:
        return []
    if to != "base":
        _require(scripts, to, shown(engine.url))
    return [revision.revision for revision in scripts.iterate_revisions(here, to)]


def current(engine: sa.Engine) -> str | None:
    """Return the revision the database is at, or None before the first."""
    with engine.connect() as conn:
        return _current(conn)


def known_revision(engine: sa.Engine) -> str | None:
    """Return the revision the database is at, which this checkout has; None before the first.

    Raises:
        TargetError: M305 this checkout does not have it.
    """
    revision = current(engine)
    if revision is not None:
        _require(ScriptDirectory.from_config(_config()), revision, shown(engine.url))
    return revision


def head() -> str | None:
    """Return the newest revision of this checkout, or None while there is none."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def functions_made() -> dict[str, str]:
    """Return name -> statement of the functions that the revisions make, the newest of a name.

    A revision that makes functions lists their statements as ``FUNCTIONS``.
    """
    revisions = list(ScriptDirectory.from_config(_config()).walk_revisions())
    statements = (
        statement.strip()
        for revision in reversed(revisions)
        for statement in getattr(revision.module, "FUNCTIONS", ())
    )
    return {_FUNCTION_NAME.match(one)[1]: one for one in statements}  # type: ignore[index]


def _config() -> Config:
    config = Config()
    # ConfigParser interpolates: a percent sign in the checkout's path has to be doubled.
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _current(conn: sa.Connection) -> str | None:
    options = {"version_table": VERSION_TABLE, "version_table_schema": VERSION_SCHEMA}
    return MigrationContext.configure(conn, opts=options).get_current_revision()


@contextmanager
def _migrating(engine: sa.Engine, *revisions: str) -> Iterator[tuple[sa.Connection, Config]]:
    """Open the one transaction of a migration: locked, with a known revision to start from."""
    config = _config()
    with _permitted(engine), engine.begin() as conn:
        # Another process's migration may take longer than lock_timeout; ours may not wait for
        # tables in use that long.
        timeout = conn.exec_driver_sql("show lock_timeout").scalar_one()
        set_timeout = sa.text("select set_config('lock_timeout', :timeout, true)")
        conn.execute(set_timeout, {"timeout": "0"})
        advisory_locks.MIGRATION.wait(conn)
        conn.execute(set_timeout, {"timeout": timeout})
        conn.execute(sa.schema.CreateSchema(VERSION_SCHEMA, if_not_exists=True))
        scripts = ScriptDirectory.from_config(config)
        for revision in filter(None, (_current(conn), *revisions)):
            _require(scripts, revision, shown(engine.url))
        config.attributes["connection"] = conn
        yield conn, config


@contextmanager
def _permitted(engine: sa.Engine) -> Iterator[None]:
    """Turn refusals of PostgreSQL and of the database's owners into errors with a fix."""
    where = shown(engine.url)
    try:
        yield
    except sa.exc.DBAPIError as error:
        cause, said = error.orig, first_line(error)
        if isinstance(cause, psycopg.errors.InsufficientPrivilege):
            raise may_not(where, said) from None
        if isinstance(cause, _TAKEN):
            raise TargetError(
                "M344",
                f"others have an object where this checkout creates one ({said})",
                where=where,
                fix="rename it, drop it, or move it to another schema; or point "
                "MEMOS_DATABASE_URL to another database",
            ) from None
        if isinstance(cause, psycopg.errors.ReadOnlySqlTransaction):
            raise read_only(where, said) from None
        triggers = _event_triggers(engine)
        if isinstance(cause, psycopg.errors.RaiseException) and triggers:
            raise TargetError(
                "M347",
                f"an event trigger of this database ({triggers}) refuses a change: {said}",
                where=where,
                fix="as a superuser: alter event trigger ... disable, run `memos-assets migrate`, "
                "then enable it again",
            ) from None
        raise


def _event_triggers(engine: sa.Engine) -> str:
    enabled = "select evtname from pg_catalog.pg_event_trigger where evtenabled <> 'D' order by 1"
    with engine.connect() as conn:
        return ", ".join(conn.exec_driver_sql(enabled).scalars())


def may_not(where: str, reason: str) -> TargetError:
    """Return the refusal of a user who lacks the rights, M307."""
    return TargetError(
        "M307",
        f"this user may not change the schema ({reason})",
        where=where,
        fix=f"run `memos-assets migrate` as the owner of the database and of the schemas "
        f"{schemas.DATA.name} and {schemas.OPS.name} with their tables, or as a superuser",
    )


def read_only(where: str, reason: str) -> TargetError:
    """Return the refusal of a database that takes no writes, M346."""
    return TargetError(
        "M346",
        f"the database takes no writes ({reason})",
        where=where,
        fix="point MEMOS_DATABASE_URL to the primary server, or have the role or the database "
        "reset default_transaction_read_only",
    )


def _require(scripts: ScriptDirectory, revision: str, where: str) -> None:
    try:
        scripts.get_revisions(revision)
    except CommandError:
        raise TargetError(
            "M305",
            f"revision {revision} is unknown to this checkout, whose newest is "
            f"{scripts.get_current_head() or 'none'}",
            where=where,
            fix="update the checkout; or, with the checkout that made it, "
            "`memos-assets migrate --to` an older revision",
        ) from None
