"""What is remembered is a row of the caller's transaction; equal text is one row."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.errors import AgentError
from memos_assets.memory import Kept, SyncMemory
from memos_assets.memory.acting import act_as

CITIES = ("Riga", "Oslo", "Tartu", "Bergen", "Turku")


def test_a_memory_is_a_row_with_its_words_embedding_and_first_belief(
    session: Session, memory: SyncMemory, user: str
) -> None:
    kept = memory.remember(
        session, memory.prepare("Anna moved from Riga to Oslo, Oslo!", attributes={"a": [1, "ü"]})
    )
    (row,) = session.execute(sa.text("select * from agent.memories")).mappings()
    assert (str(row["id"]), row["words"], row["source"]) == (kept.id, 5, f"user:{user}")
    assert (row["user_id"], row["agent_id"]) == (user, "planner")
    assert row["attributes"] == {"a": [1, "ü"]}
    words = session.execute(sa.text("select lexeme, count from agent.postings order by 1"))
    assert [tuple(word) for word in words] == [("anna", 1), ("move", 1), ("oslo", 2), ("riga", 1)]
    counted = session.execute(sa.text("select memories, words from agent.word_counts")).one()
    assert tuple(counted) == (1, 5)
    (belief,) = session.execute(sa.text("select * from agent.revisions")).mappings()
    assert (belief["action"], belief["known_from"]) == ("remember", row["recorded_at"])
    parts = session.execute(sa.text("select memory, part, closed_at from agent.embeddings_1"))
    assert [tuple(part) for part in parts] == [(kept.number, 0, None)]


def test_equal_texts_are_one_row_and_others_are_not(session: Session, memory: SyncMemory) -> None:
    texts: list[dict[str, object]] = [
        {"text": "Straße  1\nis closed"},
        {"text": "STRASSE 1 is closed "},
        {"text": "Strasse \uff11 is closed"},
        {"text": "Strasse 1 is closed", "valid_until": "2030-01-01"},
        {"text": "strasse 1 is closed", "valid_until": "2030-01-01"},
        {"text": "Strasse 1 is closed", "subject": "road"},
        {"text": "Strasse 2 is closed"},
    ]
    first = memory.remember(session, memory.prepare_many(texts))
    equal = [first.index(next(o for o in first if o.id == one.id)) for one in first]
    assert equal == [0, 0, 0, 3, 3, 5, 6]
    assert [one.duplicate_of for one in first[:2]] == [None, first[0].id]
    again = memory.remember(session, memory.prepare_many(texts))
    assert [one.duplicate_of for one in again] == [one.id for one in first]
    memory.retract(session, first[6].id)
    new = memory.remember(session, memory.prepare("Strasse 2 is closed"))
    assert new.duplicate_of is None


def test_a_shared_space_has_rows_of_its_own(
    session: Session, memory: SyncMemory, user: str
) -> None:
    memory.create_space(session, f"team of {user}")
    memory.act_as(session, user=user, spaces=[f"team of {user}"])
    mine = memory.remember(session, memory.prepare("The pump is red."))
    ours = memory.remember(session, memory.prepare("The pump is red."), space=f"team of {user}")
    assert ours.duplicate_of is None
    assert mine.id != ours.id


def test_what_a_memory_was_derived_from_is_kept_with_the_least_trust(
    session: Session, memory: SyncMemory
) -> None:
    one = memory.remember(session, memory.prepare("A rumour.", trust=0.3))
    two = memory.remember(session, memory.prepare("A fact.", trust=0.9))
    both = memory.remember(session, memory.prepare("So.", derived_from=[one.id, two.id], trust=0.8))
    rows = session.execute(sa.text("select memory, derived_from from agent.provenance order by 2"))
    assert [tuple(row) for row in rows] == [(both.number, one.number), (both.number, two.number)]
    trust = sa.text("select trust from agent.memories where number = :number")
    assert session.execute(trust, {"number": both.number}).scalar_one() == 0.3


def test_the_number_of_statements_does_not_depend_on_the_number_of_memories(
    session: Session, memory: SyncMemory
) -> None:
    def statements(count: int) -> int:
        texts = [
            {"text": f"Value {n} of {count}.", "subject": f"s{n % 7}", "attribute": "a"}
            if n % 2
            else f"Text {n} of {count}."
            for n in range(count)
        ]
        sent = []
        conn = session.connection().engine
        note = lambda *args: sent.append(args[2])  # noqa: E731
        sa.event.listen(conn, "before_cursor_execute", note)
        memory.remember(session, memory.prepare_many(texts))
        sa.event.remove(conn, "before_cursor_execute", note)
        return len(sent)

    statements(20)
    few, many = statements(20), statements(200)
    # Links may have to be looked up in another way.
    assert few <= many <= few + 2 <= 25


def test_the_same_value_from_many_sessions_at_once_is_one_row_and_one_is_current(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> None:
    start = threading.Barrier(6)
    about = {"subject": "anna", "attribute": "city"}
    texts = [{"text": f"Anna lives in {city}.", **about} for city in CITIES]
    texts += [{"text": f"A text about {city}."} for city in CITIES]

    def write(worker: int) -> list[Kept]:
        order = texts if worker % 2 else texts[::-1]
        prepared = memory.prepare_many(order)
        start.wait()
        with shared_sessions.begin() as session:
            memory.act_as(session, user=user)
            return memory.remember(session, prepared)

    with ThreadPoolExecutor(6) as pool:
        kept = list(pool.map(write, range(6)))
    assert len({one.id for each in kept for one in each if one.duplicate_of is None}) >= 10
    with shared_sessions() as session:
        memory.act_as(session, user=user)
        statement = (
            "select count(*) filter (where subject is null), count(*) filter (where "
            "subject is not null and valid_until is null) from agent.memories"
        )
        assert tuple(session.execute(sa.text(statement)).one()) == (5, 1)
        spaces = session.execute(sa.text("select count(*) from agent.spaces")).scalar_one()
        assert spaces == 1


def test_a_transaction_acts_for_nobody_before_act_as_and_after_a_commit(
    shared_sessions: sessionmaker[Session], memory: SyncMemory, user: str
) -> None:
    prepared = memory.prepare("Anna lives in Oslo.")
    with shared_sessions() as session:
        with pytest.raises(AgentError, match="M700"):
            memory.remember(session, prepared)
        act_as(session, user=user)
        memory.remember(session, prepared)
        session.commit()
        with pytest.raises(AgentError, match="M700"):
            memory.remember(session, prepared)
        assert session.execute(sa.text("select count(*) from agent.memories")).scalar_one() == 0


def test_200_corrected_values_are_never_among_the_first_five(
    session: Session, memory: SyncMemory
) -> None:
    def texts(version: int) -> list[dict[str, object]]:
        return [
            {
                "text": f"The pressure limit of pump {n} is {100 + version + n} bar.",
                "subject": f"pump {n}",
                "attribute": "pressure limit",
            }
            for n in range(200)
        ]

    old = memory.remember(session, memory.prepare_many(texts(0)))
    new = memory.remember(session, memory.prepare_many(texts(1_000)))
    assert [one.superseded for one in new] == [[one.id] for one in old]
    corrected = {one.id for one in old}
    for n in range(0, 200, 8):
        asked = memory.query(f"pressure limit of pump {n}: {100 + n} bar?")
        hits = memory.recall(session, asked, k=5)
        assert len(hits) == 5
        assert corrected.isdisjoint(hit.id for hit in hits)


def test_texts_with_quotes_and_backslashes_come_back_as_they_were(
    session: Session, memory: SyncMemory
) -> None:
    texts = ['"quoted", {braces}', 'back\\slash \\" \n line', "NULL", "ünïcode \U0001f600"]
    given = [{"text": text, "attributes": {"a": text}, "subject": text} for text in texts]
    kept = memory.remember(session, memory.prepare_many(given))
    rows = session.execute(sa.text("select id, content, attributes->>'a' from agent.memories"))
    assert {str(row[0]): tuple(row[1:]) for row in rows} == {
        one.id: (text, text) for one, text in zip(kept, texts, strict=True)
    }


def test_remember_leaves_the_settings_of_the_transaction_as_they_were(
    session: Session, memory: SyncMemory
) -> None:
    session.execute(sa.text("set local jit = on"))
    memory.remember(session, memory.prepare_many(["One.", "Two."]))
    assert session.execute(sa.text("select current_setting('jit')")).scalar_one() == "on"
