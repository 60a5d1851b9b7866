"""The end of a command: loaded rows, results, path of the report, and the exit code."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.cli import verbosity
from memos_assets.cli.display import console, print_error
from memos_assets.cli.json_output import write_json
from memos_assets.cli.outcome_tables import checklist_table, reasons_table, tables_table
from memos_assets.consolidate.loading.summary import TableSummary, summarise
from memos_assets.consolidate.rejects.causes import hanging
from memos_assets.consolidate.rejects.listing import Selection
from memos_assets.postgres.schema.tables import in_schema
from memos_assets.report.checks import check_summaries
from memos_assets.report.consolidation import Consolidation
from memos_assets.report.formatting import moment, plural
from memos_assets.report.outcomes import CheckResult
from memos_assets.report.render import find_report, reports_folder
from memos_assets.report.tree import Verdict, as_content
from memos_assets.report.verdict import verdict
from memos_assets.settings import Settings


def conclude(
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    done: Consolidation,
    json_file: Path | None,
) -> int:
    """Print and write the outcome of a consolidation, the verdict first; return the exit code."""
    with in_schema(engine, catalog.schema, done.schema).connect() as conn:
        summaries = summarise(conn, catalog)
        causes = hanging(conn, Selection(catalog, only_open=True))
    concluded = verdict(check_summaries(done.checklist), summaries, done.failures)
    console.print()
    _print_verdict(concluded)
    for failure in done.failures:
        print_error(failure)
    _print_checks(done.checklist)
    for one in causes:
        console.print(f"{one}.", markup=False, soft_wrap=True)
    for note in done.notes:
        if not verbosity.is_quiet():
            console.print(f"Note: {note}", markup=False, soft_wrap=True)
    page = find_report(reports_folder(settings), done.id)
    where = str(page) if page else "none was written, because a step before it failed"
    console.print(f"Report: {where}", markup=False, soft_wrap=True, no_wrap=True)
    if not verbosity.is_quiet():
        console.print(
            f"Consolidation {done.id} in the UI: make ui (memos-assets ui)", soft_wrap=True
        )
    _print_details(summaries)
    write_json(json_file, _as_json(done, summaries, concluded, page))
    return 0 if done.proven else 1


def conclude_unchanged(
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    results: Sequence[CheckResult],
    json_file: Path | None,
) -> int:
    """Print and write that nothing changed since every check passed; return the exit code."""
    with engine.connect() as conn:
        summaries = summarise(conn, catalog)
    read = [evaluation for result in results for evaluation in result.evaluations]
    oldest = moment(min(evaluation.timestamp for evaluation in read))
    concluded = verdict(check_summaries(results), summaries, ())
    console.print()
    _print_verdict(concluded)
    console.print(
        f"Nothing changed since: the files have the bytes that were pinned, and every chunk is in "
        f"the ledger. 0 rows copied. The rows were read on both sides at {oldest}; "
        "`memos-assets verify` reads them again.",
        soft_wrap=True,
    )
    _print_checks(results)
    page = find_report(reports_folder(settings))
    if page is not None:
        console.print(f"Report: {page}", markup=False, soft_wrap=True, no_wrap=True)
    _print_details(summaries)
    nothing = Consolidation("", catalog.schema, checklist=list(results))
    write_json(json_file, _as_json(nothing, summaries, concluded, page))
    return 0


def _print_verdict(concluded: Verdict) -> None:
    word, _, rest = concluded.sentence.partition(": ")
    console.print(
        f"[{'green' if concluded.proven else 'red'}]{word}[/]: {rest}",
        soft_wrap=True,
    )


def _print_checks(results: Sequence[CheckResult]) -> None:
    """Print the checks that need somebody; with -v every check."""
    shown = [one for one in results if verbosity.is_verbose() or one.status != "proven"]
    if shown:
        console.print()
        console.print(checklist_table(shown))
        console.print()


def _print_details(summaries: Sequence[TableSummary]) -> None:
    """Print rows by table and reasons with -v; say that there are such where nothing is said."""
    if verbosity.is_verbose():
        for table in (tables_table(summaries), reasons_table(summaries)):
            console.print()
            console.print(table)
    elif not verbosity.is_quiet():
        console.print(
            f"{plural(len(summaries), 'table')} of sources: -v lists their rows, reasons and every "
            "check; memos-assets status the sources.",
            soft_wrap=True,
        )


def _as_json(
    done: Consolidation,
    summaries: Sequence[TableSummary],
    concluded: Verdict,
    page: Path | None,
) -> dict[str, Any]:
    return {
        "consolidation": done.id or None,
        "proven": done.proven,
        "verdict": concluded.sentence,
        "lost": [asdict(one) for one in concluded.lost],
        "report": str(page) if page else None,
        "stale_chunks": done.stale_chunks,
        "schema": done.schema,
        "live_version": done.exchange.live if done.exchange else None,
        "runs": done.run_ids,
        "failures": done.failures,
        "tables": [asdict(summary) for summary in summaries],
        "checklist": [as_content(check) for check in check_summaries(done.checklist)],
    }
