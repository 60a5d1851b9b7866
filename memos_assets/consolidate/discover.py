"""Find SQLite files under a list of roots and say what each one is."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from memos_assets.catalog import KINDS, FileKind
from memos_assets.consolidate import fit, sqlite_file
from memos_assets.errors import SourceError, UsageError

Treatment = Literal["consolidate", "keep", "list", "unusable"]

#: Folders of tools, with many files and none of memOS's.
_TOOL_FOLDERS = frozenset({".git", ".venv", "node_modules", "__pycache__"})
#: Lies in a folder of pinned copies, which are no sources.
PINS_MARKER = ".memos-assets-pins"
_DATABASE_SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
#: Names and folders of memOS's test and legacy databases.
_TEST_FILE = re.compile(r"(^test_|^unified_hybrid\.db$)")
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
        whole = Path(argument).expanduser()
        name, equals, rest = argument.partition("=")
        if whole.exists() or not equals:
            path, given = whole, None
        else:
            path, given = Path(rest).expanduser(), name
        if given is not None and not _NAME.match(given):
            raise UsageError(
                "M522",
                "a source name is letters, digits, '_', '-' and '.', at most 100",
                where=argument,
                fix="write --data NAME=PATH with such a name",
            )
        if not path.exists():
            raise UsageError(
                "M521",
                "no such folder or file",
                where=str(path),
                fix="pass a folder that holds memOS's SQLite files: --data DIR",
            )
        if given is not None and path.is_dir():
            raise UsageError(
                "M522",
                "a name can be given to one file, this is a folder",
                where=argument,
                fix="write --data NAME=FOLDER/FILE.db",
            )
        return cls(path.resolve(), given)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A SQLite file and what becomes of it.

    Attributes:
        source: name that its rows carry; unique among the consolidated files of a run.
        path: where it lies.
        root: the root it was found under.
        kind: its kind, None when no kind has such tables.
        treatment: what happens to it.
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
    error: SourceError | None = None


def find_files(roots: Sequence[Root]) -> list[FoundFile]:
    """Recognise every SQLite file under the roots, sorted by path; nothing is written.

    Symbolic links that lead out of their root are not followed.

    Raises:
        UsageError: M523 no SQLite file at all; M524 two files of one name.
    """
    named = {root.path: root.name for root in roots if root.name}
    found: dict[Path, FoundFile] = {}
    for root in roots:
        for path in _candidates(root.path):
            if path not in found:
                found[path] = _recognise(path, root.path, named.get(path))
    files = sorted(found.values(), key=lambda file: str(file.path))
    if not files:
        places = ", ".join(str(root.path) for root in roots)
        raise UsageError(
            "M523",
            "no SQLite file",
            where=places,
            fix="pass the folder that holds memOS's *.db files: --data DIR",
        )
    _refuse_same_names(file for file in files if file.treatment == "consolidate")
    return files


def _candidates(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for folder, names, files in os.walk(root):
        if PINS_MARKER in files:
            continue
        names[:] = sorted(name for name in names if name not in _TOOL_FOLDERS)
        for name in sorted(files):
            path = Path(folder) / name
            if not (path.suffix in _DATABASE_SUFFIXES or sqlite_file.is_sqlite(path)):
                continue
            resolved = path.resolve()
            if path.is_file() and resolved.is_relative_to(root):
                yield resolved


def _recognise(path: Path, root: Path, name: str | None) -> FoundFile:
    source = name or _name_from(path.stem)

    def as_found(
        kind: FileKind | None,
        treatment: Treatment,
        why: str,
        tables: Mapping[str, int] | None = None,
        error: SourceError | None = None,
    ) -> FoundFile:
        return FoundFile(source, path, root, kind, treatment, why, tables or {}, error)

    if path.stat().st_size == 0:
        return as_found(None, "list", "empty file, 0 bytes")
    try:
        if not sqlite_file.is_sqlite(path):
            raise sqlite_file.translated(ValueError("file is not a database"), path)
        with sqlite_file.opened(path) as connection:
            layout = sqlite_file.layout(connection)
            rows = {table: sqlite_file.row_count(connection, table) for table in sorted(layout)}
            kind = next((kind for kind in KINDS if kind.matches(layout)), None)
            misfit = fit.misfit(connection, path, kind) if kind else None
    except SourceError as error:
        return as_found(None, "unusable", error.what, error=error)
    if kind is None:
        near = fit.near_miss(path, layout)
        if near is not None:
            return as_found(near[0], "unusable", near[1].what, rows, near[1])
        return as_found(None, "list", f"not memOS's: tables {', '.join(layout) or 'none'}", rows)
    if name is None and (why := _test_or_legacy(path, root)):
        return as_found(kind, "list", f"{why}, laid out as {kind.name}", rows)
    if kind.disposition == "keep":
        return as_found(kind, "keep", kind.about, rows)
    if misfit is not None:
        return as_found(kind, "unusable", misfit.what, rows, misfit)
    usual = kind.is_usual_name(path.name)
    why = kind.about if usual else f"recognised by its tables, not its name. {kind.about}"
    return as_found(kind, "consolidate", why, rows)


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
    seen: dict[str, FoundFile] = {}
    for file in files:
        other = seen.setdefault(file.source, file)
        if other is not file:
            raise UsageError(
                "M524",
                f"two files would both be called so: {other.path} and {file.path}",
                where=file.source,
                fix=f"name one of them: --data {spare_name(file.source)}={file.path}",
            )
