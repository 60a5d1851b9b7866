"""An empty world per test: ephemeral instance, own database, own folder."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from memos_assets.settings import Settings
from memos_assets_tests.defs.world import World


@pytest.fixture
def world(
    database_url: sa.URL,
    engine: sa.Engine,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[World]:
    """Set the environment that runs read, as a developer would."""
    monkeypatch.setenv("MEMOS_HOME", str(settings.home))
    monkeypatch.setenv("MEMOS_DATABASE_URL", database_url.render_as_string(hide_password=False))
    data = tmp_path / "data"
    data.mkdir()
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(engine, settings, instance, data)
