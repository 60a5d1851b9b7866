"""Remember in batches with links by the number of memories, and erase a user."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from bench.command_run import command_environment
from bench.generated_memories import DIMENSION, LENGTH, GeneratedMemories
from bench.measure import BenchError, Spread, progress
from bench.sheets import Sheet, verdict
from bench.world import World
from memos_assets.demo import Scale
from memos_assets.memory import SyncMemory
from memos_assets.memory.models import Model, ensure_registered
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.memory.vector_indexes import build
from memos_assets.postgres.engine import create_engine
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings

BATCH: Final = 100
#: Batches of a round. The first ones let PostgreSQL and the driver plan.
BATCHES, FIRST = 8, 6
#: Memories around one centre: each new one has more neighbours than it may have links.
AROUND: Final = 20
#: Memories of a user: few, many, and those of the user who is erased.
SIZES: Final[dict[Scale, tuple[int, int, int]]] = {
    "plan": (1_000, 100_000, 10_000),
    "small": (200, 1_000, 500),
}


@dataclass
class _Embedder:
    """Gives the embeddings of `GeneratedMemories` in place of a model's."""

    memories: GeneratedMemories
    model: str
    dimension: int = DIMENSION

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return self.memories.vectors(len(texts))

    def embed_query(self, _: str) -> npt.NDArray[np.float32]:
        return self.embed([""]).reshape(self.dimension)


@dataclass
class _Batches:
    """Batches that were remembered: the seconds of each, and the ends of links that it made."""

    seconds: list[float] = field(default_factory=list)
    links: list[int] = field(default_factory=list)

    @property
    def spread(self) -> Spread:
        return Spread(self.seconds)


def remember_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of batches by number of memories, and of an erasure."""
    with world.fresh() as engine, open_sync_memory_sessions(world.settings) as sessions:
        owner = create_engine(world.server.url(), world.settings, application_name="bench")
        model = ensure_registered(owner, DeterministicEmbedder(DIMENSION))
        assert model is not None
        rows = list(_measured(world, engine, owner, sessions, model, rounds))
        owner.dispose()
    return [
        Sheet(
            "remember",
            f"Remember {BATCH} memories with their links in one call; erase a user",
            ("", "observed", "min - max", "links of a batch", "target"),
            rows,
            f"Embeddings of {DIMENSION} elements, {AROUND} memories around each centre, so that "
            f"each new one gets its 10 links; {LENGTH} words of a memory. As the role of services, "
            "in one transaction, without the commit; the median of the calls. Both sizes make as "
            "many links, within a tenth: the ratio is of equal work. The erasure is the whole "
            "command, with its search for texts that were left.",
        )
    ]


def _measured(
    world: World,
    engine: sa.Engine,
    owner: sa.Engine,
    sessions: sessionmaker[Session],
    model: Model,
    rounds: int,
) -> Iterator[tuple[str, ...]]:
    few, many, erased = SIZES[world.scale]
    medians = []
    for count in (few, many):
        generator = np.random.default_rng(count)
        memories = GeneratedMemories(engine, sessions, model, generator, count // AROUND)
        user = f"has-{count}"
        memories.write(user, count)
        memories.settle()
        for _ in build(owner, model):
            progress.print(f"  an index for {count:,} memories")
        batches = _remembered(memories, user, rounds * BATCHES)
        medians.append(batches.spread.median)
        ratio = "" if len(medians) == 1 else verdict(medians[1] / medians[0], 1.3, f"x at {few:,}")
        limit = verdict(batches.spread.median * 1_000, 150, "ms")
        yield _row(f"ms, at {count:,} memories", batches, ", ".join(filter(None, (limit, ratio))))
    generator = np.random.default_rng(0)
    memories = GeneratedMemories(engine, sessions, model, generator, erased // AROUND)
    memories.write("leaves", erased)
    memories.settle()
    seconds = _erase(world, "leaves")
    yield f"s, erase {erased:,} memories", f"{seconds:.1f}", "", "", verdict(seconds, 60, "s")


def _remembered(memories: GeneratedMemories, user: str, count: int) -> _Batches:
    """Remember batches, each of which is rolled back, so that all find as many memories."""
    memory = SyncMemory(Settings(), embedder=_Embedder(memories, memories.model.name))
    done = _Batches()
    for number in range(FIRST + count):
        prepared = memory.prepare_many([memories.text(LENGTH) for _ in range(BATCH)])
        with memories.sessions() as session:
            memory.act_as(session, user=user)
            began = time.perf_counter()
            kept = memory.remember(session, prepared)
            seconds = time.perf_counter() - began
            session.rollback()
        if number >= FIRST:
            done.seconds.append(seconds)
            done.links.append(sum(len(one.links) for one in kept))
    return done


def _erase(world: World, user: str) -> float:
    program = str(Path(sys.executable).with_name("memos-assets"))
    began = time.perf_counter()
    process = subprocess.run(
        [program, "user", "erase", user, "--yes"],
        env=command_environment(world),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - began
    if process.returncode:
        raise BenchError(f"user erase ended with {process.returncode}:\n{process.stderr}")
    return seconds


def _row(what: str, batches: _Batches, target: str) -> tuple[str, ...]:
    spread = batches.spread
    low, high = min(spread.seconds) * 1_000, max(spread.seconds) * 1_000
    links = f"{statistics.mean(batches.links):,.0f}"
    return what, f"{spread.median * 1_000:.0f}", f"{low:.0f} - {high:.0f}", links, target
