"""Limits of requests: their size, how many at once, how long; and logs that say nothing of them."""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
import sqlalchemy as sa

from memos_assets.api.doors import Visit
from memos_assets.api.phases import Asking, SearchPhases, Tell
from memos_assets.cache import Computed
from memos_assets.settings import Settings
from memos_assets_tests.api.conftest import Client, Server, served, wait_for

SEARCH = "/api/v1/search"


class Waiting(SearchPhases):
    """Computes nothing, slowly, or fails."""

    version = "waiting"

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.error: Exception | None = None

    async def depends_on(self, _visit: Visit, asking: Asking) -> Mapping[str, Any]:
        return {"k": asking.k}

    async def compute(self, _visit: Visit, _asking: Asking, _tell: Tell) -> Computed:
        self.began.release()
        if self.error is not None:
            raise self.error
        await anyio.sleep(60)
        return Computed({})


@pytest.fixture
def slow() -> Waiting:
    return Waiting()


@pytest.fixture
def bounded(api_settings: Settings, slow: Waiting) -> Iterator[Server]:
    """Serve with low limits, and searches that take a minute."""
    settings = api_settings.model_copy(
        update={"api_most_requests": 2, "api_seconds": 1.0, "api_most_bytes": 2_000}
    )
    with served(settings, searching=slow) as running:
        yield running


def test_a_request_that_takes_too_long_is_ended(
    bounded: Server, client: Client, owners: sa.Engine
) -> None:
    ann = client(url=bounded.url)
    began = time.monotonic()
    ended = ann.post(SEARCH, json={"query": "x"})
    assert (ended.status_code, ended.json()["code"]) == (504, "M965")
    assert time.monotonic() - began < 10
    streamed = ann.post(SEARCH, json={"query": "y"}, headers={"Accept": "text/event-stream"})
    assert streamed.status_code == 200
    assert streamed.text.rstrip().split("\n\n")[-1].startswith('event: error\ndata: {"code":"M965"')
    busy = sa.text(
        "select count(*) from pg_stat_activity where application_name = 'memos_assets:api' "
        "and datname = current_database() and state like 'idle in transaction%'"
    )
    # The answer ends first, and the transaction some moments after it.
    with owners.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        wait_for(lambda: conn.scalar(busy) == 0, seconds=10)


def test_more_requests_than_allowed_are_asked_to_come_again(
    bounded: Server, client: Client, slow: Waiting
) -> None:
    ann = client(url=bounded.url)
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(ann.post, SEARCH, json={"query": f"wait {n}"}) for n in range(2)]
        assert slow.began.acquire(timeout=20)
        assert slow.began.acquire(timeout=20)
        refused = ann.get("/memories")
        assert (refused.status_code, refused.json()["code"]) == (503, "M963")
        assert refused.headers["retry-after"] == "1"
        assert httpx.get(f"{bounded.url}/health").status_code == 200
        assert {one.result().status_code for one in running} == {504}
    assert ann.get("/memories").status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    bounded: Server, client: Client
) -> None:
    ann = client(url=bounded.url)
    large = {"content": "x" * 3_000}
    refused = ann.post("/memories", json=large)
    assert (refused.status_code, refused.json()["code"]) == (413, "M962")

    def chunks() -> Iterator[bytes]:
        for _ in range(5):
            yield b"x" * 1_000

    refused = ann.post("/memories", content=chunks())
    assert (refused.status_code, refused.json()["code"]) == (413, "M962")
    host, port = bounded.bound.getsockname()[:2]
    with socket.create_connection((host, port), timeout=10) as raw:
        # Nothing of the body is sent: the answer does not wait for it.
        raw.sendall(
            b"POST /memories HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\n"
            b"Content-Length: 99999999\r\n\r\n"
        )
        assert b" 413 " in raw.recv(100)


def test_neither_answers_nor_logs_have_what_a_request_said_or_a_traceback(
    bounded: Server, client: Client, slow: Waiting, caplog: pytest.LogCaptureFixture
) -> None:
    ann = client(url=bounded.url)
    caplog.set_level(logging.DEBUG, "memos_assets")
    slow.error = ValueError("canary-5d1f")
    answers = [
        ann.post(SEARCH, json={"query": "canary-5d1f"}),
        ann.post(SEARCH, json={"query": "canary-5d1f"}, headers={"Accept": "text/event-stream"}),
        ann.post("/memories", json={"content": "canary-5d1f", "memory_type": "canary-5d1f"}),
        ann.post("/memories", content=b'{"canary-5d1f'),
        ann.get("/memories", params={"limit": "canary-5d1f"}),
        ann.get("/memories/canary-5d1f"),
        ann.post("/api/v1/network/remember", json={"text": "canary-5d1f\0"}),
        ann.post("/api/v1/network/remember", json={"text": "x", "canary": "canary-5d1f"}),
    ]
    assert [one.status_code for one in answers] == [500, 200, 422, 422, 422, 422, 422, 422]
    assert answers[0].json()["code"] == "M964"
    said = "\n".join([*(one.text for one in answers), caplog.text])
    assert "canary-5d1f" not in said
    assert "Traceback" not in said
    assert "ValueError at " in caplog.text


def test_metrics_count_requests_by_route_and_name_no_user(client: Client, user: str) -> None:
    ann = client()
    ann.get(f"/api/v1/memory/stats/{user}")
    page = ann.get("/metrics").text
    assert 'route="/api/v1/memory/stats/{user_id}",status="200"' in page
    assert user not in page
