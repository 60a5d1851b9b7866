"""A generator writes the synthesis; what it cites is checked, and without it there is an answer."""

import asyncio
import time
from typing import Any

import pytest
from pydantic import SecretStr

from memos_assets.errors import AgentError
from memos_assets.research import Answer, Budget, Research, configured_generator
from memos_assets.research.citations import checked
from memos_assets.research.generators import OllamaGenerator, OpenAIGenerator
from memos_assets.settings import Settings
from memos_assets_tests.research.conftest import QUESTION, Corpus
from memos_assets_tests.search.endpoint import Asked, serving

FINDINGS = ["SRVO-062 is an alarm of the pulse coder.", "Wait 54 s."]


@pytest.mark.parametrize(
    ("text", "kept", "notes"),
    [
        ("It is an alarm [1]. Then wait 54 s [2].", [("It is an alarm.", [1])], 0),
        ("It is an alarm. [1] Wait 54 s. [2]", [("It is an alarm.", [1]), ("Wait 54 s.", [2])], 0),
        ("It is an alarm [1, 7].", [("It is an alarm.", [1])], 1),
        ("It is an alarm [7].", [], 2),
        ("It is an alarm.", [], 1),
        ("Wait 60 s [2].", [], 1),
        ("- **It** is an alarm [Finding 1][2].", [("It is an alarm.", [1, 2])], 0),
        ("", [], 0),
    ],
)
def test_sentences_that_no_finding_bears_out_are_dropped(
    text: str, kept: list[Any], notes: int
) -> None:
    found = checked(text, FINDINGS, QUESTION)
    said = [(one.text.rstrip("."), one.cites) for one in found.sentences]
    assert said[: len(kept)] == [(text.rstrip("."), cites) for text, cites in kept]
    assert len(found.notes) == notes


def chat(text: object) -> Any:
    """Answer as both endpoints do."""

    def answer(_: Asked) -> tuple[int, Any]:
        return 200, {
            "message": {"content": text},
            "choices": [{"message": {"content": text}, "finish_reason": "stop"}],
        }

    return answer


def ask(corpus: Corpus, user: str, generator: Any, **about: Any) -> Answer:
    return corpus.run(
        lambda research: research.ask(QUESTION, user=user, **about), generator=generator
    )


@pytest.mark.parametrize("kind", [OllamaGenerator, OpenAIGenerator])
def test_an_answer_is_written_from_numbered_findings_and_cached(
    corpus: Corpus, user: str, kind: Any
) -> None:
    with serving(chat("SRVO-062 is an alarm [1]. It needs a new robot [9].")) as endpoint:
        generator = kind(endpoint.url, "m", key=SecretStr("s3cret"))
        answer = ask(corpus, user, generator)
        again = ask(corpus, user, generator)
    assert [one.text for one in answer.sentences] == ["SRVO-062 is an alarm."]
    assert answer.written_by == generator.name
    assert len(answer.contradictions) == 1
    assert answer.notes[-2:] == [
        "1 citations of the generator were invented, and removed.",
        "1 sentences of the generator cited no finding, and were dropped.",
    ]
    assert again.origin == "exact"
    (asked,) = endpoint.asked
    assert asked.headers["Authorization"] == "Bearer s3cret"
    assert "[1] " in asked.body["messages"][1]["content"]
    assert "s3cret" not in repr(generator)


def slow(_: Asked) -> tuple[int, Any]:
    time.sleep(1.0)
    return 200, {}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (chat(""), "it answered nothing."),
        (chat("I do not know."), "it answered nothing that a finding bears out."),
        (chat(None), "the answer has no text."),
        (lambda _: (500, {"error": "out of memory, key s3cret"}), "the endpoint refuses with 500"),
        (lambda _: (200, b"no json"), "the answer is not JSON."),
        (slow, "no answer within 0.2 s."),
    ],
)
def test_a_generator_without_an_answer_is_left_out_and_said(
    corpus: Corpus, user: str, said: Any, why: str
) -> None:
    with serving(said) as endpoint:
        key = SecretStr("s3cret")
        generator = OpenAIGenerator(endpoint.url, "m", key=key, timeout_seconds=0.2)
        answer = ask(corpus, user, generator)
    assert answer.written_by == "extractive"
    assert answer.sentences
    assert not answer.complete
    assert any(f"was left out: {why}" in note for note in answer.notes)
    assert all("s3cret" not in note for note in answer.notes)
    kept = "select from agent.memories where user_id = :user"
    assert corpus.rows(kept, user=user) == []


def test_a_generator_that_works_again_goes_on_with_the_same_board(
    corpus: Corpus, user: str
) -> None:
    with serving(chat("")) as endpoint:
        first = ask(corpus, user, OpenAIGenerator(endpoint.url, "m"))
    with serving(chat("SRVO-062 is an alarm [1].")) as endpoint:
        second = ask(corpus, user, OpenAIGenerator(endpoint.url, "m"))
    assert second.complete
    assert second.board == first.board
    assert [one.text for one in second.sentences] == ["SRVO-062 is an alarm."]


class Endless:
    name = "endless"

    async def generate(self, *_: object) -> str:
        await asyncio.sleep(600)
        return ""


def test_a_generator_that_outlasts_the_budget_is_not_waited_for(corpus: Corpus, user: str) -> None:
    answer = ask(corpus, user, Endless(), budget=Budget(seconds=3))
    assert not answer.complete
    assert answer.sentences


def test_no_connection_is_in_use_while_a_generator_works(corpus: Corpus, user: str) -> None:
    in_use: list[int] = []

    class Watching:
        name = "watching"
        research: Research

        async def generate(self, *_: object) -> str:
            for sessions in (self.research._tools.sessions, self.research._tools.corpora):
                pool = sessions.kw["bind"].pool
                in_use.append(pool.checkedout())
            return "SRVO-062 is an alarm [1]."

    watching = Watching()

    async def work(research: Research) -> Answer:
        watching.research = research
        return await research.ask(QUESTION, user=user)

    answer = corpus.run(work, generator=watching)
    assert answer.written_by == "watching"
    assert in_use == [0, 0]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"generator": "ollama"}, "MEMOS_GENERATOR_MODEL"),
        ({"generator": "openai", "generator_model": "m"}, "MEMOS_GENERATOR_URL"),
    ],
)
def test_a_generator_without_what_it_needs_is_refused(given: dict[str, Any], where: str) -> None:
    with pytest.raises(AgentError, match=f"M993 {where}"):
        configured_generator(Settings(**given))


def test_settings_name_the_generator() -> None:
    assert configured_generator(Settings()) is None
    ollama = configured_generator(Settings(generator="ollama", generator_model="llama3.1:8b"))
    assert repr(ollama) == "OllamaGenerator('http://127.0.0.1:11434/api/chat', 'llama3.1:8b')"
