"""Keys are counted and rotated; V40 says whether today's keys read what is stored."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from pydantic import SecretStr

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.errors import AgentError, UsageError
from memos_assets.finding import Finding
from memos_assets.memory.service import rotation
from memos_assets.memory.service.checks import CHECKS, a_sample_decrypts
from memos_assets.memory.service.crypto import KeyRing, NamedKey, content_digest, key_ring
from memos_assets.memory.service.rotation import count_keys, rotate_keys
from memos_assets.memory.service.values import MEMORIES, now
from memos_assets.postgres.engine import libpq_url
from memos_assets.progress import Progress, listening
from memos_assets.settings import Settings
from memos_assets_tests.memory.service.conftest import USER

OLD, NEW, OTHER = (Fernet.generate_key().decode() for _ in range(3))


def ring(*keys: str) -> KeyRing:
    return KeyRing([NamedKey(f"key {place}", Fernet(key)) for place, key in enumerate(keys)])


def write(engine: sa.Engine, tokens: Iterable[bytes], **values: Any) -> list[UUID]:
    """Store memories with these contents; their digests are those of ``text <place>``."""
    rows = [
        {
            "id": uuid4(),
            "user_id": USER if place % 2 else "u2",
            "content_hash": content_digest(f"text {place}") if token else "",
            "encrypted_content": token,
            "memory_type": "conversational",
            "privacy_level": "balanced",
            "created_at": now(),
            "consent_given": True,
            **values,
        }
        for place, token in enumerate(tokens)
    ]
    with engine.begin() as conn:
        conn.execute(sa.insert(MEMORIES), rows)
    return [row["id"] for row in rows]


def old_tokens(count: int) -> list[bytes]:
    return [Fernet(OLD).encrypt_at_time(f"text {n}".encode(), 1_700_000_000) for n in range(count)]


def contents(engine: sa.Engine) -> dict[UUID, bytes]:
    with engine.connect() as conn:
        return dict(conn.execute(sa.select(MEMORIES.c.id, MEMORIES.c.encrypted_content)).all())


def test_every_memory_gets_the_first_key_and_keeps_its_time(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH_ROWS", 4)
    # So few bytes that batches end by them, too, and never are empty.
    monkeypatch.setattr(rotation, "BATCH_BYTES", 300)
    ids = write(engine, old_tokens(9))
    write(engine, [b"", Fernet(NEW).encrypt(b"new"), Fernet(OTHER).encrypt(b"lost")])
    write(engine, old_tokens(1), is_deleted=True)
    before = contents(engine)
    keys = ring(NEW, OLD)
    counted = count_keys(engine, keys)
    assert (counted.rows, counted.by_key, counted.empty) == (13, Counter({1: 10, 0: 1}), 1)
    assert (counted.lost_rows, counted.to_rotate) == (1, 10)
    sample = count_keys(engine, keys, sample=5)
    assert sample.rows == 5
    assert contents(engine) == before

    said: list[Progress] = []
    with listening(said.append):
        done = rotate_keys(engine, keys)
    assert (done.rotated, done.changed, done.lost_rows, done.rows) == (10, 0, 1, 13)
    assert (sum(one.rows for one in said), said[0].total_rows, said[-1].done) == (13, 13, True)
    after = contents(engine)
    for place, memory in enumerate(ids):
        assert Fernet(NEW).decrypt(after[memory]) == f"text {place}".encode()
        assert Fernet(NEW).extract_timestamp(after[memory]) == 1_700_000_000
    (lost,) = done.lost
    assert after[lost] == before[lost]
    again = rotate_keys(engine, keys)
    assert (again.rotated, again.by_key) == (0, Counter({0: 11}))
    assert contents(engine) == after


def test_a_memory_that_changes_meanwhile_is_not_overwritten(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, _ = write(engine, old_tokens(2))
    theirs = Fernet(OLD).encrypt(b"theirs")
    decrypt = KeyRing.rotate

    def rotated(self: KeyRing, token: bytes) -> bytes:
        with engine.begin() as conn:
            conn.execute(
                sa.update(MEMORIES).where(MEMORIES.c.id == changed).values(encrypted_content=theirs)
            )
        return decrypt(self, token)

    monkeypatch.setattr(KeyRing, "rotate", rotated)
    done = rotate_keys(engine, ring(NEW, OLD))
    assert (done.rotated, done.changed) == (1, 1)
    assert contents(engine)[changed] == theirs
    monkeypatch.setattr(KeyRing, "rotate", decrypt)
    assert rotate_keys(engine, ring(NEW, OLD)).rotated == 1


#: Rotates by threes and waits after the second batch.
_KILLED = """
import sys, time
from cryptography.fernet import Fernet
from memos_assets.memory.service import rotation
from memos_assets.memory.service.crypto import KeyRing, NamedKey
from memos_assets.postgres.engine import create_engine, parse_url
from memos_assets.progress import listening
from memos_assets.settings import Settings
rotation.BATCH_ROWS = 3
url, *keys = sys.argv[1:]
engine = create_engine(parse_url(url), Settings(), application_name="killed")
done = 0
def wait(progress):
    global done
    done += progress.rows
    if done == 6:
        print(done, flush=True)
        time.sleep(60)
