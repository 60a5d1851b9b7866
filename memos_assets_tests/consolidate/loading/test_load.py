import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.reader import CHUNKS, chunk_stream, chunk_task, tasks_of
from memos_assets.consolidate.loading.load import load_chunks, load_stream
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.errors import SourceError, TargetError
from memos_assets.postgres import build_lock
from memos_assets.postgres.engine import create_engine
from memos_assets.progress import Progress, listening
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b

SPEC = MEMOS.table("semantic_memories")
CHUNK = 2_048
#: Rows in chunks 0, 1 and 2; the second of chunk 0 is a reject.
ROWIDS = (1, 2, CHUNK + 1, 2 * CHUNK + 1)


def memories(folder: Path, *rowids: int) -> Path:
    return b.write_kind(
        folder,
        "semantic_memory",
        memories=[
            b.memory(rowid, embedding=None, attributes="{" if rowid == 2 else "{}")
            for rowid in rowids or ROWIDS
        ],
    )


def replace(path: Path, *rowids: int) -> None:
    """Write rows again as memOS does, which gives them new rowids at the end."""
    with closing(sqlite3.connect(path)) as connection:
        for rowid in rowids:
            row = b.memory(rowid, embedding=None, content=f"again {rowid}")
            del row["rowid"]
            b.insert(connection, "memories", [row])
        connection.commit()


def stored(engine: sa.Engine) -> list[tuple[object, ...]]:
    return b.rows(
        engine, "select id, content, chunk, source_rowid from memos.semantic_memories order by 4"
    )


def state(engine: sa.Engine) -> list[list[tuple[object, ...]]]:
    """Rows, rejects and ledger, without the times."""
    return [
        stored(engine),
        b.rows(engine, "select source_rowid, chunk, reason, row_digest from memos_ops.rejects"),
        b.rows(
            engine,
            "select table_name, chunk, digest, rows, rejected, pin_digest, without_embedding "
            "from memos_ops.chunks order by 1, 2",
        ),
    ]


def load(engine: sa.Engine, pin: Pin, *chunks: int) -> None:
    b.load(engine, pin, SPEC, [chunk_task(pin, SPEC, chunk) for chunk in chunks])


