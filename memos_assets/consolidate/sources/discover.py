"""Find SQLite files under a list of roots and recognise their kinds."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from memos_assets.catalog import Catalog, FileKind
from memos_assets.catalog.folder_markers import ARCHIVE_MARKER, PINS_MARKER
from memos_assets.consolidate.sources import layout as kind_layout
from memos_assets.consolidate.sources.choice import ALL, Choice
from memos_assets.consolidate.sources.copies import Copy, copies_among
from memos_assets.errors import MemosAssetsError, SourceError, UsageError
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.errors import not_a_database, shown, translated

Treatment = Literal["consolidate", "keep", "list", "unusable"]

#: Folders of tools, with many files and none of memOS's.
_TOOL_FOLDERS = frozenset({".git", ".venv", "node_modules", "__pycache__"})
_DATABASE_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
#: Names and folders of memOS's test and legacy databases.
_TEST_FILE = re.compile(r"(^test_|^unified_hybrid\.db$)")
_UNSAYABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NAME = re.compile(r"^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")


@dataclass(frozen=True, slots=True)
class Root:
    """One ``--data`` argument: a folder to search, or one file with the name it is to carry."""

    path: Path
    name: str | None = None

    @classmethod
    def parse(cls, argument: str) -> "Root":
        """Read ``DIR``, ``FILE`` or ``NAME=PATH``; a path that exists wins over a name.

        Raises:
            UsageError: M521 no such folder or file; M522 a name that cannot be one.
        """
        whole = _expanded(argument)
        name, equals, rest = argument.partition("=")
        if _exists(whole) or not equals:
            path, given = whole, None
        else:
            path, given = _expanded(rest), name
        if given is not None and not _NAME.match(given):
            raise UsageError(
                "M522",
                "a source name is letters, digits, '_', '-' and '.', at most 100",
                where=argument,
                fix="write --data NAME=PATH with such a name",
            )
        if not _exists(path):
            raise UsageError(
                "M521",
                "no such folder or file",
                where=shown(str(path), 200),
                fix="pass a folder that holds memOS's SQLite files: --data DIR",
            )
        if given is not None and path.is_dir():
            raise UsageError(
                "M522",
                "a name can be given to one file, and this is a folder",
                where=argument,
                fix="write --data NAME=FOLDER/FILE.db",
            )
        return cls(path.resolve(), given)


def _expanded(argument: str) -> Path:
    try:
        return Path(argument).expanduser()
    except RuntimeError:  # the home of a user who does not exist
        return Path(argument)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name may be, or in a folder that may not be entered
        return False


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A SQLite file and its treatment.

    Attributes:
        source: name that its rows carry; unique among the consolidated files of a run.
        path: of the file.
        root: the root it was found under.
        kind: its kind, None when no kind has such tables.
        treatment: of the file by a consolidation.
        why: the reason, for people.
        tables: table -> rows, where they were counted.
        error: for ``unusable``, the error that a run would end with.
    """

    source: str
    path: Path
    root: Path
    kind: FileKind | None
    treatment: Treatment
    why: str
    tables: Mapping[str, int]
    error: MemosAssetsError | None = None

    @property
    def bytes(self) -> int:
        """Size of the file; 0 where even that may not be known."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0


def find_files(
    catalog: Catalog, roots: Sequence[Root], *, none_will_do: bool = False, choice: Choice = ALL
) -> list[FoundFile]:
    """Recognise every SQLite file under the roots, sorted by path; nothing is written.

    Symbolic links that lead out of their root are not followed.

    Args:
        catalog: whose kinds of file are recognised.
        roots: folders that are searched, and files.
        none_will_do: finding no file is not an error.
        choice: files that are looked at; others are not opened.

    Raises:
        UsageError: M523 no SQLite file at all, unless ``none_will_do``: once all are retired,
            nothing is left; M524 two files of one name; M560 one file under two names.
    """
    named = _names(roots)
    found: dict[Path, FoundFile] = {}
    for root in roots:
        for path in _candidates(root.path):
            if path not in found and choice.takes(path, root.path):
                found[path] = _recognise(catalog, path, root.path, named.get(path))
    files = sorted(found.values(), key=lambda file: str(file.path))
    if choice.skip_unreadable:
        files = [_skipped(file) for file in files]
    if not files and not none_will_do:
        places = ", ".join(str(root.path) for root in roots)
        raise UsageError(
            "M523",
            f"no SQLite file{' that --include and --exclude leave' if choice else ''}",
            where=places,
            fix="pass the folder that holds memOS's *.db files: --data DIR",
        )
    files = _without_copies(_without_second_names(files, named), named)
    _refuse_same_names(file for file in files if file.treatment == "consolidate")
    return files


def _skipped(file: FoundFile) -> FoundFile:
    """Leave a file alone that cannot be used; its reason is said, and it stops no other one."""
    if file.treatment != "unusable":
        return file
    return replace(file, treatment="list", why=f"skipped: {file.why}", error=None)


def _names(roots: Sequence[Root]) -> Mapping[Path, str]:
    """Return path -> name of the files that were given one.

    Raises:
        UsageError: M560 when a file was given two.
    """
    named: dict[Path, str] = {}
    for root in roots:
        if root.name and named.setdefault(root.path, root.name) != root.name:
            raise UsageError(
                "M560",
                f"one file under two names, {named[root.path]} and {root.name}",
                where=str(root.path),
                fix="give it one of them",
            )
    return named


def _candidates(root: Path) -> Iterator[Path]:
    """Yield SQLite files below a root, and folders that cannot be searched."""
    if not root.is_dir():
        yield _sayable(root)
        return
    unreadable: list[Path] = []
    for folder, names, files in os.walk(
        root, onerror=lambda error: unreadable.append(Path(error.filename))
    ):
        if ARCHIVE_MARKER in files:
            names.clear()
        if PINS_MARKER in files or ARCHIVE_MARKER in files:
            continue
        names[:] = sorted(name for name in names if name not in _TOOL_FOLDERS)
        for name in sorted(files):
            path = Path(folder) / name
            # Before anything is opened: a link may lead out of the root, or to a device.
            if not _is_own(path, root):
                continue
            resolved = Path(os.path.realpath(path))
            if path.suffix in _DATABASE_SUFFIXES or sqlite_file.is_sqlite(resolved):
                yield _sayable(resolved)
    yield from map(_sayable, unreadable)


def _is_own(path: Path, root: Path) -> bool:
    """Whether a name below a root is that of a regular file below the root, readable or not."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        # A link into nowhere, or a file in a folder that may be listed and not entered.
        is_link = os.path.islink(path)  # noqa: PTH114  Path's own raises here
        return path.suffix in _DATABASE_SUFFIXES and not is_link
    return regular and Path(os.path.realpath(path)).is_relative_to(root)


