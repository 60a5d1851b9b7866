"""Embedders: over real HTTP, in every way that goes wrong, and without any server."""

import socket
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tenacity
from pydantic import SecretStr

from memos_assets.errors import UsageError
from memos_assets.search.embed import (
    DeterministicEmbedder,
    Embedder,
    OllamaEmbedder,
    OpenAIEmbedder,
    TextTooLongError,
    configured_embedder,
)
from memos_assets.settings import Settings, load_settings
from memos_assets_tests.search.endpoint import Asked, as_ollama, as_openai, serving, vector_of

KEY = "sk-secret-0123456789"
QWEN_INSTRUCTION = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_none())


def refusal(embedder: Embedder, texts: Sequence[str] = ("a",)) -> str:
    """Return what an embedder says instead of answering: one line, with what to do."""
    with pytest.raises(UsageError) as caught:
        embedder.embed(texts)
    said = str(caught.value)
    assert "\n" not in said
    assert " Fix: " in said
    return said


def test_ollama_is_asked_for_all_texts_at_once_and_answers_as_it_is() -> None:
    with serving(as_ollama) as endpoint:
        embedder = OllamaEmbedder(endpoint.url + "/", "mxbai-embed-large")
        before, vectors = embedder.dimension, embedder.embed(["a", "bcd"])
    assert (before, embedder.dimension) == (None, 4)
    assert (vectors.shape, str(vectors.dtype)) == ((2, 4), "float32")
    assert vectors.tolist() == [vector_of("a"), vector_of("bcd")]
    (asked,) = endpoint.asked
    assert asked.path == "/api/embed"
    # Else Ollama cuts what is too long, and says nothing.
    assert asked.body == {
        "model": "mxbai-embed-large",
        "input": ["a", "bcd"],
        "truncate": False,
    }
    assert "Authorization" not in asked.headers


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/embeddings"])
def test_openai_is_asked_with_the_key_and_its_answer_is_put_in_order(suffix: str) -> None:
    with serving(as_openai) as endpoint:
        embedder = OpenAIEmbedder(
            endpoint.url + suffix, "bge-m3", served_as="BAAI/bge-m3", key=SecretStr(KEY)
        )
        vectors = embedder.embed(["a", "bc", "def"])
    assert vectors.tolist() == [vector_of("a"), vector_of("bc"), vector_of("def")]
    (asked,) = endpoint.asked
    assert asked.path == "/v1/embeddings"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.body["model"] == "BAAI/bge-m3"
    assert asked.body["encoding_format"] == "float"


def test_many_texts_go_in_several_requests_and_none_in_no_request() -> None:
    with serving(as_ollama) as endpoint:
        embedder = OllamaEmbedder(endpoint.url, "m")
        assert embedder.embed([]).shape == (0, 0)
        vectors = embedder.embed([str(10**place) for place in range(130)])
    assert vectors[:, 0].tolist() == list(range(1, 131))
    assert [len(asked.body["input"]) for asked in endpoint.asked] == [64, 64, 2]


@pytest.mark.parametrize(
    ("model", "before"),
    [
        ("qwen3-embedding:8b", QWEN_INSTRUCTION),
        ("Qwen/Qwen3-Embedding-0.6B", QWEN_INSTRUCTION),
        ("mxbai-embed-large", "Represent this sentence for searching relevant passages: "),
        ("bge-m3", ""),
        ("nomic-embed-text", ""),
    ],
)
def test_a_query_carries_the_instruction_of_its_model_and_a_text_does_not(
    model: str, before: str
) -> None:
    with serving(as_ollama) as endpoint:
        embedder = OllamaEmbedder(endpoint.url, model)
        assert embedder.embed_query("SRVO-062").shape == (4,)
        embedder.embed(["SRVO-062"])
    assert [asked.body["input"] for asked in endpoint.asked] == [
        [f"{before}SRVO-062"],
        ["SRVO-062"],
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"embeddings": []}, "0 vectors for 1 texts"),
        ({"embeddings": [[1.0], [2.0]]}, "2 vectors for 1 texts"),
        ({"embeddings": [[]]}, "an empty vector"),
        ({"embeddings": [[0.0, 0.0]]}, "a vector of zeros"),
        (b'{"embeddings": [[1.0, NaN]]}', "NaN or infinite"),
        (b'{"embeddings": [[1.0, 1e39]]}', "NaN or infinite"),
        (b'{"embeddings": [[1.0, 1' + b"0" * 400 + b"]]}", "beyond float32"),
        ({"embeddings": [["1.0"]]}, "other things than numbers"),
        ({"embeddings": [[None, 1.0]]}, "other things than numbers"),
        ({"embeddings": [[True]]}, "other things than numbers"),
        ({"embeddings": ["AACAPw=="]}, "something that is not a vector"),
        ({"embedding": [1.0]}, "something that is not a list of vectors"),
        (["?"], "something that is not a list of vectors"),
        (b"<html>not found</html>", "something that is not JSON"),
    ],
)
def test_an_answer_that_cannot_be_searched_with_is_m558(answer: Any, said: str) -> None:
    with serving(lambda _: (200, answer)) as endpoint:
        message = refusal(OllamaEmbedder(endpoint.url, "m"))
    assert message.startswith(f"M578 {endpoint.url}/api/embed: the embedder answered with ")
    assert said in message
    assert len(endpoint.asked) == 1


