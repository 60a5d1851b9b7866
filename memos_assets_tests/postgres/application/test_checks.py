"""V25 on an adopted database: memOS's daily work leaves it green, a loss turns it red."""

import re

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.finding import Finding
from memos_assets.postgres import migrations
from memos_assets.postgres.application.checks import tables_are_whole
from memos_assets.postgres.application.state import (
    embedding_models,
    memories_facts,
    quests_facts,
    table_states,
    users_spelt_twice,
)
from memos_assets_tests.postgres.application.memos import PERSON, name
from memos_assets_tests.postgres.application.reading import execute


@pytest.fixture
def adopted(engine: sa.Engine) -> sa.Engine:
    migrations.upgrade(engine)
    return engine


def whole(engine: sa.Engine) -> Finding:
    with engine.connect() as conn:
        return tables_are_whole(conn, MEMOS.application_tables)


@pytest.mark.parametrize("database", ["adopted", "empty"])
def test_adopted_and_created_tables_are_whole(
    database: str, request: pytest.FixtureRequest
) -> None:
    finding = whole(request.getfixturevalue(database))
    assert finding.passed
    assert finding.observed == "10 tables as the adoption left them"


def test_what_memos_does_every_day_leaves_them_whole(adopted: sa.Engine) -> None:
    changed, gone = name("memory", 1), name("memory", 9)
    before = whole(adopted).evidence["tables"][0]
    execute(
        adopted,
        f"update memories set tags = '[\"other\"]', is_deleted = true where id = '{changed}'",
        f"delete from memories where id = '{gone}'",
        "delete from user_quest_stats",
        "alter table quests add season text",
        "create index theirs on quests (title)",
        "insert into quests (id, title, category) values (gen_random_uuid(), 'one more', 'daily')",
    )
    finding = whole(adopted)
    assert finding.passed, finding.observed
    after = finding.evidence["tables"][0]
    assert after["originals"] == before["originals"] == before["of values unchanged since"]
    assert after["of rows deleted since"] == 2
    assert after["of values unchanged since"] == before["of values unchanged since"] - 3


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (
            "delete from memos_ops.json_originals where table_name = 'quests'",
            "quests: 3 original spellings are lost",
        ),
        (
            "alter table memories alter tags type json using tags::json",
            "memories: column tags is json, not jsonb",
        ),
        ("drop index idx_memories_crisis_level", "index idx_memories_crisis_level is gone"),
        (
            "alter table memories drop constraint memories_pkey",
            r"its primary key is not \(id\); memories: index memories_pkey is gone",
        ),
        ("alter table quests drop column prerequisites", "quests: column prerequisites is missing"),
        ("drop table user_tasks", "user_tasks is gone"),
        (
            "delete from memos_ops.application_tables where table_name = 'memories'",
            "memories is not in the bookkeeping tables",
        ),
        (
            "update memos_ops.application_tables set digest_after = '' where table_name = 'quests'",
            "quests: its rows after the adoption were not those before it",
        ),
    ],
)
def test_v25_application_tables_are_whole_fails_when_something_of_the_adoption_is_lost(
    adopted: sa.Engine, statement: str, fault: str
) -> None:
    execute(adopted, statement)
    finding = whole(adopted)
    assert not finding.passed
    assert re.search(fault, finding.observed)


def test_the_known_defects_of_memos_are_counted(adopted: sa.Engine) -> None:
    with adopted.connect() as conn:
        assert memories_facts(conn) == {
            "embedded": 23,
            "without_embedding": 1,
            "zero_embeddings": 1,
            "deleted": 1,
            "expired": 1,
            "without_consent": 1,
        }
        assert embedding_models(conn) == [("mxbai-embed-large", 1_024, 23)]
        assert quests_facts(conn) == {
            "completed_quests": 1,
            "completed_without_milestone": 1,
            "tasks_without_quest": 1,
        }
        assert users_spelt_twice(conn) == [(PERSON[:8], PERSON)]
        assert [
            (s.name, s.rows, s.adopted) for s in table_states(conn, MEMOS.application["memories"])
        ] == [
            ("memories", 24, True),
            ("user_memory_settings", 0, True),
        ]


def test_a_completed_quest_with_its_milestone_is_not_a_defect(adopted: sa.Engine) -> None:
    execute(
        adopted,
        "insert into memories (id, user_id, content_hash, encrypted_content, memory_type, "
        "privacy_level, created_at, consent_given) select gen_random_uuid(), user_id, "
        "encode(sha256('Completed quest: Quest 0'), 'hex'), '', 'milestone', 'balanced', now(), "
        "true from user_quests where state = 'completed'",
    )
    with adopted.connect() as conn:
        assert quests_facts(conn)["completed_without_milestone"] == 0


def test_an_empty_database_has_no_defects(empty: sa.Engine) -> None:
    with empty.connect() as conn:
        for facts in (memories_facts, quests_facts):
            assert set(facts(conn).values()) == {0}
        assert embedding_models(conn) == []
        assert users_spelt_twice(conn) == []
        assert not any(state.adopted for state in table_states(conn, MEMOS.application["quests"]))
