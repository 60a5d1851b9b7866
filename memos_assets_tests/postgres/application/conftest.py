"""Databases of memOS: one per test, at the revision before the adoption."""

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres import migrations
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database
from memos_assets_tests.postgres.application.memos import write_memos

BEFORE = "0003"


@pytest.fixture(scope="session")
def memos_template(server: EmbeddedServer, template: str) -> str:
    """Name a database at the revision before, with memOS's tables, for the others to copy."""
    name = "memos_template"
    administrator = libpq_url(server.url("postgres"))
    with psycopg.connect(administrator, autocommit=True) as conn:
        conn.execute(
            sql.SQL("create database {} template {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    engine = create_engine(server.url(name), Settings(), application_name="tests", pooled=False)
    migrations.downgrade(engine, BEFORE)
    with psycopg.connect(libpq_url(server.url(name))) as conn:
        write_memos(conn)
    return name


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