def test_vectors_of_different_lengths_are_m558() -> None:
    with serving(lambda _: (200, {"embeddings": [[1.0], [1.0, 2.0]]})) as endpoint:
        assert "different lengths (1, 2)" in refusal(OllamaEmbedder(endpoint.url, "m"), ["a", "b"])


@pytest.mark.parametrize(
    "data", [[{"index": 1, "embedding": [1.0]}], [{"index": 0}], ["?"], {"index": 0}, None]
)
def test_an_openai_answer_of_another_shape_is_m558(data: Any) -> None:
    with serving(lambda _: (200, {"data": data})) as endpoint:
        assert refusal(OpenAIEmbedder(endpoint.url, "m")).startswith("M578 ")


@pytest.mark.parametrize(
    ("status", "answer", "said", "requests"),
    [
        (404, {"error": 'model "m" not found'}, '404 (model "m" not found). Fix: ollama pull m', 1),
        (400, {"error": {"message": "too\nlong."}}, "refuses with 400 (too long). Fix: ", 1),
        (401, {"error": {"message": f"bad key {KEY}"}}, "401 (bad key **********). Fix: set ", 1),
        (302, b"", "refuses with 302. Fix: ", 1),
        (500, b"\xff", "refuses with 500. Fix: see its log; ", 3),
        (429, {"detail": "slower"}, "refuses with 429 (slower)", 3),
    ],
)
def test_a_refusal_is_m558_and_only_what_may_pass_is_asked_again(
    status: int, answer: Any, said: str, requests: int
) -> None:
    with serving(lambda _: (status, answer)) as endpoint:
        message = refusal(OllamaEmbedder(endpoint.url, "m", key=SecretStr(KEY)))
    assert message.startswith(f"M578 {endpoint.url}/api/embed: the endpoint ")
    assert said in message
    assert KEY not in message
    assert len(endpoint.asked) == requests


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (400, {"error": "the input length exceeds the context length"}),
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens"}}),
        (413, {"error": "Input validation error: `inputs` must have less than 512 tokens"}),
    ],
)
def test_a_text_that_is_too_long_is_told_apart(status: int, answer: Any) -> None:
    with (
        serving(lambda _: (status, answer)) as endpoint,
        pytest.raises(TextTooLongError, match=r"^M578 .* Fix: embed the text in parts"),
    ):
        OllamaEmbedder(endpoint.url, "m").embed(["a"])
    assert len(endpoint.asked) == 1


def test_an_endpoint_that_comes_back_is_answered_by() -> None:
    with serving(lambda a: as_ollama(a) if len(endpoint.asked) == 3 else (503, {})) as endpoint:
        assert OllamaEmbedder(endpoint.url, "m").embed(["a"]).shape == (1, 4)


def test_nothing_that_listens_is_m558_and_says_how_to_start_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        message = refusal(OllamaEmbedder(url, "m"))
    assert message.startswith(f"M578 {url}/api/embed: the endpoint does not answer (")
    assert "Connection refused" in message
    assert "ollama serve" in message


def test_silence_is_m558_after_the_timeout_and_is_not_asked_again() -> None:
    def late(asked: Asked) -> tuple[int, Any]:
        time.sleep(0.3)
        return as_ollama(asked)

    with serving(late) as endpoint:
        message = refusal(OllamaEmbedder(endpoint.url, "m", timeout_seconds=0.05))
    assert "no answer within 0.05 s. Fix: wait for it to load the model" in message
    assert len(endpoint.asked) == 1


def test_another_dimension_than_expected_or_than_before_is_m559() -> None:
    with serving(as_ollama) as endpoint:
        message = refusal(OllamaEmbedder(endpoint.url, "m", dimension=768))
    assert message.startswith(f"M579 {endpoint.url}/api/embed: m gives 4 elements, ")


