"""Find Python files below paths, and parse them; each that cannot be read is one line."""

import ast
import io
import os
import stat
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from memos_assets.errors import UsageError
from memos_assets.sqlite.printable import printable

#: Folders of code that others wrote, or of none.
SKIPPED: Final = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env"})
#: A module of more bytes is data; the largest of CPython's own library has 1.4 MB.
LARGEST: Final = 5_000_000


@dataclass(frozen=True, slots=True)
class NotRead:
    """A file or folder that could not be checked, and the reason."""

    path: str
    why: str

    def __str__(self) -> str:
        return f"{self.path}: not checked: {self.why}"


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment: its line and column from 1, and whether the line holds nothing else."""

    line: int
    column: int
    text: str
    alone: bool


@dataclass(frozen=True)
class Source:
    """A parsed module.

    Attributes:
        path: as it was reached, fit to be printed.
        parts: of its absolute path, without the suffix; imports are compared with their end.
        text: of the module.
        tree: its syntax.
    """

    path: str
    parts: tuple[str, ...]
    text: str
    tree: ast.Module

    @property
    def package(self) -> tuple[str, ...]:
        """Return the parts of its package, from which relative imports start."""
        return self.parts if Path(self.path).stem == "__init__" else self.parts[:-1]

    def column(self, node: ast.expr | ast.stmt | ast.arg) -> int:
        """Return the column of a node in characters, from 1; Python counts bytes, from 0."""
        line = self.lines[node.lineno - 1] if node.lineno <= len(self.lines) else b""
        return len(line[: node.col_offset].decode("utf-8", "ignore")) + 1

    @cached_property
    def lines(self) -> list[bytes]:
        """Return the lines as Python's parser sees them, in UTF-8."""
        return [line.encode("utf-8", "ignore") for line in io.StringIO(self.text)]

    @cached_property
    def comments(self) -> tuple[Comment, ...]:
        """Return its comments; a text that looks like one is not."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return tuple(
            Comment(
                token.start[0],
                token.start[1] + 1,
                token.string,
                alone=not token.line[: token.start[1]].strip(),
            )
            for token in tokens
            if token.type == tokenize.COMMENT
        )


def read_sources(paths: Iterable[Path]) -> Iterator[Source | NotRead]:
    """Yield every Python file at and below paths, each once, in the order of their names.

    Links are followed once; hidden folders, virtual environments and caches are left out. A path
    that is named itself is read whatever its name is.

    Raises:
        UsageError: M780 when a path does not exist.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(
                "M780",
                "there is no such file or folder",
                where=printable(str(path)),
                fix="pass a Python file, or a folder of them",
            )
        for found in _walked(path, (), seen) if path.is_dir() else _once(path, seen):
            yield found if isinstance(found, NotRead) else _parsed(found)


def _walked(
    folder: Path, above: tuple[tuple[int, int], ...], seen: set[tuple[int, int]]
) -> Iterator[Path | NotRead]:
    """Yield the Python files of a folder, then those of its folders."""
    try:
        here = _identity(folder)
        if here in above:
            yield NotRead(shown(folder), "the link leads back to a folder that contains it")
            return
        if here in seen:
            return
        seen.add(here)
        entries = sorted(os.scandir(folder), key=lambda entry: os.fsencode(entry.name))
    except OSError as error:
        yield NotRead(shown(folder), _reason(error))
        return
    folders = []
    for entry in entries:
        try:
            inside = entry.is_dir()
        except OSError as error:
            yield NotRead(shown(folder / entry.name), _reason(error))
            continue
        if inside:
            if not (entry.name.startswith(".") or entry.name in SKIPPED):
                folders.append(folder / entry.name)
        elif entry.name.endswith(".py"):
            yield from _once(folder / entry.name, seen)
    for one in folders:
        yield from _walked(one, (*above, here), seen)


def _once(path: Path, seen: set[tuple[int, int]]) -> Iterator[Path | NotRead]:
    try:
        identity = _identity(path)
    except OSError as error:
        yield NotRead(shown(path), _reason(error))
        return
    if identity not in seen:
        seen.add(identity)
        yield path


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _parsed(path: Path) -> Source | NotRead:
    try:
        text = _text(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the sources' own escapes and comparisons
            tree = ast.parse(text)
        source = Source(shown(path), _parts(path), text, tree)
        len(source.comments)
    except OSError as error:
        return NotRead(shown(path), _reason(error))
    except tokenize.TokenError as error:
        return NotRead(shown(path), f"it is not Python: {error.args[0]}")
    except SyntaxError as error:
        where = "" if error.lineno is None else f" (line {error.lineno})"
        return NotRead(shown(path), f"it is not Python{where}: {printable(str(error.msg))}")
    except UnicodeDecodeError as error:
        return NotRead(
            shown(path), f"byte {error.start + 1:,} is not {error.encoding}, and no coding is named"
        )
    except (RecursionError, MemoryError):
        return NotRead(shown(path), "it is nested more deeply than Python parses")
    except ValueError as error:
        return NotRead(shown(path), f"it is not text: {printable(str(error))}")
    return source


def _text(path: Path) -> str:
    """Return the text of a file in the encoding that it names.

    Raises:
        OSError: it cannot be read, or is not a file: a pipe would be waited for.
        ValueError: it is too large, or holds NUL bytes.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(0, "it is not a regular file")
    if found.st_size > LARGEST:
        raise ValueError(f"{found.st_size:,} bytes are data, not a module")
    content = path.read_bytes()
    if b"\0" in content:
        raise ValueError("it holds NUL bytes")
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    text = content.decode(encoding)
    # Python's tokenizer ends lines where universal newlines do, and nowhere else.
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parts(path: Path) -> tuple[str, ...]:
    # A folder whose name has a dot cannot be imported by it, but may be above one that is.
    parts = tuple(part.replace(".", "_") for part in path.absolute().with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def shown(path: Path) -> str:
    """Return a path on one line, whatever bytes are in it."""
    return printable(str(path))


def _reason(error: OSError) -> str:
    return printable(str(error.strerror or error))
