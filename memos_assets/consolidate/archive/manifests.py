"""The manifest beside a retired file: its content, and how it is written and read.

A manifest is input: anybody may have edited it. It is read whole and compared with its form before
any of it is believed; `records` compares it with the digest in the bookkeeping tables.
"""

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)
from pydantic import dataclasses as pydantic_dataclasses

from memos_assets.errors import SourceError, UsageError
from memos_assets.files import sha256_of, write_whole

MANIFEST = "manifest.json"
State = Literal["moving", "retired", "restoring", "purging", "purged"]

#: No manifest of ours comes near it; a larger file is not read.
_LARGEST_BYTES = 16 << 20
#: Years in which a file can have been retired.
_YEARS = range(2000, 2200)


def _plain_path(text: str) -> str:
    if "\0" in text or not Path(text).is_absolute() or os.path.normpath(text) != text:
        raise ValueError("is not an absolute path without detours")
    if Path(text).name in ("", MANIFEST):
        raise ValueError("is not the path of a file that can be retired")
    return text


def _moment(text: str) -> str:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None or when.year not in _YEARS:
        raise ValueError("is not a time with an offset from UTC in this century or the next")
    return text


_Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^/\x00]+$")]
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Moment = Annotated[str, StringConstraints(max_length=40), AfterValidator(_moment)]


@pydantic_dataclasses.dataclass(
    frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid")
)
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

    Raises:
        pydantic.ValidationError: a value is missing, of another type, or out of its range.
    """

    name: _Name
    kind: _Name
    is_source: bool
    path: Annotated[str, StringConstraints(max_length=4096), AfterValidator(_plain_path)]
    size: NonNegativeInt
    modified_ns: int
    mode: Annotated[int, Field(ge=0, le=0o7777)]
    sha256: _Digest
    tables: Mapping[str, NonNegativeInt]
    retired_at: _Moment
    pin_digest: str | None = None
    consolidations: Mapping[str, Sequence[str]] = field(default_factory=dict)
    checklist: Sequence[Mapping[str, Any]] = ()
    rejects: Sequence[Mapping[str, Any]] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    state: State = "moving"
    purged_at: _Moment | None = None

    @property
    def rows(self) -> int:
        """Rows of all its tables."""
        return sum(self.tables.values())

    @property
    def digest(self) -> str:
        """The sha256 of everything but the state, which changes."""
        facts = {
            name: value
            for name, value in asdict(self).items()
            if name not in ("state", "purged_at")
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


_FORM = TypeAdapter(Manifest)


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
    """Return the entries of the archive by folder, and a line for each that cannot be believed.

    Links are not followed: what they lead to was not put there by a retirement.
    """
    if archive.is_symlink():
        return [], [f"{archive} is a link, which is not followed"]
    entries, unreadable = [], []
    for folder in sorted(archive.iterdir()) if archive.is_dir() else ():
        if folder.is_symlink():
            unreadable.append(f"{folder.name} is a link, which is not followed")
            continue
        if not folder.is_dir():
            continue
        try:
            entries.append(_read(folder))
        except FileNotFoundError:
            # A crash before the manifest leaves a folder with nothing in it.
            if set(folder.iterdir()) - set(_partial(folder)):
                unreadable.append(f"{folder.name} has no manifest")
        except (OSError, ValueError) as error:
            what = _told(error)
            unreadable.append(f"{folder.name}/{MANIFEST} cannot be read ({what})")
    return entries, unreadable


def _read(folder: Path) -> Archived:
    """Read a manifest and compare it with its form and its place.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is not a manifest, or not of this folder.
    """
    path = folder / MANIFEST
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_BYTES:
            raise ValueError("it is not a regular file of a manifest's size")
        content = file.read(_LARGEST_BYTES)
    entry = Archived(folder, _FORM.validate_json(content))
    plain = f"{entry.manifest.name}-{entry.manifest.sha256[:12]}"
    if re.fullmatch(re.escape(plain) + r"(-[0-9]+)?", folder.name) is None:
        raise ValueError(f"it is the manifest of {plain}")
    if os.path.lexists(entry.file) and not stat.S_ISREG(entry.file.lstat().st_mode):
        raise ValueError(f"{entry.file.name} beside it is not a regular file")
    return entry


def _told(error: Exception) -> str:
    """Return one line about a manifest that cannot be read."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"{where}: {first['msg']}"[:200] if where else str(first["msg"])[:200]
    return str(getattr(error, "strerror", None) or error)[:200]


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
    except (OSError, ValueError):
        return False


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes.

    Raises:
        SourceError: M113 when it cannot be read.
    """
    try:
        return sha256_of(path).hex()
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
