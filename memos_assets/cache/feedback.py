"""What was said of answers: a wrong one is evicted, and its pair of queries never served again.

Labels are kept, unlike answers: thresholds are calibrated with them.
"""

from typing import Literal

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.cache.answer import Ref
from memos_assets.cache.entries import act_for
from memos_assets.cache.key import pair_digest
from memos_assets.postgres.schema.agent_cache import cache_entries, cache_pairs


def label(
    session: Session, ref: Ref, *, wrong: bool, origin: Literal["feedback", "shadow"] = "feedback"
) -> None:
    """Record that an answer was right or wrong for a query; nothing is recorded of one query alone.

    Args:
        session: whose transaction acts for the user of the query.
        ref: of the answer.
        wrong: whether it was.
        origin: who says so.
    """
    key = ref.key
    if ref.similarity is None or key.query == ref.matched:
        return
    session.execute(
        cache_pairs.insert().values(
            namespace=key.namespace,
            tenant=key.scope.tenant,
            user_id=key.scope.user,
            asked=key.query,
            matched=ref.matched,
            pair=pair_digest(key.namespace, key.query, ref.matched),
            similarity=ref.similarity,
            model=ref.model,
            wrong=wrong,
            origin=origin,
        )
    )


def give(session: Session, ref: Ref, *, wrong: bool) -> bool:
    """Record what was said of an answer, and evict it where it was wrong.

    Args:
        session: in a transaction; it acts for the user of the query afterwards.
        ref: `Answer.entry`.
        wrong: whether the answer was wrong for the query.

    Returns:
        Whether a row was evicted; false: it was right, or gone.
    """
    act_for(session, ref.key.scope.user)
    label(session, ref, wrong=wrong)
    if not wrong or ref.number is None:
        return False
    gone = sa.delete(cache_entries).where(cache_entries.c.number == ref.number)
    result = session.execute(gone)
    assert isinstance(result, sa.CursorResult)
    return result.rowcount > 0
