"""Fusion adds what lists give, and weights are judged on queries that did not choose them."""

import numpy as np
import pytest

from memos_assets.search.fusion import (
    DEFAULT,
    JudgedQuery,
    Weights,
    choose_weights,
    fused,
    recall_at,
)


def query(seed: int, *, by: str, group: str) -> JudgedQuery:
    """Make a query whose one relevant document is the best of one list, and of no other."""
    rng = np.random.default_rng(seed)
    cosines, words = rng.uniform(0, 0.6, 40), rng.uniform(0, 0.6, 40)
    relevant = int(np.argmax(words if by == "words" else cosines))
    return JudgedQuery(cosines, words, np.full(40, -1), [relevant], group)


def test_neighbours_add_their_share_within_their_source_alone() -> None:
    scores = JudgedQuery(
        np.array([0.0, 0.0, 1.0, 0.0, 0.0]),
        np.zeros(5),
        np.array([7, 7, 7, 8, -1]),
        [2],
    )
    total = fused(scores, Weights(neighbours=0.4, unrelated=0))
    assert total.tolist() == [0.2, 0.4, 1.0, 0.0, 0.0]


def test_a_larger_score_in_any_list_never_ranks_lower() -> None:
    rng = np.random.default_rng(1)
    for seed in range(50):
        one = query(seed, by="words", group="a")
        place = int(rng.integers(40))
        raised = one.words.copy()
        raised[place] += 0.1
        more = JudgedQuery(one.cosines, raised, one.sources, one.relevant)
        before, after = fused(one, DEFAULT), fused(more, DEFAULT)
        assert (after > after[place]).sum() <= (before > before[place]).sum()


def test_a_score_does_not_depend_on_the_other_candidates() -> None:
    one = query(3, by="words", group="a")
    few = JudgedQuery(one.cosines[:5], one.words[:5], one.sources[:5], [0])
    assert fused(few, DEFAULT).tolist() == fused(one, DEFAULT)[:5].tolist()


def test_weights_are_chosen_by_labels_and_judged_on_other_groups() -> None:
    queries = [query(n, by="words", group=f"g{n % 4}") for n in range(60)]
    choice = choose_weights(queries, k=1, start=Weights(words=0.5))
    assert choice.weights.words == 2.0
    assert choice.better
    assert choice.cross_validated > choice.before
    assert choice.queries == 60
    assert choice.weights.unrelated == pytest.approx(
        np.mean([one.cosines.mean() for one in queries])
    )


def test_a_choice_that_fits_one_group_alone_is_not_better_on_the_others() -> None:
    queries = [query(n, by="words", group="a") for n in range(30)]
    queries += [query(n, by="meaning", group="b") for n in range(30)]
    choice = choose_weights(queries, k=1, grid={"words": (0.5, 2.0)})
    own = np.mean([recall_at(fused(q, choice.weights), q.relevant, 1) for q in queries])
    assert choice.cross_validated < own


def test_one_group_leaves_nothing_to_judge_by() -> None:
    with pytest.raises(ValueError, match="1 group"):
        choose_weights([query(1, by="words", group="a")])


def test_weights_are_stored_by_name_and_what_is_not_there_is_the_default() -> None:
    assert Weights.of(None) == DEFAULT
    assert Weights.of({"words": 2, "former": 3}) == Weights(words=2.0)
    assert Weights.of(Weights(neighbours=0.1).stored()) == Weights(neighbours=0.1)
