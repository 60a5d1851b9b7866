"""The command serve: a worker that is killed is replaced, and a stop lets requests end."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from memos_assets.api.serve import bind
from memos_assets.errors import AgentError
from memos_assets.settings import Settings
from memos_assets_tests.api.conftest import wait_for

Token = Callable[..., str]


@contextmanager
def command(settings: Settings, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the command on a free port; yield it and its address."""
    assert settings.database_url is not None
    assert settings.memory_keys is not None
    environment = {
        **os.environ,
        "MEMOS_HOME": str(settings.home),
        "MEMOS_DATABASE_URL": settings.database_url.get_secret_value(),
        "MEMOS_MEMORY_KEYS": settings.memory_keys.get_secret_value(),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "memos_assets", "serve", "--port", "0", *arguments],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            assert running.stderr is not None
            line = running.stderr.readline()
            found = re.search(r"http://\S+:\d+", line)
            assert found, line
            yield running, found[0]
        finally:
            running.terminate()
            running.wait(30)


def is_ready(url: str) -> bool:
    """Whether a worker answers."""
    try:
        return httpx.get(f"{url}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def is_worker(process: psutil.Process) -> bool:
    """Whether a process is a worker that lives."""
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def test_two_workers_answer_one_that_is_killed_is_replaced_and_a_stop_is_clean(
    api_settings: Settings, token: Token
) -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    with command(api_settings, "--workers", "2", "--verbose") as (running, url):
        wait_for(lambda: is_ready(url))
        parent = psutil.Process(running.pid)

        def workers() -> set[int]:
            return {one.pid for one in parent.children() if is_worker(one)}

        wait_for(lambda: len(workers()) == 2)
        before = workers()
        said = {"text": "A worker may die.", "source": "test"}
        assert httpx.post(f"{url}/api/v1/network/remember", json=said, headers=headers).is_success
        os.kill(min(before), signal.SIGKILL)
        wait_for(lambda: len(workers() - before) == 1)
        wait_for(lambda: is_ready(url))
        asked = {"query": "Which worker may die?"}
        for _ in range(10):
            answer = httpx.post(f"{url}/api/v1/network/recall", json=asked, headers=headers)
            assert len(answer.json()["hits"]) == 1
        page = httpx.get(f"{url}/metrics", headers=headers).text
        # Counts of all workers, the killed one's too.
        counted = re.findall(r'requests_total\{.*recall.*status="200"\} (\S+)', page)
        assert [float(one) for one in counted] == [10.0]
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) in (0, -signal.SIGTERM)
        assert running.stderr is not None
        log = running.stderr.read()
        assert "/api/v1/network/recall 200" in log
        assert "worker may die" not in log.lower().replace("memos_assets", "")
        assert "Traceback" not in log


def test_an_address_in_use_is_one_clear_error(api_settings: Settings) -> None:
    with bind(api_settings) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AgentError, match=rf"^M967 127\.0\.0\.1:{port}: "):
            bind(api_settings.model_copy(update={"api_port": port}))
