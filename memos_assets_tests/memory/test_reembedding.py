"""Exchange of the model: all memories embedded by the next one beside readers, then one swap."""

from collections.abc import Sequence

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import reembedding
from memos_assets.memory.beliefs import close_embeddings
from memos_assets.memory.exchange import (
    compare_models,
    drop_model,
    exchange,
    measured_threshold,
    register_next,
)
from memos_assets.memory.model_checks import one_model_per_table
from memos_assets.memory.models import Model, current_model, model_named, registered
from memos_assets.memory.outbox import embed_waiting, waiting
from memos_assets.memory.reembedding import BUCKETS, next_model, reembed
from memos_assets.memory.vectors import EmbeddingRow, put, write_embeddings
from memos_assets.search.embed import DeterministicEmbedder, Vectors
from memos_assets_tests.memory.test_outbox import EMBEDDER, Picky, make_due, remember

NEXT = DeterministicEmbedder(96, model="two", seed=7)
TEXTS = [f"note {n} about pump {n % 7} and valve {n % 5} in hall {n}" for n in range(70)]


@pytest.fixture
def embedded(engine: sa.Engine) -> sa.Engine:
    """Seventy memories of one source, embedded by the current model; and a next model."""
    remember(engine, *TEXTS, source="mail:1")
    embed_waiting(engine, EMBEDDER)
    register_next(engine, NEXT)
    return engine


def rows(engine: sa.Engine, name: str) -> dict[tuple[int, int], list[float]]:
    with engine.connect() as conn:
        table = model_named(conn, name).table_name
        found = conn.execute(sa.text(f"select memory, part, embedding::real[] from {table}"))
        return {(row[0], row[1]): row[2] for row in found}


def green(engine: sa.Engine) -> bool:
    with engine.connect() as conn:
        return one_model_per_table(conn, "models").passed


def test_each_bucket_embeds_its_numbers_and_none_twice(embedded: sa.Engine) -> None:
    assert reembed(embedded, NEXT, bucket=3).memories == 2
    assert {memory % BUCKETS for memory, _ in rows(embedded, "two")} == {3}
    assert sum(reembed(embedded, NEXT, bucket=bucket).memories for bucket in range(BUCKETS)) == 68
    assert reembed(embedded, NEXT).memories == 0
    first, second = rows(embedded, "one"), rows(embedded, "two")
    # The same parts, with the text before each, too.
    assert first.keys() == second.keys()
    assert (2, -1) in second
    expected = NEXT.embed(TEXTS)
    given = np.array([second[number, 0] for number in range(1, 71)])
    assert np.abs(given - expected).max() < 0.0005
    assert green(embedded)


def test_copy_and_insert_store_the_same(embedded: sa.Engine) -> None:
    reembed(embedded, NEXT)
    by_copy = rows(embedded, "two")
    with embedded.begin() as conn:
        model = next_model(conn)
        conn.execute(model.table.delete())
        vectors = NEXT.embed(TEXTS)
        space = conn.scalar(sa.text("select space_id from agent.memories limit 1"))
        assert space is not None
        put(conn, model, [EmbeddingRow(n + 1, 0, space, None, v) for n, v in enumerate(vectors)])
    by_insert = rows(embedded, "two")
    assert by_insert == {key: value for key, value in by_copy.items() if key[1] == 0}


