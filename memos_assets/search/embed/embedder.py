"""Embedders as protocols, and the checks of every answer of one."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from memos_assets.errors import UsageError
from memos_assets.search.embed.models import as_query

#: Shape (texts, dimension), or (dimension,) for one; unitless, of whatever length the model gives.
Vectors = npt.NDArray[np.float32]


class TextTooLongError(UsageError):
    """M578: a text is longer than the model reads; embed it in parts. Other texts may be fine."""


class Embedder(Protocol):
    """Turns texts into vectors of one model.

    Nothing is normalised: some endpoints return unit vectors, others do not, and memOS stored both.
    Compare by cosine, which ignores length.
    """

    @property
    def model(self) -> str:
        """The model, by the name that tables know it by."""

    @property
    def dimension(self) -> int | None:
        """Elements of its vectors; None until the first answer where only the model knows."""

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as they are, as memOS did with stored texts.

        Returns:
            Shape (texts, dimension), finite, no zero vector.

        Raises:
            UsageError: M577 a setting or package is missing; M578 no answer, no such vectors, or,
                as `TextTooLongError`, a text of more than the model reads; M579 the answer has
                another dimension than `MEMOS_EMBEDDER_DIMENSION`.
        """

    def embed_query(self, text: str) -> Vectors:
        """Embed a query, with the instruction of its model before it.

        Returns:
            Shape (dimension,).
        """


class AsyncEmbedder(Protocol):
    """As `Embedder`, for asyncio. No connection waits for a model: embed, then open a session."""

    @property
    def model(self) -> str:
        """The model, by the name that tables know it by."""

    @property
    def dimension(self) -> int | None:
        """Elements of its vectors; None until the first answer where only the model knows."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; see `Embedder.embed`."""

    async def embed_query(self, text: str) -> Vectors:
        """Embed a query; see `Embedder.embed_query`."""


class EmbedsQueries:
    """`embed_query` for every embedder."""

    model: str

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Embed texts as they are."""
        raise NotImplementedError

    def embed_query(self, text: str) -> Vectors:
        """Embed a query, with the instruction of its model before it."""
        vector: Vectors = self.embed([as_query(self.model, text)])[0]
        return vector


def unit(vectors: Vectors) -> Vectors:
    """Scale vectors to length 1; shape (texts, dimension), none of zeros."""
    exact = vectors.astype(np.float64)
    exact /= np.abs(exact).max(axis=1, keepdims=True)
    scaled: Vectors = (exact / np.linalg.norm(exact, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def checked(rows: object, count: int, *, where: str) -> Vectors:
    """Return vectors as an array, or refuse them.

    memOS stored what it was given: zeros after an error, nothing after an empty answer. Neither can
    be searched with, and both look like an answer.

    Args:
        rows: what the embedder gave, ``count`` lists of numbers.
        count: texts it was given.
        where: the embedder, for the message.

    Returns:
        Shape (count, dimension).

    Raises:
        UsageError: M578 another count, no numbers, an empty, ragged, non-finite or zero vector.
    """
    if not isinstance(rows, list | np.ndarray):
        raise _nonsense("something that is not a list of vectors", where)
    if len(rows) != count:
        raise _nonsense(f"{len(rows)} vectors for {count} texts", where)
    lengths = {len(row) if isinstance(row, list | np.ndarray) else -1 for row in rows}
    if -1 in lengths:
        raise _nonsense("something that is not a vector", where)
    if 0 in lengths:
        raise _nonsense("an empty vector", where)
    if len(lengths) > 1:
        shown = ", ".join(f"{length:,}" for length in sorted(lengths))
        raise _nonsense(f"vectors of different lengths ({shown})", where)
    if any(
        type(value) not in (int, float) for row in rows if isinstance(row, list) for value in row
    ):
        raise _nonsense("a vector of other things than numbers", where)
    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(rows, dtype=np.float64).astype(np.float32)
    except OverflowError:
        raise _nonsense("a number beyond float32", where) from None
    if not np.isfinite(vectors).all():
        raise _nonsense("a vector with NaN or infinite elements", where)
    if not vectors.any(axis=1).all():
        raise _nonsense("a vector of zeros, which has no direction", where)
    return vectors


def check_dimension(expected: int | None, given: int, *, model: str, where: str) -> None:
    """Refuse another dimension than the settings expect.

    Raises:
        UsageError: M579.
    """
    if expected is not None and given != expected:
        raise UsageError(
            "M579",
            f"{model} gives {given:,} elements, MEMOS_EMBEDDER_DIMENSION expects {expected:,}",
            where=where,
            fix="correct MEMOS_EMBEDDER_MODEL, or unset MEMOS_EMBEDDER_DIMENSION",
        )


def _nonsense(what: str, where: str) -> UsageError:
    return UsageError(
        "M578",
        f"the embedder answered with {what}",
        where=where,
        fix="see its log, and that MEMOS_EMBEDDER_MODEL is an embedding model; searching by words "
        "needs no embedder: --mode text",
    )
