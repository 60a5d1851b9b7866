"""Remember a set, ask its questions, and score the answers by list."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from eval.question_sets import Group, QuestionSet
from eval.world import World
from memos_assets.memory.quality import DEPTHS, Score, score
from memos_assets.memory.ranking import ranking_of
from memos_assets.memory.recall import recall
from memos_assets.search.fusion import Weights

#: Memories of one transaction.
BATCH: Final = 100
FUSED: Final = "fused"


@dataclass(frozen=True, slots=True)
class Measured:
    """A set that was measured.

    Attributes:
        scores: ranking -> score of every question, in one order.
        seconds: of each recall that is fused, without the embedding of its question.
        remembered: memories, and the seconds they took with their embeddings.
    """

    scores: Mapping[str, Sequence[Score]]
    seconds: Sequence[float]
    remembered: tuple[int, float]

    def percentile(self, share: int) -> float:
        """Return a percentile of the recalls, in milliseconds."""
        return float(np.percentile(np.array(self.seconds), share) * 1_000)


def rankings(weights: Weights) -> dict[str, Weights]:
    """Return name -> weights of each list alone, of both, and with what is added to them."""
    alone = replace(weights, neighbours=0.0, links=0.0)
    return {
        "meaning alone": replace(alone, words=0.0),
        "words alone": replace(alone, meaning=0.0),
        "both": alone,
        FUSED: weights,
    }


def measure(world: World, questions: QuestionSet) -> Measured:
    """Remember every group as a user of its own, and ask its questions."""
    scores: dict[str, list[Score]] = {}
    seconds: list[float] = []
    started, count = time.perf_counter(), 0
    asked: list[tuple[Group, str, dict[str, list[str]]]] = []
    for number, group in enumerate(questions.groups):
        user = f"{questions.name}-{number}"
        asked.append((group, user, _remember(world, user, group)))
        count += len(group.memories)
    remembered = (count, time.perf_counter() - started)
    for group, user, ids in asked:
        _ask(world, user, group, ids, scores, seconds)
    return Measured(scores, seconds, remembered)


def _remember(world: World, user: str, group: Group) -> dict[str, list[str]]:
    """Remember a group, and return id of a memory -> ids of the set; equal texts are one memory."""
    ids: dict[str, list[str]] = {}
    for start in range(0, len(group.memories), BATCH):
        batch = group.memories[start : start + BATCH]
        prepared = world.memory.prepare_many([{"text": m.text, **m.about} for m in batch])
        with world.sessions.begin() as session:
            world.memory.act_as(session, user=user)
            kept = world.memory.remember(session, prepared)
        for memory, one in zip(batch, kept, strict=True):
            ids.setdefault(one.id, []).append(memory.id)
    return ids


def _ask(
    world: World,
    user: str,
    group: Group,
    ids: Mapping[str, Sequence[str]],
    scores: dict[str, list[Score]],
    seconds: list[float],
) -> None:
    for question in group.questions:
        query = world.memory.query(question.text)
        with world.sessions.begin() as session:
            world.memory.act_as(session, user=user)
            weights = ranking_of(session.connection(), world.model)
            for name, of_ranking in rankings(weights).items():
                started = time.perf_counter()
                hits = recall(
                    session,
                    query,
                    k=max(DEPTHS),
                    as_of=question.as_of,
                    known_at=question.known_at,
                    weights=of_ranking,
                )
                if name == FUSED:
                    seconds.append(time.perf_counter() - started)
                ranked = [known for hit in hits for known in ids[hit.id]]
                scores.setdefault(name, []).append(score(question, ranked))
