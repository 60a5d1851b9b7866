"""The target database, ready to use: reached, checked, and at this checkout's schema revision."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres import migrations
from memos_assets.postgres.backup import back_up_foreign
from memos_assets.postgres.engine import (
    check_server,
    closing_pool,
    create_engine,
    database_url,
    reachable,
    shown,
)
from memos_assets.postgres.first_write import refuse_unwritable
from memos_assets.settings import Settings

#: Addresses this process has checked; a check costs a connection and Alembic's import.
_ready: set[str] = set()


def prepare_target(settings: Settings, application_name: str) -> sa.URL:
    """Return the address of the target database, which is ready for use.

    For what loads: consolidations, migrations, observations, steps and the UI of Dagster. Others
    use `open_consolidated`, which changes nothing.

    Starts the embedded server where no other database is configured. On first use it backs up what
    others hold there, creates the extension and brings the schema up to date.

    Raises:
        UsageError, ServerError, TargetError: as `database_url` and `bring_up_to_date`.
    """
    url = database_url(settings)
    address = url.render_as_string(hide_password=True)
    if address not in _ready:
        engine = create_engine(url, settings, application_name=application_name)
        with closing_pool(engine):
            bring_up_to_date(engine, settings)
        _ready.add(address)
    return url


def bring_up_to_date(engine: sa.Engine, settings: Settings) -> migrations.Upgrade:
    """Write the schema of this checkout; what refuses it comes before the backup and any write.

    Returns:
        The revisions applied, and tables of memOS that were adopted.

    Raises:
        TargetError: as `refuse_unwritable`, `back_up_foreign`, `check_server` and
            `migrations.upgrade_and_adopt`.
    """
    check_server(engine, create_extension=False)
    refuse_unwritable(engine)
    back_up_foreign(engine.url, settings)
    check_server(engine)
    create = settings.application_tables == "create"
    return migrations.upgrade_and_adopt(engine, create_application=create)


@contextmanager
def open_target(settings: Settings, application_name: str) -> Iterator[sa.Engine]:
    """Yield a pooled engine on the target database, and close its connections at the end.

    Raises:
        UsageError, ServerError, TargetError: as `prepare_target`.
    """
    url = prepare_target(settings, application_name)
    with closing_pool(create_engine(url, settings, application_name=application_name)) as engine:
        yield engine


@contextmanager
def open_consolidated(settings: Settings, application_name: str) -> Iterator[sa.Engine]:
    """Yield a pooled engine on a database that holds a consolidation; prepares and changes nothing.

    Raises:
        UsageError, ServerError: as `database_url`.
        TargetError: as `check_server`; as `require_consolidation`.
    """
    url = database_url(settings)
    with closing_pool(create_engine(url, settings, application_name=application_name)) as engine:
        address = url.render_as_string(hide_password=True)
        if address not in _ready:
            require_consolidation(engine)
            check_server(engine, create_extension=False)
        yield engine


def require_consolidation(engine: sa.Engine) -> None:
    """Refuse a database whose schema is not that of this checkout.

    Raises:
        TargetError: M304 it cannot be reached; M305 its schema is newer; M342 there is none; M343
            it is older.
    """
    missing = missing_schema(engine)
    if missing is not None:
        raise missing


def missing_schema(engine: sa.Engine) -> TargetError | None:
    """Return what M342 or M343 say of a database; None where its schema is this checkout's.

    Raises:
        TargetError: M304 it cannot be reached; M305 its schema is newer.
    """
    with reachable(engine):
        revision = migrations.known_revision(engine)
    if revision is None:
        return TargetError(
            "M342",
            "holds no consolidation",
            where=shown(engine.url),
            fix="check MEMOS_DATABASE_URL and MEMOS_HOME; `memos-assets consolidate --data DIR` "
            "writes one, and `memos-assets migrate` an empty schema",
        )
    if revision != migrations.head():
        return TargetError(
            "M343",
            f"its schema is at revision {revision}, older than this checkout's {migrations.head()}",
            where=shown(engine.url),
            fix="memos-assets migrate",
        )
    return None


def free_bytes(settings: Settings) -> int | None:
    """Return what is free on the embedded server's disk; nobody asks another server that."""
    if settings.database_url is not None:
        return None
    return shutil.disk_usage(settings.home).free
