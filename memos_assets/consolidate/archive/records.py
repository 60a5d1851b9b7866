"""The archive in the bookkeeping tables: what each manifest said when a file was retired.

A row is written before the file moves, so the tables know of a move that a crash cut in half. A
manifest that differs from its row is not acted on. One without a row was written by a version that
kept none: it is entered here if its path is where the registry has its source.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from memos_assets.consolidate.archive.manifests import Archived, State, read_archive
from memos_assets.errors import TargetError
from memos_assets.postgres.schema import tables
from memos_assets.postgres.upsert import upsert

_row = tables.archived.c


def enter(engine: sa.Engine, entry: Archived, state: State) -> None:
    """Write down what is about to be done with a file, or what was done."""
    with engine.begin() as conn:
        enter_within(conn, entry, state)


def enter_within(conn: sa.Connection, entry: Archived, state: State) -> None:
    """Write the same as a part of a transaction."""
    manifest = entry.manifest
    conn.execute(
        upsert(tables.archived),
        {
            "folder": str(entry.folder),
            "name": manifest.name,
            "kind": manifest.kind,
            "is_source": manifest.is_source,
            "path": manifest.path,
            "sha256": manifest.sha256,
            "manifest_digest": manifest.digest,
            "state": state,
        },
    )


def remove(engine: sa.Engine, folder: Path) -> None:
    """Remove the row of a folder that nothing is in any more."""
    with engine.begin() as conn:
        remove_within(conn, folder)


def remove_within(conn: sa.Connection, folder: Path) -> None:
    """Remove it as a part of a transaction."""
    conn.execute(sa.delete(tables.archived).where(_row.folder == str(folder)))


def records_in(conn: sa.Connection, archive: Path) -> Mapping[Path, sa.Row[Any]]:
    """Return the rows of the folders of an archive, by folder."""
    found = conn.execute(sa.select(tables.archived).order_by(_row.folder))
    return {Path(row.folder): row for row in found if Path(row.folder).parent == archive}


def doubt(conn: sa.Connection, entry: Archived, roots: Sequence[Path] = ()) -> str:
    """Return why a manifest is not acted on; "" where it is.

    Args:
        conn: on the target database.
        entry: with a manifest of the right form.
        roots: folders that a test or legacy file without a row may have come from, beside the
            folders of registered sources.
    """
    manifest = entry.manifest
    row = conn.execute(
        sa.select(tables.archived).where(_row.folder == str(entry.folder))
    ).one_or_none()
    if row is not None:
        if row.manifest_digest != manifest.digest:
            return "its manifest is not the one that was written when the file was retired"
        return ""
    registered = {source.source: source for source in conn.execute(sa.select(tables.sources)).all()}
    known = registered.get(manifest.name) if manifest.is_source else None
    if known is not None:
        if (known.kind, known.path) == (manifest.kind, manifest.path):
            return ""
        return f"its manifest says {manifest.path}, and the registry {known.path}"
    folders = [*roots, *(Path(source.path).parent for source in registered.values())]
    if any(entry.origin.is_relative_to(folder) for folder in folders):
        return ""
    return f"neither a row nor a registered source nor MEMOS_DATA explains its path {manifest.path}"


def require_known(engine: sa.Engine, entry: Archived, roots: Sequence[Path] = ()) -> None:
    """Refuse to act on a manifest that the bookkeeping tables do not confirm.

    Raises:
        TargetError: M373.
    """
    with engine.connect() as conn:
        reason = doubt(conn, entry, roots)
    if reason:
        raise not_believed(entry, reason)


def not_believed(entry: Archived, reason: str) -> TargetError:
    """Return M373, for a manifest that is not acted on."""
    return TargetError(
        "M373",
        reason,
        where=str(entry.folder),
        fix="put back the manifest from a backup; if an earlier version wrote it: set MEMOS_DATA "
        "to the folder that the file came from",
    )


def damaged(what: str) -> TargetError:
    """Return M374, for a line of `read_archive` about what cannot be read."""
    return TargetError(
        "M374",
        what,
        where="archive",
        fix="put back the manifest from a backup, or move out of the archive what does not "
        "belong there; other files are not affected",
    )


def adopt(engine: sa.Engine, archive: Path, roots: Sequence[Path] = ()) -> list[Archived]:
    """Enter manifests of a version that kept no rows; return those that were entered.

    It moves nothing. A manifest that is half moved is one that loads must know of.
    """
    entries, _ = read_archive(archive)
    if not entries:
        return []
    with engine.begin() as conn:
        known = records_in(conn, archive)
        new = [
            entry
            for entry in entries
            if entry.folder not in known and not _is_back(entry) and not doubt(conn, entry, roots)
        ]
        for entry in new:
            enter_within(conn, entry, entry.manifest.state)
    return new


def _is_back(entry: Archived) -> bool:
    """Whether a file was restored, of which only the manifest is left."""
    return entry.manifest.state == "restoring" and not os.path.lexists(entry.file)


def lost(conn: sa.Connection, archive: Path, entries: Sequence[Archived]) -> dict[Path, str]:
    """Return folder -> name of the rows whose manifest is gone."""
    there = {entry.folder for entry in entries}
    return {
        folder: str(row.name)
        for folder, row in records_in(conn, archive).items()
        if folder not in there and not os.path.lexists(folder / "manifest.json")
    }
