"""The verdict of a report, and the list of everything that is unproven or left to do."""

from collections.abc import Iterator, Sequence

from memos_assets import losses
from memos_assets.consolidate.loading.summary import TableSummary
from memos_assets.losses import by_table, embedding_losses, row_losses
from memos_assets.report.formatting import plural
from memos_assets.report.tree import (
    CheckSummary,
    Evaluated,
    IndexUse,
    LostShare,
    ReasonCount,
    SourceFile,
    TableRows,
    ToDo,
    Verdict,
)

#: Row counts: those of the report, or those of the ledger.
Rows = Sequence[TableRows] | Sequence[TableSummary]


def verdict(checklist: Sequence[CheckSummary], rows: Rows, failures: Sequence[str]) -> Verdict:
    """Return the verdict: proven if no step failed and every check passed after the last load."""
    lost = by_table(
        loss
        for row in rows
        for loss in (
            *row_losses(row.source, row.table, row.source_rows, row.rejects),
            *embedding_losses(row.source, row.table, row.rows, row.without_embedding),
        )
    )
    parts = (_checks_sentence(checklist, failures), _rows_sentence(rows), losses.sentence(lost))
    return Verdict(
        proven=not failures and bool(checklist) and all(check.proven for check in checklist),
        sentence=" ".join(filter(None, parts)),
        lost=tuple(
            LostShare(one.table, one.column or None, one.reason, one.count, one.of, one.is_fact)
            for one in lost
        ),
    )


def checks_passed(checklist: Sequence[CheckSummary]) -> str:
    """Return ``11 of 12 checks passed, 1 is open``."""
    passed = sum(check.status == "proven" for check in checklist)
    opened = sum(check.status == "open" for check in checklist)
    is_open = f", {opened} {'is' if opened == 1 else 'are'} open" if opened else ""
    return f"{passed} of {plural(len(checklist), 'check')} passed{is_open}"


def _checks_sentence(checklist: Sequence[CheckSummary], failures: Sequence[str]) -> str:
    if not any(check.evaluations for check in checklist):
        return "Nothing is proven: no check was ever evaluated on this database."
    if not failures and all(check.proven for check in checklist):
        return f"Proven: {checks_passed(checklist)}."
    reasons = []
    if failures:
        reasons.append(f"{plural(len(failures), 'step')} failed")
    if failed := sum(check.status == "failed" for check in checklist):
        reasons.append(f"{plural(failed, 'check')} failed")
    if missing := sum(len(check.unproven) for check in checklist):
        reasons.append(f"{plural(missing, 'evaluation')} missing")
    if stale := sum(len(check.stale) for check in checklist):
        reasons.append(f"{plural(stale, 'evaluation')} older than the loaded rows")
    return f"Not proven: {checks_passed(checklist)}. Reasons: {', '.join(reasons)}."


def _rows_sentence(rows: Rows) -> str:
    source = sum(row.source_rows for row in rows)
    loaded = sum(row.rows for row in rows)
    rejected = sum(row.rejected for row in rows)
    return (
        f"{plural(source, 'source row')} = {loaded:,} loaded + {rejected:,} rejected, "
        "each with its reason in memos_ops.rejects."
    )


def things_to_do(
    failures: Sequence[str],
    checklist: Sequence[CheckSummary],
    reasons: Sequence[ReasonCount],
    sources: Sequence[SourceFile],
    indexes: Sequence[IndexUse],
) -> Iterator[ToDo]:
    """Yield everything that is unproven or undone, the gravest first."""
    for failure in failures:
        what, _, fix = failure.partition(". Fix: ")
        yield ToDo("failed step", what, fix or "see the run in the UI, then run it again")
    yield from _failed(checklist)
    yield from _unproven(checklist)
    for source in sources:
        if source.newer:
            yield ToDo(
                "source is newer",
                f"{source.source}: {source.path} {source.state}",
                "consolidate again; only changed chunks are copied",
            )
    for index in indexes:
        if index.rows and not index.valid:
            yield ToDo(
                "not indexed",
                f"{plural(index.rows, 'row')} of {index.table}: {index.index} is missing or not "
                "valid",
                "materialise the index asset; consolidate builds all of them",
            )
    for check in checklist:
        if check.open:
            what = f"{check.check} on {_some([evaluation.asset for evaluation in check.open])}"
            yield ToDo("open check", what, check.fix)
    for reason in reasons:
        if reason.what == "rejected" and reason.rows > reason.settled:
            yield ToDo(
                "open rejects",
                f"{plural(reason.rows - reason.settled, 'row')}, {reason.reason}: {reason.meaning}",
                "repair the file and consolidate again, or decide: memos-assets rejects list",
            )


def _failed(checklist: Sequence[CheckSummary]) -> Iterator[ToDo]:
    for check in checklist:
        for evaluation in check.failed:
            yield ToDo(
                "failed check",
                f"{check.check} on {evaluation.asset}: expected {evaluation.expected}; "
                f"observed {evaluation.observed}{' (stale)' if evaluation.stale else ''}"
                f"{_named(evaluation)}",
                check.fix,
            )


def _named(evaluation: Evaluated) -> str:
    """Return the first faults of an evaluation, and how many more there are."""
    more = f"; and {evaluation.more_faults:,} more" if evaluation.more_faults else ""
    return f": {'; '.join(evaluation.faults)}{more}" if evaluation.faults else ""


def _unproven(checklist: Sequence[CheckSummary]) -> Iterator[ToDo]:
    """Yield one line per check: all of a checklist may be unproven."""
    fix = "run the checklist: memos-assets verify"
    for check in checklist:
        if check.unproven:
            yield ToDo("not evaluated", f"{check.check} on {_some(check.unproven)}", fix)
    for check in checklist:
        if check.stale:
            assets = [evaluation.asset for evaluation in check.stale]
            yield ToDo(
                "stale",
                f"{check.check} on {_some(assets)}: evaluated before its data was loaded or pinned "
                "again",
                fix,
            )


def _some(names: Sequence[str]) -> str:
    if len(names) <= 4:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3:,} more"
