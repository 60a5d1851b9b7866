"""Pin a consistent copy of a SQLite file, page for page, and describe its content."""

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from memos_assets.catalog import KINDS_BY_NAME, FileKind
from memos_assets.consolidate import fit, sqlite_file
from memos_assets.consolidate.content import ChunkContent, chunk_contents, chunk_rows_for
from memos_assets.consolidate.discover import PINS_MARKER
from memos_assets.errors import SourceError


@dataclass(frozen=True, slots=True)
class Pin:
    """A copy of one file at one moment; loads and proofs work from it, never from the original.

    Attributes:
        source: name its rows carry.
        kind: name of the kind of file.
        origin: the file it was taken from.
        fingerprint: sha256 of the origin's bytes, write-ahead log included, when it was taken.
        digest: sha256 of the content, chunk by chunk; equal content has an equal digest.
        path: where the copy lies.
        chunk_rows: rowids per chunk.
        rows: SQLite table -> rows, consolidated or not.
        chunks: every chunk that holds rows.
    """

    source: str
    kind: str
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
        """Return what a chunk of a SQLite table holds, zero rows where it is empty."""
        for content in self.chunks:
            if content.table == table and content.chunk == chunk:
                return content
        return ChunkContent(table, chunk, 0, 0, hashlib.sha256().hexdigest())

    def data_version(self, chunk: int) -> str:
        """Return the digest of one chunk across all tables of the file."""
        parts = sorted(f"{c.table}:{c.digest}" for c in self.chunks if c.chunk == chunk)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def fingerprint(path: Path) -> str:
    """Return the sha256 of a database file and the log beside it, as they lie on the disk.

    Raises:
        SourceError: M101 when the file cannot be read.
    """
    whole = hashlib.sha256()
    try:
        for suffix in ("", "-wal", "-journal"):
            part = path.with_name(path.name + suffix)
            if suffix and not part.exists():
                continue
            with part.open("rb") as file:
                whole.update(suffix.encode() + b"\0")
                whole.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise sqlite_file.translated(error, path) from error
    return whole.hexdigest()


def take_pin(
    source: str, kind: FileKind, origin: Path, folder: Path, *, chunk_rows: int = 0
) -> Pin:
    """Copy ``origin`` into ``folder`` with SQLite's backup API and digest every chunk.

    Rowids stay as they are: a backup copies pages, where a dump would renumber.

    Args:
        source: name its rows carry.
        kind: its kind.
        origin: the file; opened read-only.
        folder: where pins lie; created if need be.
        chunk_rows: rowids per chunk of an earlier pin, which is kept unless the file outgrew it.

    Raises:
        SourceError: M101 to M104 as `sqlite_file.opened`; M105 when the file is no longer of its
            kind; M106 when the copy cannot be written.
    """
    descriptor = -1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PINS_MARKER).touch()
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{source}-", suffix=".part")
        os.close(descriptor)
    except OSError as error:
        raise _unwritable(folder, error) from error
    partial = Path(name)
    try:
        # Before the copy: a writer in between then makes the bytes differ, and the content decides.
        taken = fingerprint(origin)
        with sqlite_file.opened(origin) as connection:
            try:
                with closing(sqlite3.connect(partial)) as target:
                    connection.backup(target)
            except sqlite3.Error as error:
                if "full" in str(error):
                    raise _unwritable(folder, error) from error
                raise
        with sqlite_file.opened(partial) as connection:
            misfit = fit.misfit(connection, origin, kind)
            if misfit is not None:
                raise misfit
            chunk_rows = chunk_rows_for(connection, kind, chunk_rows)
            rows = {
                table: sqlite_file.row_count(connection, table)
                for table in sorted(sqlite_file.layout(connection))
            }
            chunks = tuple(chunk_contents(connection, kind, chunk_rows))
        digest = content_digest(chunks, chunk_rows)
        path = folder / f"{source}-{digest[:16]}.db"
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return Pin(source, kind.name, origin, taken, digest, path, chunk_rows, rows, chunks)


def content_digest(chunks: Sequence[ChunkContent], chunk_rows: int) -> str:
    """Return one digest for all chunks of a file."""
    whole = hashlib.sha256(b"%d\n" % chunk_rows)
    for content in sorted(chunks, key=lambda content: (content.table, content.chunk)):
        whole.update(f"{content.table} {content.chunk} {content.digest}\n".encode())
    return whole.hexdigest()


def is_unchanged(pin: Pin) -> bool:
    """Whether the origin still holds what was pinned.

    Bytes are compared first; where they differ (a checkpoint, a VACUUM that moved nothing) the
    content decides.
    """
    if fingerprint(pin.origin) == pin.fingerprint:
        return True
    with sqlite_file.opened(pin.origin) as connection:
        kind = KINDS_BY_NAME[pin.kind]
        chunks = tuple(chunk_contents(connection, kind, pin.chunk_rows))
    return content_digest(chunks, pin.chunk_rows) == pin.digest


def _unwritable(folder: Path, error: Exception) -> SourceError:
    return SourceError(
        "M106",
        f"a copy of the source cannot be written ({error})",
        where=str(folder),
        fix="free space, or point MEMOS_HOME to a folder with room for the sources",
    )
