"""The target database, ready to use: reached, checked, and at this checkout's schema revision."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from memos_assets.postgres import migrations
from memos_assets.postgres.backup import back_up_foreign
from memos_assets.postgres.engine import (
    check_server,
    closing_pool,
    create_engine,
    database_url,
)
from memos_assets.settings import Settings

#: Addresses this process has checked; a check costs a connection and Alembic's import.
_ready: set[str] = set()


def prepare_target(settings: Settings, application_name: str) -> sa.URL:
    """Return the address of the target database, which is ready for use.

    Starts the embedded server where no other database is configured. On first use it backs up what
    others hold there, creates the extension and brings the schema up to date.

    Raises:
        UsageError, ServerError, TargetError: as `database_url`, `back_up_foreign`,
            `check_server` and `migrations.upgrade` raise them.
    """
    url = database_url(settings)
    address = url.render_as_string(hide_password=True)
    if address not in _ready:
        back_up_foreign(url, settings)
        engine = create_engine(url, settings, application_name=application_name)
        with closing_pool(engine):
            check_server(engine)
            migrations.upgrade(engine)
        _ready.add(address)
    return url


@contextmanager
def open_target(settings: Settings, application_name: str) -> Iterator[sa.Engine]:
    """Yield a pooled engine on the target database, and close its connections at the end.

    Raises:
        UsageError, ServerError, TargetError: as `prepare_target`.
    """
    url = prepare_target(settings, application_name)
    with closing_pool(create_engine(url, settings, application_name=application_name)) as engine:
        yield engine


def free_bytes(settings: Settings) -> int | None:
    """Return what is free on the embedded server's disk; nobody asks another server that."""
    if settings.database_url is not None:
        return None
    return shutil.disk_usage(settings.home).free
