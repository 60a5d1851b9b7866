"""The cache beside Redis: an exact hit and a set, by 1 client and by 16, each a process."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa

from bench.clients import Call, Calls, Client, hammer, together
from bench.measure import BenchError, progress
from bench.redis_server import RedisClient, redis_server
from bench.sheets import Sheet
from bench.world import World
from memos_assets.cache import Scope, SyncCache
from memos_assets.cache.calls import QUERIES
from memos_assets.cache.key import key_of
from memos_assets.demo import Scale
from memos_assets.memory.sessions import open_sync_memory_sessions, sync_sessions_for

CLIENTS: Final = (1, 16)
#: Answers that are stored before hits are measured.
ANSWERS: Final = 2_000
#: Seconds of each measurement, of which there is one per round.
SECONDS: Final[dict[Scale, float]] = {"plan": 3.0, "small": 0.5}
_TTL: Final = 3_600.0
#: As long as an answer of some paragraphs.
_VALUE: Final = {"answer": "an answer of some sentences " * 72, "sources": ["a", "b"]}
_OURS, _BARE, _REDIS = "memos_assets", "bare SELECT by key", "Redis"
_SELECT: Final = sa.text("select value from agent.cache_entries where key = :key")


def redis_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of hits and sets; without Redis where it is not installed."""
    with (
        world.fresh(),
        tempfile.TemporaryDirectory(prefix="redis-") as folder,
        redis_server(Path(folder)) as place,
    ):
        _fill(world, place)
        world.settle()
        rows = list(_measured(world, place, rounds))
    return [
        Sheet(
            "redis",
            "The cache beside Redis: calls per second, and the time of a call",
            ("", "calls/s", "median ms", "p99 ms", "x Redis"),
            rows,
            f"Values of {len(json.dumps(_VALUE)):,} bytes, {ANSWERS:,} keys; each client is a "
            "process with a connection of its own, over a Unix socket, and makes an object of the "
            "JSON. Redis without persistence, asked by a client of some 30 lines. Ours in the role "
            "of services with its counters, checks of scope and life; every process is on the same "
            "cores as the servers.",
        )
    ]


def _question(number: int) -> str:
    return f"what is known of case {number}?"


def _redis_key(number: int) -> bytes:
    key = key_of(QUERIES, _question(number), Scope())
    assert key is not None
    return key.digest


def _fill(world: World, place: Path | None) -> None:
    text = json.dumps(_VALUE).encode()
    cache = SyncCache()
    client = None if place is None else RedisClient(place)
    with open_sync_memory_sessions(world.settings) as sessions:
        for number in range(ANSWERS):
            cache.set_query_result(sessions, _question(number), _VALUE, ttl_override=_TTL)
            if client is not None:
                client.set(_redis_key(number), text, round(_TTL * 1_000))
    if client is not None:
        client.close()


def _measured(world: World, place: Path | None, rounds: int) -> Iterator[tuple[str, ...]]:
    hits: dict[str, Client] = {_OURS: _our_hits(world), _BARE: _bare_hits(world)}
    sets: dict[str, Client] = {_OURS: _our_sets(world)}
    if place is not None:
        hits[_REDIS], sets[_REDIS] = _redis_hits(place), _redis_sets(place)
    for what, contestants in (("exact hit", hits), ("set", sets)):
        for clients in CLIENTS:
            measured: dict[str, list[Calls]] = {name: [] for name in contestants}
            for number in range(rounds):
                for name, client in contestants.items():
                    one = hammer(client, clients, SECONDS[world.scale])
                    measured[name].append(one)
                    progress.print(
                        f"  round {number + 1} of {rounds}: {what}, {clients}: {name}: "
                        f"{one.per_second:,.0f}/s",
                        markup=False,
                    )
            done = {name: together(calls) for name, calls in measured.items()}
            for name, calls in done.items():
                yield _row(f"{what}, {clients}, {name}", calls, done.get(_REDIS))


def _row(name: str, calls: Calls, redis: Calls | None) -> tuple[str, ...]:
    ratio = "" if redis is None else f"{calls.median / redis.median:.1f}"
    return (
        name,
        f"{calls.per_second:,.0f}",
        f"{calls.median:.3f}",
        f"{calls.p99:.3f}",
        ratio,
    )


def _numbers(client: int) -> Callable[[int], int]:
    drawn = np.random.default_rng(client).integers(ANSWERS, size=4_096).tolist()
    return lambda turn: int(drawn[turn % len(drawn)])


def _our_hits(world: World) -> Client:
    def client(number: int) -> Call:
        sessions, cache, key = sync_sessions_for(world.settings), SyncCache(), _numbers(number)

        def call(turn: int) -> object:
            found = cache.get_or_compute(
                sessions, namespace=QUERIES, query=_question(key(turn)), compute=lambda: None
            )
            if found.origin != "exact":
                raise BenchError(f"{found.origin} ({found.reason}), not exact")
            return found.value

        return call

    return client


def _bare_hits(world: World) -> Client:
    def client(number: int) -> Call:
        sessions, key = sync_sessions_for(world.settings), _numbers(number)

        def call(turn: int) -> object:
            with sessions() as session:
                value = session.execute(_SELECT, {"key": _redis_key(key(turn))}).scalar_one()
            return json.loads(value)

        return call

    return client


def _our_sets(world: World) -> Client:
    def client(number: int) -> Call:
        sessions, cache, key = sync_sessions_for(world.settings), SyncCache(), _numbers(number)
        return lambda turn: cache.set_query_result(
            sessions, _question(key(turn)), _VALUE, ttl_override=_TTL
        )

    return client


def _redis_hits(place: Path) -> Client:
    def client(number: int) -> Call:
        connection, key = RedisClient(place), _numbers(number)
        return lambda turn: json.loads(connection.get(_redis_key(key(turn))) or b"")

    return client


def _redis_sets(place: Path) -> Client:
    def client(number: int) -> Call:
        connection, key = RedisClient(place), _numbers(number)
        return lambda turn: connection.set(
            _redis_key(key(turn)), json.dumps(_VALUE).encode(), round(_TTL * 1_000)
        )

    return client
