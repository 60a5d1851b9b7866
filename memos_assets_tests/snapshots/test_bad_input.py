"""Stores that fail, roles that see too little, killed writers: one error, and nothing half-done."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

from memos_assets.errors import SnapshotError
from memos_assets.postgres.copy import bulk
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.settings import PROJECT_ROOT, Settings
from memos_assets.snapshots.manifest import Rewritten
from memos_assets.snapshots.reader import batches
from memos_assets.snapshots.sole_writer import sole_writer
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.snapshots.memories import fill

_HOLDS_A_PARTIAL_FILE = """
import sys, time
from memos_assets.snapshots.store import open_store
store = open_store(sys.argv[1])
with store.partial() as name, store.filesystem.open_output_stream(store.path(name)) as file:
    file.write(b"rows")
    file.flush()
    print("written", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return an empty store in a local folder."""
    return open_store(str(tmp_path / "snapshots"))


def refused(engine: sa.Engine, store: Store, label: str | None = None) -> SnapshotError:
    """Return the error of a write."""
    with pytest.raises(SnapshotError) as caught:
        write_snapshot(engine, store, label=label)
    return caught.value


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """Have the system refuse what would make a file of this process larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_leaves_nothing_and_the_next_write_succeeds(
    engine: sa.Engine, store: Store
) -> None:
    fill(engine, 2_000)
    with files_up_to(30_000):
        error = refused(engine, store)
    assert error.code == "M806"
    assert "File too large" in error.what
    assert store.ids() == []
    assert store.names("partial") == []
    assert verify(store, write_snapshot(engine, store).manifest).is_whole


def test_a_folder_that_cannot_be_made_is_refused(engine: sa.Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert refused(engine, open_store(str(tmp_path / "file" / "snapshots"))).code == "M806"


def test_a_second_writer_waits_and_is_refused_in_the_end(
    engine: sa.Engine, database_url: sa.URL, store: Store
) -> None:
    impatient = create_engine(
        database_url, Settings(lock_timeout_ms=100), application_name="tests", pooled=False
    )
    with sole_writer(engine, store):
        error = refused(impatient, store)
        elsewhere = open_store(str(Path(store.root).with_name("other")))
        assert write_snapshot(impatient, elsewhere).manifest.rows == 0
    assert error.code == "M804"
    assert write_snapshot(impatient, store).manifest.rows == 0
    # A prune for another database that shares the folder would not see what is about to be there.
    other = create_engine(
        database_url.set(database="postgres"), Settings(), application_name="t", pooled=False
    )
    with sole_writer(other, store):
        assert refused(impatient, store).code == "M804"
    assert write_snapshot(impatient, store).unchanged


def test_a_role_from_which_policies_hide_rows_is_refused(
    engine: sa.Engine, database_url: sa.URL, store: Store
) -> None:
    fill(engine, 3)
    role = f"half_blind_{database_url.database}"
    name = sql.Identifier(role)
    with psycopg.connect(libpq_url(database_url), autocommit=True) as conn:
        conn.execute(sql.SQL("create role {} login").format(name))
        try:
            limited = create_engine(
                database_url.set(username=role), Settings(), application_name="t", pooled=False
            )
            assert refused(limited, store).code == "M805"
            for schema in ("agent", "public", "memos_ops", "memos"):
                of = sql.Identifier(schema)
                conn.execute(sql.SQL("grant usage on schema {} to {}").format(of, name))
                conn.execute(
                    sql.SQL("grant select on all tables in schema {} to {}").format(of, name)
                )
            error = refused(limited, store)
            assert (error.code, "row-level security" in error.what) == ("M805", True)
            assert store.ids() == []
            conn.execute(sql.SQL("alter role {} bypassrls").format(name))
            assert write_snapshot(limited, store).manifest.rows > 3
        finally:
            conn.execute(sql.SQL("drop owned by {}").format(name))
            conn.execute(sql.SQL("drop role {}").format(name))


def test_partial_files_of_a_killed_process_are_swept_and_those_of_a_live_one_are_not(
    engine: sa.Engine, store: Store
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDS_A_PARTIAL_FILE, store.root],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(PROJECT_ROOT)},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"written\n"
            assert store.sweep() == 0
            assert len(store.names("partial")) == 1
        finally:
            process.kill()
    assert len(store.names("partial")) == 1
    write_snapshot(engine, store)
    assert store.names("partial") == []


def test_a_killed_write_leaves_no_snapshot(
    engine: sa.Engine, database_url: sa.URL, tmp_path: Path
) -> None:
    fill(engine, 50)
    store = open_store(str(tmp_path / "home" / "snapshots"))
    with engine.connect() as blocking:
        # Tables are written by name: this one comes behind those of agents.
        blocking.exec_driver_sql("lock table public.memories in access exclusive mode")
        with subprocess.Popen(
            [sys.executable, "-m", "memos_assets", "snapshots", "write"],
            env={
                "PYTHONPATH": str(PROJECT_ROOT),
                "MEMOS_HOME": str(tmp_path / "home"),
                "MEMOS_DATABASE_URL": libpq_url(database_url),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            waits = sa.text(
                "select count(*) from pg_locks where not granted "
                "and relation = 'public.memories'::regclass"
            )
            while not blocking.execute(waits).scalar_one():
                assert process.poll() is None
            process.kill()
        assert any("agent.memories" in name for name in store.names("tables"))
        assert store.ids() == []
    written = write_snapshot(engine, store)
    assert verify(store, written.manifest).is_whole
    assert len(store.names("tables")) == len(written.manifest.tables)


def test_a_damaged_former_file_is_not_copied_from(
    engine: sa.Engine, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "CHUNK_ROWS", 64)
    fill(engine, 1_000)
    first = write_snapshot(engine, store).manifest
    with engine.begin() as conn:
        last = "(select max(a) from agent.links)"
        conn.execute(sa.text(f"update agent.links set weight = 0.1 where a = {last}"))
    second = write_snapshot(engine, store)
    assert verify(store, second.manifest).is_whole
    assert second.reused == [t.qualified for t in first.tables if t.name != "links"]

    entry = second.manifest.entry("agent.links")
    assert entry is not None
    path = Path(store.path(entry.file))
    content = bytearray(path.read_bytes())
    for place in range(100, 1_000):
        content[place] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=r"^M807 table agent\.links, "):
        list(batches(store, entry))
    with engine.begin() as conn:
        conn.execute(sa.text(f"update agent.links set weight = 0.2 where a = {last}"))
    assert verify(store, write_snapshot(engine, store).manifest).is_whole


def test_a_missing_or_truncated_file_is_named_and_written_anew(
    engine: sa.Engine, store: Store
) -> None:
    fill(engine, 20)
    manifest = write_snapshot(engine, store).manifest
    files = [Path(store.path(entry.file)) for entry in manifest.tables if entry.rows]
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-100])

    found = verify(store, manifest)

    assert [error.code for error in found.damaged] == ["M807", "M807"]
    assert "missing" in found.damaged[0].what
    assert "bytes where" in found.damaged[1].what
    again = write_snapshot(engine, store)
    assert (again.unchanged, again.manifest.id) == (True, manifest.id)
    assert verify(store, again.manifest).is_whole


