"""Upserts: rows of one key replace each other, and only in the columns that are named."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from memos_assets.postgres.upsert import upsert
from memos_assets.settings import PROJECT_ROOT

THINGS = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("owner", sa.Text(), primary_key=True),
    sa.Column("name", sa.Text(), primary_key=True),
    sa.Column("value", sa.Integer()),
    sa.Column("note", sa.Text(), server_default="none"),
    schema="public",
)


@pytest.fixture
def conn(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as opened:
        THINGS.create(opened)
        first = [
            {"owner": "a", "name": "one", "value": 1, "note": "first"},
            {"owner": "a", "name": "two", "value": 2, "note": "first"},
        ]
        opened.execute(upsert(THINGS), first)
        yield opened


def rows(conn: sa.Connection) -> list[tuple[object, ...]]:
    ordered = sa.select(THINGS).order_by(THINGS.c.owner, THINGS.c.name)
    return [tuple(row) for row in conn.execute(ordered)]


def test_a_row_of_a_new_key_is_inserted_and_one_of_a_known_key_is_replaced(
    conn: sa.Connection,
) -> None:
    again = [
        {"owner": "a", "name": "two", "value": 20, "note": "second"},
        {"owner": "b", "name": "two", "value": 3, "note": "second"},
    ]
    conn.execute(upsert(THINGS), again)
    assert rows(conn) == [
        ("a", "one", 1, "first"),
        ("a", "two", 20, "second"),
        ("b", "two", 3, "second"),
    ]


def test_columns_that_are_not_named_stay(conn: sa.Connection) -> None:
    conn.execute(
        upsert(THINGS, "value"), {"owner": "a", "name": "one", "value": 10, "note": "second"}
    )
    assert rows(conn)[0] == ("a", "one", 10, "first")


def test_a_replaced_column_without_a_value_gets_its_default(conn: sa.Connection) -> None:
    conn.execute(upsert(THINGS, "note"), {"owner": "a", "name": "one"})
    assert rows(conn)[0] == ("a", "one", 1, "none")


def test_a_row_that_is_there_stays_where_the_condition_does_not_hold(conn: sa.Connection) -> None:
    statement = upsert(THINGS, "value", where=THINGS.c.value == 1)
    both = [{"owner": "a", "name": name, "value": 10} for name in ("one", "two")]
    conn.execute(statement, both)
    assert [row[2] for row in rows(conn)] == [10, 2]


def test_no_other_module_spells_an_upsert() -> None:
    modules = (PROJECT_ROOT / "memos_assets").rglob("*.py")
    spelling = [path.name for path in modules if "do_update" in path.read_text("utf-8")]
    assert spelling == ["upsert.py"]
