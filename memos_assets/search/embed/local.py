"""Embedders without a server: a hash for tests, and any embedder that computes, for asyncio."""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import anyio
import numpy as np
from anyio import to_thread

from memos_assets.search.embed.embedder import Embedder, EmbedsQueries, Vectors

# SRVO-062 is one word here, as it is to the text search.
_WORDS = re.compile(r"\w+(?:[-.]\w+)*")
_DETERMINISTIC_DIMENSION = 1_024


class DeterministicEmbedder(EmbedsQueries):
    """A sum of hashes of the words, for tests and demos. It knows no meaning.

    The same text gives the same unit vector on every machine; texts that share words are nearer to
    each other than texts that share none. Words are told apart by spelling alone, without case.
    """

    def __init__(
        self,
        dimension: int = _DETERMINISTIC_DIMENSION,
        *,
        model: str = "deterministic",
        seed: int = 0,
    ) -> None:
        """Give vectors of ``dimension`` elements, and pass itself off as ``model``."""
        self.model = model
        self.dimension = dimension
        self._seed = seed

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; shape (texts, dimension), each of length 1."""
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for place, text in enumerate(texts):
            words = _WORDS.findall(text.casefold()) or [text]
            total = np.sum([self._of_word(word) for word in words], axis=0)
            vectors[place] = total / np.linalg.norm(total)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """Embed without any instruction, whose words would count like those of the text."""
        vector: Vectors = self.embed([text])[0]
        return vector

    def _of_word(self, word: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return odd numbers out of a hash, none of them 0; shape (dimension,)."""
        seeded = f"{self._seed}\0{word}".encode()
        bits = hashlib.shake_128(seeded).digest(2 * self.dimension)
        return 2.0 * np.frombuffer(bits, dtype="<i2") + 1


class ThreadedEmbedder:
    """An embedder that computes, as an `AsyncEmbedder`: in a thread, and one call at a time."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        # A model keeps every core busy by itself.
        self._turns = anyio.CapacityLimiter(1)

    @property
    def model(self) -> str:
        """The model, by the name that tables know it by."""
        return self._embedder.model

    @property
    def dimension(self) -> int | None:
        """Elements of its vectors."""
        return self._embedder.dimension

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; see `Embedder.embed`."""
        return await to_thread.run_sync(self._embedder.embed, texts, limiter=self._turns)

    async def embed_query(self, text: str) -> Vectors:
        """Embed a query; see `Embedder.embed_query`."""
        return await to_thread.run_sync(self._embedder.embed_query, text, limiter=self._turns)
