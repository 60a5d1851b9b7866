"""The manifest beside a retired file: its content, and how it is written and read."""

import errno
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from memos_assets.errors import SourceError, UsageError
from memos_assets.files import write_whole

MANIFEST = "manifest.json"
State = Literal["moving", "retired", "restoring", "purging", "purged"]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts about a retired file, as they are written beside it.

    Attributes:
        name: of the source, or of the test or legacy file.
        kind: name of the kind of file.
        is_source: whether its rows are consolidated; a test or legacy file's are not.
        path: the original path.
        size: in bytes.
        modified_ns: time of its last change, nanoseconds since 1970.
        mode: permissions.
        sha256: of its bytes.
        tables: SQLite table -> rows.
        pin_digest: of the content that was loaded and proven.
        consolidations: the ones that loaded and proved it, with the ids of their runs.
        checklist: of every check: name (key ``"claim"``), asset, passed, expected, observed, time.
        rejects: table, reason, resolution and rows.
        versions: of what loaded and proved it.
        retired_at: ISO 8601, UTC.
        state: what is or was being done with it.
        purged_at: when it was deleted.
    """

    name: str
    kind: str
    is_source: bool
    path: str
    size: int
    modified_ns: int
    mode: int
    sha256: str
    tables: Mapping[str, int]
    retired_at: str
    pin_digest: str | None = None
    consolidations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    checklist: Sequence[Mapping[str, Any]] = ()
    rejects: Sequence[Mapping[str, Any]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    state: State = "moving"
    purged_at: str | None = None

    @property
    def rows(self) -> int:
        """Rows of all its tables."""
        return sum(self.tables.values())


@dataclass(frozen=True, slots=True)
class Archived:
    """A folder of the archive and its manifest."""

    folder: Path
    manifest: Manifest

    @property
    def file(self) -> Path:
        """The path in the archive."""
        return self.folder / self.origin.name

    @property
    def origin(self) -> Path:
        """The original path."""
        return Path(self.manifest.path)

    def deletable_from(self, grace_days: int) -> datetime:
        """Return when its grace period ends."""
        return datetime.fromisoformat(self.manifest.retired_at) + timedelta(days=grace_days)


def read_archive(archive: Path) -> tuple[list[Archived], list[str]]:
    """Return the entries of the archive by folder, and the folders that cannot be read."""
    entries, unreadable = [], []
    for folder in sorted(archive.iterdir()) if archive.is_dir() else ():
        if not folder.is_dir():
            continue
        try:
            entries.append(_read(folder))
        except FileNotFoundError:
            # A crash before the manifest leaves a folder with nothing in it.
            if set(folder.iterdir()) - set(_partial(folder)):
                unreadable.append(f"{folder.name} has no manifest")
        except (OSError, ValueError, TypeError) as error:
            unreadable.append(f"{folder.name}/{MANIFEST} cannot be read ({error})")
    return entries, unreadable


def _read(folder: Path) -> Archived:
    content = (folder / MANIFEST).read_text("utf-8")
    return Archived(folder, Manifest(**json.loads(content)))


def _partial(folder: Path) -> list[Path]:
    """Return manifests that a crash left half written."""
    return list(folder.glob(f"{MANIFEST}.*.part"))


def entry_named(archive: Path, name: str) -> Archived:
    """Return the retired file of a name, or of a folder of the archive.

    Raises:
        UsageError: M550 when there is none; M551 when there are several.
    """
    retired = [e for e in read_archive(archive)[0] if e.manifest.state == "retired"]
    found = [e for e in retired if e.folder.name == name] or [
        e for e in retired if e.manifest.name == name
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            "M551",
            f"several retired files have this name: {', '.join(e.folder.name for e in found)}",
            where=name,
            fix="pass one of these instead of the name",
        )
    raise UsageError(
        "M550",
        "no retired file of this name; there are: "
        + (", ".join(entry.manifest.name for entry in retired) or "none"),
        where=name,
        fix="see what is retired: memos-assets archive",
    )


def is_purged(path: Path) -> bool:
    """Whether a path is that of a retired file which was deleted on purpose."""
    try:
        return _read(path.parent).manifest.state == "purged"
    except (OSError, ValueError, TypeError):
        return False


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes.

    Raises:
        SourceError: M113 when it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise immovable(path, error) from error


def with_state(entry: Archived, state: State) -> Archived:
    """Write down what is being done with a file, before it is done."""
    entry = replace(entry, manifest=replace(entry.manifest, state=state))
    write(entry)
    return entry


def write(entry: Archived) -> None:
    """Write a manifest, whole or not at all.

    Raises:
        SourceError: M113 when it cannot be written.
    """
    content = json.dumps(asdict(entry.manifest), indent=2) + "\n"
    try:
        write_whole(entry.folder / MANIFEST, content)
    except OSError as error:
        raise immovable(entry.folder, error) from error


def discard(entry: Archived) -> None:
    """Remove a manifest and its folder, in which no file may be left."""
    for path in (*_partial(entry.folder), entry.folder / MANIFEST):
        path.unlink(missing_ok=True)
    entry.folder.rmdir()
    sync(entry.folder.parent)


def sync(folder: Path) -> None:
    """Force a folder's names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def immovable(path: Path, error: OSError, target: Path | None = None) -> SourceError:
    """Return M111 for another file system, M113 for any other refusal of the system."""
    if error.errno == errno.EXDEV:
        return SourceError(
            "M111",
            f"{target} is on another file system, and a file is moved, never copied",
            where=str(path),
            fix="point MEMOS_ARCHIVE to a folder on the file system of the sources",
        )
    return SourceError(
        "M113",
        f"cannot be read, moved or written ({error.strerror})",
        where=str(path),
        fix="make it and its folder writable, and free space, then run again",
    )
