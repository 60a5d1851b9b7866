"""A database that the tests of one module share, for tests that only read."""

import itertools
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared_engine(server: EmbeddedServer, template: str) -> Iterator[sa.Engine]:
    """Copy the template for one module."""
    name = f"shared_{next(_numbers)}"
    create = sql.SQL("create database {} template {} strategy file_copy")
    with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as conn:
        conn.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    made = create_engine(server.url(name), Settings(), application_name="tests:shared")
    yield made
    made.dispose()
    with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as conn:
        conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
