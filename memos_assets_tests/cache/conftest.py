"""A database with what makes sessions, for tests of the cache."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Scope
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database

_users = itertools.count(1)


@pytest.fixture(scope="module")
def shared_settings(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a database that the tests of one module share, each with users of its own."""
    home: Path = tmp_path_factory.mktemp("cache")
    with copied_database(server, template) as url:
        yield Settings(home=home, database_url=SecretStr(libpq_url(url)))


@pytest.fixture(scope="module")
def sessions(shared_settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Make sessions of the services' role."""
    with open_sync_memory_sessions(shared_settings) as made:
        yield made


@pytest.fixture
def scope() -> Scope:
    """Name a user whom no other test knows."""
    return Scope(user=f"user-{next(_users)}")


@pytest.fixture
def owner(shared_settings: Settings) -> sa.Engine:
    """Connect as the owner of the tables, who sees every row."""
    assert shared_settings.database_url is not None
    url = sa.make_url(shared_settings.database_url.get_secret_value())
    url = url.set(drivername="postgresql+psycopg")
    return create_engine(url, shared_settings, application_name="tests", pooled=False)
