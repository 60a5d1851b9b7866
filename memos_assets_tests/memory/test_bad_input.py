"""Bad input is one clear error, which repeats no text, or a memory that waits for an embedding."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.errors import AgentError, UsageError
from memos_assets.memory import Asked, Memory, SyncMemory
from memos_assets.memory.prepared import Prepared
from memos_assets.memory.spaces import create_space
from memos_assets.postgres.user_rows import ERASED
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings

SECRET = "secret-4711"
LATER = datetime.now(UTC) + timedelta(hours=1)


@pytest.mark.parametrize(
    ("code", "about"),
    [
        ("M730", {"text": ""}),
        ("M730", {"text": " \n\t"}),
        ("M730", {"text": None}),
        ("M730", {"text": SECRET * 100_000}),
        ("M730", {"text": f"{SECRET}\0"}),
        ("M730", {"text": f"{SECRET}\ud800"}),
        ("M730", {"source": ""}),
        ("M730", {"source": SECRET * 100}),
        ("M730", {"subject": " "}),
        ("M730", {"subject": f"{SECRET}\0"}),
        ("M730", {"subject": "\ufdfa" * 100}),
        ("M730", {"source": "\u6f22" * 499}),
        ("M730", {"previous": ""}),
        ("M731", {"valid_from": datetime(2026, 5, 1)}),  # noqa: DTZ001  # refused for that
        ("M731", {"valid_from": "2026-05-01T12:00"}),
        ("M731", {"valid_until": f"{SECRET}"}),
        ("M731", {"valid_from": 20260501}),
        ("M731", {"valid_from": "0001-01-01T00:00:00+14:00"}),
        ("M731", {"valid_from": "2026-05-02", "valid_until": "2026-05-01"}),
        ("M731", {"valid_from": "2026-05-01", "valid_until": "2026-05-01"}),
        ("M731", {"recorded_at": LATER}),
        ("M732", {"kind": SECRET}),
        ("M732", {"attribute": "city"}),
        ("M732", {"attributes": {"a": float("nan")}}),
        ("M732", {"attributes": {"a": "\0"}}),
        ("M732", {"attributes": [SECRET]}),
        ("M732", {"confidence": 1.5}),
        ("M732", {"trust": -0.1}),
        ("M732", {"trust": None}),
        ("M732", {"derived_from": [SECRET]}),
    ],
)
def test_a_memory_that_cannot_be_is_refused_before_it_is_embedded(
    memory: SyncMemory, code: str, about: dict[str, Any]
) -> None:
    given = {"text": f"Anna says {SECRET}.", **about}
    with pytest.raises(AgentError, match=code) as caught:
        memory.prepare_many([given])
    assert SECRET not in str(caught.value)
    assert "Fix: " in str(caught.value)


def test_the_longest_subject_with_the_longest_attribute_is_stored(
    session: Session, memory: SyncMemory
) -> None:
    # Characters that PostgreSQL does not compress, of three bytes each.
    one, other = (
        "".join(chr(0x4E00 + place * 37 % 20_000) for place in range(first, first + 433))
        for first in (0, 433)
    )
    memory.remember(session, memory.prepare("x", subject=one, attribute=other, source=one))


def test_dates_are_utc_and_a_plain_date_is_its_midnight(memory: SyncMemory) -> None:
    one = memory.prepare("x", valid_from="2026-05-01", valid_until="2026-05-01T09:30:00+02:00")
    assert one.valid_from == datetime(2026, 5, 1, tzinfo=UTC)
    assert one.valid_until == datetime(2026, 5, 1, 7, 30, tzinfo=UTC)


class Odd(DeterministicEmbedder):
    """An embedder that answers with something else."""

    def __init__(self, answer: object) -> None:
        super().__init__(64)
        self._answer = answer

    def embed(self, texts: Sequence[str]) -> Any:  # noqa: ARG002  # of the protocol
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


DOWN = UsageError("M578", "the endpoint does not answer", where="http://x", fix="start it")


@pytest.mark.parametrize(
    "answer",
    [
        DOWN,
        np.zeros((1, 64), dtype=np.float32),
        np.full((1, 64), np.nan, dtype=np.float32),
        np.ones((2, 64), dtype=np.float32),
        [],
        None,
        [[1.0, "x"]],
    ],
)
def test_a_text_that_an_embedder_fails_on_waits_and_is_found_by_its_words(
    session: Session, answer: object
) -> None:
    memory = SyncMemory(Settings(), embedder=Odd(answer))
    kept = memory.remember(session, memory.prepare(f"The pump is {SECRET}."))
    assert kept.waits is not None
    assert kept.waits.startswith("M578: ")
    (waiting,) = session.execute(sa.text("select last_error from agent.outbox")).scalars()
    assert waiting == kept.waits
    assert SECRET not in waiting
    asked = Asked("Which pump?", None, memory.model)
    assert [hit.id for hit in memory.recall(session, asked)] == [kept.id]


@pytest.mark.parametrize("answer", [DOWN, np.zeros((1, 64)), np.full((1, 64), np.nan)])
def test_a_question_that_an_embedder_fails_on_is_searched_by_its_words(answer: object) -> None:
    asked = SyncMemory(Settings(), embedder=Odd(answer)).query("Which pump?")
    assert (asked.text, asked.embedding) == ("Which pump?", None)
    with pytest.raises(AgentError, match="M730"):
        SyncMemory(Settings()).query("\0")


def test_an_embedding_of_another_dimension_is_refused(session: Session) -> None:
    other = SyncMemory(Settings(), embedder=DeterministicEmbedder(32))
    with pytest.raises(AgentError, match="M761"), session.begin_nested():
        other.remember(session, other.prepare("The pump is red."))
    assert session.execute(sa.text("select count(*) from agent.memories")).scalar_one() == 0


def test_memories_of_a_model_that_is_not_registered_wait(session: Session) -> None:
    other = SyncMemory(Settings(), embedder=DeterministicEmbedder(64, model="another"))
    kept = other.remember(session, other.prepare("The pump is red."))
    assert kept.waits is not None
    assert kept.waits.startswith("M760")


def test_users_whose_ids_differ_by_white_space_are_two(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> None:
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        memory.remember(session, memory.prepare("The pump is red."))
        create_space(session, f"of {user}")
        memory.act_as(session, user=user, spaces=[f"of {user}"])
        memory.grant(session, f"of {user}", f"{user} ")
        assert set(memory.granted(session, f"of {user}")) == {user, f"{user} "}
    for other in (f"{user} ", f" {user}", f"{user}\n"):
        with shared_sessions() as session:
            assert memory.act_as(session, user=other).user == other
            assert session.execute(sa.text("select count(*) from agent.memories")).scalar_one() == 0


@pytest.mark.parametrize("user", ["", " ", None, 7, ERASED])
def test_without_a_user_nothing_is_done(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: Any
) -> None:
    with shared_sessions() as session:
        with pytest.raises(AgentError, match="M701"):
            memory.act_as(session, user=user)
        with pytest.raises(AgentError, match="M700"):
            memory.remember(session, memory.prepare("x"))


@pytest.mark.parametrize(
    "wrong", [{"user": ""}, {"user": "a\0"}, {"agent": "\ud800"}, {"spaces": [""]}]
)
def test_a_refused_acting_ends_the_one_before_it(
    session: Session, memory: SyncMemory, user: str, wrong: dict[str, Any]
) -> None:
    memory.remember(session, memory.prepare("x"))
    count = sa.text("select count(*) from agent.memories")
    assert session.execute(count).scalar_one() == 1
    with pytest.raises(AgentError, match=r"M701|M730"):
        memory.act_as(session, **{"user": user, **wrong})
    assert session.execute(count).scalar_one() == 0


def test_spaces_that_are_not_there_or_not_granted_look_alike(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> None:
    with shared_sessions.begin() as session:
        memory.act_as(session, user="another")
        create_space(session, f"of another {user}")
        create_space(session, f"read {user}")
        memory.act_as(session, user="another", spaces=[f"read {user}"])
        memory.grant(session, f"read {user}", user, "read")
    with shared_sessions() as session:
        said = []
        for name in (f"of another {user}", f"of nobody! {user}"):
            with pytest.raises(AgentError, match="M702") as caught:
                memory.act_as(session, user=user, spaces=[name])
            said.append(str(caught.value).replace(name, "NAME"))
            with pytest.raises(AgentError, match="M700"):
                memory.remember(session, memory.prepare("x"))
        assert said[0] == said[1]
        memory.act_as(session, user=user, spaces=[f"read {user}"])
        for space, code in ((f"read {user}", "M703"), ("elsewhere", "M702"), ("", "M730")):
            with pytest.raises(AgentError, match=code):
                memory.remember(session, memory.prepare("x"), space=space)


def test_a_memory_of_somebody_else_is_not_there(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> None:
    with shared_sessions() as session:
        memory.act_as(session, user="another")
        theirs = memory.remember(session, memory.prepare("The pump is theirs."))
        memory.act_as(session, user=user)
        mine = memory.remember(session, memory.prepare("The pump is mine."))
        derived = memory.prepare("The pump.", derived_from=[theirs.id])
        calls: list[Callable[[], object]] = [
            lambda: memory.history(session, theirs.id),
            lambda: memory.retract(session, theirs.id),
            lambda: memory.restore(session, theirs.id),
            lambda: memory.set_validity(session, theirs.id, valid_until=None),
            lambda: memory.correct(session, theirs.id, memory.prepare("x")),
            lambda: memory.supersede(session, mine.id, theirs.id),
            lambda: memory.remember(session, derived),
            lambda: memory.history(session, "no id"),
        ]
        for call in calls:
            with pytest.raises(AgentError, match="M705"):
                call()


def test_an_acting_ends_with_its_transaction_and_its_savepoint(
    session: Session, memory: SyncMemory, user: str
) -> None:
    nested = session.begin_nested()
    memory.act_as(session, user=f"{user} in it")
    memory.remember(session, memory.prepare("x"))
    nested.rollback()
    with pytest.raises(AgentError, match="M700"):
        memory.remember(session, memory.prepare("x"))
    memory.act_as(session, user=user)
    memory.remember(session, memory.prepare("x"))


def test_no_text_is_lost_between_parts_that_a_model_reads_whole(memory: SyncMemory) -> None:
    sentences = [f"Sentence {n} is about valve {n * 7919} of the pump." for n in range(600)]
    text = " ".join(sentences) + "\n\n" + "x" * 5_000 + " " + "泵" * 900
    one = memory.prepare(text)
    assert isinstance(one, Prepared)
    assert len(one.parts) > 10
    joined = "".join(text[part.start : part.stop] for part in one.parts)
    assert joined.split() == text.split() or joined.replace(" ", "") == text.replace(" ", "")
    ends = [text[part.start : part.stop].rstrip()[-1] for part in one.parts[:20]]
    assert set(ends) == {"."}


def test_asynchronous_memory_prepares_as_the_other_does(memory: SyncMemory) -> None:
    asynchronous = Memory(
        Settings(embedder="deterministic", embedder_dimension=64, embedder_model="deterministic")
    )
    given: list[Any] = ["one", {"text": "two", "previous": "one", "kind": "question"}]
    both = asyncio.run(asynchronous.prepare_many(given)), memory.prepare_many(given)
    for one, other in zip(*both, strict=True):
        assert (one.content_digest, one.kind, one.waits) == (
            other.content_digest,
            other.kind,
            None,
        )
        assert np.array_equal(one.parts[0].embedding, other.parts[0].embedding)
    assert both[0][1].with_previous is not None
