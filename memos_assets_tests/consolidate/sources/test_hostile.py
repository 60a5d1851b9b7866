"""Hostile files: names that break quoting, impostors, schemas with code in them."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.loading.dry_run import forecast_file
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.consolidate.sources.pins import take_pin
from memos_assets.errors import SourceError, UsageError
from memos_assets_tests.consolidate import builders as b

SEMANTIC, _ = b.LAYOUTS["semantic_memory"]
QUOTES = """a"b'c;drop table memories;--"""


def swapped(statements: Sequence[str], old: str, new: str) -> list[str]:
    changed = [statement.replace(old, new) for statement in statements]
    assert changed != list(statements)
    return changed


def test_names_that_break_quoting_are_only_names(engine: sa.Engine, tmp_path: Path) -> None:
    quoted = '"' + QUOTES.replace('"', '""') + '"'
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1)])
    b.change(
        path,
        f'create table {quoted} ({quoted} text, "[x]" text)',
        f"insert into {quoted} values ('1', '2')",
        f"alter table memories add column {quoted} text",
    )
    pin = b.consolidate(engine, path)
    assert pin.rows[QUOTES] == 1
    assert b.red(engine, pin) == {}
    assert b.rows(engine, "select id from memos.semantic_memories") == [("memory-1",)]


def test_a_view_under_the_name_of_a_table_is_not_read(tmp_path: Path) -> None:
    path = b.write_file(
        tmp_path / "semantic_memory.db",
        [
            s
            for s in swapped(SEMANTIC, "CREATE TABLE memories", "CREATE TABLE hidden")
            if "ON memories" not in s
        ]
        + ["create view memories as select * from hidden"],
    )
    file = b.only(path)
    assert file.treatment == "unusable"
    assert "table `memories` is missing" in file.why


def test_a_virtual_table_under_the_name_of_a_table_is_not_read(tmp_path: Path) -> None:
    columns = "id, memory_type, content, attributes, embedding, created_at, access_count"
    path = b.write_file(
        tmp_path / "semantic_memory.db",
        [
            *(s for s in SEMANTIC if "connections" in s),
            f"create virtual table memories using fts5({columns}, last_accessed)",
        ],
    )
    file = b.only(path)
    assert file.treatment == "unusable"
    assert "table `memories` is missing" in file.why


@pytest.mark.parametrize("value", [10**12, "no number"])
def test_a_column_called_rowid_is_not_the_rowid(
    value: object, engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(5)])
    b.change(path, "alter table memories add column rowid")
    b.change(path, "update memories set rowid = ?", parameters=[value])
    pin = b.consolidate(engine, path)
    assert pin.chunk_rows == 2_048
    assert b.rows(engine, "select source_rowid, chunk from memos.semantic_memories") == [(5, 0)]
    assert b.red(engine, pin) == {}


def test_a_table_whose_columns_take_every_name_of_the_rowid_is_refused(tmp_path: Path) -> None:
    path = b.write_kind(tmp_path, "semantic_memory")
    b.change(path, *(f"alter table memories add column {n}" for n in ("ROWID", "_rowid_", "oid")))
    file = b.only(path)
    assert file.error is not None
    assert file.error.code == "M105"
    assert "columns take all the names of the rowid" in file.why


def test_triggers_and_generated_columns_do_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1)])
    b.change(
        path,
        "create trigger bomb after insert on memories begin delete from memories; end",
        "alter table memories add column twice text as (id || id) virtual",
    )
    before = path.read_bytes()
    pin = b.consolidate(engine, path)
    assert b.red(engine, pin) == {}
    assert path.read_bytes() == before


UNKEYED = swapped(SEMANTIC, "id TEXT PRIMARY KEY", "id TEXT")


@pytest.mark.parametrize(
    "index",
    [
        "create index plain on memories(id)",
        "create unique index partial on memories(id) where memory_type = 'entity'",
        "create unique index wider on memories(id, memory_type)",
        "create unique index expression on memories(lower(id))",
        "create unique index elsewhere on memories(content)",
    ],
)
def test_a_key_that_nothing_keeps_unique_is_refused(index: str, tmp_path: Path) -> None:
    file = b.only(b.write_file(tmp_path / "foreign.db", [*UNKEYED, index]))
    assert file.error is not None
    assert file.error.code == "M105"
    assert "nothing in table `memories` keeps its key (id) unique" in file.why


def test_a_unique_index_keeps_a_key_as_well_as_a_primary_key(tmp_path: Path) -> None:
    unique = "create unique index a_key on memories(id)"
    assert b.only(b.write_file(tmp_path / "a.db", [*UNKEYED, unique])).treatment == "consolidate"


def test_a_file_swapped_for_another_kind_after_it_was_found_is_refused(tmp_path: Path) -> None:
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1)])
    file = b.only(path)
    assert file.kind is not None
    b.write_kind(tmp_path / "other", "meta_buffer", templates=[b.template(1)]).replace(path)
    with pytest.raises(SourceError, match=r"^M105 .*semantic_memory, but table `memories` is miss"):
        take_pin(file.source, file.kind, path, tmp_path / "pins")
    assert list((tmp_path / "pins").glob("*.db*")) == []


