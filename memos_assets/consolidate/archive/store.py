"""The archive: a folder and a manifest for each retired file, and moves that no crash can halve.

A row in `memos_ops.archived` and the manifest name an action before the action begins, so that
`repair` can finish or undo it, and no load mistakes what is at the original path meanwhile for the
source. `memos_ops.sources.retired_to` mirrors the manifests.
"""

import errno
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from memos_assets.consolidate.archive import records
from memos_assets.consolidate.archive.lock import locked
from memos_assets.consolidate.archive.manifests import (
    MANIFEST,
    Archived,
    Manifest,
    discard,
    file_sha256,
    immovable,
    sync,
    with_state,
    write,
)
from memos_assets.errors import SourceError, UsageError
from memos_assets.files import make_private
from memos_assets.postgres.schema import tables
from memos_assets.sqlite.file import refuse_detour
from memos_assets.sqlite.locks import kept_from_writers, locks_on, logs_beside, open_files

__all__ = ["finish_purge", "finish_restore", "finish_store", "locked", "purge", "restore", "store"]

#: Where a file system has no hard links, a name is moved instead.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


def store(engine: sa.Engine, archive: Path, manifest: Manifest) -> Archived:
    """Move a file into the archive; call it within `locked`.

    The bytes that are moved are those that the manifest describes: they are compared while no
    other process may commit to the file, and again when no other process has it open.

    A crash at any moment leaves a manifest that says how far it came.

    Raises:
        SourceError: M111 the archive is on another file system; M112 the file changed or was
            opened meanwhile, and is at its original path; M113 it cannot be moved.
    """
    entry = Archived(_folder_for(archive, manifest), replace(manifest, state="moving"))
    with kept_from_writers(entry.origin) as kept:
        _require_same(entry, kept=kept)
        try:
            make_private(entry.folder)
        except OSError as error:
            raise immovable(entry.folder, error) from error
        sync(archive)
        records.enter(engine, entry, "moving")
        write(entry)
        try:
            _rename(entry.origin, entry.file)
        except OSError as error:
            forget_move(engine, entry)
            raise immovable(entry.origin, error, archive) from error
    sync(entry.folder)
    sync(entry.origin.parent)
    return finish_store(engine, entry)


def _require_same(entry: Archived, *, kept: bool) -> None:
    """Refuse a file that is not what its manifest says, before anything is written."""
    what = ""
    if not kept and (locked_by := locks_on(entry.origin)):
        what = f"the file {locked_by[0]}"
    elif beside := logs_beside(entry.origin):
        what = f"{beside[0]} is beside the file"
    elif file_sha256(entry.origin) != entry.manifest.sha256:
        what = "the file changed after its check"
    if what:
        raise SourceError(
            "M112",
            f"{what}; it was not moved",
            where=str(entry.origin),
            fix="stop memOS, consolidate again, then retire it",
        )


def restore(engine: sa.Engine, entry: Archived) -> str:
    """Move a file back to its original path; call it within `locked`.

    Returns:
        A note where the file was written to as soon as it was back, else "".

    Raises:
        UsageError: M552 when another file is there.
        SourceError: M101 the path leads elsewhere by now; M113 it cannot be moved; M114 the archive
            lacks it, or has other bytes.
    """
    _require_whole(entry)
    _require_own_path(entry.origin)
    if os.path.lexists(entry.origin):
        raise UsageError(
            "M552",
            "another file is at the original path of the retired one",
            where=str(entry.origin),
            fix="move the other file away, then run again",
        )
    records.enter(engine, entry, "restoring")
    entry = with_state(entry, "restoring")
    try:
        entry.origin.parent.mkdir(parents=True, exist_ok=True)
        _move_back(entry)
    except OSError as error:
        if not os.path.lexists(entry.origin):
            stay_retired(engine, entry)
        raise immovable(entry.origin, error, entry.folder) from error
    return finish_restore(engine, entry)


def _require_own_path(path: Path) -> None:
    """Refuse a path some folder of which became a link."""
    refuse_detour(next(place for place in path.parents if os.path.lexists(place)))


def purge(engine: sa.Engine, entry: Archived) -> Archived:
    """Delete a retired file and keep its manifest; call it within `locked`.

    Raises:
        SourceError: M113 it cannot be deleted; M114 the archive lacks it, or holds other bytes.
    """
    _require_whole(entry)
    records.enter(engine, entry, "purging")
    entry = with_state(entry, "purging")
    try:
        entry.file.unlink()
    except OSError as error:
        stay_retired(engine, entry)
        raise immovable(entry.file, error) from error
    sync(entry.folder)
    return finish_purge(engine, entry)


