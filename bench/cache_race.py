"""Hits of the cache: exact ones beside a bare SELECT, and by meaning at several sizes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pgvector import HalfVector
from sqlalchemy.orm import Session, sessionmaker

from bench.measure import BenchError, Spread, progress
from bench.sheets import Sheet, reached, verdict
from bench.world import World
from memos_assets.cache import Answer, Computed, Namespace, Scope, SyncCache
from memos_assets.cache.key import Key, key_of
from memos_assets.cache.nearest import vector_of
from memos_assets.cache.vector_indexes import build
from memos_assets.demo import Scale
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.postgres.connection import driver_of

DIMENSION: Final = 384
MODEL: Final = "bench"
SPACE: Final = "bench"
#: Hits of a round; the first ones let PostgreSQL and the driver plan.
HITS, FIRST = 200, 20
#: Entries of one scope.
SIZES: Final[dict[Scale, tuple[int, ...]]] = {
    "plan": (1_000, 100_000, 1_000_000),
    "small": (1_000, 10_000),
}
_BATCH: Final = 10_000
_VALUE: Final = '{"text": "' + "an answer of some sentences " * 20 + '"}'
_BARE: Final = sa.text("select value from agent.cache_entries where key = :key")


@dataclass
class _Questions:
    """An embedder of generated texts: reworded ones are near to their original."""

    model: str = MODEL
    dimension: int = DIMENSION
    _centres: npt.NDArray[np.float32] = field(
        default_factory=lambda: _normal(np.random.default_rng(1), 1_000)
    )

    def embed(self, texts: Any) -> npt.NDArray[np.float32]:
        return np.stack([self._one(text) for text in texts])

    def embed_query(self, text: str) -> npt.NDArray[np.float32]:
        return self._one(text)

    def _one(self, text: str) -> npt.NDArray[np.float32]:
        number = int(text.rsplit(" ", 1)[1])
        rng = np.random.default_rng(number)
        vector = self._centres[number % 1_000] + 0.8 * _normal(rng, 1)[0]
        if text.startswith("could you tell me"):
            vector = vector + 0.15 * _normal(np.random.default_rng(number + 1), 1)[0]
        made: npt.NDArray[np.float32] = vector.astype(np.float32)
        return made


def _normal(rng: np.random.Generator, count: int) -> npt.NDArray[np.float32]:
    made: npt.NDArray[np.float32] = rng.normal(size=(count, DIMENSION)).astype(np.float32)
    return made


def _question(number: int) -> str:
    return f"what is known of case {number}"


def _reworded(number: int) -> str:
    return f"could you tell me what is known of case {number}"


def _key(query: str, scope: Scope) -> Key:
    key = key_of(SPACE, query, scope)
    assert key is not None
    return key


def cache_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of hits by the number of entries."""
    with world.fresh() as engine, open_sync_memory_sessions(world.settings) as sessions:
        rows = list(_measured(world, engine, sessions, rounds))
    return [
        Sheet(
            "cache",
            "A hit of the cache, by entries of its scope",
            ("", "ms", "min - max", "target"),
            rows,
            f"Embeddings of {DIMENSION} elements, values of {len(_VALUE)} bytes, in the role of "
            "services, by one thread; medians of single hits. The bare SELECT reads the value by "
            "the primary key through the same pool and session; hits by meaning include the gate, "
            "and not the embedder.",
        )
    ]


def _measured(
    world: World, engine: sa.Engine, sessions: sessionmaker[Session], rounds: int
) -> Iterator[tuple[str, ...]]:
    embedder, first = _Questions(), None
    cache = SyncCache(embedder, namespaces={SPACE: Namespace(SPACE)})
    for count in SIZES[world.scale]:
        scope = Scope(tenant=f"has-{count}")
        _fill(engine, scope, count, embedder)
        for _ in build(engine):
            progress.print(f"  an index for {count:,} entries")
        world.settle()
        numbers = np.random.default_rng(count).integers(0, count, FIRST + HITS * rounds)
        bare, exact = Spread(), Spread()
        for place, number in enumerate(numbers):
            key = _key(_question(int(number)), scope)
            for spread, hit in ((bare, _bare), (exact, _exact)):
                seconds = _timed(hit, cache, sessions, key)
                if place >= FIRST:
                    spread.seconds.append(seconds)
        near = [_near(cache, sessions, scope, int(one)) for one in numbers][FIRST:]
        meaning = Spread([seconds for seconds in near if seconds])
        first = first or meaning.median
        yield _row(f"bare SELECT, {count:,} entries", bare, "")
        limit = verdict(exact.median / bare.median, 1.3, "x bare")
        yield _row(f"exact hit, {count:,} entries", exact, limit)
        ratio = verdict(meaning.median / first, 2, "x the first")
        yield _row(f"hit by meaning, {count:,} entries", meaning, ratio)
        found = len(meaning.seconds) / len(near)
        yield (
            f"found by meaning, {count:,} entries",
            f"{found:.1%}",
            "",
            reached(found * 100, 99, "%"),
        )