def test_manifests_that_were_edited_or_are_of_another_format_are_refused(
    engine: sa.Engine, store: Store
) -> None:
    manifest = write_snapshot(engine, store).manifest
    path = Path(store.path(f"manifests/{manifest.id}.json"))
    text = path.read_text()
    for changed, code in (
        (text.replace("memos-snapshot-1", "memos-snapshot-9"), "M800"),
        (text[:100], "M800"),
        (text.replace('"bigint"', '"integer"'), "M801"),
    ):
        path.write_text(changed)
        with pytest.raises(SnapshotError, match=f"^{code} "):
            store.manifest(manifest.id)
    # A damaged manifest is not a reason to be without a snapshot of today.
    assert write_snapshot(engine, store).manifest.id == manifest.id
    assert store.manifest(manifest.id).id == manifest.id


def test_labels_that_cannot_be_are_refused_before_a_file_is_written(
    engine: sa.Engine, store: Store
) -> None:
    for label in ("a/b", "", "abcdef", "x" * 201):
        assert refused(engine, store, label).code == "M831"
    assert store.names("tables") == []
    first = write_snapshot(engine, store, label="release").manifest
    assert write_snapshot(engine, store, label="release").manifest.id == first.id
    fill(engine, 1)
    assert refused(engine, store, "release").code == "M831"
    assert store.manifest("release").id == first.id
    assert store.ids() == [first.id]


def test_rows_of_a_snapshot_that_an_erasure_rewrote_are_not_written_unseen(
    engine: sa.Engine, store: Store
) -> None:
    first = write_snapshot(engine, store).manifest
    store.put_rewritten(Rewritten(first.id, "0" * 64, first.made_at))
    assert refused(engine, store).code == "M827"
