"""The state after a kill, a lost server, a lock that is not granted, a full disk; and the resume.

A trigger holds a load in the middle of a chunk for as long as the test holds an advisory lock.
"""

import base64
import fcntl
import itertools
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from faults.kills import kill_server
from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.reader import chunk_task
from memos_assets.consolidate.sources.pins import take_pin
from memos_assets.errors import SourceError, TargetError
from memos_assets.postgres.engine import check_server, closing_pool, create_engine, libpq_url
from memos_assets.postgres.migrations import upgrade
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b

SPEC = MEMOS.table("semantic_memories")
KIND = MEMOS.kind("semantic_memory")
CHUNK = KIND.chunk_rows
MEBIBYTE = 1024 * 1024
#: Key of the lock that holds a load.
HOLD = 4711
#: Loads what is stale, as a process of its own: arguments are database, file.
LOAD = """
import sys
from pathlib import Path
import sqlalchemy as sa
from memos_assets.errors import MemosAssetsError
from memos_assets_tests.consolidate import builders as b

engine = sa.create_engine(sys.argv[1], connect_args={"application_name": "worker"})
try:
    print(b.load_stale(engine, b.observe(engine, Path(sys.argv[2]))))
except MemosAssetsError as error:
    sys.exit(str(error))
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedServer]:
    """A server with the settings of every day, to be killed and starved."""
    with tempfile.TemporaryDirectory(prefix="memos-tests-") as home:
        server = EmbeddedServer(Path(home))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def own_engine(own_server: EmbeddedServer) -> Iterator[sa.Engine]:
    """A database of that server, with the schema."""
    own_server.start()
    name = f"faults_{next(_numbers)}"
    with psycopg.connect(libpq_url(own_server.url("postgres")), autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    engine = create_engine(own_server.url(name), Settings(), application_name="tests")
    check_server(engine)
    upgrade(engine)
    yield engine
    engine.dispose()


def memories(folder: Path, *, chunks: int = 6, rows: int = 40) -> Path:
    """Write a file of several chunks; the third row of each is a reject."""
    return b.write_kind(
        folder,
        "semantic_memory",
        memories=[
            b.memory(chunk * CHUNK + row, embedding=None, attributes="{" if row == 3 else "{}")
            for chunk in range(chunks)
            for row in range(1, rows + 1)
        ],
    )


def state(engine: sa.Engine) -> list[list[tuple[object, ...]]]:
    """Rows, rejects and ledger, without times and runs."""
    return [
        b.rows(
            engine,
            "select id, content, chunk, source_rowid from memos.semantic_memories order by 4",
        ),
        b.rows(engine, "select source_rowid, chunk, reason from memos_ops.rejects order by 1"),
        b.rows(engine, "select chunk, rows, rejected, digest from memos_ops.chunks order by 1"),
    ]


def expected_state(engine: sa.Engine, path: Path) -> list[list[tuple[object, ...]]]:
    """Load the file undisturbed, note what is there, and take it away again."""
    b.consolidate(engine, path)
    expected = state(engine)
    b.execute(engine, "truncate memos.semantic_memories, memos_ops.rejects, memos_ops.chunks")
    return expected


def whole_chunks(engine: sa.Engine) -> list[int]:
    """Return the chunks in the ledger, after finding exactly their rows and rejects there."""
    rows = b.rows(
        engine, "select chunk, count(*) from memos.semantic_memories group by 1 order by 1"
    )
    rejects = b.rows(engine, "select chunk, count(*) from memos_ops.rejects group by 1 order by 1")
    ledger = b.rows(engine, "select chunk, rows, rejected from memos_ops.chunks order by 1")
    assert rows == [entry[:2] for entry in ledger]
    assert rejects == [(chunk, rejected) for chunk, _, rejected in ledger if rejected]
    return [entry[0] for entry in ledger]


@contextmanager
def stopped_at(engine: sa.Engine, rowid: int) -> Iterator[None]:
    """Let every load wait before it stores a row, until the block ends."""
    b.execute(
        engine,
        "create or replace function public.hold() returns trigger language plpgsql as $$ "
        f"begin perform pg_advisory_xact_lock_shared({HOLD}); return new; end $$",
        "create trigger hold before insert on memos.semantic_memories for each row "
        f"when (new.source_rowid = {rowid}) execute function public.hold()",
    )
    url = libpq_url(engine.url)
    try:
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("select pg_advisory_lock(%s)", (HOLD,))
            yield
            conn.close()
    finally:
        b.execute(engine, "drop trigger if exists hold on memos.semantic_memories")


#: Workers that wait in the middle of a COPY, and those that wait for another one's lock.
STOPPED = "wait_event = 'advisory' and query like 'copy%'"
QUEUED = "wait_event = 'advisory' and query not like 'copy%'"


def wait_for(engine: sa.Engine, workers: int, state: str = "true") -> None:
    """Wait until so many workers of the test's database are in a state."""
    for _ in range(1200):
        (found,) = b.rows(
            engine,
            "select count(*) from pg_stat_activity where datname = current_database() "
            f"and application_name = 'worker' and {state}",
        )
        if found == (workers,):
            return
        time.sleep(0.05)
    raise AssertionError(f"{workers} workers with {state}: there are {found} after a minute")


