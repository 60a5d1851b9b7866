"""Thresholds rest on labelled pairs: as low as a bound on false hits allows, else the default."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from memos_assets.cache.calibration import (
    FLOOR,
    STRICT,
    Calibration,
    LabelledPair,
    calibrate,
    calibrate_with,
    cosines,
    pairs_of,
    read_pairs,
    wilson_upper,
)
from memos_assets.errors import AgentError
from memos_assets.search.embed import DeterministicEmbedder, Vectors


def _world(same: int, different: int, *, namespace: str | None = None) -> list[LabelledPair]:
    """Pairs that the gate serves: nothing but the words of a place in a list differs."""
    return [
        LabelledPair(f"how does part x{n} work", f"How does part x{n} work?", n < same, namespace)
        for n in range(same + different)
    ]


def _calibrated(pairs: list[LabelledPair], similarities: list[float], budget: float) -> Calibration:
    return calibrate(pairs, similarities, namespace="answers", model="m", budget=budget)


def test_the_bound_is_that_of_wilson() -> None:
    # Values of the formula, computed by hand for 95 % between both sides.
    assert wilson_upper(0, 100) == pytest.approx(0.0370, abs=1e-4)
    assert wilson_upper(10, 100) == pytest.approx(0.1744, abs=1e-4)
    assert wilson_upper(100, 100) == pytest.approx(1.0)
    assert wilson_upper(0, 0) == 1.0


def test_the_threshold_is_the_smallest_whose_bound_is_within_the_budget() -> None:
    pairs = _world(100, 200)
    similarities = list(np.linspace(0.8, 0.999, 100)) + list(np.linspace(0.7, 0.95, 200))
    found = _calibrated(pairs, similarities, 0.05)
    assert found.calibrated
    served = sum(s >= found.threshold for s in similarities[100:])
    assert wilson_upper(served, 200) == pytest.approx(found.upper_bound)
    assert found.upper_bound <= 0.05
    below = sum(s >= found.threshold - 0.001 for s in similarities[100:])
    assert wilson_upper(below, 200) > 0.05
    assert (found.same, found.different, found.pairs) == (100, 200, 300)
    # A larger budget lowers it, and nothing lowers it below the floor.
    assert _calibrated(pairs, similarities, 0.2).threshold < found.threshold
    assert _calibrated(pairs, [0.1] * 300, 0.05).threshold == FLOOR


def test_the_threshold_does_not_depend_on_how_many_pairs_are_the_same() -> None:
    different = list(np.linspace(0.7, 0.95, 200))
    few, many = (_calibrated(_world(n, 200), [0.9] * n + different, 0.05) for n in (20, 2_000))
    assert few.threshold == many.threshold


def test_false_hits_that_the_gate_refuses_do_not_count() -> None:
    refused = [
        LabelledPair(f"how does part x{n} work", f"How does part y{n} work?", same=False)
        for n in range(200)
    ]
    found = _calibrated([*_world(100, 0), *refused], [0.9] * 300, 0.05)
    assert (found.calibrated, found.threshold) == (True, FLOOR)
    without = _calibrated(_world(100, 200), [0.9] * 300, 0.05)
    assert without.threshold == pytest.approx(0.901)


@pytest.mark.parametrize(("same", "different"), [(19, 500), (100, 99), (0, 0)])
def test_too_few_pairs_give_the_strict_default(same: int, different: int) -> None:
    found = _calibrated(_world(same, different), [0.8] * (same + different), 0.05)
    assert (found.calibrated, found.threshold) == (False, STRICT)
    assert "too few" in found.reason


def test_a_budget_that_no_threshold_keeps_gives_the_strict_default() -> None:
    found = _calibrated(_world(100, 100), [1.0] * 200, 0.05)
    assert (found.calibrated, found.threshold) == (False, STRICT)
    assert "at no threshold" in found.reason
    assert found.upper_bound > 0.05


def test_pairs_of_other_namespaces_and_nan_do_not_count() -> None:
    others = _world(0, 300, namespace="results")
    found = _calibrated([*_world(100, 200), *others], [0.9] * 100 + [float("nan")] * 500, 0.05)
    assert (found.different, found.threshold) == (200, FLOOR)


def test_of_two_labels_of_a_pair_the_one_that_refuses_counts() -> None:
    said = LabelledPair("how does x1 work", "How does x1 work?", same=False, source="feedback")
    pairs = [*_world(100, 200), said, LabelledPair(said.a, said.b, same=True), said]
    assert _calibrated(pairs, [0.9] * 303, 0.05).different == 201


def test_the_curve_is_data_for_a_plot_and_a_row() -> None:
    found = _calibrated(_world(100, 200), [0.9] * 100 + [0.8] * 200, 0.05)
    thresholds = [point.threshold for point in found.curve]
    assert thresholds == sorted(thresholds)
    assert (thresholds[0], thresholds[-1]) == (FLOOR, 1.0)
    assert [point.recall for point in found.curve][::250] == [1.0, 0.0]
    at = found.at(0.85)
    assert at is not None
    assert (at.hits, at.false_hits, at.precision) == (100, 0, 1.0)
    row = json.loads(json.dumps(found.row()))
    assert set(row) == {
        *("namespace", "model", "threshold", "budget", "upper_bound", "pairs", "curve")
    }


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(AgentError, match="M795"):
        _calibrated(_world(1, 1), [0.5], 0.05)
    with pytest.raises(AgentError, match="M795"):
        _calibrated([], [], 1.0)


def test_pairs_come_from_files_feedback_and_shadow_observations(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        '{"a": "x", "b": "y", "label": true}\n\n'
        '{"a": "x", "b": "z", "label": "different", "namespace": "answers", "language": "en"}\n'
    )
    assert read_pairs(path) == [
        LabelledPair("x", "y", same=True),
        LabelledPair("x", "z", same=False, namespace="answers"),
    ]
    rows = [{"asked": "q", "matched": "m", "wrong": True, "namespace": "answers"}]
    assert list(pairs_of(rows, "feedback")) == [
        LabelledPair("m", "q", same=False, namespace="answers", source="feedback")
    ]


@pytest.mark.parametrize(
    "line",
    [
        *('{"a": "x", "b": "y"}', "[]", "{", '{"a": "x", "b": "y", "label": "perhaps"}'),
        *('{"a": 1, "b": "y", "label": 1}', '{"a": "x", "b": " ", "label": 0}'),
    ],
)
def test_a_line_without_a_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"a": "x", "b": "y", "label": 1}\n' + line)
    with pytest.raises(AgentError, match="line 2") as raised:
        read_pairs(path)
    assert raised.value.code == "M795"


def test_texts_are_embedded_once_in_batches() -> None:
    class Counting(DeterministicEmbedder):
        count = 0

        def embed(self, texts: Sequence[str]) -> Vectors:
            self.count += len(texts)
            assert len(texts) <= 64
            return super().embed(texts)

    embedder = Counting(32)
    pairs = _world(60, 120)
    found = calibrate_with(embedder, pairs, ["answers", "results"])
    assert embedder.count == len({text for pair in pairs for text in (pair.a, pair.b)})
    assert [each.namespace for each in found] == ["answers", "results"]
    assert cosines(embedder, []).shape == (0,)
    assert cosines(embedder, [LabelledPair("one", "one", same=True)]) == pytest.approx([1.0])
