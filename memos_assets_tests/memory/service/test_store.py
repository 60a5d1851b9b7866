"""Store, read, change and delete memories of `public.memories`, in the caller's session."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError, UsageError
from memos_assets.memory.acting import act_as
from memos_assets.memory.service.crypto import KeyRing, NamedKey, content_digest
from memos_assets.memory.service.owner import act_for
from memos_assets.memory.service.prepared import embedded, embedded_query, prepared
from memos_assets.memory.service.read import (
    get_memory,
    get_memory_stats,
    get_user_memories,
    get_user_memory_count,
    get_user_memory_stats,
)
from memos_assets.memory.service.store import (
    UserSettings,
    delete_memory,
    get_user_settings,
    store_memory,
    update_memory,
)
from memos_assets.memory.service.values import MEMORIES, USER_SETTINGS
from memos_assets.search.embed import DeterministicEmbedder, ThreadedEmbedder, Vectors
from memos_assets_tests.memory.service.conftest import MXBAI, USER

TEXT = "I made progress with my sponsor. It felt good. Third."


class Answers:
    """An embedder that answers with what it was given."""

    model = MXBAI
    dimension = 1_024

    def __init__(self, answer: Vectors | UsageError) -> None:
        self.answer = answer

    async def embed(self, texts: Any) -> Vectors:
        if isinstance(self.answer, UsageError):
            raise self.answer
        return np.repeat(self.answer[np.newaxis], len(texts), axis=0)

    async def embed_query(self, text: str) -> Vectors:
        vector: Vectors = (await self.embed([text]))[0]
        return vector


def with_settings(session: Session, **values: Any) -> None:
    row = {"user_id": USER, "memory_enabled": True, "created_at": datetime(2026, 1, 1)}  # noqa: DTZ001
    session.execute(sa.insert(USER_SETTINGS).values({**row, **values}))


def test_a_memory_is_stored_with_memos_defaults(session: Session, keys: KeyRing) -> None:
    # memOS's columns are naive UTC; a zone of the session must not shift them.
    session.execute(sa.text("set local timezone to 'America/New_York'"))
    before = datetime.now(UTC)
    memory = store_memory(
        session, USER, prepared(keys, TEXT, metadata={"page": 3}, source_conversation_id="c1")
    )
    assert before <= memory.created_at <= datetime.now(UTC)
    raw = session.execute(
        sa.select(
            MEMORIES.c.created_at,
            MEMORIES.c.encrypted_content,
            sa.func.now().op("at time zone")("utc") - MEMORIES.c.created_at,
        ).where(MEMORIES.c.id == memory.id)
    ).one()
    assert raw[0].tzinfo is None
    assert abs(raw[2]) < timedelta(minutes=1)
    # The token's own time is the one of memOS's: that of the memory.
    stamp = keys.keys[0].fernet.extract_timestamp(raw.encrypted_content)
    assert abs(stamp - memory.created_at.timestamp()) < 2
    assert keys.decrypt(raw.encrypted_content, memory="m") == TEXT
    assert memory.content_hash == content_digest(TEXT)
    assert memory.content_summary == "I made progress with my sponsor.  It felt good"
    assert (memory.memory_type, memory.privacy_level) == ("conversational", "balanced")
    assert (memory.recovery_stage, memory.retention_policy) == ("maintenance", "7_years")
    assert memory.expires_at == memory.created_at + timedelta(days=2_555)
    assert memory.therapeutic_relevance == pytest.approx(0.81)
    assert (memory.crisis_level, memory.tags) == (0.0, ["sponsor"])
    assert (memory.consent_given, memory.consent_date) == (True, memory.created_at)
    assert (memory.access_count, memory.is_deleted, memory.has_embedding) == (0, False, False)
    assert memory.metadata == {"page": 3}
    assert set(memory.entities) == {"locations", "organizations", "persons", "dates", "metadata"}
    assert "sponsor" not in repr(memory)
    read = get_memory(session, str(memory.id), USER, keys)
    assert read == replace(memory, content=TEXT)


def test_settings_of_the_user_decide(session: Session, keys: KeyRing) -> None:
    assert get_user_settings(session, USER) == UserSettings()
    with_settings(
        session,
        retention_days=730,
        recovery_stage="detox",
        allow_crisis_detection=False,
        allow_clinical_memories=False,
    )
    memory = store_memory(session, USER, prepared(keys, "An emergency", tags=["a", "a", "b"]))
    assert (memory.retention_policy, memory.recovery_stage) == ("2_years", "detox")
    assert memory.therapeutic_relevance == pytest.approx(0.6)
    assert memory.crisis_level == 0.0
    assert memory.tags == ["a", "b"]
    own = prepared(keys, "x", recovery_stage="early_recovery", therapeutic_relevance=0.0)
    kept = store_memory(session, USER, own)
    # memOS took a relevance of 0 for none.
    assert (kept.recovery_stage, kept.therapeutic_relevance) == ("early_recovery", 0.0)
    with pytest.raises(AgentError, match=r"^M744 .*clinical"):
        store_memory(session, USER, prepared(keys, "x", memory_type="clinical"))
    with pytest.raises(AgentError, match=r"^M744 .*consent"):
        store_memory(session, USER, prepared(keys, "x", consent_given=False))
    session.execute(sa.update(USER_SETTINGS).values(memory_enabled=False))
    with pytest.raises(AgentError, match=r"^M744 .*memory is off"):
        store_memory(session, USER, prepared(keys, "x"))
    assert get_user_memory_count(session, USER) == 2


def test_embeddings_are_memos_or_none(keys: KeyRing) -> None:
    asyncio.run(_embeddings_are_memos_or_none(keys))


async def _embeddings_are_memos_or_none(keys: KeyRing) -> None:
    memory = prepared(keys, TEXT)
    asked = ThreadedEmbedder(DeterministicEmbedder(model=MXBAI))
    (whole,) = await embedded(asked, [memory])
    assert whole.embedding is not None
    assert np.linalg.norm(whole.embedding) == pytest.approx(1, abs=1e-6)
    assert (whole.embedding_model, whole.waits) == (MXBAI, None)
    (waiting,) = await embedded(Answers(UsageError("M578", "down", where="x", fix="y")), [memory])
    assert (waiting.embedding, waiting.embedding_model, waiting.waits) == (None, None, "M578")
    assert await embedded(None, [memory]) == [memory]
    # A raw vector of mxbai has a length of 14; memOS stores unit vectors.
    (scaled,) = await embedded(Answers(np.full(1_024, 3, np.float32)), [memory])
    assert scaled.embedding is not None
    assert np.linalg.norm(scaled.embedding) == pytest.approx(1, abs=1e-6)
    for wrong in (np.ones(768, np.float32), np.zeros(1_024, np.float32)):
        with pytest.raises(AgentError, match=r"^M748"):
            await embedded(Answers(wrong), [memory])
        with pytest.raises(AgentError, match=r"^M748"):
            await embedded_query(Answers(wrong), "text")
    bge = ThreadedEmbedder(DeterministicEmbedder(model="bge-m3"))
    with pytest.raises(AgentError, match=r"^M748 public\.memories: .*bge-m3"):
        await embedded(bge, [memory])
    with pytest.raises(UsageError, match=r"^M577"):
        await embedded(Answers(UsageError("M577", "lacks", where="x", fix="y")), [memory])


def test_only_listed_fields_change(session: Session, keys: KeyRing) -> None:
    memory = store_memory(session, USER, prepared(keys, TEXT))
    changes = {"therapeutic_relevance": 0.25, "tags": ["new"], "recovery_stage": "detox"}
    changed = update_memory(session, keys, memory.id, USER, changes)
    assert changed is not None
    assert (changed.therapeutic_relevance, changed.tags) == (0.25, ["new"])
    assert changed.updated_at is not None
    assert changed.updated_at > memory.created_at
    assert (
        replace(
            changed,
            therapeutic_relevance=memory.therapeutic_relevance,
            tags=memory.tags,
            recovery_stage=memory.recovery_stage,
            updated_at=memory.updated_at,
        )
        == memory
    )
    for field in ("user_id", "id", "encrypted_content", "is_deleted", "metadata", "__class__"):
        with pytest.raises(AgentError, match=rf"^M746 {field}: cannot be changed"):
            update_memory(session, keys, memory.id, USER, {field: "x"})
    for field, value in (
        ("therapeutic_relevance", 2),
        ("memory_type", "x"),
        ("tags", "word"),
        ("consent_given", "no"),
        ("recovery_stage", "x" * 60),
    ):
        with pytest.raises(AgentError, match=rf"^M746 {field}: "):
            update_memory(session, keys, memory.id, USER, {field: value})
    assert get_memory(session, memory.id, USER) == changed
    assert update_memory(session, keys, uuid4(), USER, {"tags": []}) is None


def test_new_content_makes_what_follows_from_it_again(session: Session, keys: KeyRing) -> None:
    vector = np.eye(1, 1_024, dtype=np.float32)[0]
    whole = replace(prepared(keys, TEXT), embedding=vector, embedding_model=MXBAI)
    memory = store_memory(session, USER, whole)
    assert memory.has_embedding
    new = prepared(keys, "An emergency in my family")
    changed = update_memory(session, keys, memory.id, USER, {}, new)
    assert changed is not None
    assert (changed.content_summary, changed.tags) == ("An emergency in my family", ["family"])
    assert (changed.crisis_level, changed.content_hash) == (0.8, content_digest(new.content))
    # No embedding of the old text stays with the new one.
    assert (changed.has_embedding, changed.embedding_model) == (False, None)
    read = get_memory(session, memory.id, USER, keys)
    assert read is not None
    assert read.content == new.content


def test_a_stricter_level_must_permit_the_content(session: Session, keys: KeyRing) -> None:
    mail = store_memory(session, USER, prepared(keys, "Mail ann@example.org"))
    with pytest.raises(AgentError, match=r"^M745 .*minimal .*\(email\)"):
        update_memory(session, keys, mail.id, USER, {"privacy_level": "minimal"})
    vector = np.eye(1, 1_024, dtype=np.float32)[0]
    named = prepared(
        keys,
        "I met Ann Miller",
        privacy_level="comprehensive",
        tags=["Ann Miller"],
        metadata={"with": "Ann Miller"},
    )
    memory = store_memory(session, USER, replace(named, embedding=vector, embedding_model=MXBAI))
    changed = update_memory(session, keys, memory.id, USER, {"privacy_level": "restricted"})
    assert changed is not None
    assert (changed.content_summary, changed.tags) == ("I met [NAME]", ["[NAME]"])
    assert changed.metadata == {"with": "[NAME]"}
    # The embedding was made of the name.
    assert not changed.has_embedding
    lost = KeyRing([NamedKey("other", Fernet(Fernet.generate_key()))])
    with pytest.raises(AgentError, match=rf"^M741 memory {memory.id}: "):
        update_memory(session, lost, memory.id, USER, {"privacy_level": "minimal"})


def test_a_lost_key_hides_no_other_memory(session: Session, keys: KeyRing) -> None:
    other = KeyRing([NamedKey("other", Fernet(Fernet.generate_key()))])
    lost = store_memory(session, USER, prepared(other, "lost"))
    store_memory(session, USER, prepared(keys, "kept"))
    page = get_user_memories(session, USER, keys=keys)
    assert [(one.content, one.is_lost) for one in page] == [("kept", False), (None, True)]
    with pytest.raises(AgentError, match=rf"^M741 memory {lost.id}: "):
        get_memory(session, lost.id, USER, keys)
    # Without its content it can be read and deleted.
    assert get_memory(session, lost.id, USER) == lost
    assert delete_memory(session, lost.id, USER)


def test_a_deleted_memory_is_shown_by_nothing(session: Session, keys: KeyRing) -> None:
    memory = store_memory(session, USER, prepared(keys, TEXT))
    with pytest.raises(AgentError, match=r"^M746 deletion_reason"):
        delete_memory(session, memory.id, USER, "x" * 256)
    assert delete_memory(session, memory.id, USER)
    assert not delete_memory(session, memory.id, USER)
    assert get_memory(session, memory.id, USER) is None
    assert update_memory(session, keys, memory.id, USER, {"tags": []}) is None
    assert (get_user_memories(session, USER), get_user_memory_count(session, USER)) == ([], 0)
    row = session.execute(sa.select(MEMORIES)).one()
    assert (row.is_deleted, row.deletion_reason) == (True, "user_request")
    assert row.encrypted_content


def test_pages_counts_and_statistics(session: Session, keys: KeyRing) -> None:
    empty = get_user_memory_stats(session, USER)
    assert (empty["total_memories"], empty["last_created"]) == (0, None)
    assert get_memory_stats(session, USER)["oldest_memory"] is None
    texts = ["first progress", "second", "an emergency"]
    stored = [store_memory(session, USER, prepared(keys, text)) for text in texts[:2]]
    stored.append(store_memory(session, USER, prepared(keys, texts[2], memory_type="crisis")))
    gone = store_memory(session, USER, prepared(keys, "expired"))
    session.execute(
        sa.update(MEMORIES).where(MEMORIES.c.id == gone.id).values(expires_at=gone.created_at)
    )
    page = get_user_memories(session, USER, limit=2, offset=1, keys=keys)
    assert [memory.content for memory in page] == ["second", "first progress"]
    only = get_user_memories(session, USER, memory_type="crisis")
    assert [memory.id for memory in only] == [stored[2].id]
    assert only[0].content is None
    assert get_user_memory_count(session, USER, memory_type="conversational") == 2
    assert get_user_memory_count(session, USER, privacy_level="minimal") == 0
    assert get_user_memory_count(session, USER, recovery_stage="maintenance") == 3
    assert get_memory(session, gone.id, USER) is None
    shown = get_memory_stats(session, USER)
    assert shown == {
        "total_memories": 3,
        "by_type": {"conversational": 2, "crisis": 1},
        "by_privacy_level": {"balanced": 3},
        "storage_usage_mb": pytest.approx(0.3),
        "oldest_memory": stored[0].created_at,
        "newest_memory": stored[2].created_at,
        "avg_therapeutic_relevance": pytest.approx((0.81 + 0.45 + 0.45) / 3),
        "crisis_memories_count": 1,
    }
    api = get_user_memory_stats(session, USER)
    assert api == {
        "total_memories": 3,
        "memory_types": {"conversational": 2, "crisis": 1},
        "privacy_levels": {"balanced": 3},
        "recovery_stages": {"maintenance": 3},
        "avg_therapeutic_relevance": pytest.approx(shown["avg_therapeutic_relevance"]),
        "last_created": stored[2].created_at.isoformat(),
        "embeddings_count": 0,
    }
    for limit, offset in ((0, 0), (1, -1), (10**6, 0)):
        with pytest.raises(AgentError, match=r"^M746"):
            get_user_memories(session, USER, limit=limit, offset=offset)
    for malformed in ("nonsense", "' or 1=1", "f" * 31 + "-"):
        with pytest.raises(AgentError, match=r"^M746 memory_id"):
            get_memory(session, malformed, USER)


@pytest.mark.parametrize("acting", [None, "u2", "u", "%", "u1'"])
def test_a_session_that_acts_for_somebody_else_is_refused(
    session: Session, keys: KeyRing, acting: str | None
) -> None:
    memory = store_memory(session, USER, prepared(keys, TEXT))
    if acting is None:
        session.commit()
    else:
        act_as(session, user=acting)
    calls: list[Any] = [
        lambda: store_memory(session, USER, prepared(keys, TEXT)),
        lambda: get_memory(session, memory.id, USER),
        lambda: update_memory(session, keys, memory.id, USER, {"tags": []}),
        lambda: delete_memory(session, memory.id, USER),
        lambda: get_user_memories(session, USER),
        lambda: get_user_memory_count(session, USER),
        lambda: get_memory_stats(session, USER),
        lambda: get_user_memory_stats(session, USER),
    ]
    for call in calls:
        with pytest.raises(AgentError, match=r"^M700 " if acting is None else r"^M749 ") as caught:
            call()
        assert acting is None or repr(acting) not in str(caught.value)
    if acting is None:
        act_for(session, USER)
        assert get_memory(session, memory.id, USER) == memory
        return
    with pytest.raises(AgentError, match=r"^M749"):
        act_for(session, USER)
    # Another user's memory is not found by its id.
    assert get_memory(session, memory.id, acting) is None
    assert not delete_memory(session, memory.id, acting)
    assert update_memory(session, keys, memory.id, acting, {"tags": []}) is None


def test_a_text_longer_than_the_model_reads_has_the_mean_of_its_parts(keys: KeyRing) -> None:
    read: list[str] = []

    class Reads(DeterministicEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            read.extend(texts)
            return super().embed(texts)

    parts = ["One two three. " * 120, "Four five six. " * 120]
    embedder = Reads(model=MXBAI)
    given = [prepared(keys, text) for text in ("short", "\n\n".join(parts))]
    short, long = asyncio.run(embedded(ThreadedEmbedder(embedder), given))
    assert len(read) > 2
    assert " ".join(read[1:]).split() == " ".join(parts).split()
    assert short.embedding is not None
    assert np.allclose(short.embedding, embedder.embed(["short"])[0])
    mean = DeterministicEmbedder(model=MXBAI).embed(read[1:-1]).mean(axis=0)
    assert long.embedding is not None
    assert np.allclose(long.embedding, mean / np.linalg.norm(mean), atol=1e-6)
