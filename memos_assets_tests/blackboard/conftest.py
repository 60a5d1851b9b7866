"""A database with what makes sessions, users and boards, for tests of boards."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import SyncBoard
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.blackboard.spaces import as_services
from memos_assets_tests.conftest import copied_database

_users = itertools.count(1)


@pytest.fixture(scope="module")
def shared_settings(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a database that the tests of one module share, each with users of its own."""
    home: Path = tmp_path_factory.mktemp("boards")
    with copied_database(server, template) as url:
        yield Settings(home=home, database_url=SecretStr(libpq_url(url)))


@pytest.fixture(scope="module")
def sessions(shared_settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Make sessions of the services' role."""
    assert shared_settings.database_url is not None
    with as_services(shared_settings.database_url.get_secret_value(), shared_settings) as made:
        yield made


@pytest.fixture
def user() -> str:
    """Name a user whom no other test knows."""
    return f"user-{next(_users)}"


@pytest.fixture
def board(sessions: sessionmaker[Session], user: str) -> SyncBoard:
    """Open a board of the user, used by one agent."""
    return SyncBoard.open(sessions, "find out", user=user, agent="one")


@pytest.fixture
def other(sessions: sessionmaker[Session], board: SyncBoard) -> SyncBoard:
    """Return the same board, used by another agent of the user."""
    return SyncBoard(sessions, board.id, user=board.who.user, agent="two")


@pytest.fixture
def owner(shared_settings: Settings) -> Iterator[sa.Engine]:
    """Connect as the owner of the tables, who sees every row."""
    assert shared_settings.database_url is not None
    url = sa.make_url(shared_settings.database_url.get_secret_value())
    url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url, shared_settings, application_name="tests", pooled=False)
    yield engine
    engine.dispose()
