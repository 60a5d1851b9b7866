"""Recall of memories: by their number, and beside the memories of others."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa

from bench.generated_memories import ASKED, DIMENSION, LENGTH, QUERIES, GeneratedMemories
from bench.measure import Spread, alternate, progress
from bench.sheets import Sheet, verdict
from bench.world import World
from memos_assets.demo import Scale
from memos_assets.memory.models import ensure_registered
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.memory.vector_indexes import build
from memos_assets.postgres.engine import create_engine
from memos_assets.search.embed import DeterministicEmbedder


@dataclass(frozen=True, slots=True)
class Sizes:
    """Memories of the users that are measured, and of the others."""

    middle: int
    large: int
    users: int
    each: int


SIZES: Final[dict[Scale, Sizes]] = {
    "plan": Sizes(middle=10_000, large=100_000, users=1_000, each=1_000),
    "small": Sizes(middle=1_000, large=2_000, users=10, each=200),
}


def recall_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of recalls by number of memories, and beside other users."""
    sizes = SIZES[world.scale]
    with world.fresh() as engine, open_sync_memory_sessions(world.settings) as sessions:
        owner = create_engine(world.server.url(), world.settings, application_name="bench")
        model = ensure_registered(owner, DeterministicEmbedder(DIMENSION))
        assert model is not None
        memories = GeneratedMemories(engine, sessions, model, np.random.default_rng(1))
        rows = list(_measured(memories, sizes, rounds, owner))
        owner.dispose()
    return [
        Sheet(
            "recall",
            "Recall of 10 memories, without the embedding of the question",
            ("memories of the user", "others", "p50 ms", "min - max", "searched", "target"),
            rows,
            f"Embeddings of {DIMENSION} elements around 1,000 centres, {LENGTH} words of a "
            f"memory and {ASKED} of a question, as common as those of LoCoMo without stop words; "
            f"sources of 20 memories. {QUERIES} recalls a round in one transaction, as the role of "
            "services, under row-level security; the median of the rounds.",
        )
    ]


def _measured(
    memories: GeneratedMemories, sizes: Sizes, rounds: int, owner: sa.Engine
) -> Iterator[tuple[str, ...]]:
    memories.write("alone", sizes.each)
    memories.settle()
    alone = _spread(memories, "alone", rounds)
    yield _row(memories, "alone", sizes.each, 0, alone, "")
    for number in range(sizes.users - 1):
        memories.write(f"other-{number}", sizes.each)
        if number % 100 == 99:
            progress.print(f"  {number + 1:,} other users")
    memories.settle()
    among = _spread(memories, "alone", rounds)
    others = (sizes.users - 1) * sizes.each
    target = verdict(among.median / alone.median, 1.3, "x alone")
    yield _row(memories, "alone", sizes.each, others, among, target)
    for user, count, limit in (("middle", sizes.middle, 15), ("large", sizes.large, 60)):
        memories.write(user, count)
        memories.settle()
        for _ in build(owner, memories.model):
            progress.print(f"  an index for {count:,} memories")
        spread = _spread(memories, user, rounds)
        target = verdict(spread.median * 1_000, limit, "ms")
        yield _row(memories, user, count, others + sizes.each, spread, target)


def _spread(memories: GeneratedMemories, user: str, rounds: int) -> Spread:
    return alternate({user: lambda: memories.median(user)}, rounds)[user]


def _row(
    memories: GeneratedMemories, user: str, count: int, others: int, spread: Spread, target: str
) -> tuple[str, ...]:
    low, high = min(spread.seconds) * 1_000, max(spread.seconds) * 1_000
    return (
        f"{count:,}",
        f"{others:,}",
        f"{spread.median * 1_000:.1f}",
        f"{low:.1f} - {high:.1f}",
        memories.routes(user),
        target,
    )
