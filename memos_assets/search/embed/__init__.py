"""Text to vector: who embeds, whether that fits a table. Speaks to no database.

`embedder` says what an embedder is, `endpoints` asks Ollama and OpenAI-compatible servers, `local`
needs no server, `models` compares names and refuses misfits, `configured` reads the settings.
"""

from memos_assets.search.embed.configured import configured_embedder
from memos_assets.search.embed.embedder import Embedder, Vectors
from memos_assets.search.embed.endpoints import OllamaEmbedder, OpenAIEmbedder
from memos_assets.search.embed.local import DeterministicEmbedder, MiniLMEmbedder
from memos_assets.search.embed.models import check_fit, same_model

__all__ = [
    "DeterministicEmbedder",
    "Embedder",
    "MiniLMEmbedder",
    "OllamaEmbedder",
    "OpenAIEmbedder",
    "Vectors",
    "check_fit",
    "configured_embedder",
    "same_model",
]
