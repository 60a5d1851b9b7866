"""The table of hits: one line each, with the matches in bold."""

import json
import re
from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from memos_assets.catalog import Table as SearchedTable
from memos_assets.cli.display import titled_table
from memos_assets.search.across_tables import Answer
from memos_assets.search.api import Hit
from memos_assets.sqlite.printable import printable

#: Characters of a text and of metadata that are shown where there is room.
_SHOWN, _METADATA_SHOWN = 240, 60


def name_of(table: SearchedTable, key: Mapping[str, str]) -> str:
    """Return a row's key as `--like` takes it: its columns without the owner, joined by ``/``."""
    return "/".join(str(value) for name, value in key.items() if name != table.owner)


def hits_table(
    answer: Answer, pattern: re.Pattern[str] | None, *, title: str | None, width: int
) -> Table:
    """Return hits as a table.

    Args:
        answer: of one table.
        pattern: of the parts that are shown in bold; None for a search without words.
        title: above it.
        width: characters of a line.
    """
    # A source or a key that is longer goes on in the next line: it can be copied whole.
    key_width = min(28, width // 5)
    # Columns with a ratio share what the others leave.
    table = titled_table(title)
    table.add_column("", justify="right")
    owner = answer.table.owner
    if owner is not None:
        table.add_column(owner, overflow="fold", max_width=key_width)
    table.add_column("key", overflow="fold", max_width=key_width)
    measures = [name for name in ("score", "distance") if _measured(answer.hits, name)]
    for name in measures:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=3)
    has_metadata = any(hit.metadata for hit in answer.hits)
    if has_metadata:
        table.add_column("metadata", no_wrap=True, overflow="ellipsis", ratio=1)
    for rank, hit in enumerate(answer.hits, 1):
        table.add_row(
            str(rank),
            *([Text(printable(hit.key.get(owner, "")))] if owner is not None else []),
            Text(printable(name_of(answer.table, hit.key))),
            *(_number(getattr(hit, name)) for name in measures),
            snippet(hit.text or "", pattern, before=width // 10),
            *([Text(_metadata(hit.metadata))] if has_metadata else ()),
        )
    return table


def _measured(hits: Sequence[Hit], name: str) -> bool:
    return any(getattr(hit, name) is not None for hit in hits)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.0001 else f"{value:.0e}"


def snippet(text: str, pattern: re.Pattern[str] | None, *, before: int) -> Text:
    """Return the part of a text where it first matches, on one line, its matches in bold.

    At most ``before`` characters stand before the first match.
    """
    line = printable(" ".join(text.split()))
    first = pattern.search(line) if pattern else None
    start = max(0, first.start() - before) if first else 0
    if start:
        # From the beginning of a word, if there is one.
        start = line.find(" ", start, first.start() if first else None) + 1 or start
    shown = Text(("…" if start else "") + line[start : start + _SHOWN])
    if start + _SHOWN < len(line):
        shown.append("…")
    if pattern:
        shown.highlight_regex(pattern, "bold")
    return shown


def _metadata(metadata: object) -> str:
    if not metadata:
        return ""
    if isinstance(metadata, dict):
        parts = (
            f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
            for name, value in metadata.items()
            if value not in (None, "", [], {})
        )
        line = " ".join(parts)
    else:
        line = json.dumps(metadata, ensure_ascii=False)
    line = printable(" ".join(line.split()))
    return line if len(line) <= _METADATA_SHOWN else f"{line[: _METADATA_SHOWN - 1]}…"


def pattern_of(text: str, stems: Sequence[str]) -> re.Pattern[str] | None:
    """Return a pattern of the words and codes that a search by text finds.

    Args:
        text: that was searched for; words of it with a digit are matched as they stand.
        stems: of its other words, as PostgreSQL's dictionary has them.
    """
    codes = [word for word in re.findall(r"\w+(?:[-_.]\w+)*", text) if re.search(r"\d", word)]
    found = {re.escape(code) for code in codes}
    for stem in stems:
        if any(character.isdigit() for character in stem):
            continue
        # "batteri" is the stem of battery and batteries.
        beginning = stem[:-1] if stem[-1] in "ie" and len(stem) > 3 else stem
        found.add(re.escape(beginning) + r"\w*")
    if not found:
        return None
    whole = "|".join(sorted(found, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{whole})", re.IGNORECASE)
