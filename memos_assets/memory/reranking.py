"""Rerankers: a model that reads question and memory together puts hits into a new order.

Off by default. A reranker works on plain values after a recall, when no session is in use:
``hits = await rerank(reranker, question, hits, k=5)``.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from memos_assets.errors import AgentError
from memos_assets.memory.recall import Hit


class Reranker(Protocol):
    """Scores texts for a question."""

    def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """Return a finite score per text, in their order; the larger the better."""
        ...


class AsyncReranker(Protocol):
    """As `Reranker`, for asyncio."""

    async def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """As `Reranker.score`."""
        ...


async def rerank(
    reranker: AsyncReranker, question: str, hits: Sequence[Hit], k: int | None = None
) -> list[Hit]:
    """Return hits in the order of a reranker, which is asked once; the first k of them.

    Each hit keeps its scores, ``rerank`` among them, and has the reranker's as its `score`.

    Raises:
        AgentError: M793 it does not answer with a finite score per hit.
    """
    if not hits:
        return []
    return _ordered(hits, await reranker.score(question, [hit.content for hit in hits]), k)


def rerank_now(
    reranker: Reranker, question: str, hits: Sequence[Hit], k: int | None = None
) -> list[Hit]:
    """As `rerank`, for code that waits."""
    if not hits:
        return []
    return _ordered(hits, reranker.score(question, [hit.content for hit in hits]), k)


def _ordered(hits: Sequence[Hit], scores: Sequence[float], k: int | None) -> list[Hit]:
    found = [float(one) for one in scores]
    if len(found) != len(hits) or not all(map(math.isfinite, found)):
        raise AgentError(
            "M793",
            f"{len(found)} scores for {len(hits)} hits, each of which needs a finite one",
            where="reranker",
            fix="correct the reranker, or use the hits as they are",
        )
    scored = [
        replace(hit, score=one, scores={**hit.scores, "rerank": one})
        for hit, one in zip(hits, found, strict=True)
    ]
    return sorted(scored, key=lambda hit: -hit.score)[:k]
