"""Golden queries choose the weights of recalls, and only better ones are stored."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.memory.models import ensure_registered
from memos_assets.memory.ranking import ranking_of, store_ranking
from memos_assets.memory.ranking_choice import propose, store
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.search.fusion import Weights
from memos_assets.settings import Settings

DIMENSION = 64


@pytest.fixture
def asked(settings: Settings, tmp_path: Path) -> Settings:
    """Settings whose golden queries are answered by one word each."""
    memories = "".join(f"- {{id: m{n}, text: fact number{n} of many}}\n" for n in range(60))
    questions = "".join(f"- {{text: number{n} please, evidence: [m{n}]}}\n" for n in range(60))
    path = tmp_path / "golden.yaml"
    path.write_text(f"memories:\n{memories}questions:\n{questions}")
    embedder = {"embedder": "deterministic", "embedder_dimension": DIMENSION}
    return settings.model_copy(update={"golden_queries": path, **embedder})


def test_better_weights_are_stored_and_worse_ones_are_not(
    engine: sa.Engine, asked: Settings
) -> None:
    model = ensure_registered(engine, DeterministicEmbedder(DIMENSION))
    assert model is not None
    misled = Weights(words=-5.0, neighbours=0.0)
    with engine.begin() as conn:
        store_ranking(conn, model.name, misled)
    proposed = propose(engine, asked)
    assert (proposed.questions, proposed.in_force.words) == (60, -5.0)
    assert proposed.choice is not None
    assert proposed.choice.cross_validated > proposed.choice.before + 0.3
    assert store(engine, proposed)
    with engine.connect() as conn:
        assert ranking_of(conn, model.name).words > 0
        assert conn.scalar(sa.text("select count(*) from agent.memories")) == 0
    again = propose(engine, asked)
    assert not again.is_better
    assert not store(engine, again)


def test_few_questions_and_no_model_choose_nothing(engine: sa.Engine, asked: Settings) -> None:
    assert propose(engine, asked).choice is None
    model = ensure_registered(engine, DeterministicEmbedder(DIMENSION))
    assert model is not None
    few = asked.model_copy(update={"golden_queries": None})
    proposed = propose(engine, few)
    assert (proposed.model, proposed.choice) == (model.name, None)
    assert not store(engine, proposed)
