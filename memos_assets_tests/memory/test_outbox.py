"""The outbox: memories whose embedding failed wait, and are embedded, linked and taken off it."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import UsageError
from memos_assets.memory import SyncMemory
from memos_assets.memory.models import current_model, ensure_registered
from memos_assets.memory.outbox import Progress, embed_waiting, waiting
from memos_assets.memory.vectors import enqueue
from memos_assets.search.embed import (
    DeterministicEmbedder,
    Embedder,
    OllamaEmbedder,
    TextTooLongError,
    Vectors,
)
from memos_assets.settings import Settings
from memos_assets_tests.search.endpoint import Asked, as_ollama, serving

EMBEDDER = DeterministicEmbedder(64, model="one")
NO_ONE_LISTENS = "http://127.0.0.1:1"


def remember(engine: sa.Engine, *texts: str, source: str | None = None) -> list[int]:
    """Remember texts, in their order, while the embedder is down; numbers."""
    down = SyncMemory(Settings(), embedder=OllamaEmbedder(NO_ONE_LISTENS, "one"))
    # Together: each call would wait for the embedder again.
    prepared = down.prepare_many([{"text": text, "source": source} for text in texts])
    with Session(engine) as session, session.begin():
        acting = down.act_as(session, user="u1")
        numbers = [down.remember(session, one).number for one in prepared]
        waits = prepared[0].waits
        assert waits is not None
        enqueue(session, [(number, acting.private) for number in numbers], waits)
    return numbers


def outbox(engine: sa.Engine) -> list[tuple[int, int, str]]:
    with engine.connect() as conn:
        rows = conn.execute(
            sa.text("select memory, attempts, last_error from agent.outbox order by 1")
        )
        return [(row[0], row[1], row[2]) for row in rows]


def parts(engine: sa.Engine) -> list[tuple[int, int]]:
    with engine.connect() as conn:
        model = current_model(conn)
        assert model is not None
        rows = conn.execute(sa.text(f"select memory, part from {model.table_name} order by 1, 2"))
        return [(row[0], row[1]) for row in rows]


def make_due(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text("update agent.outbox set next_attempt_at = now()"))


def test_what_waits_is_embedded_with_the_text_before_it_and_linked(engine: sa.Engine) -> None:
    first = remember(engine, "the red pump leaks", "the red pump leaks oil", source="mail:1")
    (alone,) = remember(engine, "the blue valve")
    assert [row[0] for row in outbox(engine)] == [*first, alone]
    assert all("M578" in row[2] for row in outbox(engine))
    progress = embed_waiting(engine, EMBEDDER, batch=2)
    assert (progress.embedded, progress.stopped, progress.failures) == (3, None, {})
    assert outbox(engine) == []
    assert parts(engine) == [(first[0], 0), (first[1], -1), (first[1], 0), (alone, 0)]
    with engine.connect() as conn:
        links = conn.execute(sa.text("select a, b from agent.links")).all()
    assert [tuple(row) for row in links] == [tuple(first)]
    assert progress.linked >= 1
    assert embed_waiting(engine, OllamaEmbedder(NO_ONE_LISTENS, "one")) == Progress()


def test_an_embedder_that_is_down_leaves_all_to_wait_longer_each_time(engine: sa.Engine) -> None:
    numbers = remember(engine, "a pump", "a valve")
    down = OllamaEmbedder(NO_ONE_LISTENS, "one")
    waits = []
    for _ in range(3):
        progress = embed_waiting(engine, down)
        assert progress.embedded == 0
        with engine.connect() as conn:
            waits.append(
                conn.scalar(
                    sa.text(
                        "select extract(epoch from min(next_attempt_at) - now())::int "
                        "from agent.outbox"
                    )
                )
            )
        # Nothing is due, so nothing is asked.
        assert embed_waiting(engine, down) == Progress()
        make_due(engine)
    assert waits == [pytest.approx(seconds, abs=5) for seconds in (60, 120, 240)]
    assert [row[:2] for row in outbox(engine)] == [(number, 3) for number in numbers]
    with engine.connect() as conn:
        found = waiting(conn)
    assert found.count == 2
    (reason,) = found.reasons
    assert reason.startswith("M578: the endpoint does not answer")
    assert "pump" not in reason
    embed_waiting(engine, EMBEDDER)
    assert outbox(engine) == []


class Picky(DeterministicEmbedder):
    """Refuses texts with a word, and texts of more than some characters as too long."""

    def __init__(self, word: str = "poison", most: int = 10_000) -> None:
        super().__init__(64, model="one")
        self.word, self.most = word, most
        self.calls = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.calls += 1
        if any(len(text) > self.most for text in texts):
            raise TextTooLongError("M578", "refuses with 400", where="here", fix="split it")
        if any(self.word in text for text in texts):
            raise UsageError("M578", "refuses with 500", where="here", fix="see its log")
        return super().embed(texts)


def test_one_text_that_fails_stops_none_of_the_others(engine: sa.Engine) -> None:
    texts = [f"memory {number}" for number in range(9)]
    numbers = remember(engine, *texts[:4], "the poison", *texts[4:])
    progress = embed_waiting(engine, Picky())
    assert (progress.embedded, progress.stopped) == (9, None)
    assert outbox(engine) == [(numbers[4], 1, "M578: refuses with 500")]
    assert dict(progress.failures) == {"M578: refuses with 500": 1}


def test_a_text_that_the_model_finds_too_long_is_embedded_in_smaller_parts(
    engine: sa.Engine,
) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    (number, other) = remember(engine, words, "short")
    assert embed_waiting(engine, Picky(most=200)).embedded == 2
    found = parts(engine)
    assert [part for memory, part in found if memory == number] == list(range(len(found) - 1))
    assert len(found) >= 4
    assert (other, 0) in found


@pytest.mark.parametrize(
    ("vectors", "said"),
    [
        ([[0.0] * 4], "M578: the embedder answered with a vector of zeros"),
        ([[1.0] * 4] * 2, "M578: the embedder answered with 2 vectors for 1 texts"),
        ([], "M578: the embedder answered with 0 vectors for 1 texts"),
        ([[1.0] * 5], "M579: "),
        ([[float("nan")] * 4], "M578: the embedder answered with a vector with NaN"),
        (None, "M578: no answer within 0.3 s"),
    ],
)
def test_nothing_of_an_endpoint_that_answers_nonsense_is_stored(
    engine: sa.Engine, vectors: list[list[float]] | None, said: str
) -> None:
    (number,) = remember(engine, "the poison")

    def answer(asked: Asked) -> tuple[int, object]:
        if asked.body["input"] != ["the poison"]:
            return as_ollama(asked)
        if vectors is None:
            time.sleep(0.8)
        return 200, {"embeddings": vectors}

    with serving(answer) as endpoint:
        embedder = OllamaEmbedder(endpoint.url, "one", timeout_seconds=0.3)
        progress = embed_waiting(engine, embedder)
    assert progress.embedded == 0
    assert parts(engine) == []
    (waiting_one,) = outbox(engine)
    assert waiting_one[0] == number
    assert waiting_one[2].startswith(said)
    # It was not kept: another answer is taken.
    make_due(engine)
    with serving(as_ollama) as endpoint:
        assert embed_waiting(engine, OllamaEmbedder(endpoint.url, "one")).embedded == 1
    assert parts(engine) == [(number, 0)]


def test_a_wrong_embedder_embeds_nothing(engine: sa.Engine) -> None:
    ensure_registered(engine, EMBEDDER)
    remember(engine, "a pump")
    impostor: Embedder = DeterministicEmbedder(64, model="one", seed=1)
    for wrong, code in ((impostor, "M762"), (DeterministicEmbedder(64, model="two"), "M760")):
        make_due(engine)
        progress = embed_waiting(engine, wrong)
        assert progress.stopped is not None
        assert progress.stopped.startswith(f"{code}: ")
        assert outbox(engine)[0][2] == progress.stopped
    assert parts(engine) == []


def test_two_processes_share_the_work_and_a_dead_one_loses_none(engine: sa.Engine) -> None:
    class Meanwhile(DeterministicEmbedder):
        """Another process works while this one embeds; then this one dies."""

        def embed(self, texts: Sequence[str]) -> Vectors:
            if texts[0].startswith("memory"):
                assert embed_waiting(engine, EMBEDDER, batch=2).embedded == 4
                raise KeyboardInterrupt
            return super().embed(texts)

    numbers = remember(engine, *(f"memory {number}" for number in range(6)))
    with pytest.raises(KeyboardInterrupt):
        embed_waiting(engine, Meanwhile(64, model="one"), batch=2)
    assert [row[0] for row in outbox(engine)] == numbers[:2]
    make_due(engine)
    assert embed_waiting(engine, EMBEDDER).embedded == 2
    assert parts(engine) == [(number, 0) for number in numbers]


def test_a_memory_that_ends_or_is_erased_while_the_model_works_is_as_it_is_now(
    engine: sa.Engine,
) -> None:
    ended, erased = remember(engine, "memory 1", "memory 2")
    at = datetime(2026, 3, 1, tzinfo=UTC)

    class Meanwhile(DeterministicEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            with engine.begin() as conn:
                conn.execute(
                    sa.text("update agent.memories set retracted_at = :at where number = :n"),
                    {"at": at, "n": ended},
                )
                conn.execute(sa.text("delete from agent.memories where number = :n"), {"n": erased})
            return super().embed(texts)

    embed_waiting(engine, Meanwhile(64, model="one"))
    with engine.connect() as conn:
        model = current_model(conn)
        assert model is not None
        rows = conn.execute(sa.select(model.table.c.memory, model.table.c.closed_at)).all()
    assert [tuple(row) for row in rows] == [(ended, at)]
    assert outbox(engine) == []
