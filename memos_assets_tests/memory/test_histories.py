"""Beliefs change, are asked for as of any moment, and can be undone."""

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.errors import AgentError
from memos_assets.memory import Kept, SyncMemory
from memos_assets.memory.moments import time_condition
from memos_assets.postgres.advisory_locks import MEMORIES
from memos_assets.settings import Settings
from memos_assets_tests.memory.conftest import EMBEDDER

memory = SyncMemory(Settings(), embedder=EMBEDDER)


def city(session: Session, name: str, **about: object) -> Kept:
    given = {"subject": "Anna", "attribute": "city", **about}
    return memory.remember(session, memory.prepare(f"Anna lives in {name}.", **given))  # type: ignore[arg-type]


def seen(session: Session, **times: str | None) -> list[str]:
    """Return the cities that a recall with these times may return."""
    given = {
        name: sql.SQL("cast(:{} as timestamptz)").format(sql.SQL(name))
        for name, value in times.items()
        if value is not None
    }
    condition = time_condition(sql.SQL("m"), **given).as_string()
    statement = f"select content from agent.memories m where {condition} order by number"
    rows = session.execute(sa.text(statement), times).scalars()
    return [text.removeprefix("Anna lives in ").removesuffix(".") for text in rows]


def test_a_later_value_ends_the_former_one_and_both_are_found_at_their_times(
    session: Session,
) -> None:
    riga = city(session, "Riga", recorded_at="2026-01-15")
    oslo = city(session, "Oslo", valid_from="2026-05-01", recorded_at="2026-05-03")
    assert oslo.superseded == [riga.id]
    assert seen(session) == ["Oslo"]
    assert seen(session, as_of="2026-03-01") == ["Riga"]
    assert seen(session, known_at="2026-04-01") == ["Riga"]
    assert seen(session, known_at="2026-01-01") == []
    assert seen(session, as_of="2026-05-02", known_at="2026-05-02") == ["Riga"]
    assert seen(session, as_of="2026-05-02", known_at="2026-05-03") == ["Oslo"]


def test_a_value_that_is_remembered_late_is_placed_before_the_current_one(
    session: Session,
) -> None:
    riga = city(session, "Riga")
    oslo = city(session, "Oslo", valid_from="2020-01-01")
    tartu = city(session, "Tartu", valid_from="2010-01-01")
    assert (tartu.superseded, tartu.superseded_by) == ([riga.id], oslo.id)
    assert seen(session) == ["Oslo"]
    assert seen(session, as_of="2015-01-01") == ["Tartu"]
    assert seen(session, as_of="2009-01-01") == ["Riga"]


def test_values_without_dates_follow_each_other_in_the_order_of_recording(
    session: Session,
) -> None:
    about = {"subject": "anna", "attribute": "city"}
    cities = ["Riga", "Oslo", "Riga", "Oslo"]
    texts = [{"text": f"Anna lives in {name}.", **about} for name in cities]
    kept = memory.remember(session, memory.prepare_many(texts))
    assert [one.duplicate_of for one in kept] == [None] * 4
    assert seen(session) == ["Oslo"]
    late = city(session, "Bergen", recorded_at="2020-01-01")
    assert late.superseded_by == kept[0].id
    assert seen(session) == ["Oslo"]
    assert seen(session, known_at="2020-06-01") == ["Bergen"]


def test_values_that_come_back_in_one_batch_are_rows_of_their_own(session: Session) -> None:
    city(session, "Riga")
    oslo = city(session, "Oslo")
    about = {"subject": "anna", "attribute": "city"}
    texts = [{"text": f"Anna lives in {name}.", **about} for name in ("Riga", "Oslo", "Oslo")]
    kept = memory.remember(session, memory.prepare_many(texts))
    assert kept[0].superseded == [oslo.id]
    assert kept[2].duplicate_of == kept[1].id != oslo.id
    assert seen(session) == ["Oslo"]


def test_of_two_values_with_one_start_the_later_record_is_right(session: Session) -> None:
    wrong = city(session, "Riga", valid_from="2026-05-01")
    right = city(session, "Oslo", valid_from="2026-05-01")
    assert right.superseded == [wrong.id]
    assert memory.history(session, wrong.id).memory.state == "wrong"
    assert seen(session, as_of="2026-06-01") == ["Oslo"]


def test_what_a_value_ended_goes_on_when_that_is_retracted(session: Session) -> None:
    riga = city(session, "Riga")
    oslo = city(session, "Oslo", valid_from="2026-05-01")
    changed = memory.retract(session, oslo.id, "misread")
    assert (changed.state, changed.others) == ("wrong", [riga.id])
    assert seen(session) == ["Riga"]
    back = memory.restore(session, oslo.id)
    assert (back.state, seen(session)) == ("current", ["Oslo"])
    told = memory.history(session, oslo.id)
    assert [r.action for r in told.revisions] == ["remember", "retract", "restore"]
    assert told.revisions[1].reason == "misread"
    assert [value.id for value in told.values] == [riga.id, oslo.id]
    assert [value.state for value in told.values] == ["superseded", "current"]


def test_a_value_that_is_restored_takes_the_place_of_the_one_that_ended_it(
    session: Session,
) -> None:
    riga = city(session, "Riga")
    oslo = city(session, "Oslo", valid_from="2026-05-01")
    changed = memory.restore(session, riga.id)
    assert (changed.state, changed.others) == ("current", [oslo.id, riga.id])
    assert memory.history(session, oslo.id).memory.state == "wrong"


