"""The adoption writes to tables of memOS: a dump is written first, in each case."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from memos_assets.postgres import migrations, target
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server import cluster
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import prepare_target
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database
from memos_assets_tests.postgres.application.memos import write_memos
from memos_assets_tests.postgres.application.reading import content, execute, rows, schema


@pytest.fixture(autouse=True)
def _nothing_is_known_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_ready", set())


def engine_on(url: sa.URL, settings: Settings) -> sa.Engine:
    return create_engine(url, settings, application_name="tests", pooled=False)


@pytest.fixture
def untouched(server: EmbeddedServer) -> Iterator[sa.URL]:
    """memOS's database before anything of ours is there."""
    with copied_database(server, "template1") as url:
        with psycopg.connect(libpq_url(url)) as conn:
            conn.execute("create extension vector")
            write_memos(conn, memories=4)
        yield url


def restored(server: EmbeddedServer, settings: Settings) -> Iterator[sa.Engine]:
    (dump,) = (settings.home / "backups").glob("*.dump")
    with copied_database(server, "template1") as url:
        program = str(cluster.programs() / "bin" / "pg_restore")
        subprocess.run([program, "--exit-on-error", f"--dbname={libpq_url(url)}", dump], check=True)
        yield engine_on(url, settings)


def test_memoss_database_is_dumped_before_it_is_adopted(
    untouched: sa.URL, server: EmbeddedServer, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, database_url=SecretStr(libpq_url(untouched)))
    theirs = engine_on(untouched, settings)
    before, shape = content(theirs), schema(theirs)
    prepare_target(settings, "tests")
    assert rows(theirs, "select count(*) from memos_ops.application_tables where adopted") == [
        (10,)
    ]
    for copy in restored(server, settings):
        assert content(copy) == before
        assert schema(copy) == shape
    migrations.downgrade(theirs, "0003")
    assert content(theirs) == before


def test_tables_that_memos_made_after_our_first_write_are_dumped_before_they_are_adopted(
    engine: sa.Engine,
    settings: Settings,
    server: EmbeddedServer,
    caplog: pytest.LogCaptureFixture,
) -> None:
    execute(engine, "insert into memos_ops.sources (source, kind, path) values ('s', 'k', 'p')")
    before = content(engine)
    caplog.set_level(logging.WARNING)
    prepare_target(settings, "tests")
    assert "(it holds public.achievements, public.memories, public.ollama_model_specs, ...)" in (
        caplog.text
    )
    for copy in restored(server, settings):
        assert content(copy) == before
        # What is ours is not theirs to lose.
        assert sa.inspect(copy).get_schema_names() == ["information_schema", "public"]


def test_an_adopted_database_needs_no_further_backup(engine: sa.Engine, settings: Settings) -> None:
    migrations.upgrade(engine)
    prepare_target(settings, "tests")
    assert not (settings.home / "backups").exists()
