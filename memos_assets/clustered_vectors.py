"""Clustered vectors with the norms of memOS's models, and the columns memOS derives from them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Dimensions of the space the vectors really vary in; independent noise in thousands of dimensions
#: would put all neighbours at one distance and make recall a matter of luck.
LATENT = 48

Float32 = npt.NDArray[np.float32]
Float16 = npt.NDArray[np.float16]


def digest(*parts: object, length: int) -> str:
    """Return the first ``length`` hexadecimal digits of a hash of ``parts``."""
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:length]


def _generator(*parts: object) -> np.random.Generator:
    return np.random.default_rng(int(digest(*parts, length=16), 16))


class VectorSpace:
    """Vectors of one model: ``dim`` float32 elements around ``clusters`` centres.

    Args:
        seed: what the space is a function of.
        dim: elements per vector.
        clusters: number of centres; a cluster number is taken modulo this.
        norm: mean length; 1.0 gives unit vectors, anything else lengths that vary by 4 %.
    """

    def __init__(self, seed: str, dim: int, *, clusters: int, norm: float) -> None:
        self.dim = dim
        self._seed, self._norm = f"{seed}/{dim}", norm
        generator = _generator(self._seed, "centres")
        self._centres = generator.standard_normal((clusters, LATENT), dtype=np.float32)
        basis = generator.standard_normal((LATENT, dim), dtype=np.float32)
        self._basis = basis / np.float32(np.sqrt(LATENT))

    def rows(self, clusters: Sequence[int], batch: object) -> Float32:
        """Return one vector per cluster number, shape ``(len(clusters), dim)``.

        ``batch`` names the draw: the same name gives the same noise.
        """
        generator = _generator(self._seed, batch)
        count = len(clusters)
        near = generator.standard_normal((count, LATENT), dtype=np.float32)
        near *= np.float32(0.6)
        near += self._centres[np.asarray(clusters) % len(self._centres)]
        vectors = generator.standard_normal((count, self.dim), dtype=np.float32)
        vectors *= np.float32(0.25)
        vectors += near @ self._basis
        lengths = np.full((count, 1), self._norm, dtype=np.float32)
        if self._norm != 1.0:
            lengths *= 1 + np.float32(0.04) * generator.standard_normal(
                (count, 1), dtype=np.float32
            )
        vectors *= lengths / np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


@dataclass(frozen=True, slots=True)
class Quantised:
    """The columns that memOS stores beside ``n`` fp16 vectors of one dimension.

    Attributes:
        binary: uint8, ``(n, dim / 8)``; bit = 1 iff the element is > 0, most significant first.
        int8: ``(n, dim)``, symmetric codes -128..127.
        residual: fp16, ``(n, dim)``; what the codes leave over.
        scale: per row the value sqlite3 binds: 2 bytes (fp16 little-endian) under NumPy 2, a float
            under NumPy 1, and 1.0 where the vector has no length.
    """

    binary: npt.NDArray[np.uint8]
    int8: npt.NDArray[np.int8]
    residual: Float16
    scale: list[bytes | float]


def quantise(vectors: Float16, numpy_1: npt.NDArray[np.bool_]) -> Quantised:
    """Derive memOS's columns from fp16 vectors, all rows at once and in its fp16 arithmetic.

    Args:
        vectors: shape ``(n, dim)``; NaN and infinity are allowed, as memOS allows them.
        numpy_1: shape ``(n,)``; rows written under NumPy 1, whose division by 127.0 gave a float64
            that the later fp16 operations rounded again.

    Source:
        memOS ``agentic/mixed_precision_embeddings.py``; see the row-wise form in the tests.
    """
    with np.errstate(all="ignore"):
        largest = np.abs(vectors).max(axis=1)
        wide = largest.astype(np.float64) / 127.0
        half = np.where(numpy_1, wide.astype(np.float16), largest / np.float16(127.0))
        # Not > 0 is true for zeros and for NaN, which take the same branch in memOS.
        plain = ~(largest > 0)
        half[plain] = np.float16(1.0)
        column = half[:, np.newaxis]
        codes = np.clip(np.round(vectors / column), -128, 127)
        # A cast of NaN to int8 is 0 on x86-64 and undefined elsewhere.
        int8 = np.nan_to_num(codes, nan=0.0).astype(np.int8)
        residual = (vectors - int8.astype(np.float16) * column).astype(np.float16)
    scale: list[bytes | float] = [
        1.0 if plain[row] else float(wide[row]) if numpy_1[row] else half[row].tobytes()
        for row in range(len(vectors))
    ]
    return Quantised(
        binary=np.packbits(vectors > 0, axis=1), int8=int8, residual=residual, scale=scale
    )
