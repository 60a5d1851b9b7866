"""Whether an embedder is the model that its name says: its answer to three fixed texts.

Equal names are not enough: an endpoint serves other weights after an update, or another model under
the same tag, and a distance between vectors of two models is noise that looks like a result.
"""

import hashlib
from typing import Final

import numpy as np

from memos_assets.search.embed import Embedder, Vectors, unit

#: Plain words; numbers, names and units; other languages and scripts.
TEXTS: Final = (
    "The pump was repaired on Monday.",
    "Order 4711: 12 x M8 bolts for robot R-2000iC, EUR 38.50, before 2026-03-01.",
    "La température du four ne doit pas dépasser 850 °C; 温度が高すぎます。",
)
#: Least cosine of each answer to the one before. Machines, threads and precisions of one model's
#: weights differ by less (MiniLM in int8 and float32: .999); two models by much more.
LEAST_COSINE: Final = 0.99


def answer_of(embedder: Embedder) -> Vectors:
    """Embed the three texts.

    Returns:
        Shape (3, dimension), float32, each of length 1.

    Raises:
        UsageError: M577 to M579, as `Embedder.embed`.
    """
    return unit(embedder.embed(TEXTS))


def digest_of(answer: Vectors) -> str:
    """Return the sha256 of an answer, each element rounded to 2 decimals.

    Equal digests are of one model. Two digests may be of one model, too: of some thousand elements
    one is so near to the middle of two roundings that another machine's last digits move it. So an
    embedder is compared with a registered model by `is_same`, and the digest of a model stays as it
    was registered.
    """
    rounded = np.rint(answer.astype(np.float64) * 100).astype("<i2")
    return hashlib.sha256(f"{answer.shape[1]} ".encode() + rounded.tobytes()).hexdigest()


def answer_digest(embedder: Embedder) -> str:
    """Return `digest_of` an embedder's answer to the three texts."""
    return digest_of(answer_of(embedder))


def is_same(answer: Vectors, other: Vectors) -> bool:
    """Whether two answers, each of shape (3, dimension) and of length 1, are of one model."""
    if answer.shape != other.shape:
        return False
    cosines = np.einsum("td,td->t", answer.astype(np.float64), other.astype(np.float64))
    return bool(cosines.min() >= LEAST_COSINE)


def as_bytes(answer: Vectors) -> bytes:
    """Return an answer as it is stored: float32, little-endian, one text after the other."""
    return answer.astype("<f4").tobytes()


def from_bytes(stored: bytes, dimension: int) -> Vectors:
    """Return a stored answer; shape (3, dimension)."""
    vectors: Vectors = np.frombuffer(stored, dtype="<f4").reshape(-1, dimension)
    return vectors
