"""A reworded query has the answer of another one in its scope, and nothing else has."""

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Answer, Scope, SyncCache

Sessions = sessionmaker[Session]
#: Texts of one line are near to each other, as a model would have them.
NEAR = (
    ("how do I reset my password", "how can I reset my password"),
    ("price of 500 GB", "price of 5000 GB"),
    ("what is the capital of France", "what is the capital city of France"),
    ("wie ist das Wetter in Bonn", "wie ist das Wetter in der Stadt Bonn"),
)


class Near:
    """An embedder by the table above; all else is far from everything."""

    def __init__(self, dimension: int = 8, model: str = "near") -> None:
        self.dimension, self.model, self.calls = dimension, model, 0

    def embed(self, texts: Any) -> Any:
        self.calls += 1
        return np.stack([self._one(text) for text in texts])

    def _one(self, text: str) -> Any:
        vector = np.zeros(self.dimension, np.float32)
        for place, line in enumerate(NEAR):
            if text in line:
                vector[place] = 1
                vector[-1] = 0.02 * line.index(text)
                return vector
        rng = np.random.default_rng(abs(hash(text)))
        return rng.normal(size=self.dimension).astype(np.float32)

    def embed_query(self, text: str) -> Any:
        return self.embed([text])[0]


class Broken(Near):
    """An embedder that answers with what it is given."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def embed(self, texts: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer for _ in texts]


def ask(cache: SyncCache, sessions: Sessions, query: str, value: Any, scope: Scope) -> Answer:
    return cache.get_or_compute(
        sessions, namespace="results", query=query, compute=lambda: value, scope=scope
    )


def test_a_reworded_query_has_the_answer_of_the_other_one(sessions: Sessions, scope: Scope) -> None:
    cache = SyncCache(Near())
    asked, reworded = NEAR[0]
    ask(cache, sessions, asked, "so", scope)
    found = ask(cache, sessions, reworded, "not computed", scope)
    assert (found.value, found.origin, found.matched) == ("so", "semantic", asked)
    assert found.similarity is not None
    assert 0.99 < found.similarity < 1
    assert "no rule objects" in found.gate


def test_the_gate_refuses_the_winner_and_says_why(sessions: Sessions, scope: Scope) -> None:
    cache = SyncCache(Near())
    asked, other = NEAR[1]
    ask(cache, sessions, asked, "9.99", scope)
    found = ask(cache, sessions, other, "99.99", scope)
    assert (found.value, found.origin) == ("99.99", "computed")
    assert found.reason.startswith("gate: ")
    assert found.matched == asked
    assert found.gate


@pytest.mark.parametrize(
    "other",
    [Scope(user="another"), Scope(user="x", conversation="c"), Scope(user="x", tenant="t")],
    ids=["user", "conversation", "tenant"],
)
def test_another_scope_has_no_answer_of_ours(sessions: Sessions, other: Scope) -> None:
    cache = SyncCache(Near())
    asked, reworded = NEAR[2]
    ask(cache, sessions, asked, "Paris", Scope(user="x"))
    assert ask(cache, sessions, reworded, "computed", other).value == "computed"


@pytest.mark.parametrize("second", [Near(16), Near(8, "other")], ids=["dimension", "model"])
def test_another_model_never_matches_and_never_breaks_a_lookup(
    sessions: Sessions, scope: Scope, second: Near
) -> None:
    asked, reworded = NEAR[0]
    ask(SyncCache(Near()), sessions, asked, "first", scope)
    assert ask(SyncCache(second), sessions, reworded, "second", scope).value == "second"
    assert ask(SyncCache(second), sessions, asked, "-", scope).value == "first"


@pytest.mark.parametrize(
    "answer",
    [np.zeros(8), np.full(8, np.nan), [], None, "no vector", RuntimeError("down")],
    ids=["zeros", "NaN", "empty", "None", "text", "raises"],
)
def test_an_embedder_that_fails_costs_no_answer(
    sessions: Sessions, scope: Scope, answer: Any
) -> None:
    cache = SyncCache(Broken(answer))
    first = ask(cache, sessions, "any", 1, scope)
    assert (first.value, first.origin, first.reason) == (1, "computed", "not embedded")
    assert ask(cache, sessions, "any", 2, scope).value == 1


def test_what_was_wrong_is_evicted_and_its_pair_never_served_again(
    sessions: Sessions, scope: Scope
) -> None:
    cache = SyncCache(Near())
    asked, reworded = NEAR[0]
    ask(cache, sessions, asked, "wrong", scope)
    found = ask(cache, sessions, reworded, "-", scope)
    assert found.origin == "semantic"
    assert cache.feedback(sessions, found.entry, wrong=True) is True
    assert ask(cache, sessions, asked, "again", scope).origin == "computed"
    blocked = ask(cache, sessions, reworded, "its own", scope)
    assert (blocked.value, blocked.reason) == ("its own", "blocked")
    assert cache.feedback(sessions, found.entry, wrong=True) is False


def test_a_judge_has_the_last_word_and_fails_closed(sessions: Sessions, scope: Scope) -> None:
    def raises(_asked: str, _matched: str) -> bool:
        raise TimeoutError

    asked, reworded = NEAR[0]
    ask(SyncCache(Near()), sessions, asked, "so", scope)
    for judge in (raises, lambda _asked, _matched: False):
        found = SyncCache(Near(), judge=judge).get_or_compute(
            sessions,
            namespace="results",
            query=reworded,
            compute=lambda: (1,),  # which may not be stored
            scope=scope,
        )
        assert (found.origin, found.reason) == ("computed", "gate: judge")
    agreeing = SyncCache(Near(), judge=lambda _asked, _matched: True)
    assert ask(agreeing, sessions, reworded, "-", scope).origin == "semantic"


def test_a_calibrated_threshold_is_in_force(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    cache = SyncCache(Near(model="calibrated"))
    asked, reworded = NEAR[0]
    ask(cache, sessions, asked, "so", scope)
    with owner.begin() as conn:
        conn.execute(
            sa.text(
                "insert into agent.cache_thresholds "
                "(namespace, model, threshold, budget, upper_bound, pairs) "
                "values ('results', 'calibrated', 1, .05, .04, 100)"
            )
        )
    refused = ask(cache, sessions, reworded, (1,), scope)
    assert refused.reason == "below threshold"
    with owner.begin() as conn:
        conn.execute(sa.text("update agent.cache_thresholds set threshold = .5"))
    assert ask(cache, sessions, reworded, "-", scope).origin == "semantic"


def test_a_shadow_observation_is_computed_and_labelled(
    sessions: Sessions, scope: Scope, owner: sa.Engine
) -> None:
    asked, reworded = NEAR[0]
    ask(SyncCache(Near()), sessions, asked, "one", scope)
    shadowing = SyncCache(Near(), shadow_rate=1.0)
    found = ask(shadowing, sessions, reworded, "another", scope)
    assert (found.value, found.reason) == ("another", "shadow")
    with owner.connect() as conn:
        labels = conn.execute(
            sa.text(
                "select asked, matched, wrong, origin from agent.cache_pairs where user_id = :u"
            ),
            {"u": scope.user},
        ).all()
    assert labels == [(reworded, asked, True, "shadow")]
