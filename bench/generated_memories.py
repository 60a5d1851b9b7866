"""Memories of generated users, and the time of calls on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session, sessionmaker

from bench.measure import seconds_of
from memos_assets.clustered_vectors import VectorSpace
from memos_assets.memory import SyncMemory
from memos_assets.memory.models import Model
from memos_assets.memory.prepared import Asked
from memos_assets.memory.recall import recall
from memos_assets.postgres.copy.encode import HEADER, TRAILER
from memos_assets.search.bm25 import lexemes_of
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings

DIMENSION: Final = 384
QUERIES: Final = 50
#: Lexemes of a memory, and of a question.
LENGTH, ASKED = 12, 6
WORDS: Final = 20_000
#: The nth commonest word makes up a share of 1 / (n + this): as in LoCoMo without stop words, where
#: the commonest three are in 22, 19 and 19 of 100 messages.
COMMONEST: Final = 5


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


#: Embeddings of one piece of a COPY.
_COPIED: Final = 10_000


def _binary(numbers: Sequence[int], space: int, vectors: npt.NDArray[np.float32]) -> bytes:
    """Return memory, part, space and embedding of each row as COPY has them in binary."""
    size = vectors.shape[1]
    fields = [
        ("fields", ">i2"),
        *(("memory_bytes", ">i4"), ("memory", ">i8")),
        *(("part_bytes", ">i4"), ("part", ">i2")),
        *(("space_bytes", ">i4"), ("space", ">i8")),
        *(("embedding_bytes", ">i4"), ("dimension", ">i2"), ("unused", ">i2")),
        ("embedding", ">f2", (size,)),
    ]
    made: npt.NDArray[np.void] = np.zeros(len(numbers), dtype=np.dtype(fields))
    made["fields"] = 4
    made["memory_bytes"], made["memory"] = 8, numbers
    made["part_bytes"] = 2
    made["space_bytes"], made["space"] = 8, space
    made["embedding_bytes"], made["dimension"] = 4 + 2 * size, size
    made["embedding"] = vectors
    return made.tobytes()


@dataclass
class GeneratedMemories:
    """Memories of generated users, written as the owner of the tables.

    Attributes:
        engine: of the owner.
        sessions: in the role of services.
        model: whose table the embeddings go into.
        generator: of texts and embeddings.
        clusters: centres that embeddings are around.
    """

    engine: sa.Engine
    sessions: sessionmaker[Session]
    model: Model
    generator: np.random.Generator
    clusters: int = 1_000

    def __post_init__(self) -> None:
        self.space = VectorSpace("recall", DIMENSION, clusters=self.clusters, norm=1.0)
        weights = 1 / (np.arange(1, WORDS + 1) + COMMONEST)
        self._up_to = np.cumsum(weights / weights.sum())
        self.memory = SyncMemory(Settings(), embedder=DeterministicEmbedder(DIMENSION))

    def text(self, length: int) -> str:
        """Return words as common as those of a language without its stop words."""
        return self.texts(1, length)[0]

    def texts(self, count: int, length: int) -> list[str]:
        """Return texts of such words; `Generator.choice` would add the shares up for each text."""
        drawn = np.searchsorted(self._up_to, self.generator.random((count, length)))
        # The sum of the shares may be a little less than 1.
        words = np.minimum(drawn, WORDS - 1).tolist()
        return [" ".join(f"w{word}" for word in row) for row in words]

    def vectors(self, count: int) -> npt.NDArray[np.float32]:
        """Return embeddings around centres."""
        clusters = self.generator.integers(self.clusters, size=count).tolist()
        return self.space.rows(clusters, int(self.generator.integers(2**40)))

    def write(self, user: str, count: int) -> None:
        """Write memories of a user, their words and their embeddings.

        Foreign keys are not compared: a key for each word would take longer than all else.
        """
        with Session(self.engine) as session, session.begin():
            space = self.memory.act_as(session, user=user).private
            values = {"space": space, "user": user, "length": LENGTH}
            driver = session.connection().connection.driver_connection
            assert driver is not None
            cursor = driver.cursor()
            cursor.execute("set local session_replication_role = replica")
            cursor.execute("create temp table generated (place int, content text) on commit drop")
            with cursor.copy("copy generated from stdin") as copy:
                for row in enumerate(self.texts(count, LENGTH)):
                    copy.write_row(row)
            numbers = [row[0] for row in cursor.execute(_MEMORIES, values).fetchall()]
            cursor.execute(_POSTINGS, values)
            cursor.execute(
                "insert into agent.word_counts (space_id, memories, words) values (%s, %s, %s)",
                (space, count, count * LENGTH),
            )
            with cursor.copy(
                f"copy {self.model.table_name} (memory, part, space_id, embedding) from stdin "
                "(format binary)"
            ) as copy:
                copy.write(HEADER)
                for start in range(0, count, _COPIED):
                    some = numbers[start : start + _COPIED]
                    copy.write(_binary(some, space, self.vectors(len(some))))
                copy.write(TRAILER)

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
