"""The conclusion of a report, and everything that still speaks against it or is left to do."""

from collections.abc import Iterator, Sequence

from memos_assets.consolidate.loading.summary import TableSummary
from memos_assets.report.formatting import plural
from memos_assets.report.tree import (
    CheckedClaim,
    IndexUse,
    ReasonCount,
    SourceFile,
    TableRows,
    ToDo,
    Verdict,
)

#: What sums up rows: the report's, and the ledger's own.
Rows = Sequence[TableRows] | Sequence[TableSummary]


def verdict(checklist: Sequence[CheckedClaim], rows: Rows, failures: Sequence[str]) -> Verdict:
    """Conclude: proven is what was read after the last load, and held, for every claim."""
    return Verdict(
        proven=not failures and bool(checklist) and all(claim.proven for claim in checklist),
        sentence=f"{_claims_sentence(checklist, failures)} {_rows_sentence(rows)}",
    )


def claims_hold(checklist: Sequence[CheckedClaim]) -> str:
    """Return ``11 of 12 claims hold, 1 is open``."""
    holding = sum(claim.status == "proven" for claim in checklist)
    opened = sum(claim.status == "open" for claim in checklist)
    is_open = f", {opened} {'is' if opened == 1 else 'are'} open" if opened else ""
    return f"{holding} of {plural(len(checklist), 'claim')} hold{is_open}"


def _claims_sentence(checklist: Sequence[CheckedClaim], failures: Sequence[str]) -> str:
    if not any(claim.evaluations for claim in checklist):
        return "Nothing is proven: no claim was ever evaluated on this database."
    if not failures and all(claim.proven for claim in checklist):
        return f"Proven: {claims_hold(checklist)}."
    against = []
    if failures:
        against.append(f"{plural(len(failures), 'step')} failed")
    if red := sum(claim.status == "failed" for claim in checklist):
        against.append(f"{plural(red, 'claim')} red")
    if missing := sum(len(claim.unproven) for claim in checklist):
        against.append(f"{plural(missing, 'evaluation')} missing")
    if stale := sum(len(claim.stale) for claim in checklist):
        against.append(f"{plural(stale, 'evaluation')} older than what is loaded")
    return f"Not proven: {claims_hold(checklist)}. Against it: {', '.join(against)}."


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
    checklist: Sequence[CheckedClaim],
    reasons: Sequence[ReasonCount],
    sources: Sequence[SourceFile],
    indexes: Sequence[IndexUse],
) -> Iterator[ToDo]:
    """Yield what is unproven or undone, the gravest first."""
    for failure in failures:
        what, _, fix = failure.partition(". Fix: ")
        yield ToDo("failed step", what, fix or "see the run in the UI, then run it again")
    yield from _red(checklist)
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
    for claim in checklist:
        if claim.open:
            what = f"{claim.check} on {_some([evaluation.asset for evaluation in claim.open])}"
            yield ToDo("open claim", what, claim.fix)
    for reason in reasons:
        if reason.what == "rejected" and reason.rows > reason.settled:
            yield ToDo(
                "open rejects",
                f"{plural(reason.rows - reason.settled, 'row')}, {reason.reason}: {reason.meaning}",
                "repair the file and consolidate again, or decide: memos-assets rejects list",
            )


def _red(checklist: Sequence[CheckedClaim]) -> Iterator[ToDo]:
    for claim in checklist:
        for evaluation in claim.failed:
            yield ToDo(
                "red claim",
                f"{claim.check} on {evaluation.asset}: expected {evaluation.expected}; "
                f"observed {evaluation.observed}{' (stale)' if evaluation.stale else ''}",
                claim.fix,
            )


def _unproven(checklist: Sequence[CheckedClaim]) -> Iterator[ToDo]:
    """Yield one line per claim: all of a checklist may be unproven."""
    fix = "run the checklist: memos-assets verify"
    for claim in checklist:
        if claim.unproven:
            yield ToDo("not evaluated", f"{claim.check} on {_some(claim.unproven)}", fix)
    for claim in checklist:
        if claim.stale:
            assets = [evaluation.asset for evaluation in claim.stale]
            yield ToDo(
                "stale",
                f"{claim.check} on {_some(assets)}: evaluated before what it read was loaded or "
                "pinned again",
                fix,
            )


def _some(names: Sequence[str]) -> str:
    if len(names) <= 4:
        return ", ".join(names)
    return f"{', '.join(names[:3])} and {len(names) - 3:,} more"
