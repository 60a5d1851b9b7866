"""Which system user the embedded server runs as, and what that user must be able to reach."""

import os
import pwd
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from memos_assets.errors import ServerError

#: PostgreSQL refuses to run as root, so root's server runs as this user; pgserver names it so.
SYSTEM_USER = "pgserver"


@dataclass(frozen=True, slots=True)
class Account:
    """The server's system user; ``switch`` is true when we are root and must become it."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(
        self,
        arguments: list[str],
        *,
        cwd: Path,
        output: int,
        errors: int = subprocess.STDOUT,
        inherited: tuple[int, ...] = (),
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program as this user, its output to the file descriptors given.

        It keeps the descriptors ``inherited``, and so do the programs that it starts.

        The environment is ours alone: PGPORT, PGDATA or PGOPTIONS of the caller mean other servers.
        """
        return subprocess.run(
            arguments,
            cwd=cwd,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
            umask=0o077,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            pass_fds=inherited,
            check=False,
        )


def account_for(data_directory: Path) -> Account:
    """Choose who runs the server: the owner of the data, else ourselves, or for root ``pgserver``.

    As root, and only when there is no such user yet, ``useradd --system pgserver`` is run.

    Raises:
        ServerError: M602 the data belongs to somebody we cannot become; M604 no user for root.
    """
    us = os.geteuid()
    owner = data_directory.stat().st_uid if data_directory.exists() else None
    if us != 0:
        if owner not in (None, us):
            raise ServerError(
                "M602",
                f"belongs to user {_name(owner)}, this process is {_name(us)}",
                where=str(data_directory),
                fix="run as its owner, or set MEMOS_HOME to a directory of your own",
            )
        return Account(_name(us), us, os.getegid(), switch=False)
    if owner == 0:
        raise ServerError(
            "M602",
            "belongs to root, and PostgreSQL does not run as root",
            where=str(data_directory),
            fix=f"chown -R {SYSTEM_USER} '{data_directory}'",
        )
    entry = _system_user() if owner is None else None
    if entry is None and owner is not None:
        gid = data_directory.stat().st_gid
        return Account(_name(owner), owner, gid, switch=True)
    assert entry is not None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def _name(uid: int | None) -> str:
    try:
        return pwd.getpwuid(uid or 0).pw_name
    except KeyError:
        return str(uid)


def _system_user() -> pwd.struct_passwd:
    """Return the entry of ``pgserver``, created without home and shell if it is missing."""
    for last in (False, True):
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            if last:
                break
        command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER]
        try:
            subprocess.run(command, check=False, capture_output=True)
        except OSError:
            break
    raise ServerError(
        "M604",
        f"PostgreSQL does not run as root, and the user {SYSTEM_USER} could not be created",
        where="embedded server",
        fix=f"create it (useradd --system {SYSTEM_USER}), or run as an ordinary user, "
        "or set MEMOS_DATABASE_URL",
    )


def open_path(path: Path, account: Account) -> None:
    """Let the server's user reach ``path``: o+x on those parents that lack it, nothing else.

    Only as root, whose directories another user may not be able to pass through. Passing through
    (x) is not listing (r): nobody can see more names than before.

    Raises:
        ServerError: M601 a parent's mode cannot be changed.
    """
    if not account.switch:
        return
    for parent in path.parents:
        entry = parent.stat()
        passable = stat.S_IXUSR if entry.st_uid == account.uid else stat.S_IXOTH
        if entry.st_mode & passable:
            continue
        try:
            parent.chmod(stat.S_IMODE(entry.st_mode) | passable)
        except OSError as error:
            raise ServerError(
                "M601",
                f"the server's user {account.name} cannot pass through it: {error.strerror}",
                where=str(parent),
                fix=f"chmod o+x '{parent}', or set MEMOS_HOME to a directory elsewhere",
            ) from error


def open_programs(folder: Path, account: Account) -> None:
    """Let the server's user read and run PostgreSQL's own programs, installed under umask 077.

    Adds o+r, and o+x to directories and programs, under ``folder`` only, and only if the server's
    program itself lacks them.
    """
    open_path(folder / "bin" / "postgres", account)
    wanted = stat.S_IROTH | stat.S_IXOTH
    if not account.switch or (folder / "bin" / "postgres").stat().st_mode & wanted == wanted:
        return
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        path.chmod(mode | (wanted if mode & stat.S_IXUSR else stat.S_IROTH))


def take_directory(path: Path, account: Account) -> None:
    """Make ``path`` a directory that only the server's user (and root) can enter.

    Raises:
        ServerError: M602 it exists and is a link, or somebody else's, or open to others.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    entry = path.lstat()
    if account.switch and entry.st_uid == 0 and stat.S_ISDIR(entry.st_mode):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
        entry = path.lstat()
    if not stat.S_ISDIR(entry.st_mode) or entry.st_uid != account.uid or entry.st_mode & 0o077:
        raise ServerError(
            "M602",
            f"is not a private directory of user {account.name}",
            where=str(path),
            fix="remove it if it is yours, or set MEMOS_HOME to a shorter path",
        )
