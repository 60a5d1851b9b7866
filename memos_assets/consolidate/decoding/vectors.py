"""Decode a batch of stored embeddings at once; an unusable one becomes NULL with a reason."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from memos_assets.catalog.columns import MODEL_DIMENSIONS, VectorColumn
from memos_assets.consolidate.decoding.json_texts import LONGEST_JSON
from memos_assets.consolidate.decoding.values import integral
from memos_assets.sqlite.row_codec import Value

#: dtype of the elements, of their bit pattern, exponent mask and magnitude mask, by element bytes.
_BITS: dict[int, tuple[str, str, int, int]] = {
    2: ("<f2", "<u2", 0x7C00, 0x7FFF),
    4: ("<f4", "<u4", 0x7F80_0000, 0x7FFF_FFFF),
}


#: pgvector's limit for a column.
MOST_DIMENSIONS = 16_000

#: Sums of squares that `vector` compares well, the second one excluded. pgvector's ``<=>`` adds up
#: squares and products in float32, in an order that the compiler chooses. Below 2^128, less the
#: rounding of 16,000 additions, no sum overflows, and by Cauchy and Schwarz no product with another
#: vector of this range does. From 2^-100 on, squares and products below 2^-126, which lose digits
#: or become 0, add up to less than a part in 10^10. A sum outside gives NaN, or a distance of 0 to
#: everything, and so the first hit of every search. Every float16 is inside.
LEAST_SQUARES, MOST_SQUARES = 2.0**-100, 2.0**127
#: Sums in float32 that leave no doubt.
_SURELY_IN = 2.0**-90, 2.0**120


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """The embeddings of n rows, one after the other.

    Attributes:
        elements: every usable embedding's elements, row by row, as stored; shape (sum of
            dimensions,), little-endian, float16 for halfvec and float32 for vector. Nothing is
            normalised.
        dimensions: elements per row, 0 where unusable; shape (n,), int32.
        reasons: None where usable, else a code of `reasons.EMBEDDING_REASONS`; n entries.
    """

    elements: npt.NDArray[Any]
    dimensions: npt.NDArray[np.int32]
    reasons: list[str | None]


def decode_vectors(
    vector: VectorColumn, stored: Sequence[Value], stated: Sequence[Value] | None
) -> VectorBatch:
    """Decode the embeddings of a batch of rows.

    Args:
        vector: the column's description.
        stored: n values of ``vector.origin`` as SQLite returns them.
        stated: n values of ``vector.dimension_origin`` under the rule ``column``, else None.

    Source:
        memOS writes ``ndarray.tobytes()`` on x86-64: little-endian, no header, no length.
    """
    if vector.element_bytes is None:
        blobs: list[bytes | str] = [_from_json(value) for value in stored]
        size = 4
    else:
        blobs = [_from_blob(value) for value in stored]
        size = vector.element_bytes
    reasons: list[str | None] = [
        blob if isinstance(blob, str) else _length_reason(vector, blob, size, dimension)
        for blob, dimension in zip(blobs, stated or [None] * len(blobs), strict=True)
    ]
    usable = [
        blob
        for blob, reason in zip(blobs, reasons, strict=True)
        if reason is None and isinstance(blob, bytes)
    ]
    lengths = np.array(
        [0 if isinstance(blob, str) else len(blob) // size for blob in blobs], dtype=np.int32
    )
    lengths[[reason is not None for reason in reasons]] = 0
    element_type, bit_type, exponent, magnitude = _BITS[size]
    elements = np.frombuffer(b"".join(usable), dtype=element_type)
    bad = _unusable(elements.view(bit_type), lengths[lengths > 0], exponent, magnitude)
    if vector.indexed and size == 4:
        for number in _beyond_cosine(elements, lengths[lengths > 0]):
            bad.setdefault(number, "out_of_range")
    if bad:
        places = np.flatnonzero(lengths)
        keep = np.ones(len(elements), dtype=bool)
        starts = np.concatenate(([0], np.cumsum(lengths[lengths > 0])))
        for number, reason in bad.items():
            keep[starts[number] : starts[number + 1]] = False
            reasons[places[number]] = reason
            lengths[places[number]] = 0
        elements = elements[keep]
    if vector.stored == "vector" and size == 2:
        # Every float16 is a float32.
        elements = elements.astype("<f4")
    return VectorBatch(elements, lengths, reasons)


def _unusable(
    bits: npt.NDArray[Any], lengths: npt.NDArray[np.int32], exponent: int, magnitude: int
) -> dict[int, str]:
    """Find vectors that are all zeros or not finite, by their bit patterns."""
    if len(lengths) == 0:
        return {}
    magnitudes = bits & magnitude
    if (lengths == lengths[0]).all():
        largest = magnitudes.reshape(len(lengths), -1).max(axis=1)
    else:
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        largest = np.maximum.reduceat(magnitudes, starts)
    bad = {int(i): "zero" for i in np.flatnonzero(largest == 0)}
    # Any pattern at or above the exponent mask is infinite or NaN.
    bad.update({int(i): "not_finite" for i in np.flatnonzero(largest >= exponent)})
    return bad


def _beyond_cosine(elements: npt.NDArray[Any], lengths: npt.NDArray[np.int32]) -> list[int]:
    """Find vectors whose sum of squares leaves the range that pgvector compares well."""
    if len(lengths) == 0:
        return []
    with np.errstate(all="ignore"):
        if (lengths == lengths[0]).all():
            rows = elements.reshape(len(lengths), -1)
            # Nearly all vectors are far inside, which float32 is enough to see.
            squares = np.einsum("ij,ij->i", rows, rows)
            near = np.flatnonzero(~((squares > _SURELY_IN[0]) & (squares < _SURELY_IN[1])))
        else:
            near = np.arange(len(lengths))
        starts = np.concatenate(([0], np.cumsum(lengths)))
        found = []
        for number in near.tolist():
            wide = elements[starts[number] : starts[number + 1]].astype(np.float64)
            if not LEAST_SQUARES <= float(wide @ wide) < MOST_SQUARES:
                found.append(number)
    return found


def _from_blob(value: Value) -> bytes | str:
    if value is None:
        return "missing"
    if not isinstance(value, bytes):
        return "not_a_vector"
    return value or "empty"


def _from_json(value: Value) -> bytes | str:
    if value is None:
        return "missing"
    if value in (b"", ""):
        return "empty"
    if not isinstance(value, str | bytes) or len(value) > LONGEST_JSON:
        return "not_a_vector"
    try:
        numbers = json.loads(value)
    except (ValueError, RecursionError):
        return "not_a_vector"
    if not isinstance(numbers, list) or not all(type(n) in (float, int) for n in numbers):
        return "not_a_vector"
    if not numbers:
        return "empty"
    try:
        doubles = np.array(numbers, dtype=np.float64)
    except OverflowError:
        return "out_of_range"
    with np.errstate(over="ignore"):
        singles = doubles.astype("<f4")
    if not np.array_equal(np.isfinite(doubles), np.isfinite(singles)):
        return "out_of_range"
    if doubles.any() and not singles.any():
        return "out_of_range"
    return singles.tobytes()


def _length_reason(vector: VectorColumn, blob: bytes, size: int, stated: Value) -> str | None:
    dimension = len(blob) / size
    if vector.rule == "column":
        stated = integral(stated)
        if not isinstance(stated, int) or dimension != stated:
            return "wrong_length"
        return None if stated <= MOST_DIMENSIONS else "unknown_dimension"
    if not math.isclose(dimension, round(dimension), abs_tol=1e-9):
        return "wrong_length"
    return None if dimension in MODEL_DIMENSIONS else "unknown_dimension"
