"""Pin a consistent copy of a SQLite file, page for page, and describe its content."""

import fcntl
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from memos_assets.catalog import FileKind
from memos_assets.catalog.folder_markers import PINS_MARKER
from memos_assets.consolidate.sources import layout as kind_layout
from memos_assets.consolidate.sources.chunks import ChunkContent, chunk_contents, chunk_rows_for
from memos_assets.errors import SourceError
from memos_assets.files import make_private, sha256_of
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.errors import changing, translated
from memos_assets.sqlite.live_copy import attempts

#: SQLite's errors when the copy, not the original, is at fault. SQLite does not report a quota or a
#: limit on the size of files as SQLITE_FULL.
_WRITE_ERRORS = frozenset(
    {
        "SQLITE_CANTOPEN",
        "SQLITE_FULL",
        "SQLITE_IOERR_DIR_FSYNC",
        "SQLITE_IOERR_FSYNC",
        "SQLITE_IOERR_TRUNCATE",
        "SQLITE_IOERR_WRITE",
    }
)


@dataclass(frozen=True, slots=True)
class Pin:
    """A copy of one file at one moment; loads and proofs work from it, never from the original.

    Attributes:
        source: name its rows carry.
        kind: of the file.
        origin: the file it was taken from.
        fingerprint: sha256 of the origin's bytes, write-ahead log included, when it was taken.
        digest: sha256 of the content, chunk by chunk; equal content has an equal digest.
        path: of the copy.
        chunk_rows: rowids per chunk.
        rows: SQLite table -> rows, consolidated or not.
        chunks: every chunk that holds rows.
    """

    source: str
    kind: FileKind
    origin: Path
    fingerprint: str
    digest: str
    path: Path
    chunk_rows: int
    rows: Mapping[str, int]
    chunks: Sequence[ChunkContent]

    @property
    def chunk_numbers(self) -> list[int]:
        """Every chunk number that some table of the file has rows in; at least chunk 0."""
        return sorted({content.chunk for content in self.chunks} | {0})

    def content(self, table: str, chunk: int) -> ChunkContent:
        """Return the content of a chunk of a SQLite table; zero rows where it is empty."""
        for content in self.chunks:
            if content.table == table and content.chunk == chunk:
                return content
        return ChunkContent(table, chunk, 0, 0, hashlib.sha256().hexdigest())

    def data_version(self, chunk: int) -> str:
        """Return the digest of one chunk across all tables of the file."""
        parts = sorted(f"{c.table}:{c.digest}" for c in self.chunks if c.chunk == chunk)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def file_digests(path: Path) -> dict[str, bytes]:
    """Return the sha256 of a database file, under "", and of each log beside it, by its suffix.

    Raises:
        SourceError: M101 when the file cannot be read; M102 when logs come and go all the time.
    """
    try:
        for _ in attempts():
            sqlite_file.header(path)
            try:
                return {
                    part.name.removeprefix(path.name): sha256_of(part)
                    for part in (path, *sqlite_file.logs(path))
                }
            except FileNotFoundError:
                # A log that its writer has deleted meanwhile, unless the database itself is gone.
                path.stat()
    except OSError as error:
        raise translated(error, path) from error
    raise changing(path)


def fingerprint_of(digests: Mapping[str, bytes]) -> str:
    """Return one sha256 over the digests of a file and its logs."""
    whole = hashlib.sha256()
    for suffix, digest in digests.items():
        whole.update(suffix.encode() + b"\0")
        whole.update(digest)
    return whole.hexdigest()


def fingerprint(path: Path) -> str:
    """Return the sha256 of a database file and the log beside it, byte for byte.

    Raises:
        SourceError: M101 when the file cannot be read.
    """
    return fingerprint_of(file_digests(path))


def take_pin(
    source: str, kind: FileKind, origin: Path, folder: Path, *, chunk_rows: int = 0
) -> Pin:
    """Copy ``origin`` into ``folder`` with SQLite's backup API and digest every chunk.

    Rowids stay as they are: a backup copies pages, where a dump would renumber.

    Args:
        source: name its rows carry.
        kind: its kind.
        origin: the file; opened read-only.
        folder: of the pinned copies; created if need be.
        chunk_rows: rowids per chunk of an earlier pin, which is kept unless the file outgrew it.

    Raises:
        SourceError: M101 to M108 as `sqlite_file.opened`; M101 when the path leads elsewhere by
            now; M104 when a page of a table is not where it belongs; M105 when the file is no
            longer of its kind; M106 when the copy cannot be written.
        CodecError: M201 when an embedding column holds another encoding.
    """
    sqlite_file.refuse_detour(origin)
    with _partial_copy(folder, source) as partial:
        # Before the copy: a writer in between then makes the bytes differ, and the content decides.
        taken = fingerprint(origin)
        with sqlite_file.opened(origin) as connection:
            try:
                with closing(sqlite3.connect(partial)) as target:
                    connection.backup(target)
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorname", "") in _WRITE_ERRORS:
                    raise _unwritable(folder, error) from error
                raise
        with sqlite_file.opened(partial, called=origin) as connection:
            misfit = kind_layout.misfit(connection, origin, kind, source) or kind_layout.damage(
                connection, origin, kind
            )
            if misfit is not None:
                raise misfit
            chunk_rows = chunk_rows_for(connection, kind, chunk_rows)
            rows = sqlite_file.row_counts(connection, sqlite_file.layout(connection))
            chunks = tuple(chunk_contents(connection, kind, chunk_rows))
        digest = content_digest(chunks, chunk_rows)
        path = folder / f"{source}-{digest[:16]}.db"
        partial.replace(path)
    return Pin(source, kind, origin, taken, digest, path, chunk_rows, rows, chunks)


