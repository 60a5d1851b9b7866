"""Hostile schemas: forged entries, code in them, tables that are none."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.consolidate.sources.pins import take_pin
from memos_assets.errors import SourceError
from memos_assets.proof.rows.sources import source_accounted_for
from memos_assets.sqlite import file as sqlite_file
from memos_assets_tests.consolidate import builders as b

LAYOUT, _ = b.LAYOUTS["semantic_memory"]


def forge(path: Path, *statements: str, **values: object) -> Path:
    """Change a file with everything allowed, functions and collations of a program of its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.create_function("evil", -1, lambda *_: "x", deterministic=True)
        connection.create_collation("evil", lambda one, other: (one > other) - (one < other))
        connection.execute("pragma writable_schema = on")
        for statement in statements:
            connection.execute(statement, values if ":" in statement else {})
    return path


def memories(folder: Path, count: int = 1) -> Path:
    rows = [b.memory(number) for number in range(1, count + 1)]
    return b.write_kind(folder, "semantic_memory", memories=rows)


def refused(path: Path) -> SourceError:
    file = b.only(path)
    assert file.treatment == "unusable"
    assert isinstance(file.error, SourceError)
    assert "\n" not in str(file.error)
    return file.error


def traced(path: Path, read: Callable[[sqlite3.Connection], object]) -> list[str]:
    """Return every statement that SQLite runs while a file is read, also those of its modules."""
    statements: list[str] = []
    with sqlite_file.opened(path) as connection:
        connection.set_trace_callback(statements.append)
        read(connection)
    return statements


NAMES = [
    "select",
    "SOURCE",
    "ctid",
    "memos",
    "semantic_memories",
    '"; drop table x; --',
    "a'b`c]d\\",
    "%s %(x)s {x} :x ?",
    "[/red] [link=x]",
    "\x1b[2Jclear",
    "two\nlines",
    "l" * 5_000,
    "数据",
    " ",
    "",
]


