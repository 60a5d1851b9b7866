"""A workload that is the same every time: questions, some asked often, in the words of many people.

The questions are the project's own. How often each is asked follows Zipf's law, as it does where
people ask. Each run has a tenant of its own, so it meets no answer of anybody, and leaves none.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import sqlalchemy as sa
import yaml
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache.answer import Answer
from memos_assets.cache.facade import SyncCache
from memos_assets.cache.key import Scope
from memos_assets.postgres.schema.agent_cache import cache_counts, cache_entries, cache_leases

#: Whose answers are replayed; no service has answers in it.
NAMESPACE: Final = "replay"
#: Begins the tenant of a run.
TENANT: Final = "memos_assets:replay:"
QUESTIONS: Final = Path(__file__).with_name("replay_questions.yaml")
#: Asks of a workload, and the exponent of Zipf's law.
ASKS: Final = 600
EXPONENT: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ask:
    """A question that somebody asks.

    Attributes:
        text: in their words.
        answer: number of the right one.
    """

    text: str
    answer: int


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a workload.

    Attributes:
        asks: how many.
        repeats: of them, that were asked in these very words before.
        origins: origin of the answers -> how many.
        wrong: asked and matched texts of answers to another question.
    """

    asks: int
    repeats: int
    origins: Counter[str] = field(default_factory=Counter)
    wrong: tuple[tuple[str, str], ...] = ()

    @property
    def hits(self) -> int:
        """Answers that were not computed."""
        return self.asks - self.origins["computed"]

    @property
    def hit_rate(self) -> float:
        """Share of asks that were answered from the cache."""
        return self.hits / self.asks

    @property
    def wrong_rate(self) -> float:
        """Share of hits that answer another question; 0 without hits."""
        return len(self.wrong) / self.hits if self.hits else 0.0


@cache
def shipped() -> tuple[tuple[str, ...], ...]:
    """Return the questions that the project ships: for each answer the ways to ask for it."""
    written: list[list[str]] = yaml.safe_load(QUESTIONS.read_text("utf-8"))
    return tuple(tuple(ways) for ways in written)


def workload(
    questions: Sequence[Sequence[str]],
    *,
    asks: int = ASKS,
    exponent: float = EXPONENT,
    seed: int = 0,
) -> list[Ask]:
    """Return asks in which the n-th favourite text is asked n ** -exponent as often as the first.

    Args:
        questions: for each answer the ways to ask for it.
        asks: how many.
        exponent: of Zipf's law; 0: each text as often as any other.
        seed: of the draws; the same seed always gives the same asks.
    """
    texts = [Ask(text, number) for number, ways in enumerate(questions) for text in ways]
    generator = np.random.default_rng(seed)
    generator.shuffle(texts)
    weights = np.arange(1, len(texts) + 1, dtype=np.float64) ** -exponent
    drawn = generator.choice(len(texts), size=asks, p=weights / weights.sum())
    return [texts[place] for place in drawn]


def replay(sessions: sessionmaker[Session], asked: SyncCache, asks: Sequence[Ask]) -> Replayed:
    """Ask a cache a workload, one ask after the other, and remove what it stored.

    Args:
        sessions: of the owner of the tables, who may remove it.
        asked: the cache.
        asks: of `workload`.
    """
    tenant = f"{TENANT}{uuid4()}"
    origins: Counter[str] = Counter()
    wrong: list[tuple[str, str]] = []
    seen: set[str] = set()
    repeats = 0
    try:
        for one in asks:
            repeats += one.text in seen
            seen.add(one.text)
            found: Answer = asked.get_or_compute(
                sessions,
                namespace=NAMESPACE,
                query=one.text,
                compute=_answers(one.answer),
                scope=Scope(tenant=tenant),
            )
            origins[found.origin] += 1
            if found.value != {"answer": one.answer}:
                wrong.append((one.text, found.matched or ""))
    finally:
        forget(sessions, tenant)
    return Replayed(len(asks), repeats, origins, tuple(wrong))


def _answers(number: int) -> Callable[[], dict[str, int]]:
    return lambda: {"answer": number}


def forget(sessions: sessionmaker[Session], tenant: str) -> None:
    """Remove what a tenant of checks left: answers, leases, and counts of the namespace."""
    with sessions() as session, session.begin():
        for table in (cache_entries, cache_leases):
            session.execute(sa.delete(table).where(table.c.tenant == tenant))
        session.execute(sa.delete(cache_counts).where(cache_counts.c.namespace == NAMESPACE))