@contextmanager
def _partial_copy(folder: Path, source: str) -> Iterator[Path]:
    """Yield an empty file to copy into, gone or renamed afterwards.

    It is locked meanwhile, and the kernel releases the lock of a process that is killed: partial
    files of such a process are removed here.

    Raises:
        SourceError: M106 when the folder cannot be written.
    """
    try:
        make_private(folder)
        (folder / PINS_MARKER).touch()
        _remove_abandoned(folder)
        descriptor, partial = _locked_file(folder, source)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)
        os.close(descriptor)


def _locked_file(folder: Path, source: str) -> tuple[int, Path]:
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{source}-", suffix=".part")
        with suppress(OSError):  # a file system without locks, where no partial file is removed
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        # Another process took it for abandoned, before it was locked.
        os.close(descriptor)


def _remove_abandoned(folder: Path) -> None:
    for partial in folder.glob(".*.part"):
        with suppress(OSError), partial.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            partial.with_name(f"{partial.name}-journal").unlink(missing_ok=True)
            partial.unlink()


def check_copy(pin: Pin) -> None:
    """Refuse a pinned copy whose content changed.

    Rows recorded as loaded and proven from it would otherwise be other rows.

    Raises:
        SourceError: M107 when it is gone, M109 when its content changed.
    """
    contents_of_copy(pin)


def contents_of_copy(pin: Pin) -> tuple[ChunkContent, ...]:
    """Return every chunk of a pinned copy that holds rows, counted and digested in the copy.

    Raises:
        SourceError: M107 when it is gone, M109 when its content changed.
    """
    try:
        status = pin.path.stat()
    except OSError as error:
        raise SourceError(
            "M107",
            f"its pinned copy cannot be read ({error.strerror})",
            where=str(pin.path),
            fix="observe it again: memos-assets observe",
        ) from error
    # The inode's change time cannot be set by hand, as the modification time can.
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    contents = _contents_of_copy(pin.path, state, pin.kind, pin.chunk_rows)
    if content_digest(contents, pin.chunk_rows) != pin.digest:
        raise SourceError(
            "M109",
            f"the content of the pinned copy of {pin.source} changed",
            where=str(pin.path),
            fix="stop the program that wrote to the copy, delete the copy, then: "
            f"memos-assets observe --data {pin.origin}",
        )
    return contents


@lru_cache(maxsize=64)
def _contents_of_copy(
    path: Path,
    state: tuple[int, ...],  # noqa: ARG001  part of what the cache goes by
    kind: FileKind,
    chunk_rows: int,
) -> tuple[ChunkContent, ...]:
    with sqlite_file.opened(path) as connection:
        return tuple(chunk_contents(connection, kind, chunk_rows))


def content_digest(chunks: Sequence[ChunkContent], chunk_rows: int) -> str:
    """Return one digest for all chunks of a file."""
    whole = hashlib.sha256(b"%d\n" % chunk_rows)
    for content in sorted(chunks, key=lambda content: (content.table, content.chunk)):
        whole.update(f"{content.table} {content.chunk} {content.digest}\n".encode())
    return whole.hexdigest()


def is_unchanged(pin: Pin) -> bool:
    """Whether the content of the origin is still that of the pin.

    Bytes are compared first; where they differ (a checkpoint, a VACUUM that moved nothing) the
    content decides.
    """
    if fingerprint(pin.origin) == pin.fingerprint:
        return True
    with sqlite_file.opened(pin.origin) as connection:
        chunks = tuple(chunk_contents(connection, pin.kind, pin.chunk_rows))
    return content_digest(chunks, pin.chunk_rows) == pin.digest


def _unwritable(folder: Path, error: Exception) -> SourceError:
    return SourceError(
        "M106",
        f"a copy of the source cannot be written ({error})",
        where=str(folder),
        fix="free space, or point MEMOS_HOME to a folder with room for the sources",
    )
