"""`memos-assets serve` with two workers and 64 clients, on loopback; and a cached answer alone."""

import asyncio
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.orm import Session

from bench.measure import BenchError, progress
from bench.sheets import Sheet, verdict
from bench.world import World
from memos_assets.demo import Scale
from memos_assets.memory import access_tokens
from memos_assets.settings import environment_with_password

CLIENTS, WORKERS = 64, 2
SECONDS: Final[dict[Scale, float]] = {"plan": 60.0, "small": 10.0}
#: Cached answers of one client, one after another.
ALONE: Final = 500
_SEARCH: Final = ("/api/v1/search", {"query": "What does SRVO-062 mean?", "k": 3})
#: What each client sends, over and over; {n} makes each one another text.
_TURN: Final = (
    _SEARCH,
    ("/api/v1/network/recall", {"query": "Which battery did robot {n} get?", "k": 5}),
    _SEARCH,
    ("/api/v1/network/remember", {"text": "Robot {n} got a new battery."}),
)


@dataclass
class Measured:
    """Times of answers in seconds, and what was not answered by 2xx."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        """Return a quantile in ms."""
        return float(np.quantile(self.seconds, share)) * 1_000


def serve_race(world: World, _rounds: int) -> list[Sheet]:
    """Return the table of requests over HTTP."""
    seconds = SECONDS[world.scale]
    with world.fresh() as engine, _serving(world) as port:
        with Session(engine) as session, session.begin():
            tokens = [
                access_tokens.create(session, user=f"user {n}", made_by="bench")[0]
                for n in range(CLIENTS)
            ]
        asyncio.run(_clients(port, tokens, 1.0))  # plans, pools, prepared statements
        alone = asyncio.run(_cached(port, tokens[0]))
        progress.print(f"  {CLIENTS} clients for {seconds:g} s")
        loaded = asyncio.run(_clients(port, tokens, seconds))
        left = _in_transaction(engine)
    for error in sorted(set(loaded.errors))[:5]:
        progress.print(f"  {error}", markup=False)
    p50, p95 = loaded.quantile(0.5), loaded.quantile(0.95)
    rows = [
        _row("cached answer, one client", alone, verdict(alone.quantile(0.5), 5, "ms")),
        _row(
            f"{WORKERS} workers, {CLIENTS} clients, {seconds:g} s",
            loaded,
            verdict(p95 / p50, 5, "x p50"),
        ),
        ("errors", f"{len(loaded.errors):,}", "", "", verdict(len(loaded.errors), 0, "errors")),
        ("connections left in a transaction", str(left), "", "", verdict(left, 0, "left")),
    ]
    return [
        Sheet(
            "serve",
            "Requests over HTTP",
            ("what", "requests", "p50 ms", "p95 ms", "target"),
            rows,
            "Half of the requests are a search that comes from the cache, a quarter recalls and a "
            "quarter remembers, each client with a token and a user of its own, keep-alive, on the "
            "same machine as the server and PostgreSQL.",
        )
    ]


def _row(what: str, measured: Measured, target: str) -> tuple[str, ...]:
    times = (f"{measured.quantile(share):.1f}" for share in (0.5, 0.95))
    return (what, f"{len(measured.seconds):,}", *times, target)


@contextmanager
def _serving(world: World) -> Iterator[int]:
    """Run the command on a free port; yield the port."""
    environment = {
        **environment_with_password(None),
        "MEMOS_DATABASE_URL": "",
        "MEMOS_HOME": str(world.home),
        "MEMOS_MEMORY_KEYS": Fernet.generate_key().decode(),
    }
    command = [sys.executable, "-m", "memos_assets", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--workers", str(WORKERS)], env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            assert running.stderr is not None
            found = re.search(r":(\d+);", line := running.stderr.readline())
            if found is None:
                raise BenchError(f"memos-assets serve: {line}")
            port = int(found[1])
            asyncio.run(_until_ready(port))
            yield port
        finally:
            running.terminate()
            running.wait(60)


async def _until_ready(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        try:
            async with _Connection(port, "") as connection:
                if await connection.send("GET", "/ready", None) == 200:
                    return
        except OSError:
            pass
        await asyncio.sleep(0.1)
    raise BenchError("memos-assets serve is not ready after 120 s")


async def _clients(port: int, tokens: list[str], seconds: float) -> Measured:
    measured = Measured()
    until = time.monotonic() + seconds
    await asyncio.gather(
        *(_client(port, number, token, until, measured) for number, token in enumerate(tokens))
    )
    return measured


async def _client(port: int, number: int, token: str, until: float, measured: Measured) -> None:
    sent = number  # so that not all send the same at once
    async with _Connection(port, token) as connection:
        while time.monotonic() < until:
            path, body = _TURN[sent % len(_TURN)]
            named = {
                name: value.format(n=f"{number}-{sent}") if isinstance(value, str) else value
                for name, value in body.items()
            }
            began = time.perf_counter()
            status = await connection.send("POST", path, named)
            measured.seconds.append(time.perf_counter() - began)
            if not 200 <= status < 300:
                measured.errors.append(f"{status} of {path}")
            sent += 1


async def _cached(port: int, token: str) -> Measured:
    measured = Measured()
    async with _Connection(port, token) as connection:
        for _ in range(20):
            await connection.send("POST", *_SEARCH)
        for _ in range(ALONE):
            began = time.perf_counter()
            await connection.send("POST", *_SEARCH)
            measured.seconds.append(time.perf_counter() - began)
    return measured


class _Connection:
    """One connection that is kept: a client that costs less than the server does."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._token = port, token

    async def __aenter__(self) -> "_Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def send(self, method: str, path: str, body: Any) -> int:
        """Send a request, read the whole answer, and return its status."""
        content = b"" if body is None else json.dumps(body).encode()
        self._writer.write(
            f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {self._token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if length is not None:
            await self._reader.readexactly(int(length[1]))
        return int(head.split(b" ", 2)[1])


def _in_transaction(engine: sa.Engine) -> int:
    """Count connections that are left in a transaction once the server's notes are written."""
    statement = sa.text(
        "select count(*) from pg_stat_activity where application_name = 'memos_assets:api' "
        "and state <> 'idle'"
    )
    left = 0
    for _ in range(50):
        with engine.connect() as conn:
            left = int(conn.execute(statement).scalar_one())
        if not left:
            break
        time.sleep(0.2)
    return left
