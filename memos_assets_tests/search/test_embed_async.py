"""Embedders on asyncio: as those that are waited for, without holding the event loop up."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import httpx
import numpy as np
import pytest
import tenacity
from pydantic import SecretStr

from memos_assets.errors import UsageError
from memos_assets.search.embed import (
    AsyncEmbedder,
    AsyncOllamaEmbedder,
    AsyncOpenAIEmbedder,
    DeterministicEmbedder,
    OllamaEmbedder,
    ThreadedEmbedder,
    configured_async_embedder,
    endpoints,
)
from memos_assets.search.embed.embedder import EmbedsQueries, Vectors
from memos_assets.settings import Settings
from memos_assets_tests.search.endpoint import Asked, as_ollama, as_openai, serving, vector_of

KEY = "sk-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenacity, "wait_random_exponential", lambda **_: tenacity.wait_none())


def embedded(embedder: AsyncEmbedder, texts: Sequence[str] = ("a",)) -> Vectors:
    async def embed() -> Vectors:
        return await embedder.embed(texts)

    return asyncio.run(embed())


def refusal(embedder: AsyncEmbedder) -> str:
    with pytest.raises(UsageError) as caught:
        embedded(embedder)
    return str(caught.value)


def test_ollama_is_asked_for_all_texts_at_once() -> None:
    with serving(as_ollama) as endpoint:
        embedder = AsyncOllamaEmbedder(endpoint.url, "m")
        vectors = embedded(embedder, ["a", "bcd"])
    assert vectors.tolist() == [vector_of("a"), vector_of("bcd")]
    assert (str(vectors.dtype), embedder.dimension) == ("float32", 4)
    assert [asked.body["input"] for asked in endpoint.asked] == [["a", "bcd"]]


def test_openai_is_asked_with_the_key_which_is_in_no_repr() -> None:
    with serving(as_openai) as endpoint:
        embedder = AsyncOpenAIEmbedder(endpoint.url + "/v1", "m", key=SecretStr(KEY))
        assert embedded(embedder, ["a", "bc"]).tolist() == [vector_of("a"), vector_of("bc")]
    assert endpoint.asked[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(vars(embedder)) + repr(embedder)


def test_a_key_beyond_ascii_is_sent() -> None:
    with serving(as_openai) as endpoint:
        embedded(AsyncOpenAIEmbedder(endpoint.url, "m", key=SecretStr("schlüssel")))
    sent = endpoint.asked[0].headers["Authorization"]
    assert sent.encode("latin-1").decode() == "Bearer schlüssel"


def test_many_texts_go_in_several_requests_over_one_connection() -> None:
    with serving(as_ollama) as endpoint:
        embedder = AsyncOllamaEmbedder(endpoint.url, "m")
        assert embedded(embedder, []).shape == (0, 0)
        vectors = embedded(embedder, [str(10**place) for place in range(130)])
    assert vectors[:, 0].tolist() == list(range(1, 131))
    assert [len(asked.body["input"]) for asked in endpoint.asked] == [64, 64, 2]


def test_a_query_carries_the_instruction_of_its_model() -> None:
    with serving(as_ollama) as endpoint:
        embedder = AsyncOllamaEmbedder(endpoint.url, "mxbai-embed-large")
        assert asyncio.run(embedder.embed_query("SRVO-062")).shape == (4,)
    assert endpoint.asked[0].body["input"] == [
        "Represent this sentence for searching relevant passages: SRVO-062"
    ]


@pytest.mark.parametrize(
    ("status", "answer", "said", "times"),
    [
        (200, {"embeddings": [[0.0, 0.0]]}, "the embedder answered with a vector of zeros", 1),
        (200, b"<html>", "the embedder answered with something that is not JSON", 1),
        (200, b"\xff\xfe\xfa", "the embedder answered with something that is not JSON", 1),
        (
            401,
            {"error": f"bad key {KEY}"},
            "401 (bad key **********). Fix: set MEMOS_EMBEDDER_KEY",
            1,
        ),
        (302, b"", "the endpoint refuses with 302", 1),
        (503, {}, "the endpoint refuses with 503", 3),
    ],
)
def test_it_refuses_as_the_one_that_is_waited_for(
    status: int, answer: Any, said: str, times: int
) -> None:
    with serving(lambda _: (status, answer)) as endpoint:
        message = refusal(AsyncOllamaEmbedder(endpoint.url, "m", key=SecretStr(KEY)))
        assert len(endpoint.asked) == times
        with pytest.raises(UsageError) as caught:
            OllamaEmbedder(endpoint.url, "m", key=SecretStr(KEY)).embed(["a"])
    assert message == str(caught.value)
    assert message.startswith(f"M578 {endpoint.url}/api/embed: ")
    assert said in message
    assert KEY not in message


def test_a_name_that_nothing_listens_at_is_m578() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        message = refusal(AsyncOllamaEmbedder(f"http://localhost:{taken.getsockname()[1]}", "m"))
    assert (
        "the endpoint does not answer (Connection refused). Fix: start it (ollama serve)" in message
    )


def test_an_address_that_is_none_is_m578() -> None:
    message = refusal(AsyncOllamaEmbedder("http://127.0.0.1:port", "m"))
    assert "the endpoint does not answer (InvalidURL)" in message


def test_an_endpoint_that_comes_back_is_answered_by() -> None:
    with serving(lambda a: as_ollama(a) if len(endpoint.asked) == 3 else (503, {})) as endpoint:
        assert embedded(AsyncOllamaEmbedder(endpoint.url, "m")).shape == (1, 4)


@pytest.mark.parametrize(
    "error", [httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectTimeout]
)
def test_a_broken_connection_is_tried_again(error: type[httpx.TransportError]) -> None:
    assert endpoints._may_pass(error("broken"))
    assert not endpoints._may_pass(httpx.ReadTimeout("silent"))


def test_silence_is_m578_after_the_timeout() -> None:
    def late(asked: Asked) -> tuple[int, Any]:
        time.sleep(0.3)
        return as_ollama(asked)

    with serving(late) as endpoint:
        message = refusal(AsyncOllamaEmbedder(endpoint.url, "m", timeout_seconds=0.05))
    assert "no answer within 0.05 s. Fix: wait for it to load the model" in message
    assert len(endpoint.asked) == 1


def together(embedder: AsyncEmbedder, calls: int) -> list[Vectors]:
    async def embed() -> list[Vectors]:
        return await asyncio.gather(*(embedder.embed(["a"]) for _ in range(calls)))

    return asyncio.run(embed())


def test_calls_do_not_wait_for_each_other() -> None:
    everybody = threading.Barrier(4)

    def when_all_asked(asked: Asked) -> tuple[int, Any]:
        everybody.wait(timeout=20)
        return as_ollama(asked)

    with serving(when_all_asked) as endpoint:
        vectors = together(AsyncOllamaEmbedder(endpoint.url, "m"), 4)
    assert len(vectors) == 4


def test_one_that_is_waited_for_works_inside_of_a_running_loop() -> None:
    async def embed(url: str) -> Vectors:
        return OllamaEmbedder(url, "m").embed(["a"])

    with serving(as_ollama) as endpoint:
        assert asyncio.run(embed(endpoint.url)).shape == (1, 4)


class Watched(EmbedsQueries):
    """Says in which thread it computes, and whether two calls meet."""

    model = "m"
    dimension = 2

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.at_once = 0
        self.most = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.threads.add(threading.get_ident())
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        time.sleep(0.01)
        self.at_once -= 1
        return np.ones((len(texts), 2), np.float32)


def test_one_that_computes_does_so_in_a_thread_and_one_call_at_a_time() -> None:
    watched = Watched()
    embedder = ThreadedEmbedder(watched)
    assert (embedder.model, embedder.dimension) == ("m", 2)
    assert [vectors.shape for vectors in together(embedder, 4)] == [(1, 2)] * 4
    assert threading.get_ident() not in watched.threads
    assert watched.most == 1
    assert asyncio.run(embedder.embed_query("a")).shape == (2,)


def test_settings_name_the_same_embedder_with_and_without_asyncio() -> None:
    local = configured_async_embedder(Settings(embedder="deterministic", embedder_dimension=8))
    assert (local.model, local.dimension) == ("deterministic", 8)
    wanted = DeterministicEmbedder(8).embed(["a"])
    assert embedded(local).tolist() == wanted.tolist()
    with serving(as_ollama) as endpoint:
        settings = Settings(
            embedder="ollama", embedder_model="m", embedder_url=endpoint.url, embedder_dimension=4
        )
        assert embedded(configured_async_embedder(settings)).shape == (1, 4)
    with pytest.raises(UsageError, match=r"^M577 MEMOS_EMBEDDER: "):
        configured_async_embedder(Settings())


def test_a_file_of_passwords_is_not_asked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = tmp_path / "netrc"
    passwords.write_text("machine 127.0.0.1 login somebody password s3kret\n")
    passwords.chmod(0o600)
    monkeypatch.setitem(os.environ, "NETRC", str(passwords))
    with serving(as_ollama) as endpoint:
        embedded(AsyncOllamaEmbedder(endpoint.url, "m"))
    assert "Authorization" not in endpoint.asked[0].headers
