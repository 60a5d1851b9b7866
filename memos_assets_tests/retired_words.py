"""Find words that docs/glossary.md retired, in code, messages and pages.

``python -m memos_assets_tests.retired_words`` prints the number of hits per word and room;
with ``--list PATH...`` it prints every hit below the paths.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]
GLOSSARY = PROJECT_ROOT / "docs" / "glossary.md"
#: The page that lists the words, and pages that are computed from code, whose words are the code's.
LEFT_OUT = ("docs/glossary.md", "docs/checklist.md", "docs/settings.md", "docs/cli.md")
SUFFIXES = frozenset({".py", ".md", ".sql", ".jinja", ".yaml", ".toml", ".css"})
#: Paths without a retired word.
COVERED = (
    *("docs", "README.md", "CHANGELOG.md", "sql", "memos_assets", "memos_assets_tests"),
    *("bench", "eval", "faults", "tools"),
)
#: Folders whose hits are counted by room.
BY_ROOM = ("memos_assets", "memos_assets_tests")

_SPAN = re.compile(r"`([^`]+)`")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Retired:
    """One row of the glossary's table.

    ``forms``: the word in every form that is searched for. ``texts``: longer texts in which it is
    legitimate. ``paths``: folders and files, relative to the checkout, in which it is legitimate.
    """

    forms: tuple[str, ...]
    texts: tuple[str, ...]
    paths: tuple[str, ...]

    def pattern(self) -> re.Pattern[str]:
        """Return the pattern of a hit, or of a legitimate text, which is longer and goes first."""
        legitimate = "|".join(map(_flexible, self.texts)) or r"(?!)"
        forms = "|".join(map(_flexible, sorted(self.forms, key=len, reverse=True)))
        return re.compile(
            rf"(?:{legitimate})|(?<![a-z0-9])(?P<hit>{forms})(?![a-z0-9])", re.IGNORECASE
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """One retired word in one line of a file, with the path relative to the checkout."""

    path: str
    line: int
    word: str
    text: str


def retired_words() -> list[Retired]:
    """Return the words of the glossary's table "Retired words"."""
    found = []
    for first, _, last in rows_below("Retired words"):
        legitimate = _SPAN.findall(last)
        paths = tuple(text for text in legitimate if (PROJECT_ROOT / text).exists())
        texts = tuple(text for text in legitimate if text not in paths)
        found.append(Retired(tuple(_SPAN.findall(first)), texts, paths))
    return found


def retired_modules() -> list[str]:
    """Return the names of the glossary's table "Retired module names"."""
    return [_SPAN.findall(first)[0] for first, _ in rows_below("Retired module names")]


def rows_below(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the glossary, without its header."""
    section = GLOSSARY.read_text("utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in row.strip().strip("|").split("|")] for row in rows]


def files_below(paths: Iterable[str]) -> Iterator[Path]:
    """Return the text files below some paths of the checkout, sorted."""
    for path in paths:
        root = PROJECT_ROOT / path
        for file in sorted(root.rglob("*")) if root.is_dir() else [root]:
            name = file.relative_to(PROJECT_ROOT).as_posix()
            if file.suffix in SUFFIXES and name not in LEFT_OUT:
                yield file


def hits_in(text: str, path: str, words: Iterable[Retired]) -> list[Hit]:
    """Return the retired words of a text, line by line; a phrase may go over a line's end."""
    divided = _CAPITAL.sub("_", text)
    lines = text.splitlines()
    found = []
    for word in words:
        if any(path == place or path.startswith(place.rstrip("/") + "/") for place in word.paths):
            continue
        for match in word.pattern().finditer(divided):
            if match["hit"] is not None:
                line = divided.count("\n", 0, match.start())
                found.append(Hit(path, line + 1, word.forms[0], lines[line].strip()))
    return sorted(found, key=lambda hit: hit.line)


def hits_below(paths: Iterable[str]) -> list[Hit]:
    """Return the retired words in all text files below some paths of the checkout."""
    words = retired_words()
    return [
        hit
        for file in files_below(paths)
        for hit in hits_in(
            file.read_text("utf-8"), file.relative_to(PROJECT_ROOT).as_posix(), words
        )
    ]


def _flexible(text: str) -> str:
    """Return a pattern in which each space stands for any white space or an underscore."""
    return r"(?:\s+(?:[#>*]\s*)?|_)".join(map(re.escape, text.split(" ")))


def _room(path: str) -> str:
    parts = path.split("/")
    return "/".join(parts[:2]) if parts[0] in BY_ROOM and len(parts) > 2 else parts[0]


def main(arguments: list[str]) -> int:
    """Print the hits; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("paths", nargs="*", default=[*COVERED])
    parser.add_argument("--list", action="store_true", help="print each hit with its line")
    options = parser.parse_args(arguments)
    hits = hits_below(options.paths)
    counts = Counter((_room(hit.path), hit.word) for hit in hits)
    lines = [f"{room:40} {word:14} {count:5}" for (room, word), count in sorted(counts.items())]
    if options.list:
        lines = [f"{hit.path}:{hit.line}: {hit.word}: {hit.text}" for hit in hits]
    sys.stdout.write("\n".join([*lines, f"{len(hits)} hits", ""]))
    return 1 if hits else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