def test_tables_and_columns_of_any_name_are_counted_and_named(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    quoted = [sqlite_file.quoted(name) for name in NAMES]
    b.change(
        path,
        *(f"create table {name} (a, {other} text)" for name, other in zip(quoted, quoted[::-1])),  # noqa: B905
        *(f"insert into {name} (a) values (1)" for name in quoted),
        *(f"alter table memories add column {name} text" for name in quoted),
    )
    pin = b.consolidate(engine, path)
    assert {name: pin.rows[name] for name in NAMES} == dict.fromkeys(NAMES, 1)
    assert b.red(engine, pin) == {}
    finding = source_accounted_for([pin])
    assert not finding.passed
    left = "\n".join(finding.evidence["left_behind"])
    assert all(f"table {name} with 1 rows" in left for name in NAMES)
    assert all(name in left.partition("memories columns")[2] for name in NAMES)


@pytest.mark.parametrize(
    "entry",
    [
        (
            "name = :raw, tbl_name = :raw, sql = cast(x'637265617465207461626c652022' || :raw ||"
            " x'22286129' as text)"
        ),
        (
            "sql = cast(cast('CREATE TABLE other(\"' as blob) || :raw || cast('\" text)' as blob)"
            " as text)"
        ),
        "sql = 'CREATE TABLE other('",
    ],
)
def test_a_name_that_is_not_utf8_is_refused(entry: str, tmp_path: Path) -> None:
    path = memories(tmp_path)
    b.change(path, "create table other(a)")
    entry = entry.replace(":raw", "cast(x'61ff62' as text)")
    error = refused(forge(path, f"update sqlite_master set {entry} where name = 'other'"))
    assert error.code in ("M104", "M105")
    assert error.where != ""


def test_a_message_of_sqlite_that_quotes_bytes_which_are_not_utf8_is_one_error(
    tmp_path: Path,
) -> None:
    path = memories(tmp_path)
    b.change(path, "create table other(a)")
    forge(
        path,
        "update sqlite_master set name = cast(x'61ff62' as text), sql = 'CREATE TABLE ('"
        " where name = 'other'",
    )
    assert refused(path).code == "M104"


@pytest.mark.parametrize(
    "forgery",
    [
        "update sqlite_master set rootpage = 1 where name = 'memories'",
        "update sqlite_master set rootpage = 9999 where name = 'memories'",
        (
            "update sqlite_master set sql = 'CREATE VIEW memories AS SELECT * FROM memories'"
            " where name = 'memories'"
        ),
        (
            "update sqlite_master set sql = 'CREATE VIRTUAL TABLE memories USING fts5(id)'"
            " where name = 'memories'"
        ),
        "insert into sqlite_master select * from sqlite_master where name = 'memories'",
        "delete from sqlite_master where name = 'memories'",
        "update sqlite_master set name = 'memories2' where name = 'memories'",
        "update sqlite_master set sql = null where name = 'memories'",
        "update sqlite_master set sql = zeroblob(100) where name = 'memories'",
    ],
)
def test_a_forged_entry_of_the_schema_is_one_error(forgery: str, tmp_path: Path) -> None:
    error = refused(forge(memories(tmp_path), forgery))
    assert error.code in ("M104", "M105")


def test_a_table_with_the_forged_root_page_of_another_is_refused(
    engine: sa.Engine, tmp_path: Path
) -> None:
    """Its rows are then those of the other table; its own are in its index alone."""
    path = memories(tmp_path / "data")
    forge(
        path,
        "update sqlite_master set rootpage = (select rootpage from sqlite_master"
        " where name = 'memories') where name = 'connections'",
    )
    with pytest.raises(SourceError, match=r"^M104 .*connections: "):
        b.consolidate(engine, path)


def test_a_virtual_table_is_never_opened_and_the_rows_it_keeps_are_named(tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    b.change(
        path,
        "create virtual table notes using fts5(text)",
        "insert into notes values ('a note')",
        "create virtual table places using rtree(id, low, high)",
        "create virtual table pages using dbstat",
    )
    statements = traced(path, sqlite_file.layout)
    assert statements
    assert not [s for s in statements if "notes" in s and "table_xinfo" not in s]
    file = b.only(path)
    assert file.kind is not None
    pin = take_pin(file.source, file.kind, path, tmp_path / "pins")
    assert (
        "semantic_memory: table notes_content with 1 rows"
        in (source_accounted_for([pin]).evidence["left_behind"])
    )
    assert "pages" not in pin.rows


def test_a_shadow_table_that_was_written_directly_does_no_harm(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    b.change(path, "create virtual table notes using fts5(text)")
    forge(
        path,
        "update notes_config set v = 'x'",
        "update notes_data set block = randomblob(50)",
        "insert into notes_content values (7, zeroblob(9))",
    )
    pin = b.consolidate(engine, path)
    assert b.red(engine, pin) == {}


def test_no_function_of_a_schema_is_called(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    forge(
        path,
        "create index plain on memories(evil(content))",
        "create unique index some on memories(id) where evil(content) = 'x'",
        "create view all_memories as select evil(*) from memories",
        "create trigger bomb after insert on memories begin select evil(1); end",
        "alter table memories add column twice as (evil(content)) virtual",
        "update sqlite_master set sql = replace(sql, 'content TEXT',"
        " 'content TEXT DEFAULT (evil()) CHECK (evil(content))') where name = 'memories'",
    )
    pin = b.consolidate(engine, path)
    assert b.rows(engine, "select id from memos.semantic_memories") == [("memory-1",)]
    assert b.red(engine, pin) == {}


def test_a_column_that_is_computed_on_reading_is_not_computed(tmp_path: Path) -> None:
    bomb = "hex(zeroblob(400000000))"
    path = memories(tmp_path)
    b.change(path, f"alter table memories add column bomb as ({bomb}) virtual")
    with sqlite_file.opened(path) as connection:
        assert "bomb" not in sqlite_file.layout(connection)["memories"]


def test_a_known_column_that_is_computed_is_a_missing_one(tmp_path: Path) -> None:
    computed = "content TEXT AS (upper(id)) VIRTUAL"
    path = b.write_file(
        tmp_path / "semantic_memory.db",
        [statement.replace("content TEXT NOT NULL", computed) for statement in LAYOUT],
    )
    assert "lacks the column content" in refused(path).what


def test_a_computed_column_under_the_name_of_the_rowid_is_refused(tmp_path: Path) -> None:
    path = memories(tmp_path)
    b.change(path, "alter table memories add column RowId as (7) virtual")
    assert "`RowId` is computed" in refused(path).what


def test_a_collation_of_another_program_is_refused(tmp_path: Path) -> None:
    path = forge(memories(tmp_path / "data"), "create index named on memories(id collate evil)")
    file = b.only(path)
    assert file.kind is not None
    with pytest.raises(SourceError, match=r"^M105 .*code of another program.*collation"):
        take_pin(file.source, file.kind, path, tmp_path / "pins")


def test_a_collation_of_another_program_at_another_table_is_let_be(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    forge(path, "create table other (a text primary key collate evil)")
    pin = b.consolidate(engine, path)
    assert pin.rows["other"] == 0
    assert b.red(engine, pin) == {}


def test_a_link_leads_to_the_same_bytes_whatever_the_file_says_of_letters(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_file(
        tmp_path / "data" / "semantic_memory.db",
        [s.replace("source_id TEXT", "source_id TEXT COLLATE NOCASE") for s in LAYOUT],
        memories=[b.memory(1), b.memory(2)],
        connections=[b.connection(1, 1, 2), b.connection(2, 1, 2, source_id="MEMORY-1")],
    )
    assert "NOCASE" in path.read_bytes().decode("latin-1")
    pin = b.consolidate(engine, path)
    assert b.rejects(engine, "semantic_links") == [(2, "dangling_end")]
    assert b.red(engine, pin) == {}


def test_strict_tables_and_stored_computed_columns_are_read(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    b.change(
        path,
        "create table copied (id text primary key, twice text as (id || id) stored) strict",
        "insert into copied values ('a')",
    )
    pin = b.consolidate(engine, path)
    assert pin.rows["copied"] == 1
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "attach ':memory:' as other",
        "create temp table t (a)",
        "insert into memories (id) values ('x')",
        "pragma writable_schema = on",
        "pragma query_only = off",
        "pragma trusted_schema = on",
        "create temp view v as select 1",
        "select load_extension('x')",
    ],
)
def test_a_connection_can_do_nothing_but_read(statement: str, tmp_path: Path) -> None:
    path = memories(tmp_path)
    with (
        pytest.raises(SourceError, match=r"^M101 .*(authorized|readonly|too many attached)"),
        sqlite_file.opened(path) as connection,
    ):
        connection.execute(statement)
