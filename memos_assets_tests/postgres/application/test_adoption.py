"""A database that memOS made is adopted: nothing is lost on the way there, nor on the way back."""

import json

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.postgres import migrations
from memos_assets_tests.postgres.application.memos import (
    BEFORE,
    ENTITIES,
    NAMES,
    OTHERS,
    PERSON,
    TAGS,
    name,
)
from memos_assets_tests.postgres.application.reading import content, execute, rows, schema

JSON = {table.name: frozenset(table.json_columns) for table in MEMOS.application_tables}


def test_every_row_and_every_value_is_there_after_the_adoption(engine: sa.Engine) -> None:
    before, shape = content(engine), schema(engine)
    assert migrations.upgrade(engine)[0] == "0004"
    after = content(engine)
    for table, kept in before.items():
        assert after[table].keys() == kept.keys()
        for key, values in kept.items():
            for column, value in values.items():
                if column not in JSON.get(table, ()):
                    assert after[table][key][column] == value, (table, key, column)
    # Of the schema, nothing but the type of JSON columns is another.
    columns = [
        (*row[:2], "jsonb" if row[1] in JSON.get(str(row[0]), ()) else row[2], *row[3:])
        for row in shape[0]
    ]
    assert schema(engine) == [columns, *shape[1:]]


@pytest.mark.parametrize(("column", "expected"), [("tags", TAGS), ("entities", ENTITIES)])
def test_json_means_what_it_meant_and_what_jsonb_refuses_is_replaced(
    engine: sa.Engine, column: str, expected: dict[str, str]
) -> None:
    before = content(engine, ["memories"])["memories"]
    migrations.upgrade(engine)
    after = content(engine, ["memories"])["memories"]
    seen = set()
    for key, values in before.items():
        original, converted = values[column], after[key][column]
        if original is None or converted is None:
            assert original is converted is None
            continue
        seen.add(original)
        assert json.loads(converted) == json.loads(expected[original])
    assert seen == set(expected)


def test_every_byte_is_back_after_the_downgrade(engine: sa.Engine) -> None:
    before, shape = content(engine), schema(engine)
    migrations.upgrade(engine)
    migrations.downgrade(engine, BEFORE)
    assert content(engine) == before
    assert schema(engine) == shape
    assert rows(engine, "select to_regclass('memos_ops.json_originals')::text") == [(None,)]


