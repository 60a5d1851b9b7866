"""A plan writes nothing, single rows come back with what hangs on them, a fork stands by itself."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.errors import AgentError, SnapshotError
from memos_assets.memory.prepared import Asked
from memos_assets.memory.restored import prove_restored
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.postgres.row_security import wall_faults
from memos_assets.settings import Settings
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.restore.fork import drop_fork, fork
from memos_assets.snapshots.restore.plan import plan
from memos_assets.snapshots.restore.rows import plan_rows, restore_rows
from memos_assets_tests.snapshots.restore.conftest import Agents


def execute(agents: Agents, *statements: str) -> None:
    with agents.engine.begin() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)


def test_plan_counts_what_would_change(agents: Agents) -> None:
    first = agents.snapshot()
    assert not plan(agents.engine, agents.store, first).changes
    agents.remember("Ann has a car")
    execute(
        agents,
        "update agent.memories set content = 'other' where number = 1",
        "delete from agent.memories where number = 2",
    )
    second = agents.snapshot()

    planned = plan(agents.engine, agents.store, first)

    assert planned.changes
    assert planned.tables["agent.memories"] == Counts(added=1, removed=1, changed=1)
    assert planned.tables["agent.spaces"] == Counts()
    assert planned.refusals == ()
    assert agents.snapshot().id == second.id
    execute(
        agents,
        "create publication hers for table agent.memories",
        "insert into agent.erasures (user_digest, erased_by, counts) "
        "values (encode(sha256('bob'), 'hex'), 'admin', '{}')",
        "update agent.models set name = 'better'",
    )
    refusals = plan(agents.engine, agents.store, replace(first, database="1/2")).refusals
    assert [one.code for one in refusals] == ["M815", "M817", "M827", "M819"]


def test_a_memory_comes_back_with_what_hangs_on_it(agents: Agents) -> None:
    first = agents.snapshot()
    words = agents.count("agent.postings")
    found = agents.recall("a boat in Kiel")
    added = agents.remember("Ann has a car")
    execute(
        agents,
        "insert into agent.word_counts (space_id, memories, words) "
        "select space_id, -1, -words from agent.memories where number in (2, 3)",
        "delete from agent.memories where number in (2, 3)",
        "update agent.memories set content = 'other' where number = 1",
    )

    restored = restore_rows(
        agents.engine, agents.store, first, "agent.memories", ["1", "2", "3", "5"]
    )

    assert restored.tables["agent.memories"] == Counts(added=2, removed=1, changed=1)
    assert restored.tables["agent.embeddings_1"] == Counts(added=2, removed=1)
    assert agents.snapshot().id == first.id
    assert agents.count("agent.postings") == words
    assert agents.recall("a boat in Kiel") == found
    assert added[0] not in found
    with agents.engine.connect() as conn:
        counted = conn.exec_driver_sql(
            "select (select sum(memories) from agent.word_counts), "
            "(select sum(words) from agent.word_counts) = (select sum(words) from agent.memories)"
        ).one()
    assert tuple(counted) == (4, True)


def test_a_plan_of_rows_counts_them_alone_and_a_damaged_file_restores_none(agents: Agents) -> None:
    first = agents.snapshot()
    agents.remember("Ann has a car")
    execute(agents, "delete from agent.memories where number in (2, 3)")
    second = agents.snapshot()
    arguments = (agents.engine, agents.store, first, "agent.memories", ["2", "-2"])
    planned = plan_rows(*arguments)
    assert planned["agent.memories"] == Counts(added=1)
    assert planned["agent.embeddings_1"] == Counts(added=1)
    assert agents.snapshot().id == second.id
    entry = first.entry("agent.memories")
    assert entry is not None
    assert agents.store.local is not None
    file = agents.store.local / entry.file
    whole = file.read_bytes()
    file.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    with pytest.raises(SnapshotError, match="M807"):
        restore_rows(*arguments)
    file.write_bytes(bytes(len(whole)))
    with pytest.raises(SnapshotError, match="M807"):
        told(agents, first.id, "a boat in Kiel")
    assert agents.snapshot().id == second.id


def test_numbers_that_come_from_another_database_are_not_given_again(agents: Agents) -> None:
    first = agents.snapshot()
    execute(
        agents,
        "delete from agent.memories where number = 4",
        "alter sequence agent.memories_number_seq restart",
    )
    other = replace(first, database="1/2")
    restore_rows(agents.engine, agents.store, other, "agent.memories", ["4"], from_other=True)
    agents.remember("Ann has a car")
    with agents.engine.connect() as conn:
        assert conn.exec_driver_sql("select max(number) from agent.memories").scalar_one() == 5


def test_rows_that_refer_to_what_is_gone_are_left_out(agents: Agents) -> None:
    execute(
        agents,
        "insert into agent.links (a, b, type, direction, weight, automatic, a_space_id, b_space_id)"
        " select 1, 2, 'related', 0, 1, false, space_id, space_id from agent.memories"
        " where number = 1",
    )
    first = agents.snapshot()
    execute(agents, "delete from agent.memories where number in (1, 2)")
    with agents.engine.connect() as conn:
        given = conn.exec_driver_sql("select id from agent.memories where number = 3").scalar_one()
    restored = restore_rows(agents.engine, agents.store, first, "agent.memories", ["1"])
    assert restored.left_out == {"agent.links": 1}
    assert agents.count("agent.memories") == 3
    again = restore_rows(agents.engine, agents.store, first, "agent.memories", [str(given)])
    assert not again.tables["agent.memories"].all


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("agent.links", "1"),
        ("agent.none", "1"),
        ("agent.memories", "first"),
        ("agent.memories", "not-an-id"),
        ("agent.memories", "00000000-0000-0000-0000-000000000000"),
        ("public.memories", "none"),
    ],
)
def test_rows_without_a_key_are_refused(agents: Agents, table: str, key: str) -> None:
    first = agents.snapshot()
    with pytest.raises(SnapshotError, match="M825"):
        restore_rows(agents.engine, agents.store, first, table, [key])


def test_fork_is_a_memory_of_its_own_with_walls(agents: Agents) -> None:
    first = agents.snapshot()
    live = agents.recall("a boat in Kiel")
    agents.remember("Ann sold the boat in Kiel")
    made = fork(agents.engine, agents.store, first, "tuesday")
    assert made.rows == first.rows
    with agents.engine.connect() as conn:
        assert wall_faults(conn) == {}

    memory = agents.memory
    with open_sync_memory_sessions(agents.settings, schema="tuesday") as sessions:
        with sessions.begin() as session:
            memory.act_as(session, user="ann")
            hits = memory.recall(session, memory.query("a boat in Kiel"))
            assert [hit.content for hit in hits] == live
            memory.remember(session, memory.prepare("Ann has a plane"))
            seen = session.execute(sa.text("select count(*) from tuesday.memories")).scalar_one()
            assert seen == 4
        with sessions.begin() as session:
            memory.act_as(session, user="bob")
            hits = memory.recall(session, memory.query("boat soup plane"))
            assert [hit.content for hit in hits] == ["Bob cooks soup"]
        with sessions.begin() as session:
            memory.act_as(session, user="ann")
            memory.create_space(session, "crew")
            memory.act_as(session, user="ann", spaces=["crew"])
            memory.grant(session, "crew", "bob")
    assert agents.count("tuesday.memories") == 5
    assert "Ann has a plane" not in agents.recall("plane")
    with pytest.raises(SnapshotError, match="M824"):
        fork(agents.engine, agents.store, first, "tuesday")

    # Walls of a fork are looked after as those of the live schema are.
    execute(agents, "alter table tuesday.memories no force row level security")
    with pytest.raises(AgentError, match=r"M711.*tuesday\.memories"):
        open_sync_memory_sessions(agents.settings, schema="tuesday").__enter__()
    drop_fork(agents.engine, "tuesday")
    assert "tuesday" not in agents.schemas()
    with pytest.raises(SnapshotError, match="M823"):
        open_sync_memory_sessions(agents.settings, schema="tuesday").__enter__()


@pytest.mark.parametrize("name", ["agent", "memos_x", "pg_x", "Upper", 'a"b', "x" * 41, "public"])
def test_names_that_a_fork_cannot_have(agents: Agents, name: str) -> None:
    first = agents.snapshot()
    with pytest.raises(SnapshotError, match="M824"):
        fork(agents.engine, agents.store, first, name)


def told(agents: Agents, snapshot: str, text: str, user: str = "ann", **wanted: Any) -> list[str]:
    with agents.acting(user) as session:
        asked = agents.memory.query(text)
        hits = agents.memory.recall(session, asked, snapshot=snapshot, **wanted)
        return [hit.content for hit in hits]


def test_recall_from_a_snapshot_says_what_was_known_then(agents: Agents) -> None:
    with agents.acting() as session:
        agents.memory.create_space(session, "crew")
        agents.memory.act_as(session, user="ann", spaces=["crew"])
        agents.memory.grant(session, "crew", "bob")
        agents.memory.remember(session, agents.memory.prepare("The crew has a boat"), space="crew")
    first = agents.snapshot().id
    live = agents.recall("a boat in Kiel")
    assert told(agents, first, "a boat in Kiel") == live
    ids = agents.remember("Ann sold the boat in Kiel")
    with agents.engine.connect() as conn:
        number = conn.exec_driver_sql("select id from agent.memories where number = 1")
        boat = number.scalar_one()
    with agents.acting() as session:
        agents.memory.retract(session, boat)
    assert agents.recall("a boat in Kiel") != live
    second = agents.snapshot().id

    assert told(agents, first, "a boat in Kiel") == live
    assert "Ann sold the boat in Kiel" in told(agents, second, "boat")
    assert "Ann has a red boat" not in told(agents, second, "boat")
    # Rows of others never, and what was shared only while it is shared still.
    assert told(agents, first, "boat soup", "bob") == ["Bob cooks soup"]
    with agents.sessions.begin() as session:
        agents.memory.act_as(session, user="bob", spaces=["crew"])
        asked = agents.memory.query("boat")
        hits = agents.memory.recall(session, asked, snapshot=first, spaces=["crew"])
        assert [(hit.content, hit.space) for hit in hits] == [("The crew has a boat", "crew")]
        # Nothing of it is left in the session.
        assert len(agents.memory.recall(session, asked)) == 2
        assert session.execute(sa.text("select to_regclass('pg_temp.memories')")).scalar() is None
    with agents.acting() as session:
        agents.memory.act_as(session, user="ann", spaces=["crew"])
        agents.memory.revoke(session, "crew", "bob")
    assert told(agents, first, "boat soup", "bob") == ["Bob cooks soup"]
    # By words alone, where the question has no embedding.
    with agents.acting() as session:
        asked = Asked("soup boat", None, "")
        hits = agents.memory.recall(session, asked, snapshot=first)
        assert {hit.content for hit in hits} == {"Ann has a red boat", "The boat is in Kiel"}
    with pytest.raises(SnapshotError, match="M802"):
        told(agents, "abcdef", "boat", "carl")
    assert told(agents, first, "boat", "carl") == []
    assert ids


def test_prove_restored_asks_the_schema_that_it_is_given(agents: Agents) -> None:
    first = agents.snapshot()
    fork(agents.engine, agents.store, first, "tuesday")
    with agents.engine.connect() as conn:
        assert prove_restored(conn, "tuesday", Settings()) == []
        assert prove_restored(conn, "agent", Settings()) == []
        conn.exec_driver_sql("update tuesday.embeddings_1 set closed_at = now() - interval '1 day'")
        conn.exec_driver_sql("delete from tuesday.postings")
        assert prove_restored(conn, "tuesday", Settings()) == [
            "recall finds 0 of 4 memories by their own text"
        ]
        assert prove_restored(conn, "agent", Settings()) == []
