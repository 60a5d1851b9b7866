"""Output for people: progress during the work, tables at its end."""

import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.style import Style
from rich.text import Text

from memos_assets.cli import verbosity
from memos_assets.cli.listing import Listing, wrapped
from memos_assets.cli.manual import find_section
from memos_assets.progress import Phase, Progress, listening
from memos_assets.report.formatting import size

#: Columns where the output is not a terminal and COLUMNS is not set; Rich would assume 80.
_WIDTH_IN_FILES = 120


class WordConsole(Console):
    """A console that breaks lines at blanks alone, so that a name or a path is one word.

    Lines in files are as long as they are, unless COLUMNS says how long they may be.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False)
        columns = shutil.get_terminal_size((0, 0)).columns
        self.breaks_lines = self.is_terminal or columns > 0
        if not self.is_terminal:
            self.width = columns or _WIDTH_IN_FILES

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does, with whole words; a command line is left whole."""
        one = objects[0] if len(objects) == 1 else None
        if isinstance(one, Listing):
            options["crop"] = False
        elif isinstance(one, str | Text) and is_whole(str(one), options):
            options["soft_wrap"] = True
        elif isinstance(one, str | Text) and self.breaks_lines:
            return self._print_words(one, options)
        super().print(*objects, **options)
        return None

    def _print_words(self, one: str | Text, options: dict[str, Any]) -> None:
        markup = options.pop("markup", True)
        text = Text(one) if isinstance(one, str) and not markup else one
        text = self.render_str(text) if isinstance(text, str) else text
        shown = Text("\n").join(wrapped(text, self.width))
        super().print(shown, **{**options, "soft_wrap": True})


def is_whole(text: str, options: Mapping[str, Any]) -> bool:
    """Whether a line is not broken: a command to be copied, or what the caller says is one."""
    return bool(options.get("no_wrap")) or text.startswith("  memos-assets ")


console = WordConsole()
errors = WordConsole(stderr=True)

_CODE = re.compile(r"(?:M\d{3}|V\d{2})(?= )")

_VERBS: dict[Phase, tuple[str, str]] = {
    "pin": ("Pinning", "Pinned"),
    "load": ("Loading", "Loaded"),
    "index": ("Indexing", "Indexed"),
    "verify": ("Verifying", "Verified"),
    "maintain": ("Maintaining", "Maintained"),
    "measure": ("Measuring", "Measured"),
    "encrypt": ("Encrypting", "Encrypted"),
}


def print_error(line: str) -> None:
    """Print an error on standard error. At a terminal its code is a link to its documentation."""
    text = Text(line, style="red")
    code = _CODE.match(line)
    if code is not None and errors.is_terminal and (page := find_section(code[0])) is not None:
        text.stylize(Style(link=page.address), *code.span())
        text.append(f" (memos-assets explain {code[0]})", style="dim")
    errors.print(text, soft_wrap=True)


@dataclass(slots=True)
class _Phase:
    """Counts of one phase so far."""

    objects: int = 0
    rows: int = 0
    bytes: int = 0
    total_rows: int = 0
    seconds: float = 0.0
    current: dict[str, "_Object"] = field(default_factory=dict)


@dataclass(slots=True)
class _Object:
    """One file, table or index that is worked on."""

    started: float
    rows: int = 0
    bytes: int = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


class ProgressDisplay:
    """One bar per phase at a terminal, one line per finished table or phase elsewhere."""

    def __init__(self, bars: Bars | None) -> None:
        self._bars = bars
        self._tasks: dict[Phase, TaskID] = {}
        self._phases: dict[Phase, _Phase] = {}

    def update(self, progress: Progress) -> None:
        """Add one report."""
        phase = self._phases.setdefault(progress.phase, _Phase())
        phase.rows += progress.rows
        phase.bytes += progress.bytes
        phase.total_rows += progress.total_rows
        current = phase.current.setdefault(progress.what, _Object(time.monotonic()))
        current.rows += progress.rows
        current.bytes += progress.bytes
        if progress.done:
            phase.objects += 1
            phase.seconds += current.seconds
            said = self._bars is None and not verbosity.is_quiet()
            if said and progress.phase == "load" and current.rows:
                console.print(
                    f"  loaded {progress.what}: {current.rows:,} rows, {size(current.bytes)} "
                    f"in {current.seconds:.1f} s",
                    soft_wrap=True,
                )
            del phase.current[progress.what]
        if progress.note:
            console.print(f"  {progress.note}", markup=False, soft_wrap=True)
        if self._bars is not None:
            self._draw(self._bars, progress, phase)

    def _draw(self, bars: Bars, progress: Progress, phase: _Phase) -> None:
        if progress.phase not in self._tasks:
            self._tasks[progress.phase] = bars.add_task("", total=None, counted="")
        verb = _VERBS[progress.phase][0]
        counted = f"{phase.rows:,} rows" if phase.rows else ""
        bars.update(
            self._tasks[progress.phase],
            description=f"{verb} {progress.what}",
            completed=phase.rows,
            total=phase.total_rows or None,
            counted=f"{counted} {size(phase.bytes) if phase.bytes else ''}".strip(),
        )

    @property
    def worked(self) -> bool:
        """Whether there was any report."""
        return bool(self._phases)

    def summary(self) -> Iterator[str]:
        """Yield one line per phase."""
        nouns: dict[Phase, str] = {
            "pin": "files", "load": "tables", "index": "indexes", "verify": "tables",
            "maintain": "objects",
            "measure": "searches", "encrypt": "tables",
        }  # fmt: skip
        for name, phase in self._phases.items():
            what = f"{phase.objects} {nouns[name]}"
            if phase.rows and name != "index":
                what += f", {phase.rows:,} rows"
            if phase.bytes:
                what += f", {size(phase.bytes)}"
            yield f"{_VERBS[name][1]} {what} in {phase.seconds:.1f} s"


@contextmanager
def live_progress() -> Iterator[ProgressDisplay]:
    """Show reports of the block as they come."""
    if not console.is_terminal or console.is_dumb_terminal or verbosity.is_quiet():
        display = ProgressDisplay(None)
        with listening(display.update):
            yield display
    else:
        bars = Bars(
            SpinnerColumn(),
            TextColumn("{task.description:<46.46}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        display = ProgressDisplay(bars)
        with bars, listening(display.update):
            yield display
    if not verbosity.is_quiet():
        for line in display.summary():
            console.print(line)


def titled_table(title: str | Text | None) -> Listing:
    """Return a table with its title and no column yet, as every command shows one."""
    return Listing(title=title)
