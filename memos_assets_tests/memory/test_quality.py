"""Scores of ranked answers, and the comparison of two runs."""

import json
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from memos_assets.memory.quality import (
    Question,
    Run,
    Score,
    by_category,
    compare,
    paired_bootstrap,
    score,
    summarise,
)


def asked(text: str = "q", *evidence: str, category: str = "all") -> Question:
    return Question(text=text, evidence=evidence, category=category)


def test_recall_is_the_share_of_evidence_among_the_first_answers() -> None:
    found = score(asked("q", "a", "b", "c"), ["x", "b", "y", "z", "a", "c"], (1, 2, 5, 6))
    assert found.found == {1: 0, 2: 1, 5: 2, 6: 3}
    assert (found.recall(2), found.recall(6)) == (1 / 3, 1)
    assert found.reciprocal_rank == 1 / 2


def test_an_answer_counts_once_and_where_it_is_first() -> None:
    found = score(asked("q", "a", "a"), ["a", "x", "a"], (1, 3))
    assert (found.evidence, found.found, found.reciprocal_rank) == (1, {1: 1, 3: 1}, 1.0)


@pytest.mark.parametrize("ranked", [[], ["x", "y"]])
def test_evidence_that_is_not_found_scores_0(ranked: list[str]) -> None:
    found = score(asked("q", "a"), ranked)
    assert (found.found, found.reciprocal_rank) == ({5: 0, 10: 0, 20: 0}, 0.0)


def test_a_question_without_evidence_is_refused() -> None:
    with pytest.raises(ValueError, match="without evidence"):
        score(asked("q"), ["a"])


def test_no_scores_are_not_a_quality_of_0() -> None:
    with pytest.raises(ValueError, match="no scores"):
        summarise([])


def test_a_summary_weighs_questions_equally_and_counts_evidence_beside() -> None:
    scores = [score(asked("1", "a"), ["a"], (1,)), score(asked("2", "b", "c", "d"), ["x"], (1,))]
    summed = summarise(scores)
    assert (summed.questions, summed.recall, summed.mrr) == (2, {1: 0.5}, 0.5)
    assert summed.evidence_found == {1: 0.25}


def test_categories_are_summed_up_by_themselves() -> None:
    scores = [
        score(asked("1", "a", category="b"), ["a"]),
        score(asked("2", "a", category="a"), []),
        score(asked("3", "a", category="b"), []),
    ]
    found = by_category(scores)
    assert [(name, one.questions, one.mrr) for name, one in found.items()] == [
        ("a", 1, 0.0),
        ("b", 2, 0.5),
    ]


def test_the_key_tells_questions_apart_and_not_spellings_of_a_moment() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=5)))
    first = Question(text="q", evidence=("a", "b"), as_of=noon)
    assert first.key == Question(text="q", evidence=("b", "a"), as_of=elsewhere).key
    others = [
        Question(text="p", evidence=("a", "b"), as_of=noon),
        Question(text="q", evidence=("a",), as_of=noon),
        Question(text="q", evidence=("a", "b"), known_at=noon),
        Question(text="q", evidence=("a", "b"), as_of=noon, category="c"),
    ]
    assert len({first.key, *(one.key for one in others)}) == 5


def test_a_run_survives_json_and_holds_no_text() -> None:
    run = Run("minilm", (score(asked("Where does Anna live?", "a7"), ["a7"]),))
    kept = json.dumps(run.to_json())
    assert Run.from_json(json.loads(kept)) == run
    assert "Anna" not in kept
    assert "a7" not in kept


def test_the_interval_is_that_of_the_textbook() -> None:
    """For many questions the bootstrap's interval is the mean +- 1.96 standard errors."""
    values = np.random.default_rng(1).normal(0.02, 0.3, 1_500)
    compared = paired_bootstrap([0.0] * 1_500, list(values))
    error = values.std(ddof=1) / np.sqrt(1_500)
    assert compared.low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert compared.high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)
    assert compared.difference == pytest.approx(values.mean())


@pytest.mark.parametrize(
    ("lost", "worse"),
    [(0, False), (1, False), (8, True)],
)
def test_a_run_is_worse_once_more_is_lost_than_the_choice_of_questions_explains(
    lost: int,
    worse: bool,  # noqa: FBT001  a column of the table above
) -> None:
    after = [0.0] * lost + [1.0] * (20 - lost)
    compared = paired_bootstrap([1.0] * 20, after)
    assert compared.worse is worse
    assert paired_bootstrap(after, [1.0] * 20).better is worse


def test_hard_questions_do_not_widen_the_interval() -> None:
    """What differs between questions is in both sides; every question got better by the same."""
    before = [0.0, 0.1, 0.5, 0.9] * 5
    compared = paired_bootstrap(before, [value + 0.05 for value in before])
    assert compared.better
    assert compared.high - compared.low == pytest.approx(0)


def test_the_same_runs_always_compare_the_same() -> None:
    before, after = [0.0, 1.0, 0.5] * 9, [1.0, 0.5, 0.5] * 9
    assert paired_bootstrap(before, after) == paired_bootstrap(before, after)


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], []), ([1.0], [1.0, 0.5])])
def test_what_cannot_be_paired_is_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_bootstrap(before, after)


def scored(key: str, found: int, rank: float) -> Score:
    return Score(key, "all", 2, {10: found}, rank)


def test_runs_are_compared_on_the_questions_that_both_have() -> None:
    before = Run("m", (scored("a", 2, 1.0), scored("b", 1, 0.5), scored("gone", 2, 1.0)))
    after = Run("m", (scored("b", 2, 1.0), scored("new", 0, 0.0), scored("a", 2, 0.5)))
    recall = compare(before, after)
    assert recall is not None
    assert (recall.questions, recall.before, recall.after) == (2, 0.75, 1.0)
    ranks = compare(before, after, depth=None)
    assert ranks is not None
    assert (ranks.before, ranks.after) == (0.75, 0.75)


def test_runs_without_a_common_question_are_not_compared() -> None:
    assert compare(Run("m", (scored("a", 1, 1),)), Run("m", (scored("b", 1, 1),))) is None
