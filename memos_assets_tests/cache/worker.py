"""A process that asks the cache many times at once, for tests with several of them.

Processes are forked by a server that has imported this module, so that each costs no imports. None
shares a connection, an event loop or a cache with another.
"""

import asyncio
import os
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import sessionmaker

from memos_assets.cache import Cache, Namespace, SyncCache
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.sessions import create_async_engine
from memos_assets.settings import Settings

QUERY = "asked by many processes"


def _note(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")


def ask(
    test: Connection, url: str, path: Path, kind: str, callers: int, seconds: float, lease: float
) -> None:
    """Say ``ready``, wait, ask with all callers at once, and say how often each origin came.

    Args:
        test: says when.
        url: of the database.
        path: of a file to which each computation adds a line.
        kind: ``asyncio`` or ``threads``.
        callers: at once, each for one and the same query.
        seconds: that the computation takes.
        lease: seconds without a sign of life.
    """
    namespaces = {"answers": Namespace("answers", lease=lease)}
    run = _by_asyncio if kind == "asyncio" else _by_threads
    run(test, sa.make_url(url), path, callers, seconds, namespaces)


def _by_asyncio(
    test: Connection,
    url: sa.URL,
    path: Path,
    callers: int,
    seconds: float,
    namespaces: dict[str, Namespace],
) -> None:
    async def compute() -> str:
        _note(path)
        await asyncio.sleep(seconds)
        return "once"

    async def all_of_them() -> Counter[str]:
        engine = create_async_engine(url, Settings(), application_name="worker")
        sessions, cache = async_sessionmaker(engine), Cache(namespaces=namespaces)

        async def one() -> str:
            return (
                await cache.get_or_compute(
                    sessions, namespace="answers", query=QUERY, compute=compute
                )
            ).origin

        _wait(test)
        try:
            return Counter(await asyncio.gather(*(one() for _ in range(callers))))
        finally:
            await engine.dispose()

    test.send(asyncio.run(all_of_them()))


def _by_threads(
    test: Connection,
    url: sa.URL,
    path: Path,
    callers: int,
    seconds: float,
    namespaces: dict[str, Namespace],
) -> None:
    engine = create_engine(url, Settings(), application_name="worker")
    sessions, cache = sessionmaker(engine), SyncCache(namespaces=namespaces)

    def compute() -> str:
        _note(path)
        time.sleep(seconds)
        return "once"

    def one(_: int) -> str:
        return cache.get_or_compute(
            sessions, namespace="answers", query=QUERY, compute=compute
        ).origin

    _wait(test)
    with ThreadPoolExecutor(callers) as pool:
        test.send(Counter(pool.map(one, range(callers))))


def _wait(test: Connection) -> None:
    test.send("ready")
    test.recv()