@contextmanager
def worker(engine: sa.Engine, path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run LOAD; a process that is left at the end of the block is killed."""
    url = engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", LOAD, url, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Let this process, and what it starts, write no file beyond a size: EFBIG instead of ENOSPC.

    A file system that is full needs a mount; this needs no right at all.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_kill_9_of_a_worker_in_the_middle_of_a_chunk_leaves_the_chunks_before_it(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    expected = expected_state(engine, path)
    with stopped_at(engine, 3 * CHUNK + 20), worker(engine, path) as process:
        wait_for(engine, 1, STOPPED)
        process.kill()
        process.wait()
        assert whole_chunks(engine) == [0, 1, 2]
    wait_for(engine, 0)
    assert whole_chunks(engine) == [0, 1, 2]
    assert b.load_stale(engine, b.observe(engine, path)) == {SPEC.name: [3, 4, 5]}
    assert state(engine) == expected


def test_kill_9_of_the_server_in_the_middle_of_a_load_loses_and_doubles_nothing(
    own_server: EmbeddedServer, own_engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    expected = expected_state(own_engine, path)
    with stopped_at(own_engine, 4 * CHUNK + 20), worker(own_engine, path) as process:
        wait_for(own_engine, 1, STOPPED)
        kill_server(own_server)
        said = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert said.startswith("M310 memos.semantic_memories semantic_memory/004: ")
        own_engine.dispose()
        own_server.start()
    # Every commit but a load's last is asynchronous, so the latest may be gone, but no half of one.
    saved = whole_chunks(own_engine)
    assert saved == list(range(len(saved)))
    assert len(saved) <= 4
    rest = list(range(len(saved), 6))
    assert b.load_stale(own_engine, b.observe(own_engine, path)) == {SPEC.name: rest}
    assert state(own_engine) == expected


def test_a_lock_that_never_comes_is_m310_and_changes_nothing(
    engine: sa.Engine, settings: Settings, tmp_path: Path
) -> None:
    pin = b.observe(engine, memories(tmp_path / "data", chunks=2))
    b.load(engine, pin, SPEC, [chunk_task(pin, SPEC, 0)])
    before = state(engine)
    impatient = create_engine(
        engine.url, settings.model_copy(update={"lock_timeout_ms": 100}), application_name="tests"
    )
    tasks = [chunk_task(pin, SPEC, chunk) for chunk in (0, 1)]
    with psycopg.connect(libpq_url(engine.url)) as other:
        other.execute("lock table memos.semantic_memories in access exclusive mode")
        refused = r"^M310 .*2 of 2 chunks .*/000, .*/001: .*lock timeout.*as it was before"
        with closing_pool(impatient), pytest.raises(TargetError, match=refused):
            b.load(impatient, pin, SPEC, tasks)
    assert state(engine) == before
    assert b.load_stale(engine, pin) == {SPEC.name: [1]}


def test_a_load_that_another_session_of_the_same_table_is_busy_with_waits_no_longer_than_allowed(
    engine: sa.Engine, settings: Settings, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data", chunks=1)
    impatient = create_engine(
        engine.url, settings.model_copy(update={"lock_timeout_ms": 100}), application_name="tests"
    )
    with stopped_at(engine, 20), worker(engine, path) as process:
        wait_for(engine, 1, STOPPED)
        pin = b.observe(engine, path)
        with pytest.raises(TargetError, match=r"^M310 .*lock timeout"):
            b.load_stale(impatient, pin)
        impatient.dispose()
        process.kill()


def test_two_processes_that_load_one_table_at_once_queue_and_leave_each_row_once(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data")
    expected = expected_state(engine, path)
    with stopped_at(engine, 20), worker(engine, path) as first, worker(engine, path) as second:
        wait_for(engine, 1, STOPPED)
        wait_for(engine, 1, QUEUED)
        b.execute(
            engine,
            "select pg_terminate_backend(pid) from pg_locks "
            f"where locktype = 'advisory' and objid = {HOLD} and mode = 'ExclusiveLock'",
        )
        ends = [process.communicate(timeout=60) for process in (first, second)]
    assert ends == [(f"{{'{SPEC.name}': [0, 1, 2, 3, 4, 5]}}\n", "")] * 2
    assert state(engine) == expected


def test_loading_again_touches_no_row(engine: sa.Engine, tmp_path: Path) -> None:
    path = memories(tmp_path / "data")

    def written() -> list[list[tuple[object, ...]]]:
        return [
            b.rows(engine, f"select xmin::text, ctid::text from {table} order by ctid")
            for table in ("memos.semantic_memories", "memos_ops.rejects", "memos_ops.chunks")
        ]

    b.consolidate(engine, path)
    before = written()
    b.consolidate(engine, path)
    assert written() == before
    assert [len(rows) for rows in before] == [6 * 39, 6, 6]


def heavy(folder: Path, mebibytes: int) -> Path:
    """Write a chunk of some rows, and one that needs so much room on the server's disk."""
    path = memories(folder, chunks=1)
    generator = np.random.default_rng(1)
    with closing(sqlite3.connect(path)) as connection:
        b.insert(
            connection,
            "memories",
            [
                b.memory(
                    CHUNK + row,
                    embedding=None,
                    content=base64.b64encode(generator.bytes(MEBIBYTE // 4 * 3)).decode(),
                )
                for row in range(mebibytes)
            ],
        )
        connection.commit()
    return path


@contextmanager
def starved(server: EmbeddedServer, size: int) -> Iterator[None]:
    """Let the server write no file beyond a size, as if its disk were full."""
    server.stop()
    with files_up_to(size):
        server.start()
    try:
        yield
    finally:
        # A server that cannot write its log may try for ever to write the end of it.
        if server.status().running:
            kill_server(server)
        server.start()


def test_a_full_disk_is_m310_and_the_load_goes_on_when_there_is_room(
    own_server: EmbeddedServer, own_engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.observe(own_engine, heavy(tmp_path / "data", 24))
    own_engine.dispose()
    # WAL segments of 16 MiB still fit.
    with starved(own_server, 20 * MEBIBYTE):
        with pytest.raises(
            TargetError, match=r"^M310 .*semantic_memory/001: .*could not extend file.*as it was"
        ):
            b.load_stale(own_engine, pin)
        assert whole_chunks(own_engine) == [0]
        own_engine.dispose()
    assert b.load_stale(own_engine, pin) == {SPEC.name: [1]}
    assert whole_chunks(own_engine) == [0, 1]
    assert b.red(own_engine, pin) == {}


def test_a_disk_too_full_for_the_log_takes_the_server_down_and_no_row_along(
    own_server: EmbeddedServer, own_engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.observe(own_engine, heavy(tmp_path / "data", 3))
    # A segment of which 12 MiB are in use: the heavy chunk does not fit into the rest.
    with psycopg.connect(libpq_url(own_engine.url), autocommit=True) as conn:
        conn.execute("select pg_switch_wal()")
        conn.execute("checkpoint")
        conn.execute("select pg_logical_emit_message(false, 'filler', repeat('x', 12582912))")
    own_engine.dispose()
    with starved(own_server, 13 * MEBIBYTE):
        with pytest.raises(TargetError, match=r"^M310 .*semantic_memory/00[01]: "):
            b.load_stale(own_engine, pin)
        own_engine.dispose()
    saved = whole_chunks(own_engine)
    assert saved in ([], [0])
    assert b.load_stale(own_engine, pin) == {SPEC.name: [0, 1][len(saved) :]}
    assert whole_chunks(own_engine) == [0, 1]
    assert b.red(own_engine, pin) == {}


def test_a_disk_too_full_for_a_pin_is_m106_and_leaves_nothing(tmp_path: Path) -> None:
    path = heavy(tmp_path / "data", 1)
    before, pins = path.read_bytes(), tmp_path / "pins"
    with (
        files_up_to(MEBIBYTE // 2),
        pytest.raises(SourceError, match=r"^M106 .*pins: a copy of the source cannot be written"),
    ):
        take_pin("memory", KIND, path, pins)
    assert [file.name for file in pins.iterdir()] == [".memos-assets-pins"]
    assert path.read_bytes() == before
    assert take_pin("memory", KIND, path, pins).rows["memories"] == 41


def test_the_partial_pin_of_a_killed_process_is_removed_by_the_next(tmp_path: Path) -> None:
    path, pins = memories(tmp_path / "data", chunks=1), tmp_path / "pins"
    pins.mkdir()
    for name in (".memory-1.part", ".memory-1.part-journal", ".memory-2.part"):
        (pins / name).write_bytes(b"half")
    with (pins / ".memory-2.part").open() as at_work:
        fcntl.flock(at_work, fcntl.LOCK_EX)
        pin = take_pin("memory", KIND, path, pins)
    left = {file.name for file in pins.iterdir()}
    assert left == {".memos-assets-pins", ".memory-2.part", pin.path.name}
