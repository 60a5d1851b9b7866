"""A backup before the first write into a database that holds tables of others."""

import fcntl
import hashlib
import logging
import os
import re
import subprocess
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.files import make_private, private_descriptor, write_whole
from memos_assets.postgres import advisory_locks, channel, row_security, schemas
from memos_assets.postgres.application.presence import unadopted
from memos_assets.postgres.engine import (
    create_engine,
    libpq_url,
    reachable,
    shown,
    without_password,
)
from memos_assets.postgres.foreign_content import content_digest
from memos_assets.postgres.server.cluster import MAJOR_VERSION, programs
from memos_assets.settings import Settings, environment_with_password

_log = logging.getLogger(__name__)

#: Age up to which a dump is used again where the database holds the same.
_USED_AGAIN_SECONDS = 3600

#: Our schemas are made by the first write; tables of memOS may come later, and their adoption
#: writes to them for the first time. Tables of extensions belong to their script.
_FOREIGN = sa.text(
    """
    select n.nspname || '.' || c.relname from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'm', 'f') and n.nspname !~ '^pg_'
        and n.nspname <> 'information_schema' and n.nspname <> all(:ours)
        and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass
            and d.objid = c.oid and d.deptype = 'e')
        and (
            to_regnamespace(:bookkeeping) is null and to_regnamespace(:history) is null
            or to_regclass(:bookkeeping || '.alembic_version') is not null
            and n.nspname = :schema and c.relname = any(:application)
        )
    order by 1
    """
)


def back_up_foreign(url: sa.URL, settings: Settings) -> Path | None:
    """Dump what others have in the database before our first write to it; call before any write.

    The first write is what makes our schemas, or what adopts tables that memOS made since.

    ``home/backups/<database>-<utc time>.dump`` is in pg_dump's custom format, with roles and
    ownership as pg_dump records them; restore it with pg_restore. Files beside it have its sha256
    and the digest of what was dumped: a dump of the last hour is used again where that is the same.
    What a backup that was killed left behind is removed.

    Returns:
        Path of the dump, None when there was nothing to do.

    Raises:
        TargetError: M304 the server cannot be reached; M340 pg_dump cannot; M341 the dump cannot be
            written. Nothing was written to the database.
    """
    if settings.backup == "skip":
        return None
    engine = create_engine(url, settings, application_name="memos_assets:backup", pooled=False)
    with reachable(engine), engine.connect() as conn:
        if not _foreign_tables(conn):
            return None
        # Another process's dump may take longer than lock_timeout; the lock ends with us.
        conn.execute(sa.text("set lock_timeout = 0"))
        advisory_locks.BACKUP.wait(conn)
        database = str(conn.execute(sa.select(sa.func.current_database())).scalar_one())
        conn.commit()
        tables = _foreign_tables(conn)
        under_policies = row_security.shows_everything(conn)
        conn.commit()
        if not tables:
            return None
        folder = settings.home / "backups"
        _remove_unfinished(folder)
        content = content_digest(conn, schemas.left_out_of_backups())
        stem = re.sub(r"[^A-Za-z0-9_-]", "_", database)
        recent = _recent_dump(folder, stem, content)
        if recent is not None:
            _log.warning("%s has not changed since its backup, %s", database, recent)
            return recent
        path = folder / f"{stem}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.dump"
        _dump(url, settings, path, content, under_policies=under_policies)
        some = ", ".join(tables[:3]) + (", ..." if len(tables) > 3 else "")
        _log.warning("Backup of %s before the first write (it holds %s): %s", database, some, path)
        return path


def _foreign_tables(conn: sa.Connection) -> list[str]:
    known = {
        "ours": list(schemas.left_out_of_backups()),
        "bookkeeping": schemas.OPS.name,
        "history": schemas.DAGSTER.name,
        "schema": schemas.APPLICATION.name,
        "application": unadopted(conn),
    }
    return [str(name) for name in conn.execute(_FOREIGN, known).scalars()]


def _recent_dump(folder: Path, stem: str, content: str | None) -> Path | None:
    """Return the newest dump of the last hour whose content is that of the database now."""
    since = time.time() - _USED_AGAIN_SECONDS
    for path in sorted(folder.glob(f"{stem}-*.dump"), reverse=True):
        with suppress(OSError):
            same = path.with_name(f"{path.name}.content").read_text("utf-8").strip() == content
            if same and path.stat().st_mtime >= since:
                return path
    return None


def _remove_unfinished(folder: Path) -> None:
    """Remove dumps that nobody is writing any more: who writes one has it locked."""
    for path in folder.glob("*.part"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            _log.warning("Removed %s, which a backup that was killed left behind", path)


def _dump(
    url: sa.URL, settings: Settings, path: Path, content: str | None, *, under_policies: bool
) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        make_private(path.parent)
        with os.fdopen(private_descriptor(partial, os.O_WRONLY | os.O_EXCL), "wb") as locked:
            fcntl.flock(locked, fcntl.LOCK_EX)
            _run_pg_dump(url, settings, partial, under_policies=under_policies)
            with partial.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            # First the sum, then the dump: a dump that is there has its sum.
            write_whole(path.with_name(f"{path.name}.sha256"), f"{digest}  {path.name}\n")
            if content is not None:
                write_whole(path.with_name(f"{path.name}.content"), f"{content}\n")
            partial.rename(path)
    except OSError as error:
        raise TargetError(
            "M341",
            f"the backup before the first write cannot be written ({error.strerror})",
            where=str(path.parent),
            fix="free space, point MEMOS_HOME to a folder with room, or back the database up "
            "yourself and set MEMOS_BACKUP=skip",
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _run_pg_dump(url: sa.URL, settings: Settings, path: Path, *, under_policies: bool) -> None:
    done = subprocess.run(
        [
            str(programs() / "bin" / "pg_dump"),
            "--format=custom",
            "--no-password",
            f"--encoding={channel.ENCODING}",
            f"--lock-wait-timeout={settings.lock_timeout_ms or 2_000_000_000}",
            f"--file={path}",
            # Without it pg_dump refuses tables whose policies hold for this user, also those that
            # show it every row.
            *(["--enable-row-security"] if under_policies else []),
            *(f"--exclude-schema={schema}" for schema in schemas.left_out_of_backups()),
            f"--dbname={libpq_url(url)}",
        ],
        env=environment_with_password(url.password),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return
    said = [line for line in done.stderr.splitlines() if "error:" in line] or [
        f"exit code {done.returncode}"
    ]
    reason = without_password(said[0].partition("error: ")[2] or said[0], url)
    newer = "version mismatch" in reason
    raise TargetError(
        "M340",
        f"it holds tables of others, and pg_dump {MAJOR_VERSION} cannot back them up before the "
        f"first write: {reason}",
        where=shown(url),
        fix=(
            "back the database up with its own pg_dump"
            if newer
            else "give this user the right to read everything, or back the database up yourself"
        )
        + ", then set MEMOS_BACKUP=skip",
    )
