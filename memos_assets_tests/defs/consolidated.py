"""Worlds that are consolidated once per session, and a copy of one for each test that starts there.

A test asks for a copy by the rowids of its `meta_buffer.db`. The database is copied by PostgreSQL
from the one that was consolidated, Dagster's ephemeral storages by SQLite's backup, and the files
back into the folder that the database and the runs have recorded: so one copy at a time.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database
from memos_assets_tests.defs.instances import ephemeral
from memos_assets_tests.defs.world import World, write_templates


@contextmanager
def world_in(
    folder: Path, url: sa.URL, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Set the environment that runs read, as a developer would, and open an engine."""
    home, data = folder / "home", folder / "data"
    settings = Settings(home=home, database_url=SecretStr(libpq_url(url)))
    monkeypatch.setenv("MEMOS_HOME", str(home))
    monkeypatch.setenv("MEMOS_DATABASE_URL", url.render_as_string(hide_password=False))
    data.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, settings, application_name="tests")
    try:
        yield World(engine, settings, instance, data)
    finally:
        engine.dispose()


@dataclass(frozen=True, slots=True)
class Original:
    """A world as it was when everything in it was proven."""

    folder: Path
    database: str
    instance: dg.DagsterInstance

    @property
    def files(self) -> Path:
        return self.folder.with_suffix(".original")


@dataclass(slots=True)
class ConsolidatedWorlds:
    """The originals of this session by the rowids of their file, each made when it is asked for."""

    server: EmbeddedServer
    template: str
    folder: Path
    kept: ExitStack
    originals: dict[tuple[int, ...], Original] = field(default_factory=dict)

    @contextmanager
    def copied(self, rowids: Iterable[int], monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        """Copy a consolidated world; what a test does to the copy is gone afterwards."""
        key = tuple(rowids)
        if key not in self.originals:
            self.originals[key] = self._consolidate(key, monkeypatch)
        original = self.originals[key]
        shutil.rmtree(original.folder)
        shutil.copytree(original.files, original.folder)
        with (
            copied_database(self.server, original.database) as url,
            ephemeral(original.instance) as instance,
            world_in(original.folder, url, instance, monkeypatch) as world,
        ):
            yield world

    def _consolidate(self, rowids: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> Original:
        url = self.kept.enter_context(copied_database(self.server, self.template))
        instance = self.kept.enter_context(ephemeral())
        folder = self.folder / f"world{len(self.originals)}"
        with world_in(folder, url, instance, monkeypatch) as world:
            write_templates(world.data / "meta_buffer.db", rowids)
            assert world.consolidate().proven
        original = Original(folder, str(url.database), instance)
        shutil.copytree(folder, original.files)
        return original
