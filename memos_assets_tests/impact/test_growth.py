"""Fits of times over row counts, and where a ratio is reached."""

import math

import pytest

from memos_assets.impact.growth import Fit, fit, rows_where

ROWS = (1_000, 10_000, 100_000)


def test_a_line_and_a_logarithm_are_found_again() -> None:
    scanned = fit(ROWS, [0.5 + 0.005 * rows for rows in ROWS], logarithmic=False)
    assert (scanned.fixed, scanned.slope) == pytest.approx((0.5, 0.005))
    searched = fit(ROWS, [0.2 + 0.1 * math.log(rows) for rows in ROWS], logarithmic=True)
    assert searched.at(1_000_000) == pytest.approx(0.2 + 0.1 * math.log(1_000_000))


def test_times_that_fall_are_fitted_by_their_mean_and_no_scan_begins_below_nothing() -> None:
    assert fit(ROWS, [3.0, 2.0, 1.0], logarithmic=True) == Fit(2.0, 0.0, logarithmic=True)
    assert fit([10, 100], [1.0, 20.0], logarithmic=False).fixed == 0.0


def test_a_ratio_is_reached_where_the_scan_takes_so_many_times_the_search() -> None:
    scanned, searched = Fit(0.0, 0.005, logarithmic=False), Fit(1.0, 0.0, logarithmic=True)
    assert rows_where(scanned, searched, 4_166, least=1_000) == pytest.approx(833_200, rel=1e-3)
    assert rows_where(scanned, searched, 2, least=1_000) == 1_000
    assert rows_where(Fit(5.0, 0.0, logarithmic=False), searched, 10, least=1_000) is None
