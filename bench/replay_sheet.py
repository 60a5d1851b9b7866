"""A workload of repeated and reworded questions, replayed without an embedder and with one."""

from collections.abc import Iterator

from sqlalchemy.orm import Session, sessionmaker

from bench.measure import progress
from bench.sheets import Sheet
from bench.world import World
from memos_assets.cache import SyncCache, replay
from memos_assets.search.embed import Embedder, MiniLMEmbedder

#: Exponents of Zipf's law: each text as often as any other, and as people ask.
_EXPONENTS = (0.0, 1.0)


def replay_sheet(world: World) -> list[Sheet]:
    """Return the table of hits of the workload of V51."""
    with world.fresh() as engine:
        sessions = sessionmaker(engine)
        rows = list(_measured(sessions))
    return [
        Sheet(
            "replay",
            "A workload replayed: hits, and wrong ones",
            ("", "asked before", "hits", "by meaning", "wrong hits"),
            rows,
            f"{replay.ASKS} asks of {sum(map(len, replay.shipped()))} texts with "
            f"{len(replay.shipped())} answers, in English and German, written for this; texts that "
            "are near in words ask for different things. Asked before: in the same words. At the "
            "strict threshold, since nothing is calibrated on so few texts.",
        )
    ]


def _measured(sessions: sessionmaker[Session]) -> Iterator[tuple[str, ...]]:
    embedders: dict[str, Embedder | None] = {"no embedder": None, "minilm": MiniLMEmbedder()}
    for exponent in _EXPONENTS:
        asks = replay.workload(replay.shipped(), exponent=exponent)
        for name, embedder in embedders.items():
            progress.print(f"  replay, exponent {exponent:g}, {name}")
            done = replay.replay(sessions, SyncCache(embedder), asks)
            yield (
                f"Zipf {exponent:g}, {name}",
                f"{done.repeats / done.asks:.1%}",
                f"{done.hit_rate:.1%}",
                f"{done.origins['semantic'] / done.asks:.1%}",
                f"{len(done.wrong)} of {done.hits}",
            )
