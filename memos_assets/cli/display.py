"""Output for people: progress during the work, tables at its end."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.style import Style
from rich.table import Table
from rich.text import Text

from memos_assets.cli.manual import find_section
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.consolidate.loading.summary import TableSummary
from memos_assets.progress import Phase, Progress, listening
from memos_assets.report.formatting import size
from memos_assets.report.outcomes import CheckResult, Status

#: Columns where the output is not a terminal; Rich would assume 80.
_WIDTH_IN_FILES = 120

console = Console(highlight=False)
if not console.is_terminal:
    console.width = _WIDTH_IN_FILES
errors = Console(stderr=True, highlight=False)

_CODE = re.compile(r"(?:M\d{3}|V\d{2})(?= )")

MARKS: dict[Status, str] = {
    "proven": "[green]ok[/]",
    "open": "[yellow]open[/]",
    "unproven": "[yellow]unproven[/]",
    "failed": "[red]FAILED[/]",
}
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
            if self._bars is None and progress.phase == "load" and current.rows:
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
    if not console.is_terminal:
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
    for line in display.summary():
        console.print(line)


def titled_table(title: str | Text | None, *, expand: bool = False) -> Table:
    """Return a table with its title and no column yet, as every command shows one."""
    return Table(title=title, title_justify="left", box=None, pad_edge=False, expand=expand)


def tables_table(summaries: Sequence[TableSummary]) -> Table:
    """Return the row counts of every source's tables, loaded or forecast."""
    table = titled_table("Tables")
    table.add_column("table", overflow="fold")
    table.add_column("source", overflow="fold")
    for name in ("rows", "loaded", "rejected", "no embedding"):
        table.add_column(name, justify="right")
    for summary in summaries:
        if not summary.source_rows:
            continue
        mirrored = f" (+{summary.mirrored:,} reversed)" if summary.mirrored else ""
        table.add_row(
            summary.table,
            summary.source,
            f"{summary.source_rows:,}",
            f"{summary.rows:,}{mirrored}",
            f"{summary.rejected:,}",
            f"{sum(summary.without_embedding.values()):,}",
        )
    return table


def reasons_table(summaries: Sequence[TableSummary]) -> Table:
    """Return why rows were rejected and why embeddings are NULL, summed over all tables."""
    table = titled_table("Reasons")
    table.add_column("")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("what it means", overflow="fold")
    rejected: Counter[str] = Counter()
    unembedded: Counter[str] = Counter()
    for summary in summaries:
        rejected.update(summary.rejects)
        for reason, count in summary.without_embedding.items():
            unembedded[reason.rpartition(": ")[2]] += count
    for reason, count in sorted(rejected.items()):
        table.add_row("rejected", reason, f"{count:,}", REJECT_REASONS[reason])
    for reason, count in sorted(unembedded.items()):
        table.add_row("no embedding", reason, f"{count:,}", EMBEDDING_REASONS[reason])
    return table


def checklist_table(checklist: Sequence[CheckResult]) -> Table:
    """Return the result of every check, with the observed value where it failed."""
    table = titled_table("Checklist")
    table.add_column("")
    table.add_column("check")
    table.add_column("passed on", justify="right")
    for result in checklist:
        table.add_row(
            f"{result.check.label} {MARKS[result.status]}",
            result.check.title,
            f"{result.passed} of {result.total}",
        )
        for colour, evaluations in (("red", result.failed), ("yellow", result.open)):
            for evaluation in evaluations:
                table.add_row(
                    "",
                    f"[{colour}]{evaluation.asset}[/]: expected {escape(evaluation.expected)}; "
                    f"observed {escape(evaluation.observed)}",
                )
        for evaluation in result.stale:
            table.add_row("", f"[yellow]{evaluation.asset}[/]: checked before it was loaded again")
        for asset in result.unproven:
            table.add_row("", f"[yellow]{asset}[/]: not checked yet")
        if result.failed or result.open:
            table.add_row("", f"Fix: {result.check.fix}")
    return table
