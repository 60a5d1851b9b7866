"""The target database, ready to use: reached, checked, and at this checkout's schema revision."""

import shutil

import sqlalchemy as sa

from memos_assets.postgres import migrations
from memos_assets.postgres.backup import back_up_foreign
from memos_assets.postgres.engine import check_server, create_engine, database_url
from memos_assets.settings import Settings

#: Addresses this process has checked; a check costs a connection and Alembic's import.
_ready: set[str] = set()


def open_target(settings: Settings, application_name: str) -> sa.Engine:
    """Return a pooled engine on the target database; the caller disposes of it.

    Starts the embedded server where no other database is configured. On first use it backs up what
    others hold there, creates the extension and brings the schema up to date.

    Raises:
        UsageError, ServerError, TargetError: as `database_url`, `back_up_foreign`,
            `check_server` and `migrations.upgrade` raise them.
    """
    url = database_url(settings)
    engine = create_engine(url, settings, application_name=application_name)
    address = url.render_as_string(hide_password=True)
    try:
        if address not in _ready:
            back_up_foreign(url, settings)
            check_server(engine)
            migrations.upgrade(engine)
            _ready.add(address)
    except BaseException:
        engine.dispose()
        raise
    return engine


def free_bytes(settings: Settings) -> int | None:
    """Return what is free on the embedded server's disk; nobody asks another server that."""
    if settings.database_url is not None:
        return None
    return shutil.disk_usage(settings.home).free
