"""Text to vector: embedders, and whether one fits a table. No database.

`embedder` has the protocols, with and without asyncio; `endpoints` calls Ollama and
OpenAI-compatible servers, `blocking` waits for them, `local` and `minilm` need no server, `models`
compares names and refuses misfits, `configured` reads the settings.
"""

from memos_assets.search.embed.blocking import BlockingEmbedder, OllamaEmbedder, OpenAIEmbedder
from memos_assets.search.embed.configured import (
    configured_async_embedder,
    configured_embedder,
    configured_next_embedder,
)
from memos_assets.search.embed.embedder import (
    AsyncEmbedder,
    Embedder,
    TextTooLongError,
    Vectors,
    unit,
)
from memos_assets.search.embed.endpoints import AsyncOllamaEmbedder, AsyncOpenAIEmbedder
from memos_assets.search.embed.local import DeterministicEmbedder, ThreadedEmbedder
from memos_assets.search.embed.minilm import MiniLMEmbedder
from memos_assets.search.embed.models import check_fit, same_model

__all__ = [
    "AsyncEmbedder",
    "AsyncOllamaEmbedder",
    "AsyncOpenAIEmbedder",
    "BlockingEmbedder",
    "DeterministicEmbedder",
    "Embedder",
    "MiniLMEmbedder",
    "OllamaEmbedder",
    "OpenAIEmbedder",
    "TextTooLongError",
    "ThreadedEmbedder",
    "Vectors",
    "check_fit",
    "configured_async_embedder",
    "configured_embedder",
    "configured_next_embedder",
    "same_model",
    "unit",
]
