"""Recall of memories: by their number, and beside the memories of others."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session, sessionmaker

from bench.measure import Spread, alternate, progress, seconds_of
from bench.sheets import Sheet, verdict
from bench.world import World
from memos_assets.clustered_vectors import VectorSpace
from memos_assets.demo import Scale
from memos_assets.memory import SyncMemory
from memos_assets.memory.models import Model, ensure_registered
from memos_assets.memory.prepared import Asked
from memos_assets.memory.recall import recall
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.memory.vector_indexes import build
from memos_assets.postgres.engine import create_engine
from memos_assets.search.bm25 import lexemes_of
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.search.query_embedding import QueryEmbedding
from memos_assets.settings import Settings

DIMENSION: Final = 384
QUERIES: Final = 50
#: Lexemes of a memory, and of a question.
LENGTH, ASKED = 12, 6
WORDS: Final = 20_000
#: The nth commonest word makes up a share of 1 / (n + this): as in LoCoMo without stop words, where
#: the commonest three are in 22, 19 and 19 of 100 messages.
COMMONEST: Final = 5


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
_MEMORIES: Final = (
    "insert into agent.memories "
    "(id, space_id, user_id, kind, content, content_digest, words, source) "
    "select gen_random_uuid(), %(space)s, %(user)s, 'finding', content, 'bench' || place, "
    "%(length)s, 'chat:' || place / 20 from generated order by place returning number"
)
_POSTINGS: Final = sql.SQL(
    "insert into agent.postings (space_id, lexeme, memory, count, words) "
    "select m.space_id, l.lexeme, m.number, l.count, %(length)s from agent.memories m "
    "cross join lateral ({}) as l where m.space_id = %(space)s"
).format(lexemes_of(sql.SQL("m.content")))


@dataclass
class _Memories:
    """Memories of generated users, written as the owner of the tables."""

    engine: sa.Engine
    sessions: sessionmaker[Session]
    model: Model
    generator: np.random.Generator

    def __post_init__(self) -> None:
        self.space = VectorSpace("recall", DIMENSION, clusters=1_000, norm=1.0)
        weights = 1 / (np.arange(1, WORDS + 1) + COMMONEST)
        self._words = weights / weights.sum()
        self.memory = SyncMemory(Settings(), embedder=DeterministicEmbedder(DIMENSION))

    def text(self, length: int) -> str:
        """Return words as common as those of a language without its stop words."""
        drawn = self.generator.choice(WORDS, length, p=self._words)
        return " ".join(f"w{word}" for word in drawn)

    def vectors(self, count: int) -> npt.NDArray[np.float32]:
        """Return embeddings around centres."""
        clusters = self.generator.integers(1_000, size=count).tolist()
        return self.space.rows(clusters, int(self.generator.integers(2**40)))

    def write(self, user: str, count: int) -> None:
        """Write memories of a user, their words and their embeddings."""
        with Session(self.engine) as session, session.begin():
            space = self.memory.act_as(session, user=user).private
            values = {"space": space, "user": user, "length": LENGTH}
            driver = session.connection().connection.driver_connection
            assert driver is not None
            cursor = driver.cursor()
            cursor.execute("create temp table generated (place int, content text) on commit drop")
            with cursor.copy("copy generated from stdin") as copy:
                for place in range(count):
                    copy.write_row((place, self.text(LENGTH)))
            numbers = [row[0] for row in cursor.execute(_MEMORIES, values).fetchall()]
            cursor.execute(_POSTINGS, values)
            cursor.execute(
                "insert into agent.word_counts (space_id, memories, words) values (%s, %s, %s)",
                (space, count, count * LENGTH),
            )
            with cursor.copy(
                f"copy {self.model.table_name} (memory, part, space_id, embedding) from stdin"
            ) as copy:
                for number, vector in zip(numbers, self.vectors(count), strict=True):
                    copy.write_row((number, 0, space, QueryEmbedding(vector, "halfvec").text))

    def settle(self) -> None:
        """Have PostgreSQL know the tables, as autovacuum does after a while."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.exec_driver_sql("vacuum (analyze) agent.memories, agent.postings")
            conn.exec_driver_sql(f"vacuum (analyze) {self.model.table_name}")

    def median(self, user: str) -> float:
        """Return the p50 of recalls in the role of services, in seconds, without embeddings."""
        asked = [
            Asked(self.text(ASKED), vector, self.model.name) for vector in self.vectors(QUERIES)
        ]
        with self.sessions.begin() as session:
            self.memory.act_as(session, user=user)
            for one in asked[:6]:
                recall(session, one)
            seconds = [seconds_of(partial(recall, session, one)) for one in asked]
        return float(np.median(seconds))

    def routes(self, user: str) -> str:
        """Say how a user's embeddings are searched."""
        with self.sessions.begin() as session:
            self.memory.act_as(session, user=user)
            asked = Asked(self.text(ASKED), self.vectors(1)[0], self.model.name)
            evidence = recall(session, asked, explain=True).evidence
        assert evidence is not None
        return "exact" if {way for way, _ in evidence.routes.values()} == {"exact"} else "index"


def recall_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of recalls by number of memories, and beside other users."""
    sizes = SIZES[world.scale]
    with world.fresh() as engine, open_sync_memory_sessions(world.settings) as sessions:
        owner = create_engine(world.server.url(), world.settings, application_name="bench")
        model = ensure_registered(owner, DeterministicEmbedder(DIMENSION))
        assert model is not None
        memories = _Memories(engine, sessions, model, np.random.default_rng(1))
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
    memories: _Memories, sizes: Sizes, rounds: int, owner: sa.Engine
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


def _spread(memories: _Memories, user: str, rounds: int) -> Spread:
    return alternate({user: lambda: memories.median(user)}, rounds)[user]


def _row(
    memories: _Memories, user: str, count: int, others: int, spread: Spread, target: str
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
