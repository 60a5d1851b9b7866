"""A file that goes on changing, in memOS's own statements, and chunks loaded in every order."""

import itertools
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.reader import chunk_task
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.observe import pin_for_run, register_files
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.proof.rows.sources import source_unchanged
from memos_assets_tests.consolidate import builders as b

KIND = "semantic_memory"
MEMORIES, LINKS = "semantic_memories", "semantic_links"
#: Rowids per chunk, so that a dozen rows make chunks 0, 1 and 2.
CHUNK = 4
LAST = 3 * CHUNK - 1
#: memOS's catalog with such chunks.
SMALL = replace(
    MEMOS,
    kinds=[replace(kind, chunk_rows=CHUNK) if kind.name == KIND else kind for kind in MEMOS.kinds],
)
#: Its attributes are not JSON.
REJECTED = 2
ORDERS = list(itertools.permutations((0, 1, 2)))


@pytest.fixture
def engine(shared_engine: sa.Engine) -> sa.Engine:
    """Empty the module's database, which takes less time than another."""
    b.execute(
        shared_engine,
        "truncate memos.semantic_memories, memos.semantic_links, memos_ops.sources, "
        "memos_ops.pins, memos_ops.pin_chunks, memos_ops.consolidation_pins, memos_ops.chunks, "
        "memos_ops.rejects",
    )
    return shared_engine


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b, "MEMOS", SMALL)


def memory(number: int, **changes: object) -> dict[str, object]:
    attributes = "{" if number == REJECTED else "{}"
    return b.memory(number, **{"embedding": None, "attributes": attributes, **changes})


def memories(folder: Path, numbers: Iterable[int] = range(1, LAST + 1)) -> Path:
    return b.write_kind(folder / "data", KIND, memories=map(memory, numbers))


def network(folder: Path) -> Path:
    """Memories without the rejected one, and links n - n+1 that count both ways."""
    kept = [number for number in range(1, LAST + 1) if number != REJECTED]
    links = [b.connection(n, *pair) for n, pair in enumerate(itertools.pairwise(kept), start=1)]
    return b.write_kind(folder / "data", KIND, memories=map(memory, kept), connections=links)


def written_again(path: Path, table: str, rows: Iterable[dict[str, object]]) -> None:
    """INSERT OR REPLACE without a rowid, as memOS writes: a row that is there gets a new one."""
    with closing(sqlite3.connect(path)) as connection:
        b.insert(connection, table, ({k: v for k, v in r.items() if k != "rowid"} for r in rows))
        connection.commit()


def vacuum(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("vacuum")


def renumber(path: Path) -> None:
    """Close the gaps between rowids, as a VACUUM may and a dump that is read back does.

    SQLite 3.40 keeps them in a VACUUM where a table has an index, which memOS's have for their
    keys; its documentation promises nothing.
    """
    for table in ("memories", "connections"):
        for new, old in enumerate(rowids(path, table), start=1):
            b.change(path, f"update {table} set rowid = {new} where rowid = {old}")
    vacuum(path)


def rowids(path: Path, table: str = "memories") -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(f"select rowid from {table} order by 1")]


def load(engine: sa.Engine, pin: Pin, table: str, chunk: int) -> None:
    spec = MEMOS.table(table)
    b.load(engine, pin, spec, [chunk_task(pin, spec, chunk)])


def ids_in(engine: sa.Engine) -> list[str]:
    """Return what PostgreSQL holds of every memory, loaded or rejected, in order."""
    return [
        row[0]
        for row in b.rows(
            engine,
            "select id from memos.semantic_memories union all "
            "select key::jsonb ->> 0 from memos_ops.rejects "
            "where table_name = 'semantic_memories' order by 1",
        )
    ]


def names(numbers: Iterable[int]) -> list[str]:
    return sorted(f"memory-{number}" for number in numbers)


