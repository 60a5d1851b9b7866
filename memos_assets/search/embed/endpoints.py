"""Embedders behind HTTP: Ollama's own interface, and the one of OpenAI that many servers speak.

They are asynchronous; `blocking` has the same for code that waits.
"""

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, TypedDict, Unpack

import httpx
import numpy as np
import tenacity
from pydantic import SecretStr

from memos_assets.errors import UsageError
from memos_assets.search.embed.embedder import (
    TextTooLongError,
    Vectors,
    check_dimension,
    checked,
)
from memos_assets.search.embed.http import authorization, cause_of, refusal_of, trusted
from memos_assets.search.embed.models import as_query

OLLAMA_URL = "http://127.0.0.1:11434"
#: Texts per request; Ollama holds all of a request in memory.
_BATCH = 64
_ATTEMPTS = 3
#: How Ollama, OpenAI, vLLM, llama.cpp and TEI say that a text is longer than the model reads.
_TOO_LONG = re.compile(
    r"context (length|size|window)|maximum (context|input)|too (long|large|many tokens)"
    r"|exceeds? the (maximum|model|available)|must have less than \d+ tokens",
    re.IGNORECASE,
)


class EndpointSettings(TypedDict, total=False):
    """Optional arguments of every endpoint.

    Attributes:
        served_as: what the endpoint calls the model; None: the same.
        key: bearer token; None: none is sent.
        dimension: elements that are expected; None: whatever comes.
        timeout_seconds: for a connection, and again for each silence of the endpoint; it may have
            to load the model first. 60 if not given.
    """

    served_as: str | None
    key: SecretStr | None
    dimension: int | None
    timeout_seconds: float