def finish_store(engine: sa.Engine, entry: Archived) -> Archived:
    """Finish a move into the archive, or move a file back that is not what was proven.

    Raises:
        SourceError: M112 it is at its original path again.
    """
    if what := in_the_way(entry):
        raise _returned(engine, entry, what)
    entry = with_state(entry, "retired")
    _mirror(engine, entry, entry.file)
    return entry


def in_the_way(entry: Archived) -> str:
    """Return why a file that was moved may not be retired after all; "" where it may."""
    # Nobody can open it by its original path any more: who has it open now is the last that may
    # write, and the bytes are read after that.
    if locks_on(entry.file) or open_files([entry.file]).processes:
        return "another process opened it while it was moved"
    if not os.path.lexists(entry.origin) and (beside := logs_beside(entry.origin)):
        return f"{beside[0]} is at its original path, with changes of its own"
    if file_sha256(entry.file) != entry.manifest.sha256:
        return "the file changed while it was moved"
    return ""


def finish_restore(engine: sa.Engine, entry: Archived) -> str:
    """Finish a move back to the original path, whatever the file holds by now.

    Returns:
        A note where it is not what was retired, else "".
    """
    entry.file.unlink(missing_ok=True)
    sync(entry.folder)
    _mirror(engine, entry, None)
    changed = not _has_bytes(entry.origin, entry.manifest.sha256)
    discard(entry)
    return "it was written to since it is back: consolidate it again" if changed else ""


def finish_purge(engine: sa.Engine, entry: Archived) -> Archived:
    """Write down that a file is deleted."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    entry = with_state(replace(entry, manifest=replace(entry.manifest, purged_at=now)), "purged")
    records.enter(engine, entry, "purged")
    return entry


def stay_retired(engine: sa.Engine, entry: Archived) -> None:
    """Write down that a file is in the archive, as before an action that did not happen."""
    _mirror(engine, with_state(entry, "retired"), entry.file)


def forget_move(engine: sa.Engine, entry: Archived) -> None:
    """Remove what was written down of a move that did not happen."""
    discard(entry)
    records.remove(engine, entry.folder)


def _folder_for(archive: Path, manifest: Manifest) -> Path:
    """Return a folder that no other file has: one that was purged may come again."""
    name = f"{manifest.name}-{manifest.sha256[:12]}"
    number, folder = 1, archive / name
    while (folder / MANIFEST).exists() or (folder / Path(manifest.path).name).exists():
        number += 1
        folder = archive / f"{name}-{number}"
    return folder


def _require_whole(entry: Archived) -> None:
    what = ""
    if not entry.file.is_file():
        what = "the archive lacks the file"
    elif file_sha256(entry.file) != entry.manifest.sha256:
        what = "the bytes of the file are not those that were retired"
    if what:
        raise SourceError(
            "M114",
            what,
            where=str(entry.file),
            fix=f"put back the file with sha256 {entry.manifest.sha256}, from a backup",
        )


def _has_bytes(path: Path, sha256: str) -> bool:
    try:
        return file_sha256(path) == sha256
    except SourceError:
        return False


def _returned(engine: sa.Engine, entry: Archived, what: str) -> SourceError:
    """Move a file back that may not be retired after all."""
    try:
        _move_back(entry)
        forget_move(engine, entry)
        where = "it is at its original path"
    except OSError as error:
        where = f"it cannot be moved back ({error.strerror}) and is at {entry.file}"
    return SourceError(
        "M112",
        f"{what}; {where}",
        where=str(entry.origin),
        fix="stop memOS, consolidate again, then retire it",
    )


def _rename(source: Path, place: Path) -> None:
    # Not Path.rename: a name on another file system must be refused, never copied and deleted.
    os.rename(source, place)  # noqa: PTH104


def _move_back(entry: Archived) -> None:
    """Give a file its former name, which, unlike a rename, replaces nothing that appeared there."""
    try:
        os.link(entry.file, entry.origin)
    except OSError as error:
        if error.errno not in _NO_LINKS or os.path.lexists(entry.origin):
            raise
        _rename(entry.file, entry.origin)
    sync(entry.origin.parent)
    entry.file.unlink(missing_ok=True)
    sync(entry.folder)


def _mirror(engine: sa.Engine, entry: Archived, place: Path | None) -> None:
    """Write down in the tables that a file is retired, or at its original path again (None)."""
    with engine.begin() as conn:
        if entry.manifest.is_source:
            conn.execute(
                sa.update(tables.sources)
                .where(tables.sources.c.source == entry.manifest.name)
                .values(retired_to=None if place is None else str(place))
            )
        if place is None:
            records.remove_within(conn, entry.folder)
        else:
            records.enter_within(conn, entry, "retired")