def test_a_registered_file_swapped_for_another_kind_empties_nothing(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1)])
    pin = b.consolidate(engine, path)
    b.write_kind(tmp_path / "other", "meta_buffer", templates=[b.template(1)]).replace(path)
    with pytest.raises(UsageError, match=r"^M525 "):
        b.observe(engine, path)
    assert b.stale_chunks(engine, pin, "semantic_memories") == []
    assert b.rows(engine, "select count(*) from memos.semantic_memories") == [(1,)]


def test_a_name_that_belongs_to_another_file_is_refused_with_a_fix_that_works(
    engine: sa.Engine, tmp_path: Path
) -> None:
    mine = b.write_kind(tmp_path / "mine", "semantic_memory", memories=[b.memory(1)])
    theirs = b.write_kind(tmp_path / "theirs", "semantic_memory", memories=[b.memory(2)])
    b.consolidate(engine, mine)
    with pytest.raises(UsageError, match=r"^M525 semantic_memory: ") as refused:
        b.observe(engine, theirs)
    argument = refused.value.fix.partition("--data ")[2]
    register_files(engine, find_files(MEMOS, [Root.parse(argument)]))
    assert b.rows(engine, "select source, path from memos_ops.sources order by 1") == [
        ("semantic_memory", str(mine)),
        ("semantic_memory_2", str(theirs)),
    ]


def test_a_file_that_moved_keeps_its_name(engine: sa.Engine, tmp_path: Path) -> None:
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=[b.memory(1)])
    b.consolidate(engine, path)
    moved = path.replace(tmp_path / "data" / "moved.db")
    register_files(engine, find_files(MEMOS, [Root.parse(f"semantic_memory={moved}")]))
    assert b.rows(engine, "select path from memos_ops.sources") == [(str(moved),)]


def with_a_damaged_index(folder: Path, rowid: int) -> Path:
    """Two rows called memory-1, which the primary key's index knows nothing of."""
    path = b.write_kind(folder, "semantic_memory", memories=[b.memory(1), b.memory(rowid)])
    entry = "name = 'sqlite_autoindex_memories_1'"
    plain, keyed = "'id TEXT,'", "'id TEXT PRIMARY KEY,'"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        columns = connection.execute(f"select * from sqlite_master where {entry}").fetchone()
        connection.execute("pragma writable_schema = on")
        connection.execute(f"delete from sqlite_master where {entry}")
        connection.execute(f"update sqlite_master set sql = replace(sql, {keyed}, {plain})")
    b.change(path, f"update memories set id = 'memory-1' where rowid = {rowid}")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma writable_schema = on")
        connection.execute("insert into sqlite_master values (?, ?, ?, ?, ?)", columns)
        connection.execute(
            f"update sqlite_master set sql = replace(sql, {plain}, {keyed}) where type = 'table'"
        )
    return path


@pytest.mark.parametrize("rowid", [2, 5_000])
def test_a_key_that_a_damaged_index_let_in_twice_is_refused_before_a_chunk_is_loaded(
    rowid: int, engine: sa.Engine, tmp_path: Path
) -> None:
    path = with_a_damaged_index(tmp_path / "data", rowid)
    with pytest.raises(SourceError, match=r"^M104 .*memories: .*index.*Fix: .*reindex.* twice"):
        b.consolidate(engine, path)
    with closing(sqlite3.connect(path)) as connection:
        layout = connection.execute("select sql from sqlite_master where name = 'memories'")
        b.change(
            path,
            layout.fetchone()[0].replace("memories", "whole", 1),
            f"insert into whole select * from memories not indexed where rowid <> {rowid}",
            "drop table memories",
            "alter table whole rename to memories",
        )
    pin = b.consolidate(engine, path)
    assert b.rows(engine, "select source_rowid from memos.semantic_memories") == [(1,)]
    assert b.red(engine, pin) == {}


def test_a_page_that_hides_a_row_from_sqlite_is_refused(tmp_path: Path) -> None:
    """A page counts its rows; with one less SQLite reads the others and says nothing."""
    rows = [b.memory(number, embedding=None) for number in (1, 2, 3)]
    path = b.write_kind(tmp_path / "data", "semantic_memory", memories=rows)
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute(
            "select rootpage from sqlite_master where name = 'memories'"
        ).fetchone()[0]
    content = bytearray(path.read_bytes())
    place = (page - 1) * 4_096 + 3
    assert content[place : place + 2] == b"\0\3"
    content[place + 1] = 2
    path.write_bytes(content)
    with closing(sqlite3.connect(path)) as connection:
        assert len(connection.execute("select * from memories").fetchall()) == 2
    file = b.only(path)
    assert file.kind is not None
    with pytest.raises(SourceError, match=r"^M104 .*malformed: memories: "):
        take_pin(file.source, file.kind, path, tmp_path / "pins")
    with pytest.raises(SourceError, match=r"^M104 "):
        forecast_file(file)
