"""The archive: a folder and a manifest for each retired file, and moves that no crash can halve.

The manifests decide; `memos_ops.sources.retired_to` mirrors them. A manifest names an action before
the action begins, so that `repair` can finish or undo it.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog.folder_markers import ARCHIVE_MARKER
from memos_assets.consolidate.archive.manifests import (
    MANIFEST,
    Archived,
    Manifest,
    discard,
    file_sha256,
    immovable,
    read_archive,
    sync,
    with_state,
    write,
)
from memos_assets.errors import SourceError, UsageError
from memos_assets.files import make_private
from memos_assets.postgres.schema import tables
from memos_assets.sqlite.locks import locks_on, open_files

#: Where a file system has no hard links, a name is moved instead.
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


@contextmanager
def locked(archive: Path) -> Iterator[None]:
    """Make the archive where there is none, and let one process at a time move files."""
    try:
        if not archive.exists():
            make_private(archive)
        marker = (archive / ARCHIVE_MARKER).open("a")
    except OSError as error:
        raise immovable(archive, error) from error
    with marker:
        fcntl.flock(marker, fcntl.LOCK_EX)
        yield


def store(engine: sa.Engine, archive: Path, manifest: Manifest) -> Archived:
    """Move a file into the archive; call it within `locked`.

    A crash at any moment leaves a manifest that says how far it came.

    Raises:
        SourceError: M111 the archive is on another file system; M112 the file changed or was
            opened meanwhile, and is at its original path again; M113 it cannot be moved.
    """
    entry = Archived(_folder_for(archive, manifest), replace(manifest, state="moving"))
    try:
        make_private(entry.folder)
    except OSError as error:
        raise immovable(entry.folder, error) from error
    sync(archive)
    write(entry)
    try:
        _rename(entry.origin, entry.file)
    except OSError as error:
        discard(entry)
        raise immovable(entry.origin, error, archive) from error
    sync(entry.folder)
    sync(entry.origin.parent)
    return _finish_store(engine, entry)


def restore(engine: sa.Engine, entry: Archived) -> None:
    """Move a file back to its original path; call it within `locked`.

    Raises:
        UsageError: M552 when another file is there.
        SourceError: M112 the file changed on the way; M113 it cannot be moved; M114 the archive
            lacks it, or has other bytes.
    """
    _require_whole(entry)
    if os.path.lexists(entry.origin):
        raise UsageError(
            "M552",
            "another file is at the original path of the retired one",
            where=str(entry.origin),
            fix="move the other file away, then run again",
        )
    entry = with_state(entry, "restoring")
    try:
        entry.origin.parent.mkdir(parents=True, exist_ok=True)
        _move_back(entry)
    except OSError as error:
        if not os.path.lexists(entry.origin):
            with_state(entry, "retired")
        raise immovable(entry.origin, error, entry.folder) from error
    _finish_restore(engine, entry)


def purge(entry: Archived) -> Archived:
    """Delete a retired file and keep its manifest; call it within `locked`.

    Raises:
        SourceError: M113 it cannot be deleted; M114 the archive lacks it, or holds other bytes.
    """
    _require_whole(entry)
    entry = with_state(entry, "purging")
    try:
        entry.file.unlink()
    except OSError as error:
        with_state(entry, "retired")
        raise immovable(entry.file, error) from error
    sync(entry.folder)
    return _finish_purge(entry)


def repair(engine: sa.Engine, archive: Path) -> list[str]:
    """Finish or undo unfinished moves, and return one note for each; call it within `locked`.

    Raises:
        SourceError: M112 when the moved file is not the one that its manifest describes.
    """
    said = []
    for entry in read_archive(archive)[0]:
        outcome = _repair(engine, entry)
        if outcome:
            said.append(f"{entry.manifest.name} {outcome}")
    return said


def _repair(engine: sa.Engine, entry: Archived) -> str:
    here, there = os.path.lexists(entry.file), os.path.lexists(entry.origin)
    same = here and there and entry.file.samefile(entry.origin)
    state = entry.manifest.state
    if state == "moving" and there and (same or not here):
        entry.file.unlink(missing_ok=True)
        discard(entry)
        return f"was not moved, the file is at {entry.origin}"
    if state == "moving" and here:
        _finish_store(engine, entry)
        return "is retired; a run that was interrupted had moved it"
    if state == "restoring" and there and (same or not here):
        _finish_restore(engine, entry)
        return "is restored; a run that was interrupted had moved it"
    if state in ("restoring", "purging") and here:
        _mirror(engine, with_state(entry, "retired"), entry.file)
        return f"stays retired; {state} it was interrupted"
    if state == "purging":
        _finish_purge(entry)
        return "is purged; a run that was interrupted had deleted it"
    if state == "retired" and here:
        _mirror(engine, entry, entry.file)
    return ""


def _finish_store(engine: sa.Engine, entry: Archived) -> Archived:
    if file_sha256(entry.file) != entry.manifest.sha256:
        raise _returned(entry, "the file changed while it was moved")
    if locks_on(entry.file) or open_files([entry.file]).processes:
        raise _returned(entry, "another process opened it while it was moved")
    entry = with_state(entry, "retired")
    _mirror(engine, entry, entry.file)
    return entry


def _finish_restore(engine: sa.Engine, entry: Archived) -> None:
    entry.file.unlink(missing_ok=True)
    sync(entry.folder)
    if file_sha256(entry.origin) != entry.manifest.sha256:
        _rename(entry.origin, entry.file)
        sync(entry.folder)
        with_state(entry, "retired")
        raise SourceError(
            "M112",
            "the file changed on its way back, and is in the archive again",
            where=str(entry.file),
            fix="stop the program that writes to it, and restore it from a backup",
        )
    _mirror(engine, entry, None)
    discard(entry)


def _finish_purge(entry: Archived) -> Archived:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return with_state(replace(entry, manifest=replace(entry.manifest, purged_at=now)), "purged")


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


def _returned(entry: Archived, what: str) -> SourceError:
    """Move a file back that may not be retired after all."""
    try:
        _move_back(entry)
        discard(entry)
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
    if not entry.manifest.is_source:
        return
    with engine.begin() as conn:
        conn.execute(
            sa.update(tables.sources)
            .where(tables.sources.c.source == entry.manifest.name)
            .values(retired_to=None if place is None else str(place))
        )
