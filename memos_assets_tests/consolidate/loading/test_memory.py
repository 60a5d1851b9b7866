"""Memory is bounded by bytes, not by rows: long rows, loaded, rejected and proven."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from memos_assets.consolidate.decoding import reader
from memos_assets.consolidate.loading import load, read_ahead
from memos_assets.postgres.copy.arrow_schema import typed_field
from memos_assets.postgres.copy.encode import WRITTEN_BYTES, encode, encoded_parts, written
from memos_assets.proof.rows import row_streams
from memos_assets.sqlite import row_codec
from memos_assets_tests.consolidate import builders as b

LONG = 400_000
COUNT = 16


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of 0.4 MB are long where batches are of 0.1 MB."""
    monkeypatch.setattr(reader, "BATCH_BYTES", 100_000)
    monkeypatch.setattr(read_ahead, "_WAITING_BYTES", 100_000)
    monkeypatch.setattr(load, "_REJECT_BYTES", 100_000)
    monkeypatch.setattr(load, "_KEPT_BYTES", 100_000)
    monkeypatch.setattr(load, "_LONG_BYTES", 100_000)
    monkeypatch.setattr(row_streams, "_BATCH_BYTES", 100_000)
    monkeypatch.setattr(row_codec, "_SLICE", 50_000)


@contextmanager
def at_most(long_rows: int) -> Iterator[None]:
    """Assert that never more than so many long values are in memory, in Python or Arrow."""
    pool = pa.default_memory_pool()
    tracemalloc.start()
    before = pool.bytes_allocated()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak / LONG < long_rows
    assert pool.bytes_allocated() - before < LONG


def copies_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the rejects after each COPY."""
    copies: list[int] = []
    copied = load._copied

    def counted(*arguments: Any) -> Iterator[Any]:
        for rejects in copied(*arguments):
            copies.append(len(rejects))
            yield rejects

    monkeypatch.setattr(load, "_copied", counted)
    return copies


def warm_up(engine: sa.Engine, folder: Path) -> None:
    """Make what is made once in a process, which takes more than these rows."""
    path = b.write_kind(folder / "first", "hybrid", documents=[b.document(200)])
    b.consolidate(engine, path.rename(path.with_name("first.db")))


def documents(**changes: Any) -> list[dict[str, Any]]:
    text = "ä" * (LONG // 2)
    return [b.document(number, content=text, **changes) for number in range(1, COUNT + 1)]


def test_long_rows_are_loaded_and_proven_one_by_one(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warm_up(engine, tmp_path)
    path = b.write_kind(tmp_path / "data", "hybrid", documents=documents())
    copies = copies_of(monkeypatch)
    with at_most(long_rows=6):
        pin = b.consolidate(engine, path)
    # PostgreSQL keeps the rows of a COPY in memory.
    assert len(copies) >= COUNT
    assert b.rows(engine, "select count(*) from memos.hybrid_documents") == [(COUNT + 1,)]
    with at_most(long_rows=5):
        assert b.red(engine, pin) == {}


def test_long_rows_that_are_rejected_wait_for_no_others(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = documents(metadata="{")
    rows += [b.document(number) for number in range(100, 110)]
    path = b.write_kind(tmp_path / "data", "hybrid", documents=rows)
    warm_up(engine, tmp_path)
    copies = copies_of(monkeypatch)
    with at_most(long_rows=8):
        pin = b.consolidate(engine, path)
    assert (sum(copies), max(copies)) == (COUNT, 1)
    assert b.rejects(engine, "hybrid_documents") == [
        (number, "json_malformed") for number in range(1, COUNT + 1)
    ]
    assert b.rows(engine, "select count(*) from memos.hybrid_documents") == [(11,)]
    assert set(b.red(engine, pin)) == {("hybrid_documents", "v30_no_reading_takes_much_of_a_table")}


def test_a_long_value_is_a_part_by_itself_and_written_in_slices() -> None:
    values = ["short", "x" * (5 * WRITTEN_BYTES), None, "", "y" * WRITTEN_BYTES]
    batch = pa.record_batch(
        [pa.array(values, pa.string()), pa.array(range(5), pa.int64())],
        schema=pa.schema([typed_field("a", "text"), typed_field("b", "bigint")]),
    )
    parts = encoded_parts(batch)
    assert len(parts) == 5
    assert max(map(len, written(parts))) <= WRITTEN_BYTES
    assert b"".join(written(parts)) == b"".join(parts) == encode(batch)
    assert encode(batch) == b"".join(encode(batch.slice(row, 1)) for row in range(5))
    assert encode(batch, [False, True, False, False, True]) == encode(batch.slice(1, 1)) + encode(
        batch.slice(4, 1)
    )