def test_a_key_is_in_no_repr() -> None:
    embedder = OpenAIEmbedder("http://127.0.0.1:1", "m", key=SecretStr(KEY))
    assert repr(embedder) == "OpenAIEmbedder('http://127.0.0.1:1/v1/embeddings', 'm')"
    assert KEY not in repr(vars(embedder))


def test_the_deterministic_one_gives_unit_vectors_that_depend_on_words_alone() -> None:
    embedder = DeterministicEmbedder(64)
    texts = ["Encoder battery low", "battery of the ENCODER", "apple pie recipe", "SRVO-062", ""]
    vectors = embedder.embed(texts)
    assert (vectors.shape, str(vectors.dtype)) == ((5, 64), "float32")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-6)
    assert vectors.tolist() == DeterministicEmbedder(64).embed(texts).tolist()
    near = vectors @ vectors[0]
    assert near[1] > 0.4 > abs(near[2])
    assert embedder.embed(["servo 062"])[0] @ vectors[3] < 0.5
    assert embedder.embed_query("encoder BATTERY low").tolist() == vectors[0].tolist()
    assert DeterministicEmbedder(64, seed=1).embed(texts[:1]).tolist() != vectors[:1].tolist()
    assert embedder.embed([]).shape == (0, 64)


def test_the_deterministic_one_says_the_same_on_every_machine() -> None:
    vector = DeterministicEmbedder(3).embed(["a"])[0]
    assert [round(float(value), 4) for value in vector] == [0.4042, -0.5463, 0.7336]


def configured(monkeypatch: pytest.MonkeyPatch, **settings: str) -> Embedder:
    for name, value in settings.items():
        monkeypatch.setenv(f"MEMOS_EMBEDDER{name}".upper(), value)
    return configured_embedder(load_settings())


def test_settings_name_the_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(as_openai) as endpoint:
        embedder = configured(
            monkeypatch,
            **{"": "openai", "_model": "served=mxbai-embed-large", "_key": KEY},
            _url=endpoint.url,
            _dimension="4",
        )
        embedder.embed(["a"])
    assert embedder.model == "mxbai-embed-large"
    assert endpoint.asked[0].body["model"] == "served"
    assert KEY not in repr(load_settings())
    monkeypatch.delenv("MEMOS_EMBEDDER_URL")
    ollama = configured(monkeypatch, **{"": "ollama", "_model": "bge-m3"})
    assert repr(ollama) == "OllamaEmbedder('http://127.0.0.1:11434/api/embed', 'bge-m3')"
    local = configured(monkeypatch, **{"": "deterministic", "_dimension": "768"})
    assert (local.model, local.dimension) == ("bge-m3", 768)
    local = configured(monkeypatch, **{"": "deterministic", "_dimension": "", "_model": ""})
    assert (local.model, local.dimension) == ("deterministic", 1_024)
    assert configured(monkeypatch, **{"": "minilm"}).dimension == 384


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "M577 MEMOS_EMBEDDER: no embedder is set"),
        ({"": "ollama"}, "M577 MEMOS_EMBEDDER_MODEL: ollama serves many models"),
        ({"": "openai", "_model": "m"}, "M577 MEMOS_EMBEDDER_URL: no text leaves this machine"),
        ({"": "openai", "_model": "m="}, "M577 MEMOS_EMBEDDER_MODEL: openai serves many models"),
        ({"": "minilm", "_model": "bge-m3"}, "M577 MEMOS_EMBEDDER_MODEL: minilm is all-MiniLM"),
        ({"": "word2vec"}, "M501 MEMOS_EMBEDDER: "),
        ({"": "ollama", "_dimension": "0"}, "M501 MEMOS_EMBEDDER_DIMENSION: "),
        ({"": "ollama", "_url": f"http://me:{KEY}@host"}, "M501 MEMOS_EMBEDDER_URL: "),
        ({"": "ollama", "_url": f"http://host/?key={KEY}"}, "M501 MEMOS_EMBEDDER_URL: "),
        ({"": "ollama", "_url": "127.0.0.1:11434"}, "M501 MEMOS_EMBEDDER_URL: "),
    ],
)
def test_settings_that_lack_something_are_one_line(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        configured(monkeypatch, **settings)
    assert str(caught.value).startswith(said)
    assert " Fix: " in str(caught.value)
    assert KEY not in str(caught.value)


def test_no_setting_of_embedders_is_needed() -> None:
    assert Settings().embedder is None