def test_a_pass_that_is_killed_goes_on_where_it_was(
    embedded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(DeterministicEmbedder):
        calls = 0

        def embed(self, texts: Sequence[str]) -> Vectors:
            Killed.calls += 1
            if Killed.calls == 4:
                raise KeyboardInterrupt
            return super().embed(texts)

    monkeypatch.setattr(reembedding, "BATCH", 16)
    with pytest.raises(KeyboardInterrupt):
        reembed(embedded, Killed(96, model="two", seed=7))
    assert len({memory for memory, _ in rows(embedded, "two")}) == 32
    assert reembed(embedded, NEXT).memories == 38


def test_the_exchange_finds_what_was_remembered_meanwhile_and_is_one_transaction(
    embedded: sa.Engine,
) -> None:
    reembed(embedded, NEXT)
    late = remember(embedded, "a late note about a motor")
    make_due(embedded)
    embed_waiting(embedded, EMBEDDER)
    done = exchange(embedded, NEXT, EMBEDDER, items=30)
    assert (done.former, done.current, done.waiting) == ("one", "two", 0)
    assert done.quality is not None
    assert done.quality.questions == 30
    assert done.quality.after > 0.5
    assert (late[0], 0) in rows(embedded, "two")
    with embedded.connect() as conn:
        assert {m.name: m.state for m in registered(conn)} == {"one": "former", "two": "current"}
    assert green(embedded)
    # What was embedded by the former model before the exchange waits for the new one.
    with Session(embedded) as session, session.begin():
        (vector,) = EMBEDDER.embed(["again"])
        space = session.scalar(sa.text("select space_id from agent.memories limit 1"))
        assert space is not None
        assert not write_embeddings(session, [EmbeddingRow(late[0], 0, space, None, vector)], "one")
    make_due(embedded)
    assert embed_waiting(embedded, NEXT).embedded == 1
    with pytest.raises(AgentError, match=r"^M766 model two: .* Fix: "):
        drop_model(embedded, "two")
    drop_model(embedded, "one")
    with embedded.connect() as conn:
        assert [model.name for model in registered(conn)] == ["two"]
        assert sa.inspect(conn).has_table("embeddings_1", schema="agent") is False
    assert green(embedded)


def test_a_model_that_finds_less_does_not_become_current(embedded: sa.Engine) -> None:
    class Confused(DeterministicEmbedder):
        """Knows the three texts, and gives every other one a vector by its first letter."""

        def embed(self, texts: Sequence[str]) -> Vectors:
            return super().embed([text[:1] if text.startswith("note") else text for text in texts])

    drop_model(embedded, "two")
    confused = Confused(96, model="two", seed=7)
    register_next(embedded, confused)
    with pytest.raises(AgentError, match=r"^M764 model two: .* finds 0\.\d+ of known memories"):
        exchange(embedded, confused, EMBEDDER, items=40)
    with embedded.connect() as conn:
        model = current_model(conn)
        assert model is not None
        assert model.name == "one"
    # Without the former embedder nothing is compared; that is asked for by name.
    assert exchange(embedded, confused, None).quality is None


def test_an_incomplete_model_does_not_become_current(
    embedded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memos_assets.memory.exchange.MOST_MISSING", 9)

    class Refusing(Picky):
        def __init__(self) -> None:
            super().__init__(word="valve 3")
            self.model = "two"
            self.dimension, self._seed = 96, 7

    with pytest.raises(AgentError, match=r"^M764 model two: .*: 28 memories have no embedding"):
        exchange(embedded, Refusing(), EMBEDDER)
    done = reembed(embedded, Refusing())
    assert (done.memories, dict(done.failures)) == (0, {"M578: refuses with 500": 28})
    monkeypatch.setattr("memos_assets.memory.exchange.MOST_MISSING", 28)
    # Few memories wait in the outbox, and none is lost.
    assert exchange(embedded, Refusing(), EMBEDDER, items=5).waiting == 28
    with embedded.connect() as conn:
        assert waiting(conn).count == 28
    assert green(embedded)


def test_wrong_embedders_and_no_next_model_are_refused(engine: sa.Engine) -> None:
    with pytest.raises(AgentError, match=r"^M767 agent\.models: .* Fix: "):
        reembed(engine, NEXT)
    register_next(engine, NEXT)
    with pytest.raises(AgentError, match=r"^M760 model one: .* which is two\. Fix: "):
        reembed(engine, EMBEDDER)
    with pytest.raises(AgentError, match=r"^M762 model two: "):
        reembed(engine, DeterministicEmbedder(96, model="two", seed=8))


def test_memories_that_ended_end_in_both_tables(embedded: sa.Engine) -> None:
    reembed(embedded, NEXT)
    with Session(embedded) as session, session.begin():
        session.execute(sa.text("update agent.memories set valid_until = now() where number < 4"))
        at = session.scalar(sa.text("select valid_until from agent.memories where number = 1"))
        close_embeddings(session, [1, 2, 3])
    assert green(embedded)
    with embedded.connect() as conn:
        for model in registered(conn):
            ended = sa.select(sa.func.count()).where(model.table.c.closed_at == at)
            assert conn.scalar(ended.where(model.table.c.part == 0)) == 3


def test_the_threshold_is_one_that_a_thousandth_of_random_pairs_passes(
    embedded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def threshold(model: Model) -> float | None:
        with embedded.connect() as conn:
            return measured_threshold(conn, model)

    reembed(embedded, NEXT)
    with embedded.connect() as conn:
        current, following = current_model(conn), next_model(conn)
    assert threshold(following) is None
    monkeypatch.setattr("memos_assets.memory.exchange._SAMPLED", 100)
    cosines = NEXT.embed(TEXTS) @ NEXT.embed(TEXTS).T
    expected = float(np.quantile(cosines[np.triu_indices(70, k=1)], 0.999))
    assert threshold(following) == pytest.approx(expected, abs=0.002)
    assert current is not None
    found = compare_models(embedded, current, EMBEDDER, following, NEXT, items=20)
    assert found is not None
    assert not found.worse
