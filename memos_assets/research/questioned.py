"""A question with what its answer depends on, and what runs of a process share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.blackboard.requests import digest
from memos_assets.catalog import Table
from memos_assets.contradictions import Judge
from memos_assets.errors import AgentError
from memos_assets.memory import Memory
from memos_assets.postgres.storable_text import is_storable
from memos_assets.research.budget import Budget
from memos_assets.research.generators import Generator
from memos_assets.research.synthesis import EXTRACTIVE

#: Of the pipeline: answers of another version never come from the cache.
VERSION: Final = "research-1"
LONGEST_QUESTION: Final = 10_000
MOST_HITS: Final = 50


@dataclass(frozen=True)
class Tools:
    """What runs of a process share; see `Research`."""

    sessions: async_sessionmaker[AsyncSession]
    corpora: async_sessionmaker[AsyncSession]
    tables: Sequence[Table]
    memory: Memory
    generator: Generator | None
    judge: Judge | None

    @property
    def writer(self) -> str:
        """Who writes the synthesis."""
        return EXTRACTIVE if self.generator is None else self.generator.name


@dataclass(frozen=True)
class Questioned:
    """A question with everything that its answer depends on beside the data."""

    text: str
    user: str
    agent: str
    spaces: tuple[str, ...]
    k: int
    budget: Budget

    def parameters(self, tools: Tools) -> dict[str, Any]:
        """Return what has to be the same for an answer to be the same, beside the data."""
        return {
            "spaces": sorted(self.spaces),
            "k": self.k,
            "seconds": float(self.budget.seconds),
            "tokens": self.budget.tokens,
            "tables": [table.name for table in tools.tables],
            "embedder": tools.memory.model,
            "agent": self.agent,
        }

    def fingerprint(self, tools: Tools) -> str:
        """Return a digest of it, by which an unfinished run is found."""
        return digest(VERSION, tools.writer, self.parameters(tools))


def checked(question: object) -> str:
    """Return a question as it is asked: with single spaces.

    Raises:
        AgentError: M990 it is empty, or is not a text; M991 it is too long.
    """
    if not isinstance(question, str) or not question.strip() or not is_storable(question):
        raise AgentError(
            "M990",
            "there is no question, or it has characters that are none",
            where="research",
            fix="ask in words",
        )
    if len(question) > LONGEST_QUESTION:
        raise AgentError(
            "M991",
            f"the question has {len(question):,} characters, at most {LONGEST_QUESTION:,} are read",
            where="research",
            fix="ask in a few sentences; remember or consolidate what has to be searched",
        )
    return " ".join(question.split())


def checked_k(k: object) -> int:
    """Return how many hits of each table are wanted.

    Raises:
        AgentError: M992.
    """
    if isinstance(k, int) and not isinstance(k, bool) and 1 <= k <= MOST_HITS:
        return k
    raise AgentError(
        "M992",
        f"k is {k!r}",
        where="research",
        fix=f"ask for 1 to {MOST_HITS} hits of each table",
    )
