"""Exact neighbours, computed without PostgreSQL."""

import numpy as np
import pytest

from memos_assets.search.exact import nearest_exact, nearest_in, recall

VECTORS = np.random.default_rng(3).standard_normal((5_000, 16), dtype=np.float32)
QUERIES = np.random.default_rng(4).standard_normal((7, 16), dtype=np.float32)


def test_the_nearest_are_those_of_plain_arithmetic_nearest_first() -> None:
    found = nearest_exact(VECTORS, QUERIES, 10)
    for query, rows, distances in zip(QUERIES, found.rows, found.distances, strict=True):
        wide = VECTORS.astype(np.float64)
        lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(query.astype(np.float64))
        plain = 1 - wide @ query.astype(np.float64) / lengths
        assert rows.tolist() == np.argsort(plain)[:10].tolist()
        assert distances.tolist() == pytest.approx(np.sort(plain)[:10].tolist())


def test_batches_of_any_size_give_the_same() -> None:
    whole = nearest_exact(VECTORS, QUERIES, 10)
    parts = nearest_in(np.array_split(VECTORS, 777), QUERIES, 10)
    assert whole.rows.tolist() == parts.rows.tolist()


def test_what_has_no_direction_is_near_to_nothing() -> None:
    vectors = np.array([[0, 0], [np.nan, 1], [np.inf, 1], [1, 0]], dtype=np.float16)
    found = nearest_exact(vectors, np.array([[1.0, 0.0]]), 3)
    assert found.rows[0, 0] == 3
    assert found.distances[0].tolist() == [0.0, np.inf, np.inf]


def test_of_equal_rows_the_first_ones_are_taken() -> None:
    found = nearest_in([np.ones((4, 2)), np.ones((4, 2))], np.ones((1, 2)), 3)
    assert found.rows.tolist() == [[0, 1, 2]]


def test_recall_is_the_share_of_the_true_neighbours() -> None:
    assert recall([1, 2, 9], np.array([1, 2, 3, 4])) == 0.5
