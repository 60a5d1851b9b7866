"""The end of `verify --plan`: each line of the remediation plan's checklist, and what it says."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from memos_assets.checklist import CHECKLIST
from memos_assets.cli.display import console, print_error, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.outcome_tables import MARKS
from memos_assets.remediation_plan import LINES, PlanLine
from memos_assets.report.checks import check_summaries
from memos_assets.report.consolidation import Consolidation
from memos_assets.report.formatting import plural
from memos_assets.report.outcomes import CheckResult, Status
from memos_assets.report.tree import as_content

#: From the worst to the best.
_ORDER: tuple[Status, ...] = ("failed", "unproven", "open", "proven")
#: Failures of one check that are shown; JSON has all of them.
_SHOWN = 3


def conclude_plan(done: Consolidation, json_file: Path | None) -> int:
    """Print and write every line of the remediation plan with its checks; return the exit code."""
    results = {result.check.number: result for result in done.checklist}
    console.print()
    console.print(_table(results))
    console.print()
    for failure in done.failures:
        print_error(failure)
    statuses = [_status(_results(line, results)) for line in LINES]
    holding = sum(status in ("proven", "open") for status in statuses)
    colour, word = ("green", "Holds") if done.proven else ("red", "Does not hold")
    console.print(
        f"[{colour}]{word}[/]: {holding} of {plural(len(LINES), 'line')} of the remediation plan's "
        "checklist",
        soft_wrap=True,
    )
    write_json(json_file, _as_json(done, results))
    return 0 if done.proven else 1


def _results(line: PlanLine, results: Mapping[int, CheckResult]) -> list[CheckResult]:
    return [results[number] for number in line.numbers if number in results]


def _status(results: Sequence[CheckResult]) -> Status:
    """Return the worst status; without a result a line is unproven."""
    return min((one.status for one in results), key=_ORDER.index, default="unproven")


def _table(results: Mapping[int, CheckResult]) -> Table:
    table = titled_table("The remediation plan's checklist, in its own words")
    table.add_column("phase")
    table.add_column("")
    table.add_column("line")
    phase = 0
    for line in LINES:
        answered = _results(line, results)
        shown, phase = str(line.phase) if line.phase != phase else "", line.phase
        table.add_row(shown, MARKS[_status(answered)], escape(line.words.replace("`", "")))
        for said in _said(line, answered):
            table.add_row("", "", said)
    return table


def _said(line: PlanLine, answered: Sequence[CheckResult]) -> Iterator[str]:
    checks = line.checks(CHECKLIST)
    if len(answered) < len(checks):
        yield "[yellow]not checked yet[/]"
    for result in answered:
        about = f"{result.check.label} on {result.passed} of {result.total}"
        worst = [*result.failed, *result.open]
        for one in worst[:_SHOWN]:
            colour = "red" if one.status == "failed" else "yellow"
            yield (
                f"[{colour}]{about}: {one.asset}: expected {escape(one.expected)}; "
                f"observed {escape(one.observed)}[/]"
            )
        if len(worst) > _SHOWN:
            yield f"[dim]and {plural(len(worst) - _SHOWN, 'asset')} more[/]"
        if worst:
            yield f"Fix: {escape(result.check.fix)}"
        elif result.unproven or result.stale:
            yield f"[yellow]{about}: not checked on {_unchecked(result)}[/]"
        elif result.total == 1:
            yield f"[dim]{about}: {escape(result.evaluations[0].observed)}[/]"
        else:
            yield f"[dim]{about}: {escape(result.check.title)}[/]"


def _unchecked(result: CheckResult) -> str:
    return plural(len(result.unproven) + len(result.stale), "asset")


def _as_json(done: Consolidation, results: Mapping[int, CheckResult]) -> dict[str, Any]:
    return {
        "holds": done.proven,
        "runs": done.run_ids,
        "failures": done.failures,
        "lines": [
            {
                "phase": line.phase,
                "words": line.words,
                "note": line.note,
                "status": _status(answered),
                "checks": [as_content(one) for one in check_summaries(answered)],
            }
            for line in LINES
            for answered in [_results(line, results)]
        ],
    }