def test_running_a_chunk_twice_replaces_it(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(engine, memories(tmp_path / "data"))
    once = state(engine)
    load(engine, pin, 0, 1, 2)
    assert state(engine) == once
    assert [row[0] for row in once[0]] == ["memory-1", "memory-2049", "memory-4097"]
    assert b.rejects(engine, SPEC.name) == [(2, "json_malformed")]


def test_a_failed_write_leaves_the_old_rows_rejects_and_ledger(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    b.consolidate(engine, path)
    before = state(engine)
    b.change(path, "update memories set content = 'refused' where rowid in (1, 2)")
    pin = b.observe(engine, path)
    b.execute(
        engine,
        "alter table memos.semantic_memories add constraint no check (content <> 'refused')",
    )
    with pytest.raises(
        TargetError, match=r"^M310 memos\.semantic_memories semantic_memory/000: .*"
    ):
        load(engine, pin, 0)
    assert state(engine) == before
    b.execute(engine, "alter table memos.semantic_memories drop constraint no")
    b.load_stale(engine, pin)
    assert stored(engine)[0][1] == "refused"


def test_a_failure_leaves_earlier_chunks_loaded(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    b.execute(
        engine, "alter table memos.semantic_memories add constraint no check (source_rowid < 3000)"
    )
    with pytest.raises(TargetError, match=r"^M310 .*semantic_memory/002"):
        load(engine, pin, 0, 1, 2)
    assert b.stale_chunks(engine, pin, SPEC.name) == [2]


@pytest.mark.parametrize("order", list(itertools.permutations((0, 1, 2))), ids=str)
def test_a_row_that_moved_between_chunks_is_neither_doubled_nor_lost(
    order: tuple[int, ...], engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    b.consolidate(engine, path)
    replace(path, 1, CHUNK + 1)
    pin = b.observe(engine, path)
    assert b.stale_chunks(engine, pin, SPEC.name) == [0, 1, 2]
    for chunk in order:
        load(engine, pin, chunk)
    assert stored(engine) == [
        ("memory-4097", "remembered 4097", 2, 4097),
        ("memory-1", "again 1", 2, 4098),
        ("memory-2049", "again 2049", 2, 4099),
    ]
    assert b.stale_chunks(engine, pin, SPEC.name) == []
    assert b.red(engine, pin) == {}


def test_a_reject_that_moved_between_chunks_is_kept_once(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    b.consolidate(engine, path)
    b.change(path, f"update memories set rowid = {2 * CHUNK + 2} where rowid = 2")
    pin = b.observe(engine, path)
    load(engine, pin, 2)
    load(engine, pin, 0)
    assert b.rejects(engine, SPEC.name) == [(2 * CHUNK + 2, "json_malformed")]
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_a_wider_cut_neither_doubles_nor_loses_rows(
    order: tuple[int, ...], engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    before = b.consolidate(engine, path)
    rowid = 64 * CHUNK
    b.change(path, f"insert into memories values ('new', 'x', 'x', '{{}}', null, {rowid}, 0, 1)")
    b.change(path, f"update memories set rowid = {rowid} where id = 'new'")
    pin = b.observe(engine, path)
    assert (before.chunk_rows, pin.chunk_rows) == (CHUNK, 2 * CHUNK)
    assert b.stale_chunks(engine, pin, SPEC.name) == [0, 1, 2, 32]
    for chunk in (*order, 2, 32):
        load(engine, pin, chunk)
    assert [row[2:] for row in stored(engine)] == [(0, 1), (0, 2049), (1, 4097), (32, rowid)]
    assert b.red(engine, pin) == {}


def test_a_deleted_row_disappears(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    b.consolidate(engine, path)
    b.change(path, "delete from memories where rowid in (1, 2)")
    pin = b.consolidate(engine, path)
    assert [row[0] for row in stored(engine)] == ["memory-2049", "memory-4097"]
    assert b.rejects(engine, SPEC.name) == []
    assert b.red(engine, pin) == {}


def test_a_chunk_that_became_empty_is_emptied(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    b.consolidate(engine, path)
    b.change(path, f"delete from memories where rowid > {CHUNK}")
    pin = b.observe(engine, path)
    assert b.load_stale(engine, pin) == {SPEC.name: [1, 2]}
    assert [row[0] for row in stored(engine)] == ["memory-1"]
    assert b.load_stale(engine, pin) == {}
    assert b.red(engine, pin) == {}


def test_only_chunks_that_changed_are_loaded_again(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path / "data")
    pin = b.observe(engine, path)
    assert b.load_stale(engine, pin) == {SPEC.name: [0, 1, 2]}
    assert b.load_stale(engine, pin) == {}
    b.change(path, f"update memories set access_count = 9 where rowid = {CHUNK + 1}")
    assert b.load_stale(engine, b.observe(engine, path)) == {SPEC.name: [1]}


def test_an_older_description_makes_every_chunk_stale(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(engine, memories(tmp_path / "data"))
    b.execute(engine, "update memos_ops.chunks set code_version = 'older' where chunk = 1")
    assert b.stale_chunks(engine, pin, SPEC.name) == [1]


def test_a_truncated_table_makes_its_chunks_stale(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(engine, memories(tmp_path / "data"))
    before = state(engine)
    b.execute(engine, "truncate memos.semantic_memories")
    assert b.load_stale(engine, pin) == {SPEC.name: [0, 1, 2]}
    assert state(engine) == before


def test_rows_without_a_ledger_row_are_stale(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(engine, memories(tmp_path / "data"))
    before = state(engine)
    b.execute(engine, "truncate memos_ops.chunks")
    assert b.load_stale(engine, pin) == {SPEC.name: [0, 1, 2]}
    assert state(engine) == before


def test_two_loads_of_one_chunk_queue_and_leave_one_set_of_rows(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    failures: list[BaseException] = []
    together = threading.Barrier(4)

    def run() -> None:
        together.wait()
        try:
            load(engine, pin, 0, 1, 2)
        except BaseException as error:  # noqa: BLE001  it is asserted on below
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [row[0] for row in stored(engine)] == ["memory-1", "memory-2049", "memory-4097"]
    assert b.red(engine, pin) == {}


def terminate_copy(engine: sa.Engine) -> None:
    """End the connection that copies, as soon as there is one."""
    statement = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and query ilike 'copy%from stdin%'"
    )
    for _ in range(200):
        with engine.begin() as conn:
            if conn.execute(sa.text(statement)).all():
                return
        time.sleep(0.05)
    raise AssertionError("nothing copied within 10 seconds")


def test_a_connection_that_dies_mid_chunk_leaves_nothing_half_loaded(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data", *range(1, 400))
    pin = b.observe(engine, path)
    b.consolidate(engine, path)
    before = state(engine)
    task = chunk_task(pin, SPEC, 0)
    whole = chunk_stream(SPEC, [(pin, task)])

    def interrupted() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(whole):
            if number == 1:
                terminate_copy(engine)
            yield batch

    reader = pa.RecordBatchReader.from_batches(whole.schema, interrupted())
    with pytest.raises(TargetError, match=r"^M310 .*the chunk is as it was before"):
        load_stream(engine, SPEC, reader, run_id="dies")
    assert state(engine) == before
    load(engine, pin, 0)
    assert state(engine) == before


def test_rows_that_go_missing_on_the_way_are_noticed(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    whole = chunk_stream(SPEC, [(pin, chunk_task(pin, SPEC, 0))])
    table = whole.read_all().slice(0, 1)
    reader = pa.RecordBatchReader.from_batches(whole.schema, table.to_batches())
    with pytest.raises(TargetError, match=r"^M311 .*: 1 loaded and 0 rejected of 2 rows"):
        load_stream(engine, SPEC, reader, run_id="short")
    assert stored(engine) == []


def refuse(engine: sa.Engine, *ids: str) -> None:
    """Have PostgreSQL refuse rows, as a constraint of somebody does."""
    with engine.begin() as conn:
        named = ", ".join(f"'{one}'" for one in ids)
        conn.execute(
            sa.text(
                "alter table memos.semantic_memories add constraint somebodys "
                f"check (id not in ({named}))"
            )
        )


def test_a_refused_chunk_does_not_stop_the_ones_after_it(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    refuse(engine, f"memory-{CHUNK + 1}")
    reader = chunk_stream(SPEC, [(pin, chunk_task(pin, SPEC, chunk)) for chunk in (0, 1, 2)])
    told = load_chunks(engine, SPEC, reader, run_id="goes-on")
    # A chunk is in the table by the time it is told.
    assert [(next(told)[0].chunk, len(stored(engine))) for _ in range(2)] == [(0, 1), (2, 2)]
    with pytest.raises(TargetError, match=r"^M310 .*semantic_memory/001: .*somebodys"):
        next(told)
    assert b.rows(engine, "select chunk from memos_ops.chunks order by 1") == [(0,), (2,)]


def test_every_refused_chunk_is_named_at_the_end(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    refuse(engine, "memory-1", f"memory-{2 * CHUNK + 1}")
    with pytest.raises(TargetError, match=r"^M310 .*: 2 of 3 chunks .*/000, \S+/002: "):
        load(engine, pin, 0, 1, 2)
    assert [row[0] for row in stored(engine)] == [f"memory-{CHUNK + 1}"]


def test_a_damaged_pin_fails_with_its_own_error(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    content = bytearray(pin.path.read_bytes())
    content[4096:] = bytes(len(content) - 4096)
    pin.path.write_bytes(content)
    with pytest.raises(SourceError, match=r"^M104 "):
        load(engine, pin, 0, 1)
    assert stored(engine) == []


def test_the_schema_of_a_stream_names_its_chunks(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    tasks = b.stale(engine, pin, SPEC.name)
    reader = chunk_stream(SPEC, [(pin, task) for task in tasks])
    assert CHUNKS in reader.schema.metadata
    assert tasks_of(reader.schema) == tasks
    assert [(task.chunk, task.source_rows) for task in tasks] == [(0, 2), (1, 1), (2, 1)]
    assert tasks_of(pa.schema([])) == []


def test_progress_adds_up_to_the_totals(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    reports: list[Progress] = []
    with listening(reports.append):
        load(engine, pin, 0, 1, 2)
    assert reports[0].total_rows == sum(report.rows for report in reports) == 4
    assert reports[0].total_bytes == sum(report.bytes for report in reports)
    assert reports[-1].done


@contextmanager
def building(engine: sa.Engine) -> Iterator[None]:
    """Keep an index in the middle of its build on the table, until the block ends."""
    b.execute(
        engine,
        "create function slow(text) returns text immutable language plpgsql as $$ begin "
        "perform pg_advisory_lock(42); perform pg_advisory_unlock(42); return $1; end $$",
    )
    with ThreadPoolExecutor(1) as threads:
        with engine.connect() as holder:
            holder.execute(sa.text("select pg_advisory_lock(42)"))
            create = "create index slow_idx on memos.semantic_memories (slow(id))"
            future = threads.submit(b.execute, engine, create)
            try:
                at_work = "select from pg_stat_progress_create_index where phase ~ '^building'"
                while not b.rows(engine, at_work):
                    time.sleep(0.01)
                yield
            finally:
                holder.execute(sa.text("select pg_advisory_unlock(42)"))
        future.result(timeout=10)


def test_a_load_waits_for_a_build_on_its_table_for_longer_than_for_other_locks(
    engine: sa.Engine, settings: Settings, tmp_path: Path
) -> None:
    pin = b.observe(engine, memories(tmp_path / "data"))
    b.load(engine, pin, SPEC, [chunk_task(pin, SPEC, 0)])
    impatient = create_engine(
        engine.url, settings.model_copy(update={"lock_timeout_ms": 50}), application_name="tests"
    )
    with ThreadPoolExecutor(1) as threads, building(engine):
        future = threads.submit(b.load, impatient, pin, SPEC, [chunk_task(pin, SPEC, 1)])
        time.sleep(0.3)
        assert not future.done()
    assert future.result(timeout=10)
    impatient.dispose()
    assert b.stale_chunks(engine, pin, SPEC.name) == [2]


def test_a_build_that_does_not_end_is_m310(
    engine: sa.Engine, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_lock, "PATIENCE_SECONDS", 0)
    pin = b.observe(engine, memories(tmp_path / "data"))
    b.load(engine, pin, SPEC, [chunk_task(pin, SPEC, 0)])
    impatient = create_engine(
        engine.url, settings.model_copy(update={"lock_timeout_ms": 50}), application_name="tests"
    )
    with building(engine), pytest.raises(TargetError, match=r"^M310 .*lock timeout"):
        b.load(impatient, pin, SPEC, [chunk_task(pin, SPEC, 1)])
    impatient.dispose()
