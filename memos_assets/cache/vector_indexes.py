"""HNSW indexes of queries, one for each bucket that is too large to be compared exactly.

As those of memory (`memory.vector_indexes`): an index is of one bucket, up to a number of entries.
Later entries are compared exactly, until a new index takes the place of the former one.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from memos_assets.postgres.connection import autocommit_connection, driver_of
from memos_assets.postgres.schema.embeddings import MOST_INDEXABLE
from memos_assets.postgres.vector_names import VectorName

#: Entries of a bucket from which on it gets an index.
FEWEST_INDEXED: Final = 3_000
#: Entries that are not in the index of their bucket, at which it is built anew.
MOST_OUTSIDE: Final = 2_000
#: Seconds for which it is remembered which index a bucket has.
_REMEMBERED: Final = 30.0
_MOST_REMEMBERED: Final = 10_000
_NAME: Final = re.compile(r"cache_embeddings_([0-9a-f]{16})_(\d+)_to_(\d+)_hnsw")


@dataclass(frozen=True, slots=True)
class BucketIndex:
    """An index of one bucket.

    Attributes:
        bucket: 32 bytes.
        dimension: of its embeddings.
        bound: the highest entry that is in it.
    """

    bucket: bytes
    dimension: int
    bound: int

    @property
    def name(self) -> str:
        """Its name, which says what is in it."""
        return f"{_prefix(self.bucket)}{self.dimension}_to_{self.bound}_hnsw"


def _prefix(bucket: bytes) -> str:
    return f"cache_embeddings_{bucket[:8].hex()}_"


_LISTED: Final = sa.text(
    "select r.relname::text from pg_catalog.pg_index x "
    "join pg_catalog.pg_class r on r.oid = x.indexrelid "
    "where x.indrelid = pg_catalog.to_regclass('agent.cache_embeddings') and x.indisvalid"
)


def bucket_indexes(session: Session | sa.Connection, bucket: bytes) -> list[BucketIndex]:
    """Return the indexes of a bucket that answer."""
    found = (_NAME.fullmatch(name) for name in session.execute(_LISTED).scalars())
    mine = bucket[:8].hex()
    return [
        BucketIndex(bucket, int(one[2]), int(one[3]))
        for one in found
        if one is not None and one[1] == mine
    ]


@dataclass(slots=True)
class Bounds:
    """Bucket -> how far its index reaches, remembered for half a minute per process.

    A bound that is out of date costs time, and no answer: entries up to it are compared exactly
    where there is no index, and later ones always are.
    """

    _there: dict[bytes, tuple[float, int]] = field(default_factory=dict)

    def bound(self, session: Session, bucket: bytes) -> int:
        """Return the highest entry in the index of a bucket; -1: it has none."""
        now = time.monotonic()
        until, bound = self._there.get(bucket, (0.0, -1))
        if until < now:
            bound = max((one.bound for one in bucket_indexes(session, bucket)), default=-1)
            if len(self._there) >= _MOST_REMEMBERED:
                self._there.clear()
            self._there[bucket] = (now + _REMEMBERED, bound)
        return bound


def pending(conn: sa.Connection) -> list[tuple[BucketIndex, list[BucketIndex]]]:
    """Return the buckets that need an index or a new one, with those that it replaces.

    Args:
        conn: of the owner of the tables, who sees every bucket.
    """
    counted = conn.execute(
        sa.text(
            "select bucket, max(entry) as highest, (array_agg(entry))[1] as one "
            "from agent.cache_embeddings group by bucket having count(*) >= :fewest "
            "order by count(*) desc"
        ),
        {"fewest": FEWEST_INDEXED},
    ).all()
    found = []
    for bucket, highest, one in counted:
        bucket = bytes(bucket)
        former = bucket_indexes(conn, bucket)
        bound = max((index.bound for index in former), default=-1)
        outside, text = conn.execute(
            sa.text(
                "select (select count(*) from agent.cache_embeddings "
                "where bucket = :bucket and entry > :bound), "
                "(select embedding::text from agent.cache_embeddings where entry = :one)"
            ),
            {"bucket": bucket, "bound": bound, "one": one},
        ).one()
        dimension = text.count(",") + 1
        if (bound < 0 or outside >= MOST_OUTSIDE) and dimension <= MOST_INDEXABLE:
            found.append((BucketIndex(bucket, dimension, highest), former))
    return found


def build(engine: sa.Engine) -> Iterator[BucketIndex]:
    """Build what is pending, each beside readers and writers, and drop the former index of each.

    Args:
        engine: of the owner of the tables.

    Yields:
        Each index after it answers.
    """
    with engine.connect() as conn:
        listed = pending(conn)
    for index, former in listed:
        with autocommit_connection(engine) as conn:
            driver = driver_of(conn)
            drop = sql.SQL("drop index concurrently if exists {}")
            driver.execute(drop.format(sql.Identifier("agent", index.name)))
            driver.execute(
                sql.SQL(
                    "create index concurrently {} on agent.cache_embeddings using hnsw "
                    "((embedding::{}({})) {}) where bucket = {} and entry <= {}"
                ).format(
                    sql.Identifier(index.name),
                    VectorName("halfvec"),
                    sql.Literal(index.dimension),
                    VectorName("halfvec_cosine_ops"),
                    sql.SQL(f"'\\x{index.bucket.hex()}'::bytea"),
                    sql.Literal(index.bound),
                )
            )
            for one in former:
                driver.execute(drop.format(sql.Identifier("agent", one.name)))
        yield index
