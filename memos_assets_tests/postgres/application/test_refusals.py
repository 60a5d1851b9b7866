"""What cannot be adopted is said in one line, and everything stays as it was."""

import logging

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.errors import TargetError
from memos_assets.postgres import migrations
from memos_assets.postgres.application import adoption
from memos_assets.postgres.engine import create_engine
from memos_assets.settings import Settings
from memos_assets_tests.postgres.application.memos import BEFORE, NAMES
from memos_assets_tests.postgres.application.reading import content, execute, rows, schema


def refused(engine: sa.Engine, match: str) -> None:
    """The upgrade is refused with this message, and nothing has changed."""
    shape = schema(engine)
    with pytest.raises(TargetError, match=match) as raised:
        migrations.upgrade(engine)
    assert "\n" not in str(raised.value)
    assert migrations.current(engine) == BEFORE
    assert schema(engine) == shape
    assert rows(engine, "select proname from pg_proc where proname = 'as_jsonb'") == []


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("alter table memories drop column tags", "column tags is missing"),
        ("alter table memories alter tags type text", "column tags is text, not jsonb"),
        (
            "alter table memories alter embedding_vector type vector(768) using null",
            r"column embedding_vector is vector\(768\), not vector\(1024\)",
        ),
        ("alter table memories drop constraint memories_pkey", r"its primary key is not \(id\)"),
        (
            "alter table memories drop column id cascade; alter table memories add id bigserial",
            r"its primary key is not \(id\), column id is bigint, not uuid",
        ),
        ("drop table memories; create view memories as select 1 as id", "it is not a table"),
        (
            "drop table memories; create table memories (id uuid primary key)",
            r"column user_id is missing, .* and 22 more\.",
        ),
    ],
)
def test_another_table_of_the_same_name_is_refused(
    engine: sa.Engine, statement: str, difference: str
) -> None:
    execute(engine, statement)
    refused(engine, rf"^M350 public\.memories: .*is another one: {difference}")


def test_types_that_hold_the_same_are_adopted(engine: sa.Engine) -> None:
    execute(
        engine,
        "alter table memories alter user_id type text, alter access_count type bigint, "
        "alter crisis_level type numeric, alter updated_at type timestamptz, "
        "alter entities type jsonb using case when id is null then entities::jsonb end",
    )
    before = content(engine, ["memories"])
    migrations.upgrade(engine)
    after = content(engine, ["memories"])["memories"]
    assert {key: row["crisis_level"] for key, row in after.items()} == {
        key: row["crisis_level"] for key, row in before["memories"].items()
    }
    migrations.downgrade(engine, BEFORE)
    assert content(engine, ["memories"]) == before
    types = "select pg_typeof(tags)::text, pg_typeof(entities)::text from memories limit 1"
    assert rows(engine, types) == [("json", "jsonb")]


#: What hangs on a column -> the statement that makes it, how it is named, how it is taken away.
HANGING = {
    "view": (
        "create view theirs as select tags from memories",
        "view public.theirs depends on it",
        "drop view theirs",
    ),
    "function": (
        "create function theirs() returns json begin atomic select tags from memories; end",
        r"function public.theirs\(\) depends on it",
        "drop function theirs",
    ),
    "trigger": (
        (
            "create trigger theirs before update of tags on memories "
            "for each row execute function audit_memory_changes()"
        ),
        "trigger theirs on table public.memories depends on it",
        "drop trigger theirs on memories",
    ),
    "policy": (
        "create policy theirs on memories using (tags is null)",
        "policy theirs on table public.memories depends on it",
        "drop policy theirs on memories",
    ),
    "generated column": (
        "alter table memories add theirs text generated always as (tags::text) stored",
        r'Column "tags" is used by generated column "theirs"',
        "alter table memories drop theirs",
    ),
    "row type": (
        "create table theirs (one memories)",
        'cannot alter table "memories" because column "theirs.one" uses its row type',
        "drop table theirs",
    ),
    "two views": (
        (
            "create view a as select tags from memories; "
            "create view b as select entities from memories"
        ),
        "view public.a, view public.b depend on it",
        "drop view a, b",
    ),
}


@pytest.mark.parametrize(("statement", "named", "cure"), HANGING.values(), ids=HANGING)
def test_what_hangs_on_a_json_column_is_named_and_once_it_is_gone_the_table_is_adopted(
    engine: sa.Engine, statement: str, named: str, cure: str
) -> None:
    execute(engine, statement)
    refused(engine, rf"^M351 public\.memories: .*cannot be changed: {named}\. Fix: drop what it")
    execute(engine, cure)
    assert migrations.upgrade(engine)[0] == "0004"