class _AsyncEndpoint:
    """The common part of both endpoints. The key is in no repr and in no message."""

    _path: str
    _start: str

    def __init__(self, url: str, model: str, **settings: Unpack[EndpointSettings]) -> None:
        """Nothing is asked until something is embedded.

        Args:
            url: base address; a path that ends like the interface's own is understood, too.
            model: the model, by the name that tables know it by.
            settings: see `EndpointSettings`.
        """
        self.model = model
        self._address = url.rstrip("/").removesuffix(self._path) + self._path
        self._served_as = settings.get("served_as") or model
        self._key = settings.get("key")
        self._expected = settings.get("dimension")
        self._found: int | None = None
        self._timeout_seconds = settings.get("timeout_seconds", 60.0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._address!r}, {self.model!r})"

    @property
    def dimension(self) -> int | None:
        """Elements of its vectors, once it answered."""
        return self._found

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as they are, some per request; see `Embedder.embed`."""
        if not texts:
            return np.empty((0, self._found or 0), dtype=np.float32)
        # A redirected POST becomes a GET, and the key would go along; httpx follows none.
        async with httpx.AsyncClient(
            verify=trusted(), headers=authorization(self._key), timeout=self._timeout_seconds
        ) as client:
            parts = [
                await self._embed_batch(client, texts[start : start + _BATCH])
                for start in range(0, len(texts), _BATCH)
            ]
        return np.concatenate(parts)

    async def embed_query(self, text: str) -> Vectors:
        """Embed a query, with the instruction of its model before it."""
        vector: Vectors = (await self.embed([as_query(self.model, text)]))[0]
        return vector

    async def _embed_batch(self, client: httpx.AsyncClient, texts: Sequence[str]) -> Vectors:
        body = {"model": self._served_as, "input": list(texts), **self._options()}
        answer = await self._ask(client, body)
        vectors = checked(self._rows(answer), len(texts), where=self._address)
        given = vectors.shape[1]
        check_dimension(self._expected, given, model=self.model, where=self._address)
        check_dimension(self._found, given, model=self.model, where=self._address)
        self._found = given
        return vectors

    def _options(self) -> dict[str, Any]:
        return {}

    @abstractmethod
    def _rows(self, answer: Any) -> object:
        """Return the vectors out of an answer, one per text and in their order."""

    async def _ask(self, client: httpx.AsyncClient, body: dict[str, Any]) -> Any:
        try:
            async for attempt in tenacity.AsyncRetrying(
                stop=tenacity.stop_after_attempt(_ATTEMPTS)
                | tenacity.stop_after_delay(self._timeout_seconds),
                wait=tenacity.wait_random_exponential(multiplier=0.2, max=2),
                retry=tenacity.retry_if_exception(_may_pass),
                reraise=True,
            ):
                with attempt:
                    response = await client.post(self._address, json=body)
                    if response.status_code != httpx.codes.OK:
                        raise httpx.HTTPStatusError("", request=response.request, response=response)
            return response.json()
        except ValueError:
            raise self._refusal("the embedder answered with something that is not JSON") from None
        except httpx.HTTPStatusError as error:
            raise self._refused(error.response) from None
        except httpx.TimeoutException:
            raise self._refusal(
                f"no answer within {self._timeout_seconds:g} s",
                fix="wait for it to load the model, or raise MEMOS_EMBEDDER_TIMEOUT_SECONDS",
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._refusal(
                f"the endpoint does not answer ({cause_of(error)})", fix=self._start
            ) from None

    def _refused(self, response: httpx.Response) -> UsageError:
        what, said = refusal_of(response, self._key)
        if response.status_code in (401, 403):
            return self._refusal(what, fix="set MEMOS_EMBEDDER_KEY to a key that it takes")
        if response.status_code == 404:
            return self._refusal(what, fix=self._missing())
        if response.status_code in (400, 413, 422, 500) and _TOO_LONG.search(said):
            error = self._refusal(what, fix="embed the text in parts")
            return TextTooLongError(error.code, error.what, where=error.where, fix=error.fix)
        return self._refusal(what)

    def _missing(self) -> str:
        return f"see that MEMOS_EMBEDDER_URL is the right one and that it serves {self._served_as}"

    def _refusal(self, what: str, *, fix: str | None = None) -> UsageError:
        fallback = "searching by words needs no embedder: --mode text"
        return UsageError(
            "M578", what, where=self._address, fix=f"{fix or 'see its log'}; {fallback}"
        )


class AsyncOllamaEmbedder(_AsyncEndpoint):
    """Ollama's ``/api/embed``.

    It gives unit vectors. ``/api/embeddings``, which memOS asked, gives them raw; direction, and so
    every cosine distance, is the same.
    """

    _path = "/api/embed"
    _start = "start it (ollama serve), or correct MEMOS_EMBEDDER_URL"

    def _options(self) -> dict[str, Any]:
        # Else it cuts a text that is longer than the model reads, and answers as if nothing was.
        return {"truncate": False}

    def _rows(self, answer: Any) -> object:
        return answer.get("embeddings") if isinstance(answer, dict) else None

    def _missing(self) -> str:
        return f"ollama pull {self._served_as}"


class AsyncOpenAIEmbedder(_AsyncEndpoint):
    """``/v1/embeddings`` of OpenAI and of the servers that imitate it: vLLM, llama.cpp, TEI."""

    _path = "/v1/embeddings"
    _start = "start it, or correct MEMOS_EMBEDDER_URL"

    def __init__(self, url: str, model: str, **settings: Unpack[EndpointSettings]) -> None:
        """Take the base address with or without its ``/v1``; else as any endpoint."""
        super().__init__(url.rstrip("/").removesuffix("/v1"), model, **settings)

    def _options(self) -> dict[str, Any]:
        return {"encoding_format": "float"}

    def _rows(self, answer: Any) -> object:
        items = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            return None
        if all(isinstance(item.get("index"), int) for item in items):
            if sorted(item["index"] for item in items) != list(range(len(items))):
                return None
            items = sorted(items, key=lambda item: int(item["index"]))
        return [item.get("embedding") for item in items]


def _may_pass(error: BaseException) -> bool:
    """Whether asking again may help; an endpoint that is silent for a minute is not asked again."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in (429, 500, 502, 503, 504)
    # The last one: it closed the connection instead of answering.
    passing = httpx.NetworkError | httpx.ConnectTimeout | httpx.RemoteProtocolError
    return isinstance(error, passing)
