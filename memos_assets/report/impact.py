"""The effect of an index: in sentences, as rows of a table, and as a chart."""

import math
from collections.abc import Iterator

from memos_assets.impact.measure import (
    INDEX,
    PLAN_QUERY,
    PROMISED_RATIO,
    PROMISED_ROWS,
    STORED,
    Impact,
    Measured,
)
from memos_assets.report.charts import Chart, Point, log_chart


def in_words(impact: Impact) -> list[str]:
    """Return the numbers as sentences, with those about the promise of the remediation plan."""
    return [*_largest(impact), *_promise(impact), *_growth(impact), *_plan_query(impact)]


def _largest(impact: Impact) -> Iterator[str]:
    rows = impact.row_counts[-1]
    index, stored, best = impact.of(INDEX, rows), impact.of(STORED, rows), impact.best_scan(rows)
    yield (
        f"At {rows:,} rows of {impact.dimension:,} elements a search by the index takes "
        f"{_ms(index)} and finds {index.timing.recall:.1%} of the true neighbours; an exact scan "
        f"of the table as memOS stores it takes {_ms(stored)}, {_times(impact.ratio(index))} as "
        "long."
    )
    if best is not stored:
        ratio = best.timing.p50_ms / index.timing.p50_ms
        yield (
            f"Stored better ({best.way.removeprefix('scan, ')}), the same rows are scanned "
            f"in {_ms(best)}, {_times(ratio)} as long."
        )


def _promise(impact: Impact) -> Iterator[str]:
    if PROMISED_ROWS in impact.row_counts:
        ratio = impact.ratio(impact.of(INDEX, PROMISED_ROWS))
        verdict = "holds" if ratio >= PROMISED_RATIO else "does not hold"
        yield (
            f"The remediation plan promises {PROMISED_RATIO:,} x at {PROMISED_ROWS:,} rows. This "
            f"{verdict} on this machine: the scan takes {_times(ratio)} as long."
        )


def _growth(impact: Impact) -> Iterator[str]:
    scanned, searched = impact.scan_fit, impact.index_fit
    if scanned is None or searched is None:
        yield "From a single row count nothing can be said about others."
        return
    counts = impact.row_counts
    basis = (
        f"Fitted to {len(counts)} row counts from {counts[0]:,} to {counts[-1]:,}, a scan takes "
        f"{scanned.slope * 1e3:.2g} us per row, and a search by the index "
        f"{searched.slope * math.log(10):.2g} ms more for ten times the rows"
    )
    reached = impact.rows_for(PROMISED_RATIO)
    if reached is None:
        yield f"{basis}; by that {PROMISED_RATIO:,} x is never reached."
    elif reached > counts[-1]:
        yield (
            f"{basis}; if that went on, {PROMISED_RATIO:,} x would be reached at about "
            f"{_rounded(reached)} rows, which is an extrapolation to "
            f"{_times(reached / counts[-1])} as many rows as were measured."
        )
    else:
        yield f"{basis}; by that {PROMISED_RATIO:,} x is reached at {_rounded(reached)} rows."


def _plan_query(impact: Impact) -> Iterator[str]:
    if PLAN_QUERY in impact.ways:
        query = impact.of(PLAN_QUERY, impact.row_counts[-1])
        yield (
            "The remediation plan's own query orders by <-> (L2), which an index for cosine cannot "
            f"serve: PostgreSQL runs the query as a {query.served_by} in {_ms(query)}."
        )


#: Columns of the table of measurements.
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
            "served_by": one.served_by,
            "prepared_seconds": round(one.prepared_seconds, 2),
            "table_bytes": one.sizes.rows,
            "toast_bytes": one.sizes.toast,
            "index_bytes": one.sizes.indexes,
        }
        for one in impact.measured
    ]


def latency_chart(impact: Impact) -> Chart:
    """Return the median of every way over the row counts."""
    return log_chart(
        f"Milliseconds of a search over rows, {impact.dimension:,} elements, both logarithmic",
        "rows",
        "milliseconds, median",
        {
            way: [Point(one.rows, one.timing.p50_ms) for one in impact.measured if one.way == way]
            for way in impact.ways
        },
        joined=True,
    )


def _ms(one: Measured) -> str:
    milliseconds = one.timing.p50_ms
    return f"{milliseconds:,.0f} ms" if milliseconds >= 100 else f"{milliseconds:.1f} ms"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def _rounded(rows: float) -> str:
    """Return a row count with as many digits as an extrapolation deserves."""
    for unit, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if rows >= unit:
            return f"{rows / unit:.2g} {name}" if rows < 100 * unit else f"{rows / unit:.0f} {name}"
    return f"{float(f'{rows:.2g}'):,.0f}"
