"""Re-embed the memories of a user by another model while recalls run, then exchange the model.

`python -m bench.reembedding [MEMORIES]` prints the table. An answer is mixed if the cosine of a hit
is not the one that the question's model gives for its text.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import sqlalchemy as sa
from rich.console import Console
from sqlalchemy.orm import Session

from bench.machine import machine_line
from bench.sheets import Sheet, verdict
from bench.world import World, opened_world
from memos_assets.errors import MemosAssetsError
from memos_assets.memory import SyncMemory, reembedding
from memos_assets.memory.exchange import exchange, register_next
from memos_assets.memory.models import current_model, ensure_registered
from memos_assets.memory.postings import write_postings
from memos_assets.memory.recall import recall
from memos_assets.memory.stored_texts import embed_texts, read_texts
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings

MEMORIES, DIMENSION, LIMIT = 100_000, 384, 1.2
FORMER = DeterministicEmbedder(DIMENSION, model="former")
NEXT = DeterministicEmbedder(DIMENSION, model="next", seed=1)
_WORDS = [f"word{number}" for number in range(2_000)]
#: Largest difference of a cosine that halfvec explains.
_TOLERANCE = 0.01


@dataclass(slots=True)
class Recalls:
    """Recalls that ran meanwhile.

    Attributes:
        seconds: of each.
        mixed: answers with a hit whose cosine is of another model.
        failures: recalls that raised an error.
    """

    seconds: list[float] = field(default_factory=list)
    mixed: int = 0
    failures: int = 0


def reembedding_sheet(engine: sa.Engine, memories: int) -> Sheet:
    """Return the table of one exchange on a database without memories."""
    ensure_registered(engine, FORMER)
    numbers = _remember(engine, memories)
    _embed_former(engine, numbers)
    register_next(engine, NEXT)
    embedding, copying = _baseline(engine, numbers)
    with _recalls(engine) as seen:
        began = time.perf_counter()
        done = reembedding.reembed(engine, NEXT)
        buckets = time.perf_counter() - began
        began = time.perf_counter()
        swapped = exchange(engine, NEXT, FORMER)
        exchanging = time.perf_counter() - began
    assert (done.memories, swapped.current) == (memories, "next")
    ratio = buckets / (embedding + copying)
    median = float(np.median(seen.seconds)) * 1_000
    return Sheet(
        "re-embedding",
        f"Re-embed {memories:,} memories of {DIMENSION} elements while recalls run",
        ["", "observed", "limit"],
        [
            ["embedding alone, s", f"{embedding:.1f}", ""],
            ["COPY with its keys alone, s", f"{copying:.1f}", ""],
            ["both beside recalls, s", f"{buckets:.1f}", ""],
            ["ratio", f"{ratio:.2f}", verdict(ratio, LIMIT, "x")],
            ["HNSW, comparison and exchange, s", f"{exchanging:.1f}", ""],
            ["recalls meanwhile", f"{len(seen.seconds):,}", ""],
            ["their median, ms", f"{median:.1f}", ""],
            ["mixed answers", f"{seen.mixed}", "0"],
            ["failures", f"{seen.failures}", "0"],
        ],
        "The embedder is deterministic. The index is built once for both sides of the ratio, so it "
        "is in neither.",
    )


def _remember(engine: sa.Engine, memories: int) -> list[int]:
    """Write memories of one user with their words; numbers."""
    random = np.random.default_rng(1)
    texts = [" ".join(random.choice(_WORDS, 9)) for _ in range(memories)]
    numbers: list[int] = []
    memory = SyncMemory(Settings(), embedder=FORMER)
    with Session(engine) as session, session.begin():
        space = memory.act_as(session, user="u1").private
        for start in range(0, memories, 10_000):
            found = session.scalars(
                sa.text(
                    "insert into agent.memories (id, space_id, user_id, kind, content, "
                    "content_digest, words, source) select gen_random_uuid(), :space, 'u1', "
                    "'finding', text, md5(text), 0, 'user:u1' from unnest(:texts) text "
                    "on conflict do nothing returning number"
                ).bindparams(sa.bindparam("texts", type_=sa.ARRAY(sa.Text()))),
                {"space": space, "texts": texts[start : start + 10_000]},
            )
            some = list(found)
            write_postings(session, some)
            numbers += some
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as conn:
        for table in ("memories", "postings", "word_counts"):
            conn.exec_driver_sql(f"vacuum analyze agent.{table}")
    return numbers


def _embed_former(engine: sa.Engine, numbers: list[int]) -> None:
    with engine.connect() as conn:
        model = current_model(conn)
    assert model is not None
    for start in range(0, len(numbers), reembedding.BATCH):
        with Session(engine) as session:
            texts = read_texts(session, numbers[start : start + reembedding.BATCH])
        with engine.begin() as conn:
            reembedding.write_by_copy(conn, model, embed_texts(FORMER, model, texts).rows)


def _baseline(engine: sa.Engine, numbers: list[int]) -> tuple[float, float]:
    """Return the seconds of embedding alone, and of COPY alone into the table with its keys."""
    with engine.connect() as conn:
        model = reembedding.next_model(conn)
    embedding, copying = 0.0, 0.0
    for start in range(0, len(numbers), reembedding.BATCH):
        with Session(engine) as session:
            texts = read_texts(session, numbers[start : start + reembedding.BATCH])
        began = time.perf_counter()
        rows = embed_texts(NEXT, model, texts).rows
        embedding += time.perf_counter() - began
        began = time.perf_counter()
        with engine.begin() as conn:
            reembedding.write_by_copy(conn, model, rows)
        copying += time.perf_counter() - began
    with engine.begin() as conn:
        conn.exec_driver_sql(f"truncate {model.table_name}")
    return embedding, copying


@contextmanager
def _recalls(engine: sa.Engine) -> Iterator[Recalls]:
    """Recall in a thread during the block, by the model that is current at that moment."""
    seen, stop = Recalls(), threading.Event()

    def run() -> None:
        random = np.random.default_rng(2)
        while not stop.is_set():
            with engine.connect() as conn:
                model = current_model(conn)
            embedder = NEXT if model is not None and model.name == "next" else FORMER
            memory = SyncMemory(Settings(), embedder=embedder)
            asked = memory.query(" ".join(random.choice(_WORDS, 4)))
            began = time.perf_counter()
            try:
                with Session(engine) as session, session.begin():
                    memory.act_as(session, user="u1")
                    hits = list(recall(session, asked, 10))
            except (MemosAssetsError, sa.exc.SQLAlchemyError):
                seen.failures += 1
                continue
            seen.seconds.append(time.perf_counter() - began)
            assert asked.embedding is not None
            cosines = embedder.embed([hit.content for hit in hits]) @ asked.embedding
            given = [
                hit.scores.get("meaning", cosine) for hit, cosine in zip(hits, cosines, strict=True)
            ]
            seen.mixed += bool(np.abs(np.array(given) - cosines).max(initial=0) > _TOLERANCE)
            stop.wait(0.5)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _measured(world: World, memories: int) -> None:
    console = Console(highlight=False)
    with world.fresh() as engine:
        console.print(reembedding_sheet(engine, memories).markdown(), markup=False, soft_wrap=True)
        console.print(machine_line(engine, "one run"), markup=False, soft_wrap=True)


if __name__ == "__main__":
    with opened_world("small", factor=0.05) as opened:
        _measured(opened, int(sys.argv[1]) if len(sys.argv) > 1 else MEMORIES)
