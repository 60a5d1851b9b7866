"""A server that runs and does not answer is neither cleared away nor started a second time."""

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from memos_assets.errors import ServerError
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server import serving_lock
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets_tests.conftest import FAST

#: Starts or stops the server of a home, within a second; prints the error, or the process id.
ACT = f"""
import sys
from pathlib import Path
from memos_assets.errors import ServerError
from memos_assets.postgres.server.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[2]), settings={FAST!r}, start_timeout_seconds=1)
try:
    getattr(server, sys.argv[1])()
except ServerError as error:
    print(error.code)
else:
    print("runs", server.status().running)
"""
#: Programs before the command, by which it sees other processes than we do.
NAMESPACES = (
    ("unshare", "--pid", "--fork", "--mount-proc"),
    ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"),
)


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedServer]:
    """A server outside of pytest's own folder, which other sessions close to the server's user."""
    with tempfile.TemporaryDirectory(prefix="memos-tests-") as folder:
        server = EmbeddedServer(Path(folder) / "home", settings=FAST)
        server.start()
        yield server
        server.stop()


@contextmanager
def not_answering(server: EmbeddedServer) -> Iterator[int]:
    """Have the server hang for a block; its process id."""
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def in_another_container(act: str, home: Path) -> str:
    """Act from another PID namespace; where none can be made, with the id of another process.

    Both are what a second container sees: postmaster.pid names a process that is not a server.
    """
    command = [sys.executable, "-c", ACT, act, str(home)]
    for namespace in NAMESPACES:
        if shutil.which("unshare") and _works(namespace):
            done = subprocess.run([*namespace, *command], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()
    pid_file = home / "postgres" / "postmaster.pid"
    kept = pid_file.read_text()
    pid_file.write_text("\n".join([str(os.getpid()), *kept.splitlines()[1:]]) + "\n")
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        assert pid_file.exists()
    finally:
        pid_file.write_text(kept)
    return done.stdout.strip()


def _works(namespace: tuple[str, ...]) -> bool:
    return subprocess.run([*namespace, "true"], capture_output=True).returncode == 0


def test_a_second_container_neither_clears_away_nor_starts(running: EmbeddedServer) -> None:
    recorded = running.data_directory / "postmaster.pid"
    with psycopg.connect(libpq_url(running.url()), autocommit=True) as conn:
        conn.execute("create table kept as select 42 as answer")
        with not_answering(running):
            before = recorded.read_bytes()
            assert in_another_container("start", running.home) == "M610"
            assert recorded.read_bytes() == before
        row = conn.execute("select answer from kept").fetchone()
    assert row == (42,)
    assert in_another_container("start", running.home) == "runs True"
    assert in_another_container("stop", running.home) == "M610"
    assert running.log.read_text().count("starting PostgreSQL") == 1


@pytest.fixture
def deaf(running: EmbeddedServer, monkeypatch: pytest.MonkeyPatch) -> EmbeddedServer:
    """The server as who gets no answer from it sees it, without waiting for it for real."""
    monkeypatch.setattr(EmbeddedServer, "_answers", lambda *_: False)
    return EmbeddedServer(running.home, settings=FAST, start_timeout_seconds=0.3)


@contextmanager
def recording(server: EmbeddedServer, pid: int | None) -> Iterator[None]:
    """Have postmaster.pid name another process for a block, or be missing."""
    recorded = server.data_directory / "postmaster.pid"
    kept, entry = recorded.read_bytes(), recorded.stat()
    recorded.unlink()
    if pid is not None:
        recorded.write_bytes(b"%d\n" % pid + kept.partition(b"\n")[2])
    try:
        yield
        assert recorded.exists() == (pid is not None)
    finally:
        recorded.write_bytes(kept)
        os.chown(recorded, entry.st_uid, entry.st_gid)


@pytest.mark.parametrize("pid", [pytest.param(os.getpid(), id="stale"), None])
def test_a_process_id_does_not_decide(deaf: EmbeddedServer, pid: int | None) -> None:
    for act in (deaf.start, deaf.stop):
        with (
            recording(deaf, pid),
            pytest.raises(ServerError, match=r"^M610 .*in another container"),
        ):
            act()


def test_a_server_from_before_the_lock_is_found_by_its_socket(deaf: EmbeddedServer) -> None:
    """One that a former checkout started holds no lock; that it listens tells as much."""
    lock = deaf.data_directory / serving_lock.NAME
    lock.rename(lock.with_name("kept"))
    try:
        with recording(deaf, os.getpid()), pytest.raises(ServerError, match=r"^M610 "):
            deaf.start()
    finally:
        lock.with_name("kept").replace(lock)


def test_a_server_that_is_seen_is_waited_for(deaf: EmbeddedServer) -> None:
    with pytest.raises(ServerError, match=r"^M606 .*process \d+ is starting"):
        deaf.start()


def test_the_lock_is_kept_for_the_life_of_the_server(running: EmbeddedServer) -> None:
    assert serving_lock.is_taken(running.data_directory)
    running.stop()
    assert not serving_lock.is_taken(running.data_directory)
    running.start()
    assert serving_lock.is_taken(running.data_directory)


def test_the_same_data_under_another_path_is_the_same_server(running: EmbeddedServer) -> None:
    """As a volume that two containers mount at different places, where the path is not there."""
    started = running.log.read_text().count("starting PostgreSQL")
    moved = EmbeddedServer(running.home.with_name("elsewhere"), settings=FAST)
    running.home.rename(moved.home)
    try:
        moved.start()
        assert moved.status().running
    finally:
        moved.home.rename(running.home)
    assert running.log.read_text().count("starting PostgreSQL") == started


def test_what_holds_rows_is_its_users_alone_under_any_umask(running: EmbeddedServer) -> None:
    running.stop()
    running.log.chmod(0o644)
    before = os.umask(0)
    try:
        running.start()
    finally:
        os.umask(before)
    for path in (running.log, running.home / "postgres.lock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_start_that_hangs_does_not_hold_others_up_for_ever(tmp_path: Path) -> None:
    with (tmp_path / "postgres.lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(ServerError, match=r"^M611 .*another process"):
            EmbeddedServer(tmp_path, settings=FAST, start_timeout_seconds=0.2).start()
