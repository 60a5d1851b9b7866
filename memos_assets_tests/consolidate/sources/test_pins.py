import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.chunks import MOST_CHUNKS, chunk_bounds
from memos_assets.consolidate.sources.pins import Pin, is_unchanged, take_pin
from memos_assets.errors import SourceError
from memos_assets.sqlite import live_copy
from memos_assets_tests.consolidate import builders as b

SEMANTIC = MEMOS.kind("semantic_memory")
CHUNK = SEMANTIC.chunk_rows


def write(folder: Path, rowids: Iterable[int]) -> Path:
    plain = (b.memory(rowid, embedding=None) for rowid in rowids)
    return b.write_kind(folder, "semantic_memory", memories=plain)


def pinned(path: Path, *, chunk_rows: int = 0) -> Pin:
    pins = path.parent.with_name("pins")
    return take_pin("memory", SEMANTIC, path, pins, chunk_rows=chunk_rows)


def digests(pin: Pin, table: str = "memories") -> dict[int, str]:
    return {content.chunk: content.digest for content in pin.chunks if content.table == table}


def changed(before: Pin, after: Pin) -> list[int]:
    old, new = digests(before), digests(after)
    return sorted(chunk for chunk in old | new if old.get(chunk) != new.get(chunk))


def test_rowids_survive_in_the_copy(tmp_path: Path) -> None:
    rowids = [-5, 3, 17, CHUNK * 2 + 1]
    pin = pinned(write(tmp_path / "data", rowids))
    with closing(sqlite3.connect(pin.path)) as copy:
        assert [row[0] for row in copy.execute("select rowid from memories order by 1")] == rowids
    assert pin.rows == {"memories": 4, "connections": 0}


def test_an_append_leaves_the_digests_of_other_chunks_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1, 2, CHUNK + 1])
    before = pinned(path)
    b.change(path, "insert into memories select 'new', 'entity', '', '', null, 1, 0, 1")
    after = pinned(path)
    assert changed(before, after) == [1]
    assert before.data_version(0) == after.data_version(0)
    assert before.data_version(1) != after.data_version(1)


def test_a_replaced_row_changes_exactly_its_old_and_its_new_chunk(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1, 2, CHUNK + 1, 2 * CHUNK + 1])
    before = pinned(path)
    with closing(sqlite3.connect(path)) as connection:
        replaced = b.memory(1, embedding=None)
        del replaced["rowid"]
        b.insert(connection, "memories", [replaced])
        connection.commit()
    assert changed(before, pinned(path)) == [0, 2]


def test_a_changed_derived_column_changes_the_digest(tmp_path: Path) -> None:
    kind = MEMOS.kind("mixed_precision_embeddings")
    path = b.write_kind(tmp_path / "data", kind.name, embeddings=[b.embedding(1)])
    before = take_pin("mixed", kind, path, tmp_path / "pins")
    b.change(path, "update embeddings set zero_point = 1")
    after = take_pin("mixed", kind, path, tmp_path / "pins")
    assert before.digest != after.digest
    assert before.path != after.path


LAST = MOST_CHUNKS * CHUNK - 1


@pytest.mark.parametrize("highest", [2**63 - 1, 2**40, LAST + 1, LAST])
def test_a_file_has_at_most_64_chunks_whatever_its_rowids(highest: int, tmp_path: Path) -> None:
    pin = pinned(write(tmp_path / "data", [1, highest]))
    assert max(pin.chunk_numbers) < MOST_CHUNKS
    assert pin.chunk_rows >= CHUNK
    assert (pin.chunk_rows // CHUNK).bit_count() == 1
    assert (pin.chunk_rows == CHUNK) == (highest <= LAST)
    first, last = chunk_bounds(max(pin.chunk_numbers), pin.chunk_rows)
    assert first <= highest <= last


def test_the_cut_of_an_earlier_pin_stays_when_the_file_shrinks(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1, MOST_CHUNKS * CHUNK])
    wide = pinned(path)
    assert wide.chunk_rows == 2 * CHUNK
    b.change(path, "delete from memories where rowid > 1")
    assert pinned(path, chunk_rows=wide.chunk_rows).chunk_rows == 2 * CHUNK


