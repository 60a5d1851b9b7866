"""A database without memOS's tables gets none unasked; later they are adopted or created."""

import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.catalog.memos_tables import MEMORIES
from memos_assets.check import CheckContext
from memos_assets.checklist import CHECKLIST
from memos_assets.errors import TargetError, UsageError
from memos_assets.indexes.build_many import build_indexes
from memos_assets.indexes.definitions import search_indexes
from memos_assets.maintenance.pending import pending_work, scope_of
from memos_assets.postgres import migrations
from memos_assets.postgres.application.presence import NOT_HERE, application_is_absent
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.first_write import refuse_unwritable
from memos_assets.search.across_tables import Question, tables_for_text
from memos_assets.search.api import search
from memos_assets.search.functions import install
from memos_assets.settings import Settings
from memos_assets_tests.postgres.application.memos import write_memos
from memos_assets_tests.postgres.application.reading import execute, rows, schema

TABLE = MEMORIES.as_table
TAKEN = "select count(*), count(*) filter (where adopted) from memos_ops.application_tables"


@pytest.fixture
def without(empty: sa.Engine) -> sa.Engine:
    """Open a database at the newest revision in which nobody asked for memOS's tables."""
    migrations.downgrade(empty, "base")
    assert migrations.upgrade(empty)[-1] == migrations.head()
    return empty


def names(engine: sa.Engine) -> list[str]:
    return sa.inspect(engine).get_table_names("public")


def test_nothing_is_made_in_public_and_everything_copes(
    without: sa.Engine, settings: Settings
) -> None:
    assert names(without) == []
    context = CheckContext(without, MEMOS, settings)
    about = {MEMOS.names.index(index.name) for index in search_indexes(TABLE)}
    about |= {MEMOS.names.table(asset) for asset in MEMOS.application}
    seen = set()
    for check in CHECKLIST:
        for subject in check.subjects(MEMOS):
            # What is about memory of agents is shown on an asset of memOS's tables, too.
            if subject.asset in about and check.group != "memory":
                finding = check.judge(context, subject.value)
                assert (finding.passed, finding.observed) == (True, NOT_HERE), check.name
                seen.add(check.number)
    assert seen == {6, 7, 11, 20, 21, 23, 24, 25}
    built = build_indexes(without, search_indexes(TABLE), budget_mb=64)
    assert [(one.built, one.absent) for one in built] == [(False, True)] * 3
    work = pending_work(without, scope_of(MEMOS))
    assert [one for one in work if one.schema == "public"] == []
    with without.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
        question = Question("words", "vector", 10, None, None)
        assert TABLE not in tables_for_text(conn, question, MEMOS.searchable, None)
        with pytest.raises(UsageError, match=rf"^M570 table memories: {NOT_HERE}"):
            tables_for_text(conn, question, MEMOS.searchable, TABLE)
        with pytest.raises(UsageError, match=rf"^M570 table memories: {NOT_HERE}"):
            search(conn, "memories", [1.0] * 1_024)


def test_they_are_created_on_request_as_the_revisions_described_them(
    without: sa.Engine, shared_engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert migrations.upgrade(without, create_application=True) == []
    assert "Adopted 0 and created 10 of memOS's tables in schema public" in caplog.text
    assert rows(without, TAKEN) == [(10, 0)]
    assert schema(without) == schema(shared_engine)
    execute(without, "insert into user_quest_stats (user_id) values ('u')")
    migrations.upgrade(without)
    migrations.upgrade(without, create_application=True)
    assert rows(without, TAKEN) == [(10, 0)]


def test_what_memos_makes_later_is_adopted_without_a_revision(without: sa.Engine) -> None:
    with psycopg.connect(libpq_url(without.url)) as conn:
        write_memos(conn)
    with without.connect() as conn:
        assert not application_is_absent(conn)
    execute(without, "alter table quests rename to theirs")
    execute(without, "create table quests (id uuid primary key)")
    with pytest.raises(TargetError, match=r"^M350 public\.quests: "):
        refuse_unwritable(without)
    execute(without, "drop table quests", "alter table theirs rename to quests")
    refuse_unwritable(without)
    assert migrations.upgrade(without) == []
    assert rows(without, TAKEN) == [(10, 10)]
    assert rows(without, "select count(*) > 0 from memos_ops.json_originals") == [(True,)]
    assert rows(without, "select pg_typeof(tags)::text from memories limit 1") == [("jsonb",)]
    # A table that was adopted and is gone is lost, not absent.
    execute(without, "drop table user_tasks, user_quests, quest_tasks, quests cascade")
    with without.connect() as conn:
        assert not application_is_absent(conn)
