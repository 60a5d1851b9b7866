"""Tables of an outcome: rows by table and source, reasons, checks."""

from collections import Counter
from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from memos_assets.cli.display import titled_table
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.consolidate.loading.summary import TableSummary
from memos_assets.report.checks import NAMED
from memos_assets.report.outcomes import CheckResult, Status

MARKS: dict[Status, str] = {
    "proven": "[green]ok[/]",
    "open": "[yellow]open[/]",
    "unproven": "[yellow]unproven[/]",
    "failed": "[red]FAILED[/]",
}


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
                for fault in evaluation.faults[:NAMED]:
                    table.add_row("", f"  {escape(fault)}")
                if evaluation.faults and evaluation.fault_count > NAMED:
                    table.add_row("", f"  and {evaluation.fault_count - NAMED:,} more")
        for evaluation in result.stale:
            table.add_row("", f"[yellow]{evaluation.asset}[/]: checked before it was loaded again")
        for asset in result.unproven:
            table.add_row("", f"[yellow]{asset}[/]: not checked yet")
        if result.failed or result.open:
            table.add_row("", f"Fix: {result.check.fix}")
    return table