def _row(name: str, spread: Spread, target: str) -> tuple[str, ...]:
    low, high = min(spread.seconds) * 1_000, max(spread.seconds) * 1_000
    return name, f"{spread.median * 1_000:.2f}", f"{low:.2f} - {high:.2f}", target


def _timed(hit: Callable[..., object], *arguments: Any) -> float:
    began = time.perf_counter()
    hit(*arguments)
    return time.perf_counter() - began


def _bare(_: SyncCache, sessions: sessionmaker[Session], key: Key) -> None:
    # A row of all users: a policy would ask for the user, which is a round trip of its own.
    with sessions() as session:
        session.execute(_BARE, {"key": key.digest}).one_or_none()


def _exact(cache: SyncCache, sessions: sessionmaker[Session], key: Key) -> None:
    _hit(cache, sessions, key.query, key.scope)


def _near(cache: SyncCache, sessions: sessionmaker[Session], scope: Scope, number: int) -> float:
    """Return the seconds of a hit by meaning without those of the embedder; 0 where it missed."""
    query = _reworded(number)
    embedding = _timed(cache.embedder.embed, [query]) if cache.embedder is not None else 0.0
    began = time.perf_counter()
    found = _asked(cache, sessions, query, scope)
    seconds = time.perf_counter() - began - embedding
    return seconds if found.origin == "semantic" else 0.0


def _asked(cache: SyncCache, sessions: sessionmaker[Session], query: str, scope: Scope) -> Answer:
    # Nothing is stored for a miss, which would be found afterwards.
    return cache.get_or_compute(
        sessions,
        namespace=SPACE,
        query=query,
        compute=lambda: Computed((), store=False),
        scope=scope,
    )


def _hit(cache: SyncCache, sessions: sessionmaker[Session], query: str, scope: Scope) -> None:
    found = _asked(cache, sessions, query, scope)
    if found.origin != "exact":
        raise BenchError(
            f"{query!r} was {found.origin} ({found.reason}), not exact\n"
            "Fix: the race has to compare hits: look at its generated entries"
        )


def _fill(engine: sa.Engine, scope: Scope, count: int, embedder: _Questions) -> None:
    """Write entries of one scope, as the owner of the tables."""
    with engine.begin() as conn:
        driver = driver_of(conn)
        highest = conn.execute(
            sa.text("select coalesce(max(number), 0) from agent.cache_entries")
        ).scalar_one()
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            keys = [_key(_question(number), scope) for number in numbers]
            with driver.cursor().copy(
                "copy agent.cache_entries (key, number, namespace, scope, tenant, query, value, "
                "bytes, negative, fence, stored_at, expires_at, stale_until) from stdin"
            ) as copy:
                for number, key in zip(numbers, keys, strict=True):
                    copy.write_row(
                        (
                            *(key.digest, highest + number + 1, SPACE, key.scope_digest),
                            *(scope.tenant, key.query, _VALUE, len(_VALUE), False, 0),
                            *("now", "tomorrow", "tomorrow"),
                        )
                    )
            with driver.cursor().copy(
                "copy agent.cache_embeddings (entry, bucket, user_id, embedding) from stdin"
            ) as copy:
                vectors = embedder.embed([_question(number) for number in numbers])
                for number, key, elements in zip(numbers, keys, vectors, strict=True):
                    vector = vector_of(key, MODEL, elements)
                    assert vector is not None
                    text = HalfVector(vector.elements).to_text()
                    copy.write_row((highest + number + 1, vector.bucket, scope.user, text))
        conn.exec_driver_sql(
            "alter table agent.cache_entries alter column number restart with "
            f"{highest + count + 1}"
        )
    progress.print(f"  {count:,} entries")