def test_going_up_again_finds_what_it_found_the_first_time(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    first = content(engine)
    book = "select table_name, digest_when_adopted, originals from memos_ops.application_tables"
    booked = sorted(rows(engine, book))
    assert migrations.upgrade(engine) == []
    migrations.downgrade(engine, BEFORE)
    assert migrations.upgrade(engine)[0] == "0004"
    assert content(engine) == first
    assert sorted(rows(engine, book)) == booked


def test_the_spelling_of_json_is_kept_where_jsonb_spells_otherwise(engine: sa.Engine) -> None:
    before = content(engine, ["memories"])["memories"]
    migrations.upgrade(engine)
    kept = rows(
        engine,
        "select key, original from memos_ops.json_originals where column_name = 'tags' "
        "and table_name = 'memories'",
    )
    respelt = set(TAGS) - {'["recovery", "sleep"]', "null"}
    expected = {(key, row["tags"]) for key, row in before.items() if row["tags"] in respelt}
    assert set(kept) == expected
    assert len(kept) == len(expected) > len(respelt)


def test_what_memos_wrote_since_stays_through_the_downgrade(engine: sa.Engine) -> None:
    before = content(engine, ["memories"])["memories"]
    migrations.upgrade(engine)
    changed, gone, same = (str(name("memory", number)) for number in (1, 9, 17))
    assert before[changed]["tags"] == before[gone]["tags"] == before[same]["tags"] == '["a","b"]'
    added = "00000000-0000-0000-0000-000000000001"
    execute(
        engine,
        f"update public.memories set tags = '[\"c\"]' where id = '{changed}'",
        f"delete from public.memories where id = '{gone}'",
        f"update public.memories set access_count = 99 where id = '{same}'",
        "insert into public.memories (id, user_id, content_hash, encrypted_content, memory_type, "
        f"privacy_level, created_at, consent_given, tags) values ('{added}', 'u', 'h', '', "
        "'recovery', 'balanced', now(), true, '{\"z\":1}')",
    )
    migrations.downgrade(engine, BEFORE)
    after = content(engine, ["memories"])["memories"]
    assert after[changed]["tags"] == '["c"]'
    assert gone not in after
    assert after[same]["tags"] == '["a","b"]'
    assert after[added]["tags"] == '{"z": 1}'


def test_the_bookkeeping_tables_say_what_was_found(engine: sa.Engine) -> None:
    found = {table: len(kept) for table, kept in content(engine, NAMES).items()}
    migrations.upgrade(engine)
    books = rows(
        engine,
        "select table_name, adopted, converted, rows_when_adopted, "
        "digest_when_adopted = digest_after, "
        "(select count(*) from memos_ops.json_originals o where o.table_name = t.table_name) "
        "= originals from memos_ops.application_tables t",
    )
    assert {str(book[0]): book[1:] for book in books} == {
        table.name: (True, list(table.json_columns), found[table.name], True, True)
        for table in MEMOS.application_tables
    }


def test_functions_of_memos_work_as_before(engine: sa.Engine) -> None:
    question = (
        f"select count(*) from search_therapeutic_memories('{PERSON}', "
        "array_fill(1::real, array[1024])::vector)"
    )
    before = rows(engine, question)
    migrations.upgrade(engine)
    assert rows(engine, question) == before == [(10,)]


def test_what_memos_does_not_own_is_not_in_the_bookkeeping_tables(engine: sa.Engine) -> None:
    migrations.upgrade(engine)
    booked = {row[0] for row in rows(engine, "select table_name from memos_ops.application_tables")}
    assert booked == set(NAMES)
    assert not booked & set(OTHERS)
    assert rows(engine, "select version_num from public.alembic_version") == [("0001_initial",)]


def test_missing_tables_are_created_beside_those_that_are_adopted(engine: sa.Engine) -> None:
    execute(engine, "drop table public.user_tasks, public.user_achievements")
    migrations.upgrade(engine)
    created = rows(engine, "select table_name from memos_ops.application_tables where not adopted")
    assert sorted(created) == [("user_achievements",), ("user_tasks",)]
    assert rows(
        engine,
        "select confrelid::regclass::text from pg_constraint "
        "where conrelid = 'public.user_tasks'::regclass and contype = 'f' order by 1",
    ) == [("quest_tasks",), ("user_quests",)]


def test_defaults_comments_grants_and_columns_of_others_stay(engine: sa.Engine) -> None:
    execute(
        engine,
        "alter table public.memories alter tags set default '[1,2]', add theirs json default '{}'",
        "comment on column public.memories.tags is 'theirs'",
        "grant select (tags) on public.memories to pg_monitor",
        "create index theirs on public.memories ((entities->>'persons'))",
    )
    migrations.upgrade(engine)
    assert rows(
        engine,
        "select attname, format_type(atttypid, null), pg_get_expr(adbin, adrelid), "
        "col_description(attrelid, attnum), attacl is not null "
        "from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum "
        "where attrelid = 'memories'::regclass and attname in ('tags', 'theirs') order by 1",
    ) == [
        ("tags", "jsonb", "'[1,2]'::json", "theirs", True),
        ("theirs", "json", "'{}'::json", None, False),
    ]
    assert rows(
        engine, "select indisvalid from pg_index where indexrelid = 'theirs'::regclass"
    ) == [(True,)]
    migrations.downgrade(engine, BEFORE)
    assert rows(
        engine, "select pg_typeof(theirs)::text, pg_typeof(tags)::text from memories limit 1"
    ) == [("json", "json")]
