"""Files whose rows another file of their kind holds: copies, backups and older states of it.

Consolidated beside each other, both would be proven, and every search would find each row twice.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from memos_assets.catalog import FileKind, TableSpec
from memos_assets.errors import SourceError
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.file import quoted, unindexed
from memos_assets.sqlite.row_codec import add_row

#: Share of a file's keys that the other one holds, and share of its rows that are the same there.
#: An older state has rows that were changed or deleted since; files that only number their rows
#: alike share keys, and no rows.
KEYS_SHARED, ROWS_EQUAL = 0.9, 0.5

Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Copy:
    """A file whose rows another one holds.

    Attributes:
        of: the other file.
        rows: rows of this file.
        differing: those of them that are not in the other one as they are here.
    """

    of: Path
    rows: int
    differing: int

    @property
    def why(self) -> str:
        """What it is, for people."""
        if self.differing:
            return (
                f"an older state of {self.of}: "
                f"{self.rows - self.differing:,} of {self.rows:,} rows are the same there"
            )
        return f"a copy: {self.of} holds all of its {self.rows:,} rows"


def copies_among(kind: FileKind, paths: Sequence[Path]) -> dict[Path, Copy]:
    """Return the files whose rows another of the files holds; of equals, the first one stays.

    Args:
        kind: of all the files.
        paths: of the files, those to be kept first.
    """
    contents = [content for path in paths if (content := _content(kind, path)) is not None]
    found: dict[Path, Copy] = {}
    for first, second in combinations(contents, 2):
        if first.path in found or second.path in found:
            continue
        for copy, other in ((second, first), (first, second)):
            contained = copy.contained_in(other)
            if contained is not None:
                found[copy.path] = contained
                break
    return {path: replace(copy, of=_kept(found, copy.of)) for path, copy in found.items()}


def _kept(found: Mapping[Path, Copy], path: Path) -> Path:
    while path in found:
        path = found[path].of
    return path


@dataclass(slots=True)
class _Content:
    """The rows of a file as sorted digests, read when they are first compared."""

    path: Path
    kind: FileKind
    keys: Digests
    _rows: Digests | None = None

    def contained_in(self, other: "_Content") -> Copy | None:
        if not self.keys.size or _shared(self.keys, other.keys) < KEYS_SHARED * self.keys.size:
            return None
        same = _shared(self.rows(), other.rows())
        if same < ROWS_EQUAL * self.keys.size:
            return None
        return Copy(other.path, self.keys.size, self.keys.size - same)

    def rows(self) -> Digests:
        if self._rows is None:
            self._rows = _digests(self.path, self.kind, _stored)
        return self._rows


def _content(kind: FileKind, path: Path) -> _Content | None:
    try:
        return _Content(path, kind, _digests(path, kind, _key))
    except SourceError:  # pinning the file says so
        return None


def _shared(few: Digests, many: Digests) -> int:
    return int(np.isin(few, many).sum())


Columns = Callable[[TableSpec, frozenset[str]], Sequence[str]]


def _key(spec: TableSpec, _: frozenset[str]) -> Sequence[str]:
    return [spec.column(name).origin for name in spec.key]


def _stored(_: TableSpec, columns: frozenset[str]) -> Sequence[str]:
    return sorted(columns)


def _digests(path: Path, kind: FileKind, columns_of: Columns) -> Digests:
    with sqlite_file.opened(path) as connection:
        return np.sort(np.fromiter(_each(connection, kind, columns_of), np.uint64))


def _each(connection: sqlite3.Connection, kind: FileKind, columns_of: Columns) -> Iterator[int]:
    layout = sqlite_file.layout(connection)
    for spec in kind.tables:
        if spec.origin in layout:
            columns = ", ".join(map(quoted, columns_of(spec, layout[spec.origin])))
            query = f"select {columns} from {unindexed(spec.origin)}"
            for values in connection.execute(query):
                digest = hashlib.blake2b(digest_size=8)
                add_row(digest, [spec.origin, *values])
                # The next one is read without this one in memory.
                del values
                yield int.from_bytes(digest.digest(), "little")
