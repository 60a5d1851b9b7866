"""Tables that fit the terminal: identifiers stay whole, and no line ends in blanks.

Cells wrap at blanks alone. Where a row does not fit, its last columns go below it, each with its
title; so a name, a path or a command can always be copied as one word.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Column, Table
from rich.text import Text

#: Blanks between columns, and before what goes below a row.
_GAP, _INDENT = 2, 4
#: Characters that a snippet needs at least; it is the one kind of cell that is cut.
_LEAST_SNIPPET = 20
#: Characters of a line of prose, at least, before its column goes below the row.
_LEAST_PROSE = 24


@dataclass(frozen=True, slots=True)
class _Column:
    """A column with its cells.

    ``least`` and ``most`` are the widths that its longest word and its longest line need.
    """

    title: str
    cells: Sequence[Text]
    to_the_right: bool
    is_snippet: bool
    least: int
    most: int


class Listing(Table):
    """A table of Rich, laid out by words."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the lines."""
        if self.title:
            yield _line(Text.assemble(_text(console, self.title), style="italic"))
        columns = [_read(console, column) for column in self.columns]
        beside, below = _split(columns, options.max_width)
        widths = _widths(beside, options.max_width)
        if any(column.title for column in beside):
            titles = [[Text(column.title, "bold")] for column in beside]
            yield from _row(titles, beside, widths)
        for number, row in enumerate(self.rows):
            cells = [
                _wrapped(column, column.cells[number], width)
                for column, width in zip(beside, widths, strict=True)
            ]
            yield from _row(cells, beside, widths)
            for column in below:
                # One text alone needs no title.
                title = column.title if len(below) > 1 else ""
                yield from _below(title, column.cells[number], options.max_width)
            if row.end_section and number + 1 < len(self.rows):
                yield Text("")


def _read(console: Console, column: Column) -> _Column:
    cells = [_text(console, cell) for cell in column.cells]
    title = _text(console, column.header).plain
    is_snippet = column.ratio is not None
    words = [word for cell in cells for word in _words(cell, column)]
    least = max(map(cell_len, [*words, *title.split()]), default=0)
    most = max(
        [cell_len(title), *(cell_len(line) for cell in cells for line in cell.plain.splitlines())]
    )
    prose = column.justify != "right" and not column.no_wrap and most > least
    if is_snippet:
        least = min(most, _LEAST_SNIPPET)
    elif prose:
        least = max(least, min(most, _LEAST_PROSE))
    return _Column(title, cells, column.justify == "right", is_snippet, least, most)


def _text(console: Console, cell: Any) -> Text:
    return cell if isinstance(cell, Text) else console.render_str(str(cell))


def _words(cell: Text, column: Column) -> list[str]:
    """Return the parts of a cell that are not broken: its lines where it does not wrap."""
    whole = column.no_wrap or column.justify == "right"
    return cell.plain.splitlines() if whole else cell.plain.split()


def _split(columns: Sequence[_Column], width: int) -> tuple[list[_Column], list[_Column]]:
    """Return the columns that fit beside each other, and those that go below the row.

    Text goes below before numbers do, the last column first.
    """
    beside, below = list(columns), list[_Column]()
    while len(beside) > 1 and _sum([column.least for column in beside]) > width:
        texts = [column for column in beside[1:] if not column.to_the_right]
        chosen = texts[-1] if texts else beside[-1]
        beside.remove(chosen)
        below.insert(0, chosen)
    below.sort(key=columns.index)
    return beside, below


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """Return the width of each column: what it needs, and a share of what is left."""
    widths = [column.least for column in columns]
    left = width - _sum(widths)
    while left > 0:
        wanting = [n for n, column in enumerate(columns) if widths[n] < column.most]
        if not wanting:
            break
        share = max(1, left // len(wanting))
        for n in wanting:
            more = min(share, columns[n].most - widths[n], left)
            widths[n] += more
            left -= more
    return widths


def _wrapped(column: _Column, cell: Text, width: int) -> list[Text]:
    """Return the lines of a cell; a snippet is one line, cut at its end."""
    if column.is_snippet:
        one = cell.copy()
        one.truncate(width, overflow="ellipsis")
        return [one]
    return wrapped(cell, width)


def wrapped(text: Text, width: int) -> list[Text]:
    """Return lines that break at blanks alone and end in none; a longer word is a line."""
    lines = [
        one
        for line in text.split(allow_blank=True)
        for one in line.divide(list(_breaks(line.plain, width)))
    ]
    for line in lines:
        line.rstrip()
    return lines


def _breaks(line: str, width: int) -> Iterator[int]:
    """Yield where the words begin that do not fit the line before them."""
    begin = 0
    for word in re.finditer(r"\S+", line):
        if word.start() > begin and cell_len(line[begin : word.end()]) > width:
            if line[begin : word.start()].strip():
                yield word.start()
            begin = word.start()


def _row(
    cells: Sequence[Sequence[Text]], columns: Sequence[_Column], widths: Sequence[int]
) -> Iterator[Text]:
    for number in range(max(map(len, cells), default=0)):
        line = Text()
        for lines, column, width in zip(cells, columns, widths, strict=True):
            cell = lines[number] if number < len(lines) else Text("")
            blanks = " " * max(0, width - cell.cell_len)
            line.append_text(Text(blanks) + cell if column.to_the_right else cell + Text(blanks))
            line.append(" " * _GAP)
        line.rstrip()
        yield _line(line)


def _below(title: str, cell: Text, width: int) -> Iterator[Text]:
    if not cell.plain.strip():
        return
    shown = Text.assemble(f"{title}: " if title else "", cell)
    for line in wrapped(shown, width - _INDENT):
        yield _line(Text(" " * _INDENT) + line)


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ignore"
    return text