def _sayable(path: Path) -> Path:
    """Return the path, if it can be written down and printed.

    Raises:
        UsageError: M522 when it is not UTF-8, or would break the line.
    """
    if _UNSAYABLE.search(str(path)):
        raise UsageError(
            "M522",
            "the path of a SQLite file holds control characters or bytes that are not UTF-8",
            where=shown(str(path), 200),
            fix="rename the file or its folder",
        )
    return path


def _without_second_names(files: Sequence[FoundFile], named: Mapping[Path, str]) -> list[FoundFile]:
    """Leave all names but one of the same file alone; otherwise its rows would be loaded twice."""
    by_inode: dict[tuple[int, int], list[FoundFile]] = {}
    for file in files:
        if file.treatment == "consolidate":
            with suppress(FileNotFoundError):  # gone since; pinning it says so
                status = file.path.stat()
                by_inode.setdefault((status.st_dev, status.st_ino), []).append(file)

    first = {inode: min(same, key=_rank(named)) for inode, same in by_inode.items()}
    second = {
        file.path: first[inode].path
        for inode, same in by_inode.items()
        for file in same
        if file is not first[inode]
    }
    return [
        replace(file, treatment="list", why=f"another name (hard link) of {second[file.path]}")
        if file.path in second
        else file
        for file in files
    ]


def _without_copies(files: Sequence[FoundFile], named: Mapping[Path, str]) -> list[FoundFile]:
    """Leave files alone whose rows another file of their kind holds; those with a name stay."""
    by_kind: dict[str, list[FoundFile]] = {}
    for file in files:
        if file.kind is not None and file.treatment == "consolidate" and file.path not in named:
            by_kind.setdefault(file.kind.name, []).append(file)
    copies: dict[Path, Copy] = {}
    for same in by_kind.values():
        kind = same[0].kind
        if kind is not None and len(same) > 1:
            copies |= copies_among(kind, [file.path for file in sorted(same, key=_rank(named))])
    return [_left_alone(file, copies[file.path]) if file.path in copies else file for file in files]