def test_negative_rowids_are_in_chunk_0(tmp_path: Path) -> None:
    pin = pinned(write(tmp_path / "data", [-(2**63), -1, 0, 1]))
    assert pin.content("memories", 0).rows == 4
    assert pin.chunk_numbers == [0]


def test_an_empty_file_has_chunk_0_and_no_rows(tmp_path: Path) -> None:
    pin = pinned(write(tmp_path / "data", []))
    assert (pin.chunk_numbers, pin.chunks) == ([0], ())
    assert pin.content("memories", 0).rows == 0


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_equal_content_has_equal_digests(order: Sequence[int], tmp_path: Path) -> None:
    first = pinned(write(tmp_path / "first" / "data", [1, 2, 3]))
    second = pinned(write(tmp_path / "second" / "data", order))
    assert first.digest == second.digest
    assert first.fingerprint != second.fingerprint or order == (1, 2, 3)


def test_the_order_of_columns_does_not_enter_the_digest(tmp_path: Path) -> None:
    layout, name = b.LAYOUTS["semantic_memory"]
    path = write(tmp_path / "plain" / "data", [1])
    moved = [s.replace("content TEXT NOT NULL,\n", "", 1) for s in layout]
    moved = [s.replace("id TEXT PRIMARY KEY,", "content TEXT, id TEXT PRIMARY KEY,") for s in moved]
    other = b.write_file(
        tmp_path / "moved" / "data" / name, moved, memories=[b.memory(1, embedding=None)]
    )
    assert pinned(path).digest == pinned(other).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", 1), (b"1", "1"), (1, 1.0), (None, ""), ("a", "a\0")],
    ids=["text_integer", "blob_text", "integer_real", "null_empty", "nul"],
)
def test_values_that_differ_in_storage_class_differ_in_digest(
    one: object, other: object, tmp_path: Path
) -> None:
    path = b.write_file(
        tmp_path / "data" / "semantic_memory.db",
        [s.replace("attributes TEXT", "attributes") for s in b.LAYOUTS["semantic_memory"][0]],
        memories=[b.memory(1, embedding=None, attributes=one)],
    )
    before = pinned(path)
    b.change(path, "update memories set attributes = ?", parameters=[other])
    assert changed(before, pinned(path)) == [0]


def test_a_touch_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1])
    pin = pinned(path)
    path.touch()
    assert is_unchanged(pin)


def test_rewritten_pages_with_the_same_rows_change_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1, 2])
    pin = pinned(path)
    b.change(path, "create index extra on memories(content)")
    assert path.read_bytes() != pin.path.read_bytes()
    assert is_unchanged(pin)


def test_a_real_change_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1, 2])
    pin = pinned(path)
    b.change(path, "update memories set access_count = access_count + 1 where rowid = 2")
    assert not is_unchanged(pin)


def test_a_commit_to_the_write_ahead_log_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1, 2])
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("pragma wal_autocheckpoint = 0")
        pin = pinned(path)
        assert is_unchanged(pin)
        main_file = path.read_bytes()
        writer.execute("delete from memories where rowid = 2")
        assert path.read_bytes() == main_file
        assert not is_unchanged(pin)


def test_a_commit_while_the_pin_is_taken_is_not_taken_for_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "data", [1])
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("update memories set content = 'before'")
        copied = live_copy._copied_with_logs

        def copied_then_written(source: Path, folder: Path) -> bool:
            whole = copied(source, folder)
            if source == path:
                writer.execute("update memories set content = 'after'")
            return whole

        monkeypatch.setattr(live_copy, "_copied_with_logs", copied_then_written)
        pin = pinned(path)
        monkeypatch.undo()
        assert not is_unchanged(pin)


def test_a_pin_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    path = write(tmp_path / "data", [1])
    (tmp_path / "pins").write_text("a file where the folder should be")
    with pytest.raises(SourceError, match=r"^M106 .*pins: a copy of the source cannot be written"):
        pinned(path)
