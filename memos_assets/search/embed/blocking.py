"""Embedders for code that waits, over those that do not."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar, Unpack

from anyio.from_thread import start_blocking_portal

from memos_assets.search.embed.embedder import AsyncEmbedder, Vectors
from memos_assets.search.embed.endpoints import (
    AsyncOllamaEmbedder,
    AsyncOpenAIEmbedder,
    EndpointSettings,
)

Given = TypeVar("Given")


class BlockingEmbedder:
    """An asynchronous embedder as an `Embedder`.

    It works in an event loop of its own, in a thread, so that code inside of a running loop, such
    as a notebook, may wait for it, too.
    """

    def __init__(self, embedder: AsyncEmbedder) -> None:
        self._embedder = embedder

    def __repr__(self) -> str:
        return repr(self._embedder).removeprefix("Async")

    @property
    def model(self) -> str:
        """The model, by the name that tables know it by."""
        return self._embedder.model

    @property
    def dimension(self) -> int | None:
        """Elements of its vectors; None until the first answer where only the model knows."""
        return self._embedder.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; see `Embedder.embed`."""
        return _wait_for(self._embedder.embed, texts)

    def embed_query(self, text: str) -> Vectors:
        """Embed a query; see `Embedder.embed_query`."""
        return _wait_for(self._embedder.embed_query, text)


class OllamaEmbedder(BlockingEmbedder):
    """`AsyncOllamaEmbedder`, waited for."""

    def __init__(self, url: str, model: str, **settings: Unpack[EndpointSettings]) -> None:
        """Take what `AsyncOllamaEmbedder` takes."""
        super().__init__(AsyncOllamaEmbedder(url, model, **settings))


class OpenAIEmbedder(BlockingEmbedder):
    """`AsyncOpenAIEmbedder`, waited for."""

    def __init__(self, url: str, model: str, **settings: Unpack[EndpointSettings]) -> None:
        """Take what `AsyncOpenAIEmbedder` takes."""
        super().__init__(AsyncOpenAIEmbedder(url, model, **settings))


def _wait_for(embed: Callable[[Given], Coroutine[Any, Any, Vectors]], given: Given) -> Vectors:
    # Its thread takes 1 ms. Ctrl+C cancels the request.
    with start_blocking_portal() as portal:
        return portal.call(embed, given)
