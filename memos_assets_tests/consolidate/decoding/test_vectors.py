from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.clustered_vectors import quantise
from memos_assets.consolidate.decoding.vectors import VectorBatch, decode_vectors
from memos_assets.sqlite.row_codec import Value
from memos_assets_tests.consolidate import builders as b

HALF = MEMOS.table("embeddings").vectors[0]
SINGLE = MEMOS.table("hybrid_documents").vectors[0]
TEXT = MEMOS.table("semantic_memories").vectors[0]


def halves(*dims: int) -> list[Value]:
    return [b.float16(dim, dim) for dim in dims]


def seen(batch: VectorBatch) -> tuple[list[int], list[str | None], int]:
    return batch.dimensions.tolist(), batch.reasons, len(batch.elements)


@pytest.mark.parametrize("stated", [[], None])
def test_an_empty_batch_is_empty(stated: list[Value] | None) -> None:
    batch = decode_vectors(HALF if stated is not None else SINGLE, [], stated)
    assert seen(batch) == ([], [], 0)
    assert batch.elements.dtype == (np.float16 if stated is not None else np.float32)


def test_a_batch_of_nothing_usable_has_no_elements() -> None:
    batch = decode_vectors(HALF, [None, b"", bytes(4), b"\0", "x"], [2, 2, 2, 2, 2])
    reasons = ["missing", "empty", "zero", "wrong_length", "not_a_vector"]
    assert seen(batch) == ([0] * 5, reasons, 0)


def test_dimensions_may_be_mixed_and_unusable_rows_leave_no_gap() -> None:
    stored = halves(3, 1, 5)
    bad = np.array([1, np.inf], "<f2").tobytes()
    batch = decode_vectors(HALF, [stored[0], bad, stored[1], bytes(8), stored[2]], [3, 2, 1, 4, 5])
    assert seen(batch) == ([3, 0, 1, 0, 5], [None, "not_finite", None, "zero", None], 9)
    assert batch.elements.tobytes() == b"".join(stored)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [0, 2], ids=["first", "last"])
def test_an_unusable_row_at_either_end_is_cut_out(bad: int) -> None:
    stored = halves(2, 2, 2)
    stored[bad] = bytes(4)
    batch = decode_vectors(HALF, stored, [2, 2, 2])
    assert batch.elements.tobytes() == b"".join(row for row in stored if row != bytes(4))  # type: ignore[misc]
    assert batch.dimensions.tolist() == [0 if row == bad else 2 for row in range(3)]


def test_negative_zeros_are_zero_and_the_smallest_number_is_not() -> None:
    batch = decode_vectors(HALF, [b"\x00\x80" * 2, b"\x00\x80\x01\x80"], [2, 2])
    assert batch.reasons == ["zero", None]


@pytest.mark.parametrize("stated", [2.5, "2", None, -2, 3, 3.0, 2**62, 1e300, float("inf")])
def test_a_dimension_that_is_not_that_of_the_bytes_is_wrong(stated: Value) -> None:
    assert decode_vectors(HALF, [b.float16(1, 2)], [stated]).reasons == ["wrong_length"]


def test_the_length_must_be_that_of_a_model_where_nothing_else_tells() -> None:
    stored: list[Value] = [b.float32(1, dim) for dim in (768, 1_024, 2_560, 4_096, 767, 1)]
    batch = decode_vectors(SINGLE, stored, None)
    assert batch.dimensions.tolist() == [768, 1_024, 2_560, 4_096, 0, 0]
    assert batch.reasons == [None] * 4 + ["unknown_dimension"] * 2


def test_json_in_a_blob_is_never_read_as_bytes() -> None:
    text = "[" + ", ".join(["0.5"] * 768) + "]"
    for value in (text, text.encode()):
        batch = decode_vectors(TEXT, [value], None)
        assert (batch.reasons, batch.dimensions.tolist()) == ([None], [768])
        assert batch.elements.tolist() == [0.5] * 768


def test_a_vector_so_small_that_its_scale_is_zero_is_recomputed_as_memos_did(
    engine: sa.Engine, tmp_path: Path
) -> None:
    half = np.array([[6e-8, -1.2e-7, 0, 1.8e-7]], dtype=np.float16)
    tiers = quantise(half, np.array([False]))
    assert tiers.scale == [b"\0\0"]
    row = b.embedding(
        1,
        4,
        fp16_data=half.tobytes(),
        binary_data=tiers.binary.tobytes(),
        int8_data=tiers.int8.tobytes(),
        residual_data=tiers.residual.tobytes(),
        scale=tiers.scale[0],
    )
    path = b.write_kind(tmp_path / "data", "mixed_precision_embeddings", embeddings=[row])
    b.consolidate(engine, path)
    finding = b.findings(engine, "embeddings")["v03_derived_columns_recompute"]
    assert finding.passed, finding
    assert finding.evidence["recomputed_rows"] == 1
