"""The cache as rows of tables and as bars: hits, misses, reasons, thresholds and their curves."""

from collections import Counter
from collections.abc import Mapping

from memos_assets.cache.calibration import Calibration
from memos_assets.cache.census import Asked, Census, Content
from memos_assets.cache.limits import Enforced
from memos_assets.report.plots import Colour, Plot, bar_plot

#: Origin of a hit whose life had ended.
_STALE = "stale"
#: Points of a curve that are drawn.
_DRAWN = 26
#: Namespaces that have a line of their own; the others are added up.
_LINES = 20

Line = tuple[str, str, list[tuple[float, Colour]]]


def census_records(found: Census) -> list[dict[str, str | int | float]]:
    """Return one record per namespace: answers, bytes, asks, hit rate, wrong-hit rate."""
    return [
        {
            "namespace": name,
            **_content(found.content.get(name, Content())),
            **_asked(found.asked.get(name, Asked())),
        }
        for name in found.namespaces
    ]


def _content(one: Content) -> dict[str, str | int | float]:
    return {
        "rows": one.rows,
        "bytes": one.bytes,
        "stale": one.stale,
        "expired": one.expired,
        "negative": one.negative,
    }


def _asked(one: Asked) -> dict[str, str | int | float]:
    return {
        "asks": one.asks,
        "hit rate": _share(one.hit_rate),
        "said to be wrong": one.wrong,
        "wrong-hit rate": _share(one.wrong_rate),
    }


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def hits_plot(found: Census) -> Plot:
    """Return hits, stale hits and misses of each namespace as bars."""
    busy = sorted(found.asked, key=lambda name: (-found.asked[name].asks, name))
    lines = [_hits(name, found.asked[name]) for name in busy[:_LINES]]
    return bar_plot("Asks of each namespace: hits, stale hits, misses", lines)


def _hits(name: str, one: Asked) -> Line:
    stale = one.hits[_STALE]
    rate = "never asked" if one.hit_rate is None else f"{one.hit_rate:.1%} of {one.asks:,}"
    parts: list[tuple[float, Colour]] = [
        (one.hits.total() - stale, "good"),
        (stale, "plain"),
        (one.misses.total(), "bad"),
    ]
    return name, rate, parts


def misses_plot(found: Census) -> Plot:
    """Return misses by reason as bars, the most frequent first."""
    return _counted("Misses by reason", found.total.misses)


def _counted(about: str, counts: Counter[str]) -> Plot:
    total = counts.total()
    lines: list[Line] = [
        (reason, f"{count:,} ({count / total:.1%})", [(count, "plain")])
        for reason, count in counts.most_common(_LINES)
    ]
    return bar_plot(about, lines)


def hours_plot(found: Census) -> Plot:
    """Return the hit rate of each hour as bars: hits and misses of it."""
    lines: list[Line] = []
    for hour, (hits, asks) in found.hours.items():
        share = hits / asks if asks else 0.0
        note = f"{share:.1%} of {asks:,}"
        lines.append((f"{hour:%d %b %H:%M}", note, [(share, "good"), (1 - share, "bad")]))
    return bar_plot("Hit rate by hour, UTC", lines)


def wrong_plot(found: Census) -> Plot:
    """Return answers that people said are wrong as bars, by namespace."""
    lines: list[Line] = [
        (name, f"{one.wrong:,} of {one.hits.total():,} hits", [(one.wrong, "bad")])
        for name, one in sorted(found.asked.items())
        if one.wrong
    ]
    return bar_plot("Hits that people said are wrong, by namespace", lines)


def eviction_plot(done: Enforced) -> Plot:
    """Return answers that were removed as bars, by namespace: past their life, over a limit."""
    names = sorted(done.expired.keys() | done.evicted.keys())
    lines: list[Line] = []
    for name in names:
        expired, evicted = done.expired.get(name, 0), done.evicted.get(name, 0)
        note = f"{expired:,} expired, {evicted:,} over limits"
        lines.append((name, note, [(expired, "plain"), (evicted, "bad")]))
    return bar_plot("Answers removed, by namespace: past their life, over limits", lines)


def calibration_records(
    measured: list[Calibration], before: Mapping[str, float]
) -> list[dict[str, str | int | float]]:
    """Return one record per namespace: threshold, what it rests on, what it would serve.

    Args:
        measured: calibrations of one model.
        before: namespace -> threshold that was in force.
    """
    records: list[dict[str, str | int | float]] = []
    for one in measured:
        point = one.at(one.threshold)
        records.append(
            {
                "namespace": one.namespace,
                "model": one.model,
                "threshold": one.threshold,
                "before": before.get(one.namespace, ""),
                "measured": "yes" if one.calibrated else "no, the strict default",
                "same pairs": one.same,
                "different pairs": one.different,
                "false hits at most": round(one.upper_bound, 4),
                "budget": one.budget,
                "recall": "" if point is None else round(point.recall, 4),
                "precision": "" if point is None else round(point.precision, 4),
            }
        )
    return records


def curve_plot(one: Calibration) -> Plot:
    """Return a calibration's curve: at each threshold the bound of false hits, red over budget.

    The bar is the bound; its note has the share of same pairs that is served. The threshold that
    was chosen is marked.
    """
    step = max(len(one.curve) // _DRAWN, 1)
    drawn = list(one.curve[::step])
    chosen = min(drawn, key=lambda point: abs(point.threshold - one.threshold), default=None)
    lines: list[Line] = []
    for point in drawn:
        mark = " <- threshold" if point is chosen else ""
        colour: Colour = "good" if point.upper <= one.budget else "bad"
        note = f"{point.upper:.1%} false, {point.recall:.0%} of same{mark}"
        lines.append((f"{point.threshold:.3f}", note, [(point.upper, colour)]))
    return bar_plot(
        f"{one.namespace} ({one.model}): bound of false hits by threshold, budget {one.budget:.1%}",
        lines,
    )
