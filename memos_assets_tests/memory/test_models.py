"""Models: registered with their answers, one current; embeddings written and ended."""

import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import SyncMemory, model_identity
from memos_assets.memory.beliefs import close_embeddings
from memos_assets.memory.exchange import drop_model, register_next
from memos_assets.memory.models import (
    State,
    check_answer,
    current_model,
    ensure_registered,
    model_named,
    register,
    registered,
)
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.memory.vectors import EmbeddingRow, write_embeddings
from memos_assets.search.embed import DeterministicEmbedder, OllamaEmbedder, Vectors, unit
from memos_assets.settings import Settings
from memos_assets_tests.memory.test_outbox import remember

ONE = DeterministicEmbedder(8, model="one")
TWO = DeterministicEmbedder(8, model="two", seed=1)
AT = datetime(2026, 3, 1, tzinfo=UTC)


def memories(session: Session, count: int) -> list[tuple[int, int]]:
    """Write memories into one space; number and space of each."""
    space = session.scalar(
        sa.text(
            "insert into agent.spaces (name, owner, private) values (:name, 'u1', false) "
            "returning id"
        ),
        {"name": f"space {uuid.uuid4()}"},
    )
    found = session.scalars(
        sa.text(
            "insert into agent.memories (id, space_id, user_id, kind, content, content_digest, "
            "words, source) select gen_random_uuid(), :space, 'u1', 'finding', 'text ' || n, "
            "'digest ' || n, 2, 'user:u1' from generate_series(1, :count) n returning number"
        ),
        {"space": space, "count": count},
    )
    return [(number, space) for number in found]


def rows_of(places: Sequence[tuple[int, int]], dimension: int = 8) -> list[EmbeddingRow]:
    random = np.random.default_rng(1)
    return [
        EmbeddingRow(
            number, 0, space, None, (3 * random.standard_normal(dimension)).astype(np.float32)
        )
        for number, space in places
    ]


def stored(session: Session, table: str) -> list[tuple[int, int, list[float]]]:
    found = session.execute(
        sa.text(f"select memory, part, embedding::real[] from {table} order by 1, 2")
    )
    return [(row[0], row[1], row[2]) for row in found]


def test_the_first_embedder_that_answers_becomes_the_current_model(engine: sa.Engine) -> None:
    assert ensure_registered(engine, OllamaEmbedder("http://127.0.0.1:1", "m")) is None
    embedder = DeterministicEmbedder(8, model="one")
    model = ensure_registered(engine, embedder)
    assert model is not None
    assert (model.name, model.dimension, model.state) == ("one", 8, "current")
    assert model.answer_digest == model_identity.answer_digest(embedder)
    with engine.connect() as conn:
        assert current_model(conn) == model_named(conn, "one")
        made = sa.inspect(conn).get_columns(f"embeddings_{model.id}", schema="agent")
        assert [column["name"] for column in made] == [c.name for c in model.table.columns]
        storage = (
            "select attstorage::text from pg_attribute where attrelid = :name ::regclass "
            "and attname = 'embedding'"
        )
        assert conn.scalar(sa.text(storage), {"name": model.table_name}) == "m"
    # No embedder is asked where one is registered.
    again = ensure_registered(engine, OllamaEmbedder("http://127.0.0.1:1", "m"))
    assert again is not None
    assert again.id == model.id


def test_sessions_of_services_register_the_first_embedder(settings: Settings) -> None:
    chosen = settings.model_copy(
        update={"embedder": "deterministic", "embedder_model": "one", "embedder_dimension": 64}
    )
    memory = SyncMemory(chosen)
    prepared = memory.prepare("Anna moved from Riga to Oslo.")
    with open_sync_memory_sessions(chosen) as sessions:
        with sessions.begin() as session:
            memory.act_as(session, user="u1")
            assert memory.remember(session, prepared).waits is None
        with sessions.begin() as session:
            memory.act_as(session, user="u1")
            model = current_model(session)
            assert model is not None
            # The new table is walled off, too: its own user sees the row, another does not.
            assert session.scalar(sa.select(sa.func.count()).select_from(model.table)) == 1
        with sessions.begin() as session:
            memory.act_as(session, user="u2")
            assert session.scalar(sa.select(sa.func.count()).select_from(model.table)) == 0


