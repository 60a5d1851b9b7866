"""Recompute the columns of memOS that are derived from others, and name every row that differs."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from memos_assets.catalog import TableSpec
from memos_assets.proof.expected.values import whole
from memos_assets.sqlite.row_codec import Value

#: Rows at a time: the temporaries stay in the processor's cache, which is four times as fast.
_BLOCK_ROWS = 64

#: Derived columns that are vectors; scale and zero point say nothing without them.
_TIERS = ("binary_data", "int8_data", "residual_data")

#: Findings that are named one by one; all of them are counted.
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Difference:
    """A derived value that differs from its formula. ``row`` counts within the batch."""

    row: int
    column: str
    expected: str
    observed: str


@dataclass(slots=True)
class DerivedCheck:
    """Recomputes the derived columns of a table, batch by batch.

    Attributes:
        recomputed: rows compared.
        not_recomputable: rows whose float16 is unusable, so that nothing derives from it.
        only_in_file: those among them with derived values: the file alone holds these.
        differences: rows that differ, as text; the first ``MOST_NAMED`` of ``different``.
        different: rows and columns that differ.
    """

    spec: TableSpec
    recomputed: int = 0
    not_recomputable: int = 0
    only_in_file: int = 0
    different: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, rows: Sequence[Sequence[Value]], value: Callable[..., Value]) -> None:
        """Recompute a batch; ``value(row, column)`` returns a SQLite value of a row."""
        if self.spec.derivation is None:
            return
        (vector,) = self.spec.vectors
        by_dimension: defaultdict[int, list[Sequence[Value]]] = defaultdict(list)
        for row in rows:
            blob = value(row, vector.origin)
            stated = whole(value(row, vector.dimension_origin))
            if isinstance(blob, bytes) and isinstance(stated, int) and len(blob) == 2 * stated > 0:
                by_dimension[stated].append(row)
            else:
                self._pass_over(row, value)
        for dimension, alike in by_dimension.items():
            self._compare(dimension, alike, value)

    def _pass_over(self, row: Sequence[Value], value: Callable[..., Value]) -> None:
        """Count a row that nothing can be computed from, and whether it has derived values."""
        self.not_recomputable += 1
        self.only_in_file += any(value(row, name) for name in _TIERS if name in self.spec.derived)

    def _compare(
        self, dimension: int, rows: Sequence[Sequence[Value]], value: Callable[..., Value]
    ) -> None:
        (vector,) = self.spec.vectors
        blobs = b"".join(bytes(value(row, vector.origin)) for row in rows)  # type: ignore[arg-type]
        elements = np.frombuffer(blobs, "<f2").reshape(-1, dimension)
        finite: npt.NDArray[np.bool_] = np.asarray(
            np.isfinite(elements.astype(np.float32)).all(axis=1)
        )
        if not finite.all():
            for row, good in zip(rows, finite, strict=True):
                if not good:
                    self._pass_over(row, value)
            rows = [row for row, good in zip(rows, finite, strict=True) if good]
            elements = elements[finite]
        if not rows:
            return
        self.recomputed += len(rows)
        columns: Mapping[str, Sequence[Value]] = {
            name: [value(row, name) for row in rows] for name in self.spec.derived
        }
        for found in mixed_precision_differences(
            elements,
            binary=columns["binary_data"],
            int8=columns["int8_data"],
            residual=columns["residual_data"],
            scale=columns["scale"],
            zero_point=columns["zero_point"],
        ):
            self.different += 1
            if len(self.differences) < MOST_NAMED:
                self.differences.append(
                    f"rowid {rows[found.row][0]!r} {found.column}: "
                    f"expected {found.expected}, observed {found.observed}"
                )


def mixed_precision_differences(
    elements: npt.NDArray[np.float16],
    *,
    binary: Sequence[Value],
    int8: Sequence[Value],
    residual: Sequence[Value],
    scale: Sequence[Value],
    zero_point: Sequence[Value],
) -> Iterator[Difference]:
    """Compare the binary, int8 and residual tiers and the scale of n embeddings with float16.

    The arithmetic is float16's. It is done in float32 and rounded after each operation, which
    gives the same bits (24 >= 2 * 11 + 2) and lets the processor do eight at a time.

    Args:
        elements: finite, shape (n, d).
        binary: bit 1 where an element is positive, most significant bit first.
        int8: ``clip(round(v / scale), -128, 127)``.
        residual: ``v - int8 * scale`` as float16; None where the caller asked for none.
        scale: ``max(abs(v)) / 127``, 1.0 for a zero vector; a 2-byte float16 BLOB from NumPy >= 2,
            a REAL holding the float64 quotient from NumPy 1.
        zero_point: always 0.

    Source:
        memOS ``agentic/mixed_precision_embeddings.py``, ``_quantize``; equal on every sample row.
    """
    for start in range(0, len(elements), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        for found in _block_differences(
            elements[rows], binary[rows], int8[rows], residual[rows], scale[rows], zero_point[rows]
        ):
            yield replace(found, row=start + found.row)


def _block_differences(
    elements: npt.NDArray[np.float16],
    binary: Sequence[Value],
    int8: Sequence[Value],
    residual: Sequence[Value],
    scale: Sequence[Value],
    zero_point: Sequence[Value],
) -> Iterator[Difference]:
    wide = elements.astype(np.float32)
    largest = np.abs(wide).max(axis=1)
    zero = largest == 0
    quotient = np.where(zero, np.float32(1.0), largest / np.float32(127.0)).astype(np.float16)
    yield from _scale_differences(largest, quotient, scale)
    yield from (
        Difference(row, "zero_point", "0", repr(value))
        for row, value in enumerate(zero_point)
        if value != 0
    )
    steps = quotient.astype(np.float32)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _rounded(wide / steps)
    if not quotient.all():
        # The largest element is so small that its scale is 0; a cast of 0 / 0 to int8 gives 0.
        ratio[np.isnan(ratio)] = 0
    codes = np.clip(np.rint(ratio), -128, 127).astype(np.int8)
    yield from _blob_differences("binary_data", np.packbits(wide > 0, axis=1), binary)
    yield from _blob_differences("int8_data", codes.view(np.uint8), int8)
    rest = (wide - _rounded(codes.astype(np.float32) * steps)).astype("<f2")
    yield from _blob_differences("residual_data", rest.view(np.uint8), residual, absent_ok=True)


def _rounded(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Round float32 to the nearest float16 and back; beyond float16 it overflows as memOS did."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def _scale_differences(
    largest: npt.NDArray[np.float32], quotient: npt.NDArray[np.float16], scale: Sequence[Value]
) -> Iterator[Difference]:
    for row, value in enumerate(scale):
        if isinstance(value, bytes):
            expected = quotient[row].astype("<f2").tobytes()
            if value != expected:
                yield Difference(row, "scale", expected.hex(), value.hex())
        else:
            number = 1.0 if largest[row] == 0 else float(largest[row]) / 127.0
            # Written by NumPy 1 as the float64 quotient, or by a caller that widened the float16.
            if value not in (number, float(quotient[row])):
                yield Difference(row, "scale", repr(number), repr(value))


def _blob_differences(
    column: str,
    expected: npt.NDArray[np.uint8],
    stored: Sequence[Value],
    *,
    absent_ok: bool = False,
) -> Iterator[Difference]:
    for row, value in enumerate(stored):
        if value is None and absent_ok:
            continue
        wanted = expected[row].tobytes()
        if value != wanted:
            seen = value if isinstance(value, bytes) else b""
            place = next(
                (i for i, (a, b) in enumerate(zip(wanted, seen, strict=False)) if a != b),
                min(len(wanted), len(seen)),
            )
            yield Difference(
                row,
                column,
                f"{len(wanted)} bytes, at {place}: {wanted[place : place + 4].hex()}",
                f"{len(seen)} bytes, at {place}: {seen[place : place + 4].hex()}",
            )
