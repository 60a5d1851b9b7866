"""Kills beside the cache, one of each kind, of real processes and a real server."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.world import World
from faults.caches import cache_faults, judged
from memos_assets.postgres.server.embedded import EmbeddedServer


@pytest.fixture
def world() -> Iterator[World]:
    """Make a world without a demo, outside of pytest's own folder as `conftest.server`."""
    folder = Path(tempfile.mkdtemp(prefix="memos-faults-"))
    server = EmbeddedServer(folder / "home")
    try:
        server.start()
        yield World(folder, server, "small")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_holder_and_the_server_are_killed_and_every_caller_gets_its_answer(world: World) -> None:
    found = cache_faults(world, 2)
    assert found.faults == []
    assert (found.holders, found.servers) == (1, 1)
    assert found.slowest > 0.5
    assert "| the holder of a lease |     1 |" in found.sheet().markdown()


def test_what_callers_should_not_get_is_a_fault() -> None:
    right = [("computed", 7), ("exact", 7), ("exact", 7)]
    assert judged(right, 2.5) == []
    assert judged(right, 9.0) == ["callers waited for 9.0 s, a lease is 2 s"]
    twice = judged([("computed", 7), ("computed", 8), ("exact", 7)], 1.0)
    assert twice == [
        "after the death of a holder: {'computed': 2, 'exact': 1}, not computed once",
        "callers of one answer got different ones",
    ]
    assert judged([("nothing", None), *right[1:]], 1.0) != []
