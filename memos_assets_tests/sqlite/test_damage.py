"""Indexes that lost entries, or that nothing but another program can compare."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.loading.dry_run import forecast_file
from memos_assets.consolidate.sources import layout
from memos_assets.consolidate.sources.census import take_census
from memos_assets.errors import SourceError
from memos_assets.proof.search.source_rows import source_rows
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.damage import damage
from memos_assets_tests.consolidate import builders as b


@contextmanager
def schema_of(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma writable_schema = on")
        yield connection


def lose_entries(path: Path, table: str, *keys: str) -> None:
    """Delete rows and put them back while the primary key's index is not there to see it."""
    index, keyed, plain = f"sqlite_autoindex_{table}_1", "id TEXT PRIMARY KEY", "id TEXT"
    with schema_of(path) as connection:
        entry = connection.execute(
            "select * from sqlite_master where name = ?", (index,)
        ).fetchone()
        rows = [
            connection.execute(f"select rowid, * from {table} where id = ?", (key,)).fetchone()
            for key in keys
        ]
        connection.executemany(f"delete from {table} where id = ?", [(key,) for key in keys])
        change = "update sqlite_master set sql = replace(sql, ?, ?) where name = ?"
        connection.execute(change, (keyed, plain, table))
        connection.execute("delete from sqlite_master where name = ?", (index,))
    with schema_of(path) as connection:
        names = ", ".join(row[1] for row in connection.execute(f"pragma table_info({table})"))
        for row in rows:
            marks = ", ".join("?" * len(row))
            connection.execute(f"insert into {table} (rowid, {names}) values ({marks})", row)
        connection.execute(change, (plain, keyed, table))
        connection.execute("insert into sqlite_master values (?, ?, ?, ?, ?)", entry)


def corpus(folder: Path) -> Path:
    return b.write_kind(
        folder,
        "corpus",
        entities=[b.entity(number) for number in range(1, 9)],
        relations=[b.relation(1, 1, 2), b.relation(2, 3, 4), b.relation(3, 5, "nobody")],
    )


def test_an_index_that_lost_entries_is_refused_with_the_command_that_mends_it(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = corpus(tmp_path / "data")
    lose_entries(path, "entities", "entity-2", "entity-3")
    with pytest.raises(
        SourceError,
        match=r"^M104 .*entities: row 2 missing from index.*Fix: .*sqlite3 FILE reindex",
    ):
        b.consolidate(engine, path)
    file = b.only(path)
    with pytest.raises(SourceError, match=r"^M104 .*reindex"):
        forecast_file(file)
    b.change(path, "reindex")
    pin = b.consolidate(engine, path)
    assert b.rejects(engine, "corpus_relations") == [(3, "dangling_end")]
    assert b.red(engine, pin) == {}


def test_no_answer_of_loader_or_proof_comes_from_an_index_of_the_file(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file, had nothing seen the damage; and no statement's plan names an index."""
    path = corpus(tmp_path / "data")
    b.change(
        path,
        "create index covering on entities(canonical_name, id, embedding)",
        "create index typed on relations(relation_type, source_entity_id, target_entity_id, id)",
    )
    lose_entries(path, "entities", "entity-2", "entity-3")
    monkeypatch.setattr(layout, "damage_of", lambda *_: None)
    statements: set[str] = set()
    connect = sqlite_file._connect

    def traced(place: Path, mode: str) -> sqlite3.Connection:
        connection = connect(place, mode)
        connection.set_trace_callback(statements.add)
        return connection

    monkeypatch.setattr(sqlite_file, "_connect", traced)
    pin = b.consolidate(engine, path)
    assert b.rejects(engine, "corpus_relations") == [(3, "dangling_end")]
    assert b.red(engine, pin) == {}
    forecast_file(b.only(path))
    take_census(path, ZoneInfo("UTC"), datetime.now(UTC))
    spec = MEMOS.table("corpus_entities")
    with engine.connect() as conn, source_rows(conn, spec, spec.vectors[0], [pin]) as readings:
        for reading in readings:
            assert len(list(reading.dimensions())) == 8
            assert len([row for batch in reading.batches() for row in batch]) == 8
            reading.at(2)
    with closing(sqlite3.connect(path)) as connection:
        selects = [
            text for text in statements if text.lstrip().lower().startswith(("select", "with"))
        ]
        assert len(selects) > 15
        for select in selects:
            for *_, step in connection.execute(f"explain query plan {select}"):
                assert " USING INDEX" not in step, select
                assert "USING COVERING INDEX" not in step, select


def test_a_file_whose_index_only_another_program_can_compare_is_checked_as_far_as_can_be(
    tmp_path: Path,
) -> None:
    path = corpus(tmp_path / "data")
    with closing(sqlite3.connect(path)) as connection:
        connection.create_function("evil", 1, lambda value: value, deterministic=True)
        connection.execute("create index named on entities(evil(name))")
        connection.commit()
    with sqlite_file.opened(path) as connection:
        assert damage(connection, "entities", ["id"]) is None


def test_keys_that_are_one_in_utf8_are_found_in_a_file_of_utf16(
    engine: sa.Engine, tmp_path: Path
) -> None:
    """Units of UTF-16 without their other half: SQLite tells them apart, and reads one text."""
    layout_, name = b.LAYOUTS["semantic_memory"]
    path = b.write_file(tmp_path / "data" / name, ["pragma encoding = 'UTF-16le'", *layout_])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        b.insert(connection, "memories", [b.memory(1), b.memory(5_000)])
        for units, rowid in (("3dd800de", 1), ("3ddc00de", 5_000)):
            update = f"update memories set id = cast(x'{units}' as text) where rowid = {rowid}"
            connection.execute(update)
    with pytest.raises(SourceError, match=r"^M104 .*is there twice"):
        b.consolidate(engine, path)
    b.change(path, "update memories set id = 'ö' where rowid = 5000")
    pin = b.consolidate(engine, path)
    assert b.red(engine, pin) == {}
