"""Weights of recalls: labelled questions as `choose_weights` takes them, and where the choice is.

What is chosen is stored with the model, ``agent.models.ranking``, and every recall reads it there.
"""

from collections.abc import Collection

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.prepared import Asked
from memos_assets.memory.recall import MOST_HITS, recall
from memos_assets.postgres.schema.agent import models
from memos_assets.search.fusion import JudgedQuery, Weights


def judged_query(
    session: Session, asked: Asked, evidence: Collection[str], group: str = ""
) -> JudgedQuery | None:
    """Return a question's scores of the memories that a transaction sees, with its labels.

    Args:
        session: the caller's, whose transaction acts for a user.
        asked: from `Memory.query`, with an embedding.
        evidence: ids of the memories that answer it.
        group: questions of one group are left out together, such as those of one user.

    Returns:
        Scores of the 1,000 best memories at most, in the order in which they were written; None
        where none of the evidence is among them, which no weights would change.
    """
    hits = sorted(recall(session, asked, MOST_HITS), key=lambda hit: hit.number)
    relevant = [place for place, hit in enumerate(hits) if hit.id in evidence]
    if not relevant:
        return None
    sources = sorted({hit.source for hit in hits if not hit.source.startswith("user:")})
    number = {source: place for place, source in enumerate(sources)}
    # Memories of sources that take turns are beside each other within their source.
    placed = sorted(range(len(hits)), key=lambda place: number.get(hits[place].source, -1))
    return JudgedQuery(
        cosines=np.array([hits[place].scores.get("meaning", 0.0) for place in placed]),
        words=np.array([hits[place].scores["words"] for place in placed]),
        sources=np.array([number.get(hits[place].source, -1) for place in placed], dtype=np.int64),
        relevant=[rank for rank, place in enumerate(placed) if place in relevant],
        group=group,
    )


def ranking_of(conn: sa.Connection, model: str) -> Weights:
    """Return the weights of a model's recalls: those that were chosen, else the default.

    Raises:
        AgentError: M792 no such model is registered.
    """
    row = conn.execute(sa.select(models.c.ranking).where(models.c.name == model)).one_or_none()
    if row is None:
        raise _unknown(model)
    return Weights.of(row.ranking)


def store_ranking(conn: sa.Connection, model: str, weights: Weights) -> None:
    """Have recalls with a model rank by these weights from the caller's commit on.

    Args:
        conn: of the owner of the tables.
        model: registered, by its name.
        weights: of `choose_weights`.

    Raises:
        AgentError: M792 no such model is registered.
    """
    put = models.update().where(models.c.name == model).values(ranking=weights.stored())
    if not conn.execute(put).rowcount:
        raise _unknown(model)


def _unknown(model: str) -> AgentError:
    return AgentError(
        "M792",
        "no such model is registered, so it has no ranking",
        where=f"model {model}",
        fix="register it first: memos-assets memory models lists those that are",
    )
