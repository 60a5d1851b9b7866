"""A world per test: ephemeral instance, own database, own folder; empty, or consolidated before."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets_tests.defs.consolidated import ConsolidatedWorlds, world_in
from memos_assets_tests.defs.instances import ephemeral
from memos_assets_tests.defs.world import World

#: Copies the world whose `meta_buffer.db` has templates with these rowids, all of it proven.
Consolidated = Callable[[Iterable[int]], World]


@pytest.fixture
def world(database_url: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Make an empty world."""
    with (
        ephemeral() as instance,
        world_in(tmp_path, database_url, instance, monkeypatch) as made,
    ):
        yield made


@pytest.fixture
def consolidated(
    consolidated_worlds: ConsolidatedWorlds, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Consolidated]:
    """Give a test a consolidated world of its own; ask for it before anything is patched."""
    with ExitStack() as copies:
        yield lambda rowids: copies.enter_context(consolidated_worlds.copied(rowids, monkeypatch))
