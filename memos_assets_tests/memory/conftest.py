"""Databases, sessions and users of tests of memory."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memory import SyncMemory
from memos_assets.memory.models import ensure_registered
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database

_users = itertools.count(1)
EMBEDDER = DeterministicEmbedder(64)


@pytest.fixture(scope="module")
def shared_settings(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a database that the tests of one module share, each with users of its own."""
    home: Path = tmp_path_factory.mktemp("memory")
    with copied_database(server, template) as url:
        settings = Settings(home=home, database_url=SecretStr(libpq_url(url)))
        engine = create_engine(url, settings, application_name="tests", pooled=False)
        ensure_registered(engine, EMBEDDER)
        yield settings


@pytest.fixture(scope="module")
def shared_sessions(shared_settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Make sessions of the services' role."""
    with open_sync_memory_sessions(shared_settings) as sessions:
        yield sessions


@pytest.fixture
def user() -> str:
    """Name a user whom no other test knows."""
    return f"user-{next(_users)}"


@pytest.fixture
def memory() -> SyncMemory:
    """Return a memory with the embedder of these tests."""
    return SyncMemory(Settings(), embedder=EMBEDDER)


@pytest.fixture
def session(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> Iterator[Session]:
    """Open a session that acts for the user; it is rolled back."""
    with shared_sessions() as opened:
        memory.act_as(opened, user=user, agent="planner")
        yield opened


@pytest.fixture
def owner(shared_settings: Settings) -> Iterator[sa.Connection]:
    """Connect as the owner of the tables, who sees every row."""
    assert shared_settings.database_url is not None
    url = sa.make_url(shared_settings.database_url.get_secret_value())
    url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url, shared_settings, application_name="tests", pooled=False)
    with engine.connect() as conn:
        yield conn
