"""Search from Python: by embedding, by words, by both, through the caller's connection or session.

Each call is one statement on `memos.search_<table>`, `memos.match_<table>` or
`memos.hybrid_<table>`, within the caller's transaction, and leaves no setting behind. The
consolidated tables that are live are searched. `api_async` has the same for asyncio.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, scoped_session

from memos_assets.catalog import Table
from memos_assets.search.calls import Call, Embedding, Fusion, Hit, by_both, by_embedding, by_text

Caller = sa.Connection | Session | scoped_session[Session]

__all__ = ["Caller", "Embedding", "Hit", "hybrid", "match", "search"]


def _run(conn: Caller, call: Call) -> list[Hit]:
    return call.answer(conn if isinstance(conn, sa.Connection) else conn.connection())


def search(
    conn: Caller,
    table: Table | str,
    embedding: Embedding,
    k: int = 10,
    *,
    owner: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> list[Hit]:
    """Return the k rows nearest to an embedding, by exact cosine distance, the nearest first.

    Args:
        conn: the caller's connection or session; nothing is committed.
        table: the name of one of memOS's, or any table that has search functions.
        embedding: of one of the table's dimensions; need not be normalised.
        k: 1 to 1,000.
        owner: only rows of this source (of this user, in the application's tables).
        filters: JSON column -> JSON that it must contain, such as
            ``{"metadata": {"category": "A"}}``.

    Raises:
        UsageError: M570 unknown table; M571 no index for the dimension; M572 an embedding that is
            empty, zero or not finite; M573 k out of range; M575 a filter on a key that no row has;
            M580 no such filter.
        TargetError: M326 the functions are not there.
    """
    return _run(conn, by_embedding(table, embedding, k, owner, filters))


def match(
    conn: Caller,
    table: Table | str,
    text: str,
    k: int = 10,
    *,
    owner: str | None = None,
    filters: Mapping[str, Any] | None = None,
) -> list[Hit]:
    """Return the k rows that match a text best: all its words, or any where no row has all.

    They are ranked by BM25 (k1 1.2, b 0.75); rare words count more. The corpus is the table, or
    the owner's rows; the mean length is that of the table. Of more than 32 words the longest count.
    A code such as SRVO-062 or A06B-6290-H104 is one word. Quotes and a leading minus work as
    in a web search.

    Raises:
        UsageError: as `search`; M574 nothing to search for; M576 the table has no searched text.
        TargetError: M326 the functions are not there.
    """
    return _run(conn, by_text(table, text, k, owner, filters))


def hybrid(
    conn: Caller,
    table: Table | str,
    text: str,
    embedding: Embedding | None = None,
    k: int = 10,
    *,
    owner: str | None = None,
    filters: Mapping[str, Any] | None = None,
    sparse: Mapping[str, float] | None = None,
    vocabulary: str = "words",
    fusion: Fusion = "scores",
) -> list[Hit]:
    """Return the k best of full text, embedding and sparse weights, fused by their scores.

    The first 100 rows of each list are candidates, in the list of words those with any of them. A
    candidate's score is the sum of its z-scores: how many standard deviations its BM25, its cosine
    and its sparse weight are above the mean of the candidates, by the weights of the table's
    `Fusion`. So it may be negative, and is comparable within one answer only.

    Args:
        conn: the caller's connection or session; nothing is committed.
        table: as `search`.
        text: words and codes.
        embedding: of the same text; None leaves that list out.
        k: 1 to 1,000.
        owner: as `search`.
        filters: as `search`.
        sparse: term -> weight, where the table has sparse weights; without it the words of the
            text weigh 1 each in the vocabulary ``words``.
        vocabulary: of ``sparse``: ``words`` or ``xlmr_token_ids``; others' weights are left out.
        fusion: ``scores``, or ``rrf`` for reciprocal rank: 1 / (60 + place) of each list.

    Raises:
        UsageError: as `search` and `match`; M590 another fusion.
        TargetError: M326 the functions are not there.
    """
    return _run(
        conn, by_both(table, text, embedding, k, owner, filters, sparse, vocabulary, fusion)
    )
