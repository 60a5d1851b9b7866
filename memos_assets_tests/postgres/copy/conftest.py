"""One database for all round trips: each takes place in a transaction that is given up."""

from collections.abc import Iterator

import psycopg
import pytest

from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets_tests.conftest import copied_database


@pytest.fixture(scope="module")
def driver(server: EmbeddedServer, template: str) -> Iterator[psycopg.Connection]:
    """Open a connection to a database with pgvector."""
    with copied_database(server, template) as url, psycopg.connect(libpq_url(url)) as connection:
        yield connection
