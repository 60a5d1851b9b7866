"""Several processes that miss at once compute once; a holder that is killed is followed."""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from memos_assets_tests.cache import worker

LEASE = 1.5


class Worker(NamedTuple):
    process: BaseProcess
    pipe: Connection

    def said(self) -> Any:
        assert self.pipe.poll(60), "it says nothing"
        return self.pipe.recv()


@pytest.fixture
def url(owner: sa.Engine) -> str:
    with owner.begin() as conn:
        conn.execute(sa.text("delete from agent.cache_entries"))
        conn.execute(sa.text("delete from agent.cache_leases"))
    return owner.url.render_as_string(hide_password=False)


@contextmanager
def workers(
    url: str, path: Path, kinds: Sequence[str], callers: int, seconds: float, lease: float = 5.0
) -> Iterator[list[Worker]]:
    """Start processes and wait until each is ready to ask."""
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload([worker.__name__])
    started = []
    try:
        for kind in kinds:
            mine, theirs = forked.Pipe()
            arguments = (theirs, url, path, kind, callers, seconds, lease)
            process = forked.Process(target=worker.ask, args=arguments, daemon=True)
            process.start()
            theirs.close()
            started.append(Worker(process, mine))
        assert [one.said() for one in started] == ["ready"] * len(kinds)
        yield started
    finally:
        for one in started:
            one.process.kill()
            one.process.join()


def test_64_misses_in_4_processes_are_one_computation(url: str, tmp_path: Path) -> None:
    computed = tmp_path / "computed"
    kinds = ["asyncio", "asyncio", "threads", "threads"]
    with workers(url, computed, kinds, 16, 0.5) as started:
        assert len({one.process.pid for one in started}) == 4
        for one in started:
            one.pipe.send("go")
        origins = [one.said() for one in started]
    assert len(computed.read_text().splitlines()) == 1
    assert sum(one.get("computed", 0) for one in origins) == 1
    assert sum(one.get("exact", 0) for one in origins) == 63


def test_a_holder_that_is_killed_is_followed_within_its_lease(url: str, tmp_path: Path) -> None:
    computed = tmp_path / "computed"
    with (
        workers(url, computed, ["asyncio"], 1, 60, LEASE) as (holder,),
        workers(url, computed, ["threads"], 4, 0.1, LEASE) as (next_one,),
    ):
        holder.pipe.send("go")
        until = time.monotonic() + 30
        while not computed.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(LEASE)  # it lives as long as it gives signs of life
        holder.process.kill()
        killed = time.monotonic()
        next_one.pipe.send("go")
        assert next_one.said() == {"computed": 1, "exact": 3}
        waited = time.monotonic() - killed
    assert len(computed.read_text().splitlines()) == 2
    assert waited < LEASE + 2  # its life, and the time that the process takes
