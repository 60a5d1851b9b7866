"""Where snapshots are: a local folder, or an object store by URL.

    tables/SCHEMA.TABLE/IDENTITY.parquet    rows, named by their content
    manifests/ID.json                       written last: a snapshot is there when its manifest is
    rewritten/ID.json                       what a snapshot became when a user was erased
    partial/                                files that are being written

A file is written below ``partial/`` and moved to its name, so that no reader sees half of one.
"""

import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import fs

from memos_assets.errors import SnapshotError
from memos_assets.files import make_private, private_descriptor
from memos_assets.snapshots.manifest import Manifest, Rewritten

MANIFESTS, REWRITTEN, TABLES, PARTIAL = "manifests", "rewritten", "tables", "partial"
#: Digits by which people name a snapshot; fewer are refused.
SHORTEST_ID: Final = 6
_ID: Final = re.compile(r"[0-9a-f]{64}")
_OF_AN_ID: Final = re.compile(r"([0-9a-f]{64})\.json")
#: Bytes of the largest object that a store moves by one request: 5 GiB in S3.
LARGEST_MOVED: Final = 5 * 1024**3
#: Bytes that are copied at once of a larger one.
_COPIED: Final = 16 * 1024**2
#: Age of an object below ``partial/`` of which nobody will make a file.
_ABANDONED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Store:
    """A folder of snapshots.

    Attributes:
        filesystem: of pyarrow.
        root: path within it.
        url: as it was given, for people, without secrets.
    """

    filesystem: fs.FileSystem
    root: str
    url: str

    @property
    def local(self) -> Path | None:
        """The folder, where it is one of this machine."""
        is_local = isinstance(self.filesystem, fs.LocalFileSystem)
        return Path(self.root) if is_local else None

    def path(self, name: str) -> str:
        """Return the path of a file within the filesystem."""
        return f"{self.root}/{name}"

    def exists(self, name: str) -> bool:
        """Say whether a file is there."""
        return self.size(name) is not None

    def size(self, name: str) -> int | None:
        """Return the bytes of a file; None: it is not there.

        Raises:
            SnapshotError: M803 the store does not answer.
        """
        with self._answers():
            found = self.filesystem.get_file_info(self.path(name))
        return int(found.size) if found.type == fs.FileType.File else None

    def infos(self, folder: str) -> list[fs.FileInfo]:
        """Return what the file system says of the files below a folder, sorted by path.

        Raises:
            SnapshotError: M803 the store does not answer.
        """
        selector = fs.FileSelector(self.path(folder), recursive=True, allow_not_found=True)
        with self._answers():
            found = self.filesystem.get_file_info(selector)
        return sorted(
            (one for one in found if one.type == fs.FileType.File), key=lambda one: str(one.path)
        )

    def names(self, folder: str) -> list[str]:
        """Return the files below a folder, as names within the store, sorted.

        Raises:
            SnapshotError: M803 the store does not answer.
        """
        return [self.name_of(one) for one in self.infos(folder)]

    def name_of(self, info: fs.FileInfo) -> str:
        """Return the name of a file within the store."""
        return str(info.path[len(self.root) + 1 :])

    def read(self, name: str) -> bytes:
        """Return a small file.

        Raises:
            FileNotFoundError: it is not there.
            SnapshotError: M803 the store does not answer.
        """
        with self._answers(), self.filesystem.open_input_stream(self.path(name)) as file:
            return bytes(file.read())

    @contextmanager
    def _answers(self) -> Iterator[None]:
        """Turn a store that cannot be read, such as one that no network reaches, into an error."""
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise SnapshotError(
                "M803",
                f"the store of snapshots cannot be read ({type(error).__name__})",
                where=self.url,
                fix="see that MEMOS_SNAPSHOTS_URL is right, that the store can be reached, and "
                "that this user may read it; then run the command again",
            ) from error

    def open_input(self, name: str) -> pa.NativeFile:
        """Open a file for reading at any place."""
        return self.filesystem.open_input_file(self.path(name))

    def delete(self, name: str) -> None:
        """Delete a file that may be gone already."""
        if self.exists(name):
            self.filesystem.delete_file(self.path(name))

    @contextmanager
    def partial(self) -> Iterator[str]:
        """Yield a name for a file to be written, which is deleted unless it was moved."""
        name = f"{PARTIAL}/{uuid.uuid4().hex}"
        self._make_folder(PARTIAL)
        # Locked while its process lives, so that `sweep` knows what nobody writes any more.
        local = self.local
        lock = None if local is None else private_descriptor(local / name, os.O_WRONLY)
        try:
            if lock is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield name
        finally:
            self.delete(name)
            if lock is not None:
                os.close(lock)

    def sweep(self) -> int:
        """Delete partial files of processes that were killed, and return how many.

        In an object store, those that are older than a day: no object is half of a file there.
        """
        killed = [name for name in self.names(PARTIAL) if not self._is_written(name)]
        for name in killed:
            self.delete(name)
        return len(killed)

    def _is_written(self, partial: str) -> bool:
        """Whether a process is at work on a partial file, or may be."""
        if self.local is None:
            found = self.filesystem.get_file_info(self.path(partial))
            return found.mtime is None or datetime.now(UTC) - found.mtime < _ABANDONED
        try:
            with (self.local / partial).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _make_folder(self, folder: str) -> None:
        """Make a folder; on a local disk only its user may enter it."""
        if self.local is not None:
            make_private(self.local / folder)
        else:
            self.filesystem.create_dir(self.path(folder), recursive=True)

    def publish(self, partial: str, name: str) -> None:
        """Move a whole file to its name; on a local disk it is there after a power failure, too."""
        self._make_folder(name.rpartition("/")[0])
        local = self.local
        if local is None:
            self._move_object(partial, name)
            return
        _sync(local / partial)
        (local / partial).replace(local / name)
        # A folder that is new has to be in the one above it.
        for folder in (local / name).parents:
            _sync(folder)
            if folder == local:
                break

    def _move_object(self, partial: str, name: str) -> None:
        if (self.size(partial) or 0) <= LARGEST_MOVED:
            self.filesystem.move(self.path(partial), self.path(name))
            return
        # S3 copies no larger object by one request, and has no other way to move it.
        with (
            self.filesystem.open_input_stream(self.path(partial)) as source,
            self.filesystem.open_output_stream(self.path(name)) as sink,
        ):
            while part := source.read(_COPIED):
                sink.write(part)

    def write(self, name: str, content: bytes) -> None:
        """Write a small file whole."""
        with self.partial() as partial:
            with self.filesystem.open_output_stream(self.path(partial)) as file:
                file.write(content)
            self.publish(partial, name)

    def ids(self) -> list[str]:
        """Return the ids of snapshots, whose manifests may be damaged; rewritten ones are gone."""
        return sorted(self._named(MANIFESTS) - self._named(REWRITTEN))

    def leftovers(self) -> list[str]:
        """Return the ids of rewritten snapshots whose files nobody has finished to delete."""
        return sorted(self._named(MANIFESTS) & self._named(REWRITTEN))

    def _named(self, folder: str) -> set[str]:
        # A file of another name, as file managers leave them, is not of a snapshot.
        named = (
            _OF_AN_ID.fullmatch(name.removeprefix(f"{folder}/")) for name in self.names(folder)
        )
        return {one[1] for one in named if one is not None}

    def manifest(self, snapshot: str) -> Manifest:
        """Return the manifest of a snapshot.

        Args:
            snapshot: its id, at least the first `SHORTEST_ID` digits, or its label.

        Raises:
            SnapshotError: M800, M801.
            SnapshotError: M802 there is none, or there are several.
        """
        return self.read_manifest(self.resolve(snapshot))

    def read_manifest(self, whole: str) -> Manifest:
        """Return the manifest of a whole id, of a rewritten snapshot too while it is left.

        Raises:
            SnapshotError: M800, M801.
            SnapshotError: M802 it is gone.
        """
        name = f"{MANIFESTS}/{whole}.json"
        try:
            content = self.read(name)
        except FileNotFoundError:
            raise _no_such(whole[:12], "it has just been deleted") from None
        manifest = Manifest.from_json(content, where=f"{self.url}/{name}")
        if manifest.id != whole:
            raise SnapshotError(
                "M801",
                "the manifest is of another snapshot",
                where=f"{self.url}/{name}",
                fix="restore the file from a copy of the store",
            )
        return manifest

    def manifests(self) -> list[Manifest]:
        """Return all manifests, the one whose rows were seen last at the end.

        Raises:
            SnapshotError: M800, M801.
        """
        whole, damaged = self.readable()
        for error in damaged.values():
            # Another process may prune meanwhile.
            if error.code != "M802":
                raise error
        return whole

    def readable(self) -> tuple[list[Manifest], dict[str, SnapshotError]]:
        """Return the manifests that are whole, the newest last, and id -> error of the others."""
        whole, damaged = [], {}
        for snapshot in self.ids():
            try:
                whole.append(self.read_manifest(snapshot))
            except SnapshotError as error:
                damaged[snapshot] = error
        return sorted(whole, key=lambda one: (one.latest.made_at, one.id)), damaged

    def resolve(self, snapshot: str) -> str:
        """Return the id that an id's beginning or a label means.

        Raises:
            SnapshotError: M802.
        """
        ids = self.ids()
        if len(snapshot) >= SHORTEST_ID:
            found = [one for one in ids if one.startswith(snapshot)]
            if len(found) == 1:
                return found[0]
        else:
            found = []
        labelled = [one for one in ids if self._label(one) == snapshot]
        if len(labelled) == 1:
            return labelled[0]
        if found or labelled:
            raise _no_such(snapshot, "several begin so")
        if len(snapshot) < SHORTEST_ID:
            raise _no_such(
                snapshot, f"there is no such label, and an id has {SHORTEST_ID} digits at least"
            )
        became = next((one for one in self.rewritten() if one.id.startswith(snapshot)), None)
        if became is not None:
            raise _no_such(
                snapshot, f"it was rewritten to {became.into[:12]} when a user was erased"
            )
        raise _no_such(snapshot, "there is no such snapshot")

    def _label(self, whole: str) -> str | None:
        """Return the label of a snapshot; None also where its manifest is damaged."""
        try:
            return self.read_manifest(whole).label
        except SnapshotError:
            return None

    def put_manifest(self, manifest: Manifest) -> None:
        """Write a manifest, after which its snapshot is there."""
        self.write(f"{MANIFESTS}/{manifest.id}.json", manifest.to_json().encode())

    def rewritten(self) -> list[Rewritten]:
        """Return what became of snapshots with rows of erased users.

        Raises:
            SnapshotError: M800 a note cannot be read.
        """
        return [self._rewritten(one) for one in sorted(self._named(REWRITTEN))]

    def _rewritten(self, whole: str) -> Rewritten:
        name = f"{REWRITTEN}/{whole}.json"
        try:
            note = Rewritten(**json.loads(self.read(name)))
            if note.id != whole or not _ID.fullmatch(note.into):
                raise ValueError(name)
            datetime.fromisoformat(note.at)
        except (ValueError, TypeError) as error:
            raise SnapshotError(
                "M800",
                "this is not a note of what a snapshot was rewritten to",
                where=f"{self.url}/{name}",
                fix="restore the file from a copy of the store",
            ) from error
        return note

    def put_rewritten(self, rewritten: Rewritten) -> None:
        """Note what became of a snapshot."""
        content = json.dumps(asdict(rewritten), indent=1).encode()
        self.write(f"{REWRITTEN}/{rewritten.id}.json", content)


