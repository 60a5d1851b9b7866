"""The same rows on two servers are one snapshot."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from memos_assets.postgres import migrations
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.engine import check_server, create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets.snapshots.diff import diff
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.conftest import FAST
from memos_assets_tests.snapshots.memories import fill


@pytest.fixture
def other() -> Iterator[sa.Engine]:
    """Yield an engine on a server of its own: another cluster, locale and time zone."""
    with tempfile.TemporaryDirectory(prefix="memos-tests-") as home:
        server = EmbeddedServer(Path(home), settings={**FAST, "timezone": "Asia/Kathmandu"})
        server.start()
        with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as conn:
            conn.execute(
                "create database other template template0 "
                "locale_provider builtin builtin_locale 'PG_UNICODE_FAST' encoding 'UTF8'"
            )
        engine = create_engine(server.url("other"), Settings(), application_name="tests")
        try:
            check_server(engine)
            migrations.upgrade(engine, create_application=True)
            yield engine
        finally:
            engine.dispose()
            server.stop()


def test_rows_in_another_order_on_another_server_have_the_same_id(
    engine: sa.Engine, other: sa.Engine, tmp_path: Path
) -> None:
    fill(engine, 300)
    here = write_snapshot(engine, open_store(str(tmp_path / "here"))).manifest
    # Registers the model and makes the table of its embeddings.
    fill(other, 1)
    with other.begin() as conn:
        listed = ", ".join(entry.qualified for entry in here.tables)
        conn.exec_driver_sql(
            f"set local session_replication_role = replica; truncate {listed} cascade"
        )
        with engine.connect() as source:
            for entry in here.tables:
                _copy(source, conn, entry.schema, entry.name, [name for name, _ in entry.columns])
    store = open_store(str(tmp_path / "there"))
    there = write_snapshot(other, store).manifest
    assert there.id == here.id
    assert there.database != here.database
    # It says what differs, too: one row is enough for another id.
    with other.begin() as conn:
        conn.exec_driver_sql("update agent.memories set content = content || '.' where number = 7")
    changed = write_snapshot(other, store).manifest
    assert changed.id != here.id
    assert diff(store, there, changed).rows.changed == 1


def _copy(
    source: sa.Connection, target: sa.Connection, schema: str, name: str, columns: list[str]
) -> None:
    """Copy the rows of a table in random order."""
    table = sql.Identifier(schema, name)
    listed = sql.SQL(", ").join(map(sql.Identifier, columns))
    out = sql.SQL("copy (select {} from {} order by random()) to stdout (format binary)")
    into = sql.SQL("copy {} ({}) from stdin (format binary)")
    with (
        driver_of(source).cursor() as reading,
        reading.copy(out.format(listed, table)) as rows,
        driver_of(target).cursor() as writing,
        writing.copy(into.format(table, listed)) as sink,
    ):
        for row in rows:
            sink.write(row)