def _left_alone(file: FoundFile, copy: Copy) -> FoundFile:
    anyway = f"--data {spare_name(file.source)}={file.path}"
    return replace(file, treatment="list", why=f"{copy.why}. To take it anyway: {anyway}")


def _rank(named: Mapping[Path, str]) -> Callable[[FoundFile], tuple[bool, bool, bool, int, str]]:
    """Return the order in which files with the same rows are preferred.

    First the one that the caller named, or that has a log beside it (SQLite puts one beside the
    name that it was opened by), or is called as memOS calls such files, or is less deep.
    """

    def rank(file: FoundFile) -> tuple[bool, bool, bool, int, str]:
        assert file.kind is not None
        return (
            file.path not in named,
            not sqlite_file.logs(file.path),
            not file.kind.is_usual_name(file.path.name),
            len(file.path.parts),
            str(file.path),
        )

    return rank


def _recognise(catalog: Catalog, path: Path, root: Path, name: str | None) -> FoundFile:
    source = name or _name_from(path.stem)

    def as_found(
        kind: FileKind | None,
        treatment: Treatment,
        why: str,
        tables: Mapping[str, int] | None = None,
        error: MemosAssetsError | None = None,
    ) -> FoundFile:
        return FoundFile(source, path, root, kind, treatment, why, tables or {}, error)

    try:
        if not _first_bytes(path):
            return as_found(None, "list", "empty file, 0 bytes")
        with sqlite_file.opened(path) as connection:
            layout = sqlite_file.layout(connection)
            rows = sqlite_file.row_counts(connection, layout)
            kind = next((kind for kind in catalog.kinds if kind.matches(layout)), None)
            misfit = kind_layout.misfit(connection, path, kind, source) if kind else None
    except SourceError as error:
        return as_found(None, "unusable", error.what, error=error)
    if kind is None:
        near = kind_layout.near_miss(catalog, path, layout)
        if near is not None:
            return as_found(near[0], "unusable", near[1].what, rows, near[1])
        return as_found(None, "list", f"not memOS's: tables {_some(sorted(layout))}", rows)
    if name is None and (why := _test_or_legacy(path, root)):
        return as_found(kind, "list", f"{why}, laid out as {kind.name}", rows)
    if kind.disposition == "keep":
        return as_found(kind, "keep", kind.about, rows)
    if misfit is not None:
        return as_found(kind, "unusable", misfit.what, rows, misfit)
    usual = kind.is_usual_name(path.name)
    why = kind.about if usual else f"recognised by its tables, not its name. {kind.about}"
    return as_found(kind, "consolidate", why, rows)


def _first_bytes(path: Path) -> bytes:
    """Return the first bytes of a database; none of an empty file.

    Raises:
        SourceError: M101 when it cannot be read, M103 when it begins otherwise.
    """
    try:
        if path.is_dir():
            list(path.iterdir())
        first = sqlite_file.header(path)
    except OSError as error:
        raise translated(error, path) from error
    if first and not sqlite_file.is_sqlite(path):
        raise not_a_database(path)
    return first


def _some(names: Sequence[str], most: int = 12) -> str:
    others = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, names[:most])) + others or "none"


def _name_from(stem: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", stem)
    return re.sub(r"^[.-]", "_", re.sub(r"\.{2,}", "_", plain))[:100]


def spare_name(name: str) -> str:
    """Return a name to suggest where ``name`` is taken."""
    return f"{name[:98]}_2"


def _test_or_legacy(path: Path, root: Path) -> str | None:
    if _TEST_FILE.search(path.name):
        return "a test or legacy file by its name"
    # A root that is itself below a folder called tests is the caller's choice.
    if "tests" in path.relative_to(root if root.is_dir() else root.parent).parts[:-1]:
        return "a test file by its folder"
    return None


def _refuse_same_names(files: Iterable[FoundFile]) -> None:
    """Refuse files of one name, all of them at once.

    Raises:
        UsageError: M524.
    """
    seen: dict[str, FoundFile] = {}
    doubles = [
        (seen[file.source], file) for file in files if seen.setdefault(file.source, file) != file
    ]
    if doubles:
        pairs = [f"{one.path} and {other.path}" for one, other in doubles]
        names = [f"--data {spare_name(other.source)}={other.path}" for _, other in doubles]
        raise UsageError(
            "M524",
            f"two files would have this source name: {'; '.join(pairs)}",
            where=", ".join(dict.fromkeys(other.source for _, other in doubles)),
            fix=f"name one of them: {' '.join(names)}",
        )