with listening(wait):
    rotation.rotate_keys(engine, KeyRing([NamedKey("k", Fernet(key)) for key in keys]))
"""


def test_a_killed_rotation_is_finished_by_the_next(engine: sa.Engine, database_url: sa.URL) -> None:
    write(engine, old_tokens(10))
    keys = ring(NEW, OLD)
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, libpq_url(database_url), NEW, OLD],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "6\n"
        process.kill()
    assert count_keys(engine, keys).by_key == Counter({0: 6, 1: 4})
    assert rotate_keys(engine, keys).rotated == 4
    assert count_keys(engine, ring(NEW)).by_key == Counter({0: 10})


def test_a_role_that_does_not_see_all_rows_is_refused(engine: sa.Engine) -> None:
    write(engine, old_tokens(2))
    with engine.connect() as conn:
        there = conn.scalar(sa.text("select count(*) from pg_roles where rolname = 'memos_agent'"))
    assert there == 1

    def become(connection: Any, _: object) -> None:
        connection.execute("set role memos_agent")
        connection.commit()

    sa.event.listen(engine.pool, "checkout", lambda c, *_: become(c, None))
    with pytest.raises(AgentError, match=r"^M749 public\.memories: "):
        count_keys(engine, ring(NEW))
    with pytest.raises(AgentError, match=r"^M749 public\.memories: "):
        rotate_keys(engine, ring(NEW, OLD))


def judged(engine: sa.Engine, *keys: str) -> Finding:
    joined = SecretStr(":".join(keys)) if keys else None
    return a_sample_decrypts(CheckContext(engine, MEMOS, Settings(memory_keys=joined)), "memories")


def test_v40_a_sample_decrypts_fails_without_the_right_key(engine: sa.Engine) -> None:
    assert judged(engine).passed
    assert judged(engine, NEW).observed == "0 memories decrypt"
    write(engine, [*old_tokens(3), b""])
    assert judged(engine, NEW, OLD).observed == "4 memories decrypt"
    without = judged(engine)
    assert (without.passed, without.observed[:5]) == (False, "M740 ")
    malformed = judged(engine, "nonsense")
    assert (malformed.passed, malformed.observed[:5]) == (False, "M742 ")
    wrong = judged(engine, OTHER)
    assert (wrong.passed, wrong.observed) == (False, "3 that no key decrypts")
    assert len(wrong.evidence["undecryptable"]) == 3
    with engine.begin() as conn:
        conn.execute(
            sa.text("update public.memories set content_hash = 'x' where content_hash <> ''")
        )
    other = judged(engine, OLD)
    assert (other.passed, other.observed) == (False, "3 of another text than their digest's")
    assert "text" not in str(other.evidence.values())
    (check,) = CHECKS
    assert [one.asset for one in check.subjects(MEMOS)] == ["memos/memories"]


def test_where_memos_is_not_there_nothing_is_counted(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        conn.execute(sa.text("drop table public.memories"))
    with pytest.raises(UsageError, match=r"^M570 public\.memories"):
        count_keys(engine, key_ring(Settings(memory_keys=SecretStr(NEW))))
