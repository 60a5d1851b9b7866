"""Several processes that miss at once compute once; a holder that is killed is followed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

Worker = subprocess.Popen[str]


@pytest.fixture
def url(owner: sa.Engine) -> str:
    with owner.begin() as conn:
        conn.execute(sa.text("delete from agent.cache_entries"))
        conn.execute(sa.text("delete from agent.cache_leases"))
    return owner.url.render_as_string(hide_password=False)


@contextmanager
def workers(
    url: str, path: Path, kinds: Sequence[str], callers: int, seconds: float
) -> Iterator[list[Worker]]:
    """Start processes and wait until each is ready to ask."""
    command = [sys.executable, "-m", "memos_assets_tests.cache.worker", url, str(path)]
    started = [
        subprocess.Popen(
            [*command, str(callers), str(seconds), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in kinds
    ]
    try:
        for one in started:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
        yield started
    finally:
        for one in started:
            one.kill()
            one.communicate()


def go(one: Worker) -> None:
    assert one.stdin is not None
    one.stdin.write("go\n")
    one.stdin.flush()


def test_64_misses_in_4_processes_are_one_computation(url: str, tmp_path: Path) -> None:
    computed = tmp_path / "computed"
    kinds = ["asyncio", "asyncio", "threads", "threads"]
    with workers(url, computed, kinds, 16, 0.5) as started:
        for one in started:
            go(one)
        origins = [json.loads(one.communicate(timeout=60)[0]) for one in started]
    assert len(computed.read_text().splitlines()) == 1
    assert sum(one.get("computed", 0) for one in origins) == 1
    assert sum(one.get("exact", 0) for one in origins) == 63


def test_a_holder_that_is_killed_is_followed_within_its_lease(url: str, tmp_path: Path) -> None:
    computed = tmp_path / "computed"
    with workers(url, computed, ["asyncio"], 1, 60) as (holder,):
        go(holder)
        until = time.monotonic() + 30
        while not computed.exists():
            assert time.monotonic() < until
            time.sleep(0.01)
        with workers(url, computed, ["threads"], 4, 0.1) as (next_one,):
            holder.kill()
            killed = time.monotonic()
            go(next_one)
            out, _ = next_one.communicate(timeout=60)
            waited = time.monotonic() - killed
    assert json.loads(out) == {"computed": 1, "exact": 3}
    assert len(computed.read_text().splitlines()) == 2
    assert waited < 5 + 2  # its life, and the time that the process takes
