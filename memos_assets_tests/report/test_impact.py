"""The effect of an index in sentences, records and a chart."""

import base64
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from memos_assets.impact.latency import Sizes, Timing
from memos_assets.impact.measure import BETTER, INDEX, PLAN_QUERY, STORED, Impact, Measured
from memos_assets.report.charts import FIELD_HEIGHT, TOP, Point, log_chart
from memos_assets.report.impact import COLUMNS, in_words, latency_chart, records
from memos_assets.report.render import picture


def measured(way: str, rows: int, milliseconds: float) -> Measured:
    timing = Timing(milliseconds, 2 * milliseconds, 0.996, 0.9, 100)
    return Measured(way, rows, timing, "Seq Scan", 1.0, Sizes(1, 2, 3))


def impact(*rows: int, index_ms: float = 1.25) -> Impact:
    """A scan takes 5 us per row, one stored better 1 us, the index always the same."""
    found = [
        measured(way, count, milliseconds)
        for count in rows
        for way, milliseconds in (
            (STORED, 0.005 * count),
            (BETTER[1].scan, 0.001 * count),
            (INDEX, index_ms),
            (PLAN_QUERY, 0.005 * count),
        )
    ]
    return Impact(1_024, "HNSW on vector(1024) (cosine)", tuple(found), 12.0)


def test_the_promise_is_compared_with_the_measurements_and_extrapolated() -> None:
    assert " ".join(in_words(impact(1_000, 10_000, 100_000))) == (
        "At 100,000 rows of 1,024 elements a search by the index takes 1.2 ms and finds 99.6% of "
        "the true neighbours; an exact scan of the table as memOS stores it takes 500 ms, "
        "400 times as long. "
        "Stored better (halfvec in line), the same rows are scanned in 100 ms, 80 times as long. "
        "The remediation plan promises 4,166 x at 100,000 rows. This does not hold on this "
        "machine: the scan takes 400 times as long. "
        "Fitted to 3 row counts from 1,000 to 100,000, a scan takes 5 us per row, and a search by "
        "the index 0 ms more for ten times the rows; if that went on, 4,166 x would be reached at "
        "about 1 million rows, which is an extrapolation to 10 times as many rows as were "
        "measured. "
        "The remediation plan's own query orders by <-> (L2), which an index for cosine cannot "
        "serve: PostgreSQL runs the query as a Seq Scan in 500 ms."
    )


def test_a_promise_that_holds_is_said_to_hold() -> None:
    said = " ".join(in_words(impact(1_000, 100_000, index_ms=0.1)))
    assert "4,166 x at 100,000 rows. This holds on this machine: the scan takes 5,000 times" in said
    assert "by that 4,166 x is reached at 83,000 rows" in said


def test_nothing_is_extrapolated_from_one_row_count() -> None:
    said = " ".join(in_words(impact(1_000)))
    assert "nothing can be said about others" in said
    assert "4,166" not in said


def test_every_number_is_in_the_records() -> None:
    found = records(impact(1_000, 10_000))
    assert len(found) == 8
    assert all(tuple(record) == COLUMNS for record in found)
    assert {record["ratio"] for record in found if record["way"] == STORED} == {1.0}


def test_the_drawing_is_a_whole_svg_with_every_way_and_every_label_apart() -> None:
    plot = latency_chart(impact(1_000, 10_000, 100_000))
    shown = re.fullmatch(r"!\[.*\]\(data:image/svg\+xml;base64,(.*)\)", picture(plot))
    assert shown is not None
    drawing = ET.fromstring(base64.b64decode(shown[1]))
    texts = [text.text for text in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {STORED, INDEX, PLAN_QUERY, "1,000", "100,000", "rows"} <= set(texts)
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}polyline"))) == 4
    places = sorted(one.label_at for one in plot.series)
    assert min(below - above for above, below in pairwise(places)) >= 14
    assert places[-1] <= TOP + FIELD_HEIGHT


def test_a_line_climbs_by_a_decade_where_its_values_do() -> None:
    points = [Point(value, value) for value in (1, 10, 100)]
    plot = log_chart("about", "x", "y", {"line": points, "none": []}, joined=True)
    (line,) = plot.series
    (first, second, third) = line.points
    assert second.y - first.y == pytest.approx(third.y - second.y)
    assert [tick.label for tick in plot.columns] == ["1", "10", "100"]


def test_scattered_points_say_what_they_are_and_no_line_joins_them() -> None:
    chart = log_chart("about", "x", "y", {"scan": [Point(1, 2, "a: 2 ms")]}, joined=False)
    shown = re.fullmatch(r"!\[.*\]\(data:image/svg\+xml;base64,(.*)\)", picture(chart))
    assert shown is not None
    drawing = ET.fromstring(base64.b64decode(shown[1]))
    titles = [title.text for title in drawing.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["a: 2 ms"]
    assert list(drawing.iter("{http://www.w3.org/2000/svg}polyline")) == []