def test_what_hangs_on_a_json_column_holds_the_downgrade_too(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    execute(engine, "create view theirs as select tags from memories")
    before = content(engine)
    with pytest.raises(
        TargetError, match=r"^M351 public\.memories: .*view public.theirs depends on it"
    ):
        migrations.downgrade(engine, BEFORE)
    assert migrations.current(engine) == migrations.head()
    assert content(engine) == before


def test_an_index_of_others_that_json_cannot_have_holds_the_downgrade(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    execute(engine, "create index theirs on quests using gin (quest_metadata)")
    with pytest.raises(TargetError, match=r"^M351 public\.quests: .*json.*operator class"):
        migrations.downgrade(engine, BEFORE)


def test_tables_in_use_are_waited_for_as_long_as_lock_timeout_says(
    engine: sa.Engine, database_url: sa.URL, settings: Settings
) -> None:
    hasty = create_engine(
        database_url,
        settings.model_copy(update={"lock_timeout_ms": 50}),
        application_name="tests",
        pooled=False,
    )
    with engine.begin() as reader:
        reader.exec_driver_sql("select 1 from public.user_tasks")
        refused(hasty, r"^M352 schema public: .*in use .*lock timeout.*MEMOS_LOCK_TIMEOUT_MS")
    assert migrations.upgrade(hasty)[0] == "0004"


def bookkeeping(engine: sa.Engine) -> list[str]:
    return [f"memos_ops.{name}" for name in sa.inspect(engine).get_table_names("memos_ops")]


def functions(engine: sa.Engine) -> list[str]:
    with engine.connect() as conn:
        return list(
            conn.exec_driver_sql(
                "select oid::regprocedure::text from pg_proc "
                "where pronamespace = 'memos'::regnamespace"
            ).scalars()
        )


def test_only_the_owner_of_the_tables_may_adopt_them(
    engine: sa.Engine, database_url: sa.URL, settings: Settings
) -> None:
    execute(engine, "create role memos_owner login", "create role memos_guest login")
    try:
        for role in ("memos_owner", "memos_guest"):
            execute(
                engine,
                f"grant create on database {database_url.database} to {role}",
                f"grant usage, create on schema public, memos, memos_ops to {role}",
                f"grant all on all tables in schema public, memos, memos_ops to {role}",
            )
        own = [f"alter table public.{name} owner to memos_owner" for name in NAMES]
        own += [f"alter table {spec.qualified} owner to memos_owner" for spec in MEMOS.tables]
        own += [f"alter table {table} owner to memos_owner" for table in bookkeeping(engine)]
        own += [f"alter function {one} owner to memos_owner" for one in functions(engine)]
        execute(engine, *own)
        guest, owner = (
            create_engine(
                database_url.set(username=role), settings, application_name="tests", pooled=False
            )
            for role in ("memos_guest", "memos_owner")
        )
        refused(guest, r"^M353 schema public: .*must be owner of table memories")
        execute(
            engine,
            "alter table memories enable row level security",
            "alter table memories force row level security",
        )
        refused(owner, r"^M353 schema public: .*row-level security policy for table")
        execute(engine, "alter table memories no force row level security")
        before = content(engine)
        assert migrations.upgrade(owner)[0] == "0004"
        migrations.downgrade(owner, BEFORE)
        assert content(engine) == before
    finally:
        execute(
            engine,
            "reassign owned by memos_owner to postgres",
            "drop owned by memos_owner, memos_guest",
            "drop role memos_owner, memos_guest",
        )


def test_a_row_that_changes_on_the_way_stops_the_adoption(engine: sa.Engine) -> None:
    execute(
        engine,
        "create function meddle() returns event_trigger language plpgsql as $$ begin "
        "if tg_tag = 'ALTER TABLE' then update public.quests set points = points + 1; end if; "
        "end $$",
        "create event trigger meddling on ddl_command_end execute function meddle()",
    )
    before = content(engine)
    refused(engine, r"^M354 public\.quests: its rows are not what they were")
    assert content(engine) == before


def test_what_we_created_goes_with_the_downgrade_unless_it_has_rows(
    empty: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    execute(
        empty,
        "insert into user_quests (id, user_id, state, started_at) "
        "values (gen_random_uuid(), 'u', 'active', now())",
        "create view theirs as select id from achievements",
    )
    caplog.set_level(logging.WARNING)
    migrations.downgrade(empty, BEFORE)
    left = sa.inspect(empty).get_table_names("public")
    assert sorted(left) == ["achievements", "quests", "user_quests"]
    said = [r.getMessage() for r in caplog.records if r.name == adoption.__name__]
    assert said == [
        "public.achievements stays: view public.theirs depends on table public.achievements",
        "public.user_quests has rows and stays; it was created by an upgrade.",
        (
            "public.quests stays: constraint user_quests_quest_id_fkey on table "
            "public.user_quests depends on table public.quests"
        ),
    ]
    assert migrations.upgrade(empty)[0] == "0004"
    adopted = "select table_name, converted from memos_ops.application_tables where adopted"
    assert sorted(rows(empty, adopted)) == [
        ("achievements", []),
        ("quests", []),
        ("user_quests", []),
    ]


def test_an_empty_database_gets_the_tables_that_an_adopted_one_has(
    empty: sa.Engine, engine: sa.Engine
) -> None:
    migrations.upgrade(engine)
    execute(engine, "drop table alembic_version, mem0, mem0migrations")
    columns, indexes, constraints, _ = schema(engine)
    assert schema(empty) == [columns, indexes, constraints, []]
