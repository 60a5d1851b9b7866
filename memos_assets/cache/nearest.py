"""The nearest query of the same scope, model and dimension, with the threshold in force.

The threshold finds a winner; the gate decides about it, see `flow`. A query of another model or
dimension is in another bucket: it never matches, and never breaks a lookup.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.orm import Session

from memos_assets.cache.calibration import STRICT
from memos_assets.cache.entries import Entry, Vector, act_for
from memos_assets.cache.key import Key, digest, pair_digest
from memos_assets.cache.vector_indexes import Bounds
from memos_assets.errors import MemosAssetsError
from memos_assets.postgres.schema.agent_cache import cache_embeddings, cache_entries, cache_pairs
from memos_assets.postgres.schema.agent_cache import cache_thresholds as thresholds
from memos_assets.postgres.schema.embeddings import MOST_ELEMENTS
from memos_assets.search.embed.embedder import checked, unit
from memos_assets.search.query_embedding import QueryEmbedding

#: Nearest queries that are looked through for one whose entry lives.
_CANDIDATES: Final = 20


@dataclass(frozen=True, slots=True)
class Near:
    """The nearest query that has an answer.

    Attributes:
        entry: its answer.
        similarity: cosine of the two queries.
        threshold: least similarity that was asked for or is in force.
        blocked: somebody said of this pair that the answer is wrong.
        identical: the two vectors are equal as they are stored, element by element.
    """

    entry: Entry
    similarity: float
    threshold: float
    blocked: bool
    identical: bool = False


def vector_of(key: Key, model: str, embedding: Any) -> Vector | None:
    """Return the vector of a query; None: the embedder answered with nonsense.

    Args:
        key: of the query.
        model: that embedded it, by its name.
        embedding: of the embedder: (dimension,), an array or numbers in a list; NaN, zeros and
            no vector at all are nonsense.
    """
    try:
        numbers = np.asarray(embedding, dtype=np.float64)
        if numbers.ndim != 1:
            return None
        (elements,) = unit(checked([numbers], 1, where="embedder"))
    except (MemosAssetsError, TypeError, ValueError):
        return None
    if len(elements) > MOST_ELEMENTS:
        return None
    return Vector(digest(key.scope_digest.hex(), model, len(elements)), elements, model)


def nearest(
    session: Session, key: Key, vector: Vector, bounds: Bounds, threshold: float | None = None
) -> Near | None:
    """Return the nearest query of the same scope whose answer lives; None: there is none.

    Args:
        session: in a transaction; it acts for the key's user afterwards.
        key: of the query, which is never its own neighbour.
        vector: of the query.
        bounds: how far the indexes of buckets reach.
        threshold: least similarity, where a calibrated one is not above it; None: the calibrated
            one, or the strict default.
    """
    rows = _nearest_rows(session, key, vector, bounds, 1)
    if not rows:
        return None
    (row,) = rows
    if threshold is None:
        least = STRICT if row.calibrated is None else row.calibrated
    else:
        least = max(threshold, row.calibrated or 0.0)
    blocked = False
    if row.similarity >= least:
        pair = pair_digest(key.namespace, key.query, row.query)
        said = sa.exists().where(cache_pairs.c.pair == pair, cache_pairs.c.wrong)
        blocked = bool(session.execute(sa.select(said)).scalar_one())
    return Near(_entry(row), float(row.similarity), float(least), blocked, bool(row.identical))


def neighbours(
    session: Session, key: Key, vector: Vector, bounds: Bounds, count: int, threshold: float
) -> list[tuple[Entry, float]]:
    """Return the nearest entries of a scope to look at, with their cosine; none is judged.

    Args:
        session: in a transaction; it acts for the key's user afterwards.
        key: of the scope; an entry of this very key is left out.
        vector: searched for.
        bounds: how far the indexes of buckets reach.
        count: at most, and at most 20.
        threshold: least cosine.
    """
    rows = _nearest_rows(session, key, vector, bounds, max(0, count))
    return [(_entry(row), float(row.similarity)) for row in rows if row.similarity >= threshold]


def _nearest_rows(
    session: Session, key: Key, vector: Vector, bounds: Bounds, count: int
) -> Sequence[sa.Row[Any]]:
    bound = bounds.bound(session, vector.bucket)
    act_for(session, key.scope.user, by_index=bound >= 0)
    text = QueryEmbedding(vector.elements, "halfvec").text
    statement = _statement(vector.bucket, len(vector.elements), bound, count)
    values = {"asked": text, "key": key.digest, "namespace": key.namespace, "model": vector.model}
    return session.execute(statement, values).all()


def _entry(row: sa.Row[Any]) -> Entry:
    return Entry(
        row.number,
        row.query,
        row.value,
        row.negative,
        row.age,
        fresh=True,
        usable=True,
        seconds_left=row.seconds_left,
    )


@lru_cache(maxsize=1_000)
def _statement(bucket: bytes, dimension: int, bound: int, count: int) -> sa.Select[Any]:
    # Written out, so that PostgreSQL finds the index, whose condition has them.
    of_bucket = cache_embeddings.c.bucket == sa.literal_column(f"'\\x{bucket.hex()}'::bytea")
    asked = sa.cast(sa.bindparam("asked", type_=sa.Text()), HALFVEC(dimension))
    distance = sa.cast(cache_embeddings.c.embedding, HALFVEC(dimension)).cosine_distance(asked)
    columns = sa.select(cache_embeddings.c.entry, distance.label("distance"))

    def part(condition: sa.ColumnElement[bool] | None) -> Any:
        chosen = columns.where(of_bucket)
        if condition is not None:
            chosen = chosen.where(condition)
        return chosen.order_by(sa.text("distance")).limit(_CANDIDATES).subquery()

    if bound < 0:
        near = part(None)
    else:
        written: sa.ColumnElement[int] = sa.literal_column(str(bound), sa.BigInteger())
        parts = [
            part(cache_embeddings.c.entry <= written),
            part(cache_embeddings.c.entry > written),
        ]
        near = sa.union_all(*(sa.select(one) for one in parts)).subquery()
    e = cache_entries
    now = sa.func.clock_timestamp()
    # Of the winner alone; halfvec has no operator of equality.
    found = cache_embeddings.alias()
    apart = sa.cast(found.c.embedding, HALFVEC(dimension)).l2_distance(asked)
    identical = sa.select(apart == 0).where(found.c.entry == e.c.number).scalar_subquery()
    in_force = (
        sa.select(thresholds.c.threshold)
        .where(
            thresholds.c.namespace == sa.bindparam("namespace", type_=sa.Text()),
            thresholds.c.model == sa.bindparam("model", type_=sa.Text()),
        )
        .scalar_subquery()
    )
    return (
        sa.select(
            e.c.number,
            e.c.query,
            e.c.value,
            e.c.negative,
            sa.cast(sa.extract("epoch", now - e.c.stored_at), sa.Double()).label("age"),
            sa.cast(sa.extract("epoch", e.c.expires_at - now), sa.Double()).label("seconds_left"),
            (1 - near.c.distance).label("similarity"),
            identical.label("identical"),
            in_force.label("calibrated"),
        )
        .join(e, e.c.number == near.c.entry)
        .where(
            e.c.expires_at > now,
            e.c.key != sa.bindparam("key", type_=sa.LargeBinary()),
        )
        .order_by(near.c.distance, e.c.number.desc())
        .limit(count)
    )
