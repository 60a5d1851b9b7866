"""memOS's RAISE scratchpad under its names."""

import json
import time

import pytest

from memos_assets.memos_face import raise_scratchpad as face
from memos_assets.memos_face.raise_scratchpad import (
    ObservationType,
    RAISEScratchpad,
    ReasoningType,
    UncertaintyIndicator,
)


def filled() -> RAISEScratchpad:
    pad = face.create_raise_scratchpad("r-1", "why?")
    first = pad.add_observation("a", ObservationType.DOCUMENT, "web", 0.9, {"page": 1})
    pad.add_observation("b", ObservationType.TOOL_OUTPUT, "tool", 0.4)
    for confidence in (0.9, 0.6, 0.3):
        pad.add_reasoning_step("so", ReasoningType.DEDUCTION, [first], confidence, "planner", "n")
    pad.add_example("refine", "fanuc alarm code", "alarm SRVO-063")
    pad.add_trajectory_step("search", "planner", {"q": 1}, {"hits": 2}, 12.5)
    pad.add_trajectory_step("scrape", "planner", success=False, error="404")
    return pad


def test_several_additions_in_one_tick_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1.0)
    pad = face.create_raise_scratchpad("r-1", "why?")
    keys = {pad.add_observation("same", ObservationType.DOCUMENT, "web") for _ in range(50)}
    keys |= {pad.add_reasoning_step("same", ReasoningType.SYNTHESIS) for _ in range(50)}
    assert len(keys) == 100
    assert (len(pad.observations), len(pad.reasoning)) == (50, 50)
    assert all(len(key) == 12 and int(key, 16) >= 0 for key in keys)


def test_the_dictionary_has_memos_shape_and_restores_everything() -> None:
    pad = filled()
    written = json.loads(json.dumps(pad.to_dict(), sort_keys=True))
    assert set(written) == {
        *("request_id", "query", "created_at", "observations", "reasoning", "examples"),
        *("trajectory", "reasoning_chain"),
    }
    again = RAISEScratchpad.from_dict(written)
    assert again.to_dict() == pad.to_dict()
    assert again.get_reasoning_chain() == pad.get_reasoning_chain()
    assert again.get_observations_by_source("web") == pad.get_observations_by_source("web") != []
    observation = next(iter(written["observations"].values()))
    assert set(observation) == {
        *("id", "observation_type", "content", "source", "timestamp", "metadata"),
        *("quality_score", "is_relevant"),
    }


def test_a_dictionary_of_an_older_memos_has_defaults() -> None:
    old = {
        "request_id": "r",
        "query": "q",
        "observations": {"x": {**dict.fromkeys(("id", "content", "source"), "x")}},
    }
    old["observations"]["x"]["observation_type"] = "document"  # type: ignore[index]
    pad = RAISEScratchpad.from_dict(old)
    assert pad.observations["x"].quality_score == 0.5
    with pytest.raises(ValueError, match="rumour"):
        face.Observation.from_dict({**old["observations"]["x"], "observation_type": "rumour"})  # type: ignore[index]
    with pytest.raises(KeyError):
        face.Observation.from_dict({"id": "x"})


def test_confidence_is_told_in_words_at_memos_bounds() -> None:
    said = [UncertaintyIndicator.of(value) for value in (0.8, 0.79, 0.5, 0.49)]
    assert [one.value.partition("_")[0] for one in said] == ["high", "medium", "medium", "low"]
    assert len(filled().get_low_confidence_reasoning()) == 1


def test_the_quality_signal_counts_what_is_relevant() -> None:
    signal = filled().get_quality_signal()
    assert signal.evidence_quality == pytest.approx(0.9)
    assert signal.overall_quality == pytest.approx(0.4 * 0.9 + 0.4 * 0.6 + 0.2 * 0.4)
    assert signal.uncertainty_indicators == [
        "conclusions of low confidence: 1",
        "failed actions: 1",
    ]
    assert "Overall quality: 0.68" in filled().get_summary()


def test_the_most_alike_example_of_the_type_is_found_and_counted() -> None:
    pad = filled()
    assert pad.find_matching_example("refine", "fanuc alarm") is None
    assert pad.find_matching_example("other", "fanuc alarm code") is None
    assert pad.find_matching_example("refine", "") is None
    found = pad.find_matching_example("refine", "FANUC alarm code")
    assert found is not None
    assert (found.output_pattern, found.reuse_count) == ("alarm SRVO-063", 1)


def test_the_trajectory_is_in_order() -> None:
    pad = filled()
    assert [one.action for one in pad.get_recent_trajectory()] == ["search", "scrape"]
    assert [one.error for one in pad.get_failed_steps()] == ["404"]
    assert pad.get_recent_trajectory(0) == []
