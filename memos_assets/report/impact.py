"""What an index is worth, in words, as rows of a table and as a drawing."""

from memos_assets.report.curves import Curves, curves
from memos_assets.search.impact import (
    INDEX,
    PLAN_QUERY,
    PROMISED_RATIO,
    PROMISED_ROWS,
    STORED,
    Impact,
)


def in_words(impact: Impact) -> list[str]:
    """Return what the numbers say, the plan's claim among it, a sentence each."""
    rows = impact.row_counts[-1]
    index, stored, best = impact.of(INDEX, rows), impact.of(STORED, rows), impact.best_scan(rows)
    said = [
        f"At {rows:,} rows of {impact.dimension:,} elements a search by the index takes "
        f"{_ms(index.timing.p50_ms)} and finds {index.timing.recall:.1%} of the true neighbours; "
        f"an exact scan of the table as memOS stores it takes {_ms(stored.timing.p50_ms)}, "
        f"{_times(impact.ratio(index))} as long."
    ]
    if best is not stored:
        said.append(
            f"Stored better, the same rows are scanned in {_ms(best.timing.p50_ms)} "
            f"({best.way.removeprefix('exact scan, ')}): {_times(best.timing.p50_ms / index.timing.p50_ms)} "
            "as long."
        )
    return [*said, *_promise(impact), *_plan_query(impact)]


def _promise(impact: Impact) -> list[str]:
    said = []
    if PROMISED_ROWS in impact.row_counts:
        ratio = impact.ratio(impact.of(INDEX, PROMISED_ROWS))
        verdict = "which holds here" if ratio >= PROMISED_RATIO else "which does not hold here"
        said.append(
            f"The plan promises {PROMISED_RATIO:,} x at {PROMISED_ROWS:,} rows, {verdict}: "
            f"it is {_times(ratio)}."
        )
    scanned, searched = impact.scan_fit, impact.index_fit
    if scanned is None or searched is None:
        said.append("From a single row count nothing can be said about others.")
        return said
    counts = impact.row_counts
    basis = (
        f"A scan takes {scanned.slope * 1e3:.2g} us per row, a search by the index "
        f"{searched.slope * 2.303:.2g} ms more for ten times the rows "
        f"(fitted to {len(counts)} row counts, {counts[0]:,} to {counts[-1]:,})"
    )
    reached = impact.rows_for(PROMISED_RATIO)
    if reached is None:
        said.append(f"{basis}; by that {PROMISED_RATIO:,} x is never reached.")
    elif reached > counts[-1]:
        said.append(
            f"{basis}; if that went on, {PROMISED_RATIO:,} x would be reached at about "
            f"{_round(reached)} rows. That is an extrapolation to "
            f"{_times(reached / counts[-1])} the rows that were measured."
        )
    else:
        said.append(f"{basis}; by that {PROMISED_RATIO:,} x is reached at {_round(reached)} rows.")
    return said


def _plan_query(impact: Impact) -> list[str]:
    rows = impact.row_counts[-1]
    if PLAN_QUERY not in impact.ways:
        return []
    query = impact.of(PLAN_QUERY, rows)
    return [
        f"The plan's own query orders by <-> (L2), which an index for cosine cannot serve: "
        f"PostgreSQL answers it by {query.timing.served_by} in {_ms(query.timing.p50_ms)}."
    ]


#: Columns of the table, and what each of them is.
COLUMNS = (
    "rows",
    "way",
    "p50_ms",
    "p95_ms",
    "ratio",
    "recall_at_10",
    "worst_recall",
    "served_by",
    "prepared_seconds",
    "table_bytes",
    "toast_bytes",
    "index_bytes",
)


def records(impact: Impact) -> list[dict[str, str | int | float]]:
    """Return one record per way and row count, with the names of `COLUMNS`."""
    return [
        {
            "rows": one.rows,
            "way": one.way,
            "p50_ms": round(one.timing.p50_ms, 3),
            "p95_ms": round(one.timing.p95_ms, 3),
            "ratio": round(impact.ratio(one), 2),
            "recall_at_10": round(one.timing.recall, 4),
            "worst_recall": round(one.timing.worst_recall, 2),
            "served_by": one.timing.served_by,
            "prepared_seconds": round(one.prepared_seconds, 2),
            "table_bytes": one.sizes.rows,
            "toast_bytes": one.sizes.toast,
            "index_bytes": one.sizes.indexes,
        }
        for one in impact.measured
    ]


def latency_plot(impact: Impact) -> Curves:
    """Return the median of every way over the row counts."""
    return curves(
        f"Milliseconds of a search over rows, {impact.dimension:,} elements, both logarithmic",
        "rows",
        "milliseconds, median",
        {
            way: [(one.rows, one.timing.p50_ms) for one in impact.measured if one.way == way]
            for way in impact.ways
        },
    )


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.1f} ms"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def _round(rows: float) -> str:
    """Return a row count with as many digits as an extrapolation deserves."""
    for unit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if rows >= unit:
            return f"{rows / unit:.2g} {name}" if rows < 100 * unit else f"{rows / unit:.0f} {name}"
    return f"{float(f'{rows:.2g}'):,.0f}"