def test_texts_without_an_attribute_are_ended_on_request_alone(session: Session) -> None:
    one = memory.remember(session, memory.prepare("The meeting is on Monday.", subject="meeting"))
    two = memory.remember(session, memory.prepare("The meeting is on Tuesday.", subject="meeting"))
    assert two.superseded == []
    new = memory.correct(session, one.id, memory.prepare("The meeting is on Friday."))
    assert new.superseded == [one.id]
    assert memory.history(session, one.id).memory.state == "superseded"
    assert memory.restore(session, one.id).state == "current"
    assert memory.history(session, new.id).memory.state == "current"


def test_a_correction_of_a_value_replaces_it_for_its_own_time(session: Session) -> None:
    riga = city(session, "Riga", valid_from="2020-01-01")
    oslo = city(session, "Oslo", valid_from="2026-05-01")
    tallinn = memory.correct(session, riga.id, memory.prepare("Anna lives in Tallinn."))
    assert tallinn.superseded == [riga.id]
    assert seen(session) == ["Oslo"]
    assert seen(session, as_of="2023-01-01") == ["Tallinn"]
    bergen = memory.correct(session, oslo.id, memory.prepare("Anna lives in Bergen."))
    assert bergen.superseded == [oslo.id]
    assert seen(session) == ["Bergen"]
    assert memory.history(session, oslo.id).memory.state == "superseded"


def test_a_cycle_of_supersession_is_refused(session: Session) -> None:
    texts = memory.prepare_many(["one", "two", "three"])
    one, two, three = memory.remember(session, texts)
    memory.supersede(session, one.id, two.id)
    memory.supersede(session, two.id, three.id)
    for ended, by in ((three.id, one.id), (two.id, one.id), (one.id, one.id)):
        with pytest.raises(AgentError, match="M733"):
            memory.supersede(session, ended, by)
    with pytest.raises(AgentError, match="M733"):
        memory.correct(session, three.id, memory.prepare("THREE"))


def test_corrections_of_one_memory_queue_and_do_not_deadlock(
    shared_sessions: sessionmaker[Session], user: str
) -> None:
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        riga, oslo = city(session, "Riga"), city(session, "Oslo", subject="Annie")
        space = memory.list_spaces(session)[0].id
    done: list[list[str]] = []

    def correct() -> None:
        with shared_sessions.begin() as other:
            memory.act_as(other, user=user)
            done.append(memory.correct(other, riga.id, memory.prepare("Tartu.")).superseded)

    thread = threading.Thread(target=correct)
    with shared_sessions.begin() as session:
        memory.act_as(session, user=user)
        # As `supersede` does of any memory of the space.
        MEMORIES.wait(session.connection(), f"supersede {space}")
        thread.start()
        waiting = sa.text(
            "select count(*) from pg_locks where locktype = 'advisory' and not granted "
            "and database = (select oid from pg_database where datname = current_database())"
        )
        while not session.execute(waiting).scalar_one():
            time.sleep(0.01)
        memory.retract(session, riga.id)
        memory.retract(session, oslo.id)
    thread.join()
    assert done == [[riga.id]]


def test_dates_that_are_set_move_the_values_beside_them(session: Session) -> None:
    riga = city(session, "Riga", valid_from="2020-01-01")
    oslo = city(session, "Oslo", valid_from="2024-01-01")
    memory.set_validity(session, oslo.id, valid_from="2025-01-01")
    assert seen(session, as_of="2024-06-01") == ["Riga"]
    memory.set_validity(session, riga.id, valid_until="2024-03-01")
    assert seen(session, as_of="2024-06-01") == []
    with pytest.raises(AgentError, match="M731"):
        memory.set_validity(session, riga.id, valid_until="2019-01-01")
    (value, _) = memory.history(session, riga.id).values
    assert value.valid_until == datetime(2024, 3, 1, tzinfo=UTC)


def test_a_text_that_is_remembered_again_cannot_be_restored_beside_it(session: Session) -> None:
    one = memory.remember(session, memory.prepare("The door is open."))
    memory.retract(session, one.id)
    again = memory.remember(session, memory.prepare("the door is OPEN."))
    assert again.duplicate_of is None
    with pytest.raises(AgentError, match="M734"):
        memory.restore(session, one.id)
    with pytest.raises(AgentError, match="M734"):
        memory.restore(session, again.id)


def test_of_values_with_one_text_and_one_end_there_is_one(session: Session) -> None:
    city(session, "Oslo", valid_from="2022-01-01")
    riga = city(session, "Riga", valid_from="2020-01-01", valid_until="2021-01-01")
    before = city(session, "Riga", valid_from="2018-01-01", valid_until="2019-01-01")
    with pytest.raises(AgentError, match=f"M734 .*{before.id}.*remembered as {riga.id}"):
        memory.set_validity(session, before.id, valid_from=None, valid_until="2021-01-01")
    memory.set_validity(session, before.id, valid_from=None, valid_until="2019-01-01")


def test_what_is_said_of_a_memory_from_a_clock_that_is_ahead_counts(session: Session) -> None:
    ahead = datetime.now(UTC) + timedelta(seconds=50)
    riga = city(session, "Riga", recorded_at=ahead)
    tea = memory.remember(session, memory.prepare("Anna likes tea.", recorded_at=ahead))
    for one in (riga, tea):
        assert memory.history(session, one.id).memory.recorded_at < datetime.now(UTC)
        assert memory.retract(session, one.id).state == "wrong"
        assert memory.history(session, one.id).memory.state == "wrong"
