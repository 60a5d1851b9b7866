"""A process that asks the cache many times at once, for tests with several of them.

`python -m memos_assets_tests.cache.worker URL FILE CALLERS SECONDS KIND`: prints ``ready``, waits
for a line, asks with CALLERS at once, each for one query whose computation adds a line to FILE and
takes SECONDS, and prints how often each origin came.
"""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import sessionmaker

from memos_assets.cache import Cache, SyncCache
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.sessions import create_async_engine
from memos_assets.settings import Settings

QUERY = "asked by many processes"


def _note(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")


async def _by_asyncio(url: sa.URL, path: Path, callers: int, seconds: float) -> Counter[str]:
    engine = create_async_engine(url, Settings(), application_name="worker")
    sessions, cache = async_sessionmaker(engine), Cache()

    async def compute() -> str:
        _note(path)
        await asyncio.sleep(seconds)
        return "once"

    async def one() -> str:
        return (
            await cache.get_or_compute(sessions, namespace="answers", query=QUERY, compute=compute)
        ).origin

    _wait()
    try:
        return Counter(await asyncio.gather(*(one() for _ in range(callers))))
    finally:
        await engine.dispose()


def _by_threads(url: sa.URL, path: Path, callers: int, seconds: float) -> Counter[str]:
    engine = create_engine(url, Settings(), application_name="worker")
    sessions, cache = sessionmaker(engine), SyncCache()

    def compute() -> str:
        _note(path)
        time.sleep(seconds)
        return "once"

    def one(_: int) -> str:
        return cache.get_or_compute(
            sessions, namespace="answers", query=QUERY, compute=compute
        ).origin

    _wait()
    with ThreadPoolExecutor(callers) as pool:
        return Counter(pool.map(one, range(callers)))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _wait() -> None:
    _say("ready")
    sys.stdin.readline()


def main() -> None:
    """Ask as the arguments say."""
    url, path, callers, seconds, kind = sys.argv[1:]
    arguments = sa.make_url(url), Path(path), int(callers), float(seconds)
    if kind == "asyncio":
        _say(json.dumps(asyncio.run(_by_asyncio(*arguments))))
    else:
        _say(json.dumps(_by_threads(*arguments)))


if __name__ == "__main__":
    main()
