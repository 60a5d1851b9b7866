"""Choose the weights of a model's recalls by the golden queries, and store them if they are better.

Whether they are is decided on questions that took no part in the choice: the set is divided into
`FOLDS` parts, and each is asked with weights that the others chose.
"""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory import golden
from memos_assets.memory.facade import SyncMemory
from memos_assets.memory.models import current_model
from memos_assets.memory.ranking import ranking_of, store_ranking
from memos_assets.search.fusion import Choice, Weights, choose_weights
from memos_assets.settings import Settings

FOLDS: Final = 5
#: Fewer questions choose by chance: each of 40 moves recall by .025.
FEWEST_QUESTIONS: Final = 40
#: Gain of recall@10 below which weights stay as they are.
LEAST_GAIN: Final = 0.005


@dataclass(frozen=True, slots=True)
class Proposed:
    """Weights that a set of golden queries chooses.

    Attributes:
        golden: name of the set.
        model: whose recalls they would weigh; None: there is none, and nothing to choose.
        in_force: the weights there are.
        questions: whose evidence is found by any weights.
        choice: None where there are too few questions.
    """

    golden: str
    model: str | None
    in_force: Weights
    questions: int
    choice: Choice | None

    @property
    def is_better(self) -> bool:
        """Whether the weights are better on questions that did not choose them."""
        found = self.choice
        return found is not None and found.cross_validated - found.before >= LEAST_GAIN


def propose(engine: sa.Engine, settings: Settings) -> Proposed:
    """Ask the configured golden queries, and choose weights. Nothing is kept of it.

    Raises:
        UsageError: M783 the file of golden queries; AgentError: as `golden.measure`.
    """
    asked = golden.configured(settings)
    memory = SyncMemory(settings)
    with engine.connect() as conn:
        model = current_model(conn)
    if model is None:
        return Proposed(asked.name, None, Weights.of(None), 0, None)
    prepared = golden.ready(asked, memory)
    # session-rule: S001 because an asset has an engine, and what it remembers is rolled back
    with Session(engine) as session:
        in_force = ranking_of(session.connection(), model.name)
        queries = golden.judge(session, memory, prepared, FOLDS)
    enough = len(queries) >= FEWEST_QUESTIONS
    choice = choose_weights(queries, start=in_force) if enough else None
    return Proposed(asked.name, model.name, in_force, len(queries), choice)


def store(engine: sa.Engine, proposed: Proposed) -> bool:
    """Have recalls use the weights, if they are better; return whether they were stored."""
    if proposed.model is None or proposed.choice is None or not proposed.is_better:
        return False
    with engine.begin() as conn:
        store_ranking(conn, proposed.model, proposed.choice.weights)
    return True
