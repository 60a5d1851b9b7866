"""Sources whose file is on its way into the archive or back: nothing is loaded over them."""

import os
from pathlib import Path

import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.files import sha256_of
from memos_assets.postgres.schema import tables


def refuse_half_moved(conn: sa.Connection, name: str) -> None:
    """Refuse to take a file for a source whose own file is on its way into the archive or back.

    Its rows would give way to those of whatever is at its path meanwhile.

    Raises:
        TargetError: M370.
    """
    row = tables.archived.c
    for entry in conn.execute(
        sa.select(tables.archived).where(
            row.name == name, row.is_source, row.state.in_(("moving", "restoring"))
        )
    ):
        origin, folder = Path(entry.path), Path(entry.folder)
        if not _half_moved(entry.state, origin, folder, entry.sha256):
            continue
        command = f"restore-source {name}"
        if entry.state == "moving":
            command = f"retire {name} --data {origin.parent}"
        raise TargetError(
            "M370",
            f"a command that moved its file was interrupted ({entry.state}); the file that was "
            f"loaded is at {folder / origin.name} or {origin}, and nothing is loaded over its rows",
            where=name,
            fix=f"finish or undo the move: memos-assets {command}",
        )


def _half_moved(state: str, origin: Path, folder: Path, sha256: str) -> bool:
    archived = folder / origin.name
    if state == "restoring":
        return os.path.lexists(origin)
    if not os.path.lexists(archived):
        # It was not moved yet; unless the archive is not there to be looked into.
        return not (folder.parent.is_dir() or _has_bytes(origin, sha256))
    return not (origin.exists() and archived.samefile(origin))


def _has_bytes(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path).hex() == sha256
    except OSError:
        return False