def test_an_append_loads_the_last_chunk_only(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path)
    b.consolidate(engine, path)
    written_again(path, "memories", [memory(40)])
    assert b.load_stale(engine, b.observe(engine, path)) == {MEMORIES: [3]}
    written_again(path, "memories", [memory(41)])
    pin = b.observe(engine, path)
    assert b.load_stale(engine, pin) == {MEMORIES: [3]}
    assert ids_in(engine) == names([*range(1, LAST + 1), 40, 41])
    assert b.red(engine, pin) == {}


def test_a_delete_loads_the_chunk_it_left_only(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path)
    b.consolidate(engine, path)
    b.change(path, f"delete from memories where rowid in ({CHUNK}, {CHUNK + 1})")
    pin = b.observe(engine, path)
    assert b.load_stale(engine, pin) == {MEMORIES: [1]}
    assert ids_in(engine) == names(n for n in range(1, LAST + 1) if n not in (CHUNK, CHUNK + 1))
    assert b.red(engine, pin) == {}


def test_a_vacuum_that_moves_nothing_loads_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path)
    b.change(path, "create table scrap as select randomblob(9000)", "drop table scrap")
    before = b.consolidate(engine, path)
    size = path.stat().st_size
    vacuum(path)
    assert path.stat().st_size < size
    after = b.observe(engine, path)
    assert (after.digest, after.chunks) == (before.digest, before.chunks)
    assert b.load_stale(engine, after) == {}
    assert source_unchanged([before]).passed
    assert b.red(engine, after) == {}


def gapped(path: Path) -> None:
    """Make gaps in every chunk, as rows that were deleted or written again leave them."""
    b.change(path, f"delete from memories where rowid in (1, {CHUNK + 1}, {CHUNK + 2})")
    written_again(path, "memories", [memory(3, content="again"), memory(REJECTED)])


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_vacuum_that_renumbers_every_rowid_neither_doubles_nor_loses_rows(
    order: Sequence[int], engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path)
    gapped(path)
    before = b.consolidate(engine, path)
    assert rowids(path) == [4, 7, 8, 9, 10, 11, 12, 13]
    renumber(path)
    assert rowids(path) == [1, 2, 3, 4, 5, 6, 7, 8]
    kept = ids_in(engine)
    pin = b.observe(engine, path)
    # Chunk 3 is empty from here on.
    assert (before.chunk_numbers, pin.chunk_numbers) == ([0, 1, 2, 3], [0, 1, 2])
    assert b.stale_chunks(engine, pin, MEMORIES) == [0, 1, 2, 3]
    for chunk in (*order, 3):
        load(engine, pin, MEMORIES, chunk)
    assert ids_in(engine) == kept
    assert b.stale_chunks(engine, pin, MEMORIES) == []
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))), ids=str)
def test_rows_and_rejects_move_between_chunks_in_any_order_of_loading(
    order: Sequence[int], engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path)
    b.consolidate(engine, path)
    # One row of each chunk goes to the end, the reject among them; one goes for good.
    moved = [memory(REJECTED), memory(5, content="again"), memory(9)]
    written_again(path, "memories", moved)
    b.change(path, "delete from memories where id = 'memory-10'")
    pin = b.observe(engine, path)
    waiting = [0, 1, 2, 3]
    for chunk in order:
        assert b.stale_chunks(engine, pin, MEMORIES) == waiting
        if len(waiting) == 2:
            assert not b.findings(engine, MEMORIES)["v01_row_counts_match"].passed
        load(engine, pin, MEMORIES, chunk)
        waiting.remove(chunk)
    assert ids_in(engine) == names(n for n in range(1, LAST + 1) if n != 10)
    assert b.rejects(engine, MEMORIES) == [(LAST + 1, "json_malformed")]
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_mirrored_links_move_between_chunks_in_any_order_of_loading(
    order: Sequence[int], engine: sa.Engine, tmp_path: Path
) -> None:
    path = network(tmp_path)
    b.consolidate(engine, path)
    links = "select from_id, to_id, reversed from memos.semantic_links order by 1, 2, 3"
    before = b.rows(engine, links)
    # Two links are written again, one no longer counts both ways.
    written_again(path, "connections", [b.connection(0, 1, 3), b.connection(0, 6, 7)])
    b.change(path, "update connections set bidirectional = 0 where source_id = 'memory-6'")
    pin = b.observe(engine, path)
    for chunk in order:
        load(engine, pin, LINKS, chunk)
    b.load_stale(engine, pin)
    after = b.rows(engine, links)
    assert set(before) - set(after) == {("memory-7", "memory-6", True)}
    assert set(after) <= set(before)
    assert len(after) == len(before) - 1
    assert b.red(engine, pin) == {}