def test_names_states_and_dimensions_that_cannot_be_are_refused(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        register(conn, "one", 8, "d", "current")
        taken: tuple[tuple[str, State], ...] = (("one", "next"), ("two", "current"))
        for name, state in taken:
            with pytest.raises(AgentError, match=r"^M763 .* Fix: "):
                register(conn, name, 8, "d", state)
        register(conn, "two", 4_096, "d", "next")
        with pytest.raises(AgentError, match="M763"):
            register(conn, "three", 8, "d", "next")
        with pytest.raises(AgentError, match=r"^M765 model wide: 16,001 elements"):
            register(conn, "wide", 16_001, "d", "former")
        with pytest.raises(AgentError, match=r"^M760 .*registered: one, two\. Fix: "):
            model_named(conn, "none")


def answer(seed: int, dimension: int = 384) -> Vectors:
    random = np.random.default_rng(seed)
    return unit(random.standard_normal((3, dimension)).astype(np.float32))


def test_noise_of_a_machine_is_the_same_model_and_other_weights_are_not(
    engine: sa.Engine,
) -> None:
    first = answer(1)
    with engine.begin() as conn:
        model = register(conn, "one", 384, model_identity.digest_of(first), "current", answer=first)
        (model,) = registered(conn)
    noise = np.random.default_rng(2).standard_normal(first.shape).astype(np.float32)
    noisy = unit(first + np.float32(0.001) * noise)
    assert model_identity.digest_of(noisy) != model.answer_digest
    check_answer(model, first)
    check_answer(model, noisy)
    # One text of three is enough, and so is another dimension.
    other = first.copy()
    other[2] = answer(3)[2]
    for changed in (answer(3), other, answer(1, 256)):
        with pytest.raises(AgentError, match=r"^M762 model one: .* Fix: "):
            check_answer(model, changed)


def test_the_digest_is_of_the_direction_alone() -> None:
    class Longer(DeterministicEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            return super().embed(texts) * np.float32(7)

    plain = model_identity.answer_digest(DeterministicEmbedder(64))
    assert model_identity.answer_digest(Longer(64)) == plain
    assert model_identity.answer_digest(DeterministicEmbedder(64, seed=1)) != plain
    assert model_identity.answer_digest(DeterministicEmbedder(65)) != plain


def test_embeddings_are_written_once_of_length_1_and_end_with_their_memory(
    engine: sa.Engine,
) -> None:
    with engine.begin() as conn:
        model = register(conn, "one", 8, "d", "current")
        following = register(conn, "two", 8, "d", "next")
    with Session(engine) as session:
        places = memories(session, 1_003)
        rows = rows_of(places)
        assert write_embeddings(session, rows[::-1], "one")
        assert write_embeddings(session, rows, "one")
        written = stored(session, model.table_name)
        assert [row[:2] for row in written] == [(row.memory, 0) for row in rows]
        expected = np.stack([row.vector / np.linalg.norm(row.vector) for row in rows])
        assert np.abs(np.array([row[2] for row in written]) - expected).max() < 0.0005
        some = [row.memory for row in rows[:3]]
        ending = sa.text("update agent.memories set valid_until = :at where number = any(:some)")
        session.execute(ending, {"at": AT, "some": some})
        close_embeddings(session, some)
        ended = sa.select(model.table.c.memory).where(model.table.c.closed_at == AT)
        assert sorted(session.scalars(ended)) == some
        session.execute(ending, {"at": None, "some": some[:1]})
        close_embeddings(session, some)
        assert sorted(session.scalars(ended)) == some[1:]
        assert stored(session, following.table_name) == []
        session.execute(sa.text("delete from agent.memories"))
        assert stored(session, model.table_name) == []


def test_embeddings_of_a_model_that_was_replaced_wait_for_the_current_one(
    engine: sa.Engine,
) -> None:
    with Session(engine) as session:
        places = memories(session, 2)
        assert not write_embeddings(session, rows_of(places), "one")
        register(session.connection(), "two", 8, "d", "current")
        assert not write_embeddings(session, rows_of(places), "one")
        waiting = session.execute(
            sa.text("select memory, space_id, last_error from agent.outbox order by 1")
        )
        assert [tuple(row) for row in waiting] == [
            (*place, "M760 one is not the current model") for place in places
        ]


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ([1.0] * 7, r"of shape \(7,\)"),
        ([0.0] * 8, "of zeros"),
        ([1.0] * 7 + [float("nan")], "NaN or infinite"),
        ([[1.0] * 8], r"of shape \(1, 8\)"),
    ],
)
def test_no_vector_that_is_not_the_models_is_stored(
    engine: sa.Engine, vector: list[float], said: str
) -> None:
    with Session(engine) as session:
        model = register(session.connection(), "one", 8, "d", "current")
        (first, second) = memories(session, 2)
        good, _ = rows_of([first, second])
        bad = EmbeddingRow(second[0], 0, second[1], None, np.array(vector, dtype=np.float32))
        with pytest.raises(AgentError, match=f"^M761 model one: an embedding .*{said}"):
            write_embeddings(session, [good, bad], "one")
        assert stored(session, model.table_name) == []


@pytest.mark.parametrize("work", ["register", "drop"])
def test_a_model_is_made_and_dropped_beside_a_transaction_that_remembers(
    engine: sa.Engine, work: str
) -> None:
    ensure_registered(engine, ONE)
    if work == "drop":
        register_next(engine, TWO)
    (number,) = remember(engine, "the pump was there before")

    def operate() -> None:
        if work == "drop":
            drop_model(engine, "two")
        else:
            register_next(engine, TWO)

    waits = sa.text(
        "select exists (select from pg_locks l join pg_database d on d.oid = l.database "
        "where d.datname = current_database() and not l.granted)"
    )
    with ThreadPoolExecutor(1) as pool, Session(engine) as session, session.begin():
        session.execute(sa.text("update agent.memories set trust = 0.5"))
        done = pool.submit(operate)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            while not conn.scalar(waits) and not done.done():
                time.sleep(0.01)
        space = session.scalar(sa.text("select space_id from agent.memories"))
        assert space is not None
        (vector,) = ONE.embed(["the pump"])
        assert write_embeddings(session, [EmbeddingRow(number, 0, space, None, vector)], ONE.model)
        session.commit()
        done.result(timeout=30)
    with engine.connect() as conn:
        assert len(registered(conn)) == (1 if work == "drop" else 2)