def open_store(url: str) -> Store:
    """Return the store at a path or URL; nothing is written.

    Args:
        url: a path; ``s3://``, ``gs://`` and others of pyarrow's, with options behind a ``?``; or
            one of fsspec's, such as ``memory://``.

    Raises:
        SnapshotError: M803 it cannot be opened.
    """
    shown = url.partition("?")[0].rpartition("@")[2] if "://" in url else url
    try:
        if "://" not in url:
            return Store(fs.LocalFileSystem(), str(Path(url).absolute()), shown)
        try:
            filesystem, root = fs.FileSystem.from_uri(url)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            filesystem, root = _of_fsspec(url)
        return Store(filesystem, root.rstrip("/"), shown)
    except (OSError, ValueError, ImportError) as error:
        raise SnapshotError(
            "M803",
            f"the store of snapshots cannot be opened ({type(error).__name__})",
            where=f"MEMOS_SNAPSHOTS_URL {shown}",
            fix="set it to a folder, or to a URL such as s3://bucket/folder, and install what its "
            "file system needs",
        ) from error


def _no_such(snapshot: str, what: str) -> SnapshotError:
    return SnapshotError(
        "M802",
        what,
        where=f"snapshot {snapshot}",
        fix="name one by its id or label: memos-assets snapshots list",
    )


def _of_fsspec(url: str) -> tuple[fs.FileSystem, str]:
    # A dependency of Dagster; other protocols bring packages of their own.
    import fsspec

    filesystem: Any
    filesystem, root = fsspec.core.url_to_fs(url)
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), str(root)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
