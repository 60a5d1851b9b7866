"""Databases of memOS: one per test, at the revision before the adoption."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database


@pytest.fixture
def database_url(server: EmbeddedServer, memos_template: str) -> Iterator[sa.URL]:
    """Copy memOS's database for one test."""
    with copied_database(server, memos_template) as url:
        yield url


@pytest.fixture
def empty(server: EmbeddedServer, template: str, settings: Settings) -> Iterator[sa.Engine]:
    """Open an engine on a database in which every table is ours."""
    with copied_database(server, template) as url:
        made = create_engine(url, settings, application_name="tests", pooled=False)
        yield made
        made.dispose()
