"""Memories of all users that wait for an embedding, as the schedule embeds them."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.errors import AgentError, UsageError
from memos_assets.memory.acting import act_as
from memos_assets.memory.model_checks import outbox_is_young
from memos_assets.memory.service import waiting
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.prepared import prepared
from memos_assets.memory.service.store import store_memory
from memos_assets.memory.service.values import MEMORIES
from memos_assets.memory.service.waiting import (
    any_waiting,
    count_waiting,
    embed_all,
    embeds_memories,
)
from memos_assets.search.embed import DeterministicEmbedder, TextTooLongError, Vectors
from memos_assets.settings import Settings
from memos_assets_tests.memory.service.conftest import MXBAI

LONG = "longer than the model reads"


class Strict(DeterministicEmbedder):
    """Refuses a long text, with all that it is given with; counts transactions while it works."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(model=MXBAI)
        self._engine, self.open = engine, 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        idle = sa.text(
            "select count(*) from pg_stat_activity where datname = current_database() "
            "and state like 'idle in transaction%'"
        )
        with self._engine.connect() as conn:
            self.open += conn.execute(idle).scalar_one()
        if LONG in texts:
            raise TextTooLongError("M578", "too long", where="embedder", fix="split it")
        return super().embed(texts)


def store(engine: sa.Engine, keys: KeyRing, user: str, *texts: str) -> None:
    with Session(engine) as session, session.begin():
        act_as(session, user=user)
        for text in texts:
            store_memory(session, user, prepared(keys, text))


def without(engine: sa.Engine) -> int:
    with engine.connect() as conn:
        missing = sa.select(sa.func.count()).where(MEMORIES.c.embedding_vector.is_(None))
        return int(conn.execute(missing).scalar_one())


def test_all_users_rows_are_embedded_past_those_that_cannot_be(
    engine: sa.Engine, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not any_waiting(engine)
    store(engine, keys, "u1", *(f"lost {number}" for number in range(5)))
    with engine.begin() as conn:
        # The first of all, and more of them than a round has.
        place = sa.text("('00000000-0000-0000-0000-' || right(id::text, 12))::uuid")
        conn.execute(sa.update(MEMORIES).values(encrypted_content=b"gAAAAA", id=place))
    store(engine, keys, "u1", "first", LONG, "second")
    store(engine, keys, "u2", "third")
    monkeypatch.setattr(waiting.waiting_memories, "__kwdefaults__", {"after": None, "limit": 3})
    embedder = Strict(engine)
    assert embed_all(engine, keys, embedder) == waiting.Filled(3)
    assert (without(engine), embedder.open) == (6, 0)
    assert any_waiting(engine)
    with engine.connect() as conn:
        assert count_waiting(conn) == 6
    context = CheckContext(engine, MEMOS, Settings())
    assert outbox_is_young(context, "outbox").evidence["waiting in public.memories"] == 6
    assert embed_all(engine, keys, embedder) == waiting.Filled()


def test_an_embedder_that_is_down_stops_it_and_one_of_another_model_is_known(
    engine: sa.Engine, keys: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(engine, keys, "u1", "first", "second")

    def down(*_: object) -> Vectors:
        raise UsageError("M578", "nobody answers", where="embedder", fix="start it")

    embedder = DeterministicEmbedder(model=MXBAI)
    assert embeds_memories(embedder)
    assert not embeds_memories(DeterministicEmbedder(model="one"))
    with monkeypatch.context() as patched:
        patched.setattr(embedder, "embed", down)
        done = embed_all(engine, keys, embedder)
        assert done == waiting.Filled(0, "M578: nobody answers")
    other = embed_all(engine, keys, DeterministicEmbedder(model="one"))
    assert (other.stopped or "").startswith("M748: ")
    assert without(engine) == 2


def test_a_role_that_does_not_see_all_rows_is_refused(engine: sa.Engine, keys: KeyRing) -> None:
    run_as = engine.execution_options()

    @sa.event.listens_for(run_as, "begin")
    def become(conn: sa.Connection) -> None:
        conn.exec_driver_sql("set local role memos_agent")

    with pytest.raises(AgentError, match=r"^M749 "):
        embed_all(run_as, keys, DeterministicEmbedder(model=MXBAI))
