"""Tables of numbers as Markdown that reads well in a terminal, and their place in the docs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BenchError, Spread
from memos_assets.files import write_whole


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table.

    Attributes:
        name: names its block in docs/benchmarks.md.
        title: one line.
        columns: headings; all but the first are numbers.
        rows: cells, as many as there are columns.
        note: sentences below the table.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """Return the table with its title above and its note below."""
        grid = [list(self.columns), *map(list, self.rows)]
        widths = [max(map(len, cells)) for cells in zip(*grid, strict=True)]
        lines = [_line(cells, widths) for cells in grid]
        rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
        parts = [f"### {self.title}", "\n".join([lines[0], f"|{rule}|", *lines[1:]]), self.note]
        return "\n\n".join(filter(None, parts)) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(padded)} |"


def spread_cells(spread: Spread) -> tuple[str, str]:
    """Return the median, and the fastest and slowest round, in seconds."""
    return f"{spread.median:.2f}", f"{min(spread.seconds):.2f} - {max(spread.seconds):.2f}"


def verdict(observed: float, limit: float, unit: str) -> str:
    """Say whether a target is met, e.g. ``<= 1.6 x: met``."""
    return f"<= {limit:g} {unit}: {'met' if observed <= limit else 'missed'}"


def reached(observed: float, limit: float, unit: str) -> str:
    """Say whether a target from below is met, e.g. ``>= 300 x: met``."""
    return f">= {limit:g} {unit}: {'met' if observed >= limit else 'missed'}"


def write_sheets(path: Path, sheets: Sequence[Sheet], measured: str) -> None:
    """Put each sheet between its markers, ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``.

    Args:
        path: the document.
        sheets: those that were measured; other blocks stay as they are.
        measured: machine, versions and date, written below each table.

    Raises:
        BenchError: when the document has no markers for a sheet.
    """
    text = path.read_text(encoding="utf-8")
    for sheet in sheets:
        start, end = f"<!-- bench:{sheet.name} -->\n", f"<!-- /bench:{sheet.name} -->"
        block = f"{start}{sheet.markdown()}\n{measured}\n{end}"
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        # Backslashes of a replacement would be read as groups.
        text, replaced = pattern.subn(block.replace("\\", r"\\"), text)
        if replaced != 1:
            raise BenchError(
                f"{path} has {replaced} blocks for the table {sheet.name}. Fix: put the lines "
                f"{start.strip()} and {end} once, at the place of the table"
            )
    write_whole(path, text)