def test_links_are_checked_again_when_the_rows_they_name_change(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = network(tmp_path)
    b.consolidate(engine, path)
    b.change(path, "update memories set attributes = '{' where id = 'memory-5'")
    pin = b.observe(engine, path)
    # Which chunks of links that concerns is known only once they are read.
    assert b.load_stale(engine, pin) == {MEMORIES: [1], LINKS: [0, 1, 2]}
    assert b.rejects(engine, LINKS) == [(3, "dangling_end"), (4, "dangling_end")]
    assert b.red(engine, pin) == {}


def test_one_row_in_a_hundred_loads_only_its_chunk(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path, range(1, 201))
    pin = b.consolidate(engine, path)
    assert len(pin.chunk_numbers) == 51
    b.change(path, "update memories set access_count = 7 where id in ('memory-70', 'memory-150')")
    assert b.load_stale(engine, b.observe(engine, path)) == {MEMORIES: [70 // 4, 150 // 4]}
    # Written again they leave their chunks for the last one.
    written_again(path, "memories", [memory(70), memory(150)])
    pin = b.observe(engine, path)
    assert b.load_stale(engine, pin) == {MEMORIES: [70 // 4, 150 // 4, 201 // 4]}
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize("loaded", [(), (0,), (1,), (3,), (0, 3), (1, 2)], ids=str)
@pytest.mark.parametrize("last_first", [False, True], ids=["in order", "backwards"])
def test_a_file_that_changes_again_before_all_of_the_last_change_is_loaded(
    loaded: Sequence[int], *, last_first: bool, engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path)
    b.consolidate(engine, path)
    written_again(path, "memories", [memory(REJECTED), memory(5), memory(9)])
    second = b.observe(engine, path)
    for chunk in loaded:
        load(engine, second, MEMORIES, chunk)
    # Some of what moved to chunk 3 moves on, and a VACUUM brings all of it back to the front.
    written_again(path, "memories", [memory(5, content="twice"), memory(1)])
    renumber(path)
    third = b.observe(engine, path)
    for chunk in sorted(b.stale_chunks(engine, third, MEMORIES), reverse=last_first):
        load(engine, third, MEMORIES, chunk)
    assert ids_in(engine) == names(range(1, LAST + 1))
    assert b.load_stale(engine, third) == {}
    assert b.red(engine, third) == {}


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0), (1, 0, 2)], ids=str)
def test_rejects_and_mirrored_links_survive_another_cut(
    order: Sequence[int], engine: sa.Engine, tmp_path: Path
) -> None:
    path = network(tmp_path)
    b.change(path, "update connections set strength = 'odd' where rowid in (6, 9)")
    b.consolidate(engine, path)
    links = "select from_id, to_id, reversed from memos.semantic_links order by 1, 2, 3"
    before = b.rows(engine, links), b.rejects(engine, LINKS)
    assert before[1] == [(6, "wrong_type"), (9, "wrong_type")]
    # 64 chunks hold rowids below 256; this one doubles the cut.
    b.change(path, "update memories set rowid = 300 where id = 'memory-11'")
    pin = b.observe(engine, path)
    assert pin.chunk_rows == 2 * CHUNK
    for chunk in order:
        load(engine, pin, LINKS, chunk)
    b.load_stale(engine, pin)
    assert (b.rows(engine, links), b.rejects(engine, LINKS)) == before
    assert b.red(engine, pin) == {}


def registered(engine: sa.Engine, path: Path) -> registry.Source:
    register_files(engine, [b.only(path)])
    with engine.connect() as conn:
        return registry.source_named(conn, SMALL.kinds, KIND)


def test_a_run_finishes_from_its_copy_while_the_original_changes(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path, pins = memories(tmp_path), tmp_path / "pins"
    source = registered(engine, path)
    pin = pin_for_run(engine, source, pins, "first")
    load(engine, pin, MEMORIES, 0)
    written_again(path, "memories", [memory(1, content="meanwhile"), memory(40)])
    # A step that starts later, or starts again, asks for the pin of its consolidation.
    again = pin_for_run(engine, source, pins, "first")
    assert again == pin
    b.load_stale(engine, again)
    assert b.red(engine, pin) == {}
    assert ids_in(engine) == names(range(1, LAST + 1))
    finding = source_unchanged([pin])
    assert finding.passed is False
    assert finding.observed == "semantic_memory: semantic_memory.db holds other rows than its pin"
    newer = pin_for_run(engine, source, pins, "second")
    assert newer.digest != pin.digest
    assert b.load_stale(engine, newer) == {MEMORIES: [0, 3]}
    assert ids_in(engine) == names([*range(1, LAST + 1), 40])
    assert b.red(engine, newer) == {}
    assert source_unchanged([newer]).passed


def test_a_resumed_consolidation_keeps_its_pin_beside_a_newer_one(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path, pins = memories(tmp_path), tmp_path / "pins"
    source = registered(engine, path)
    first = pin_for_run(engine, source, pins, "first")
    load(engine, first, MEMORIES, 0)
    written_again(path, "memories", [memory(1, content="meanwhile")])
    second = pin_for_run(engine, source, pins, "second")
    b.load_stale(engine, second)
    # The older one takes the table back to what it pinned; the next run takes it forward again.
    assert pin_for_run(engine, source, pins, "first") == first
    assert b.stale_chunks(engine, first, MEMORIES) == [0, 3]
    b.load_stale(engine, first)
    assert b.stale_chunks(engine, second, MEMORIES) == [0, 3]
    b.load_stale(engine, second)
    assert b.red(engine, second) == {}


def test_a_resume_whose_copy_is_gone_takes_the_same_content_again(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path, pins = memories(tmp_path), tmp_path / "pins"
    source = registered(engine, path)
    pin = pin_for_run(engine, source, pins, "first")
    load(engine, pin, MEMORIES, 0)
    pin.path.unlink()
    again = pin_for_run(engine, source, pins, "first")
    assert (again.digest, again.path, again.path.exists()) == (pin.digest, pin.path, True)
    assert b.load_stale(engine, again) == {MEMORIES: [1, 2]}
    assert b.red(engine, again) == {}


def test_a_resume_whose_copy_is_gone_and_whose_file_changed_is_planned_again_once(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path, pins = memories(tmp_path), tmp_path / "pins"
    source = registered(engine, path)
    pin = pin_for_run(engine, source, pins, "first")
    load(engine, pin, MEMORIES, 0)
    load(engine, pin, MEMORIES, 1)
    pin.path.unlink()
    written_again(path, "memories", [memory(1, content="meanwhile")])
    replanned = pin_for_run(engine, source, pins, "first")
    assert replanned.digest != pin.digest
    # What is not changed is not copied again.
    assert b.stale_chunks(engine, replanned, MEMORIES) == [0, 2, 3]
    written_again(path, "memories", [memory(5, content="later still")])
    # Its other steps work from the same copy, whatever the file holds by then.
    assert pin_for_run(engine, source, pins, "first") == replanned
    b.load_stale(engine, replanned)
    assert ids_in(engine) == names(range(1, LAST + 1))
    assert b.red(engine, replanned) == {}
