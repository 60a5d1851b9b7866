import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from memos_assets.clustered_vectors import Quantised, VectorSpace, quantise
from memos_assets.demo import write_demo

MIXED = "mixed_precision_embeddings.db"

Float16 = npt.NDArray[np.float16]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("vectors") / "demo"
    write_demo(directory, scale="small", seed=11)
    return directory


def as_memos_computes(
    vector: Float16, *, numpy_1: bool
) -> tuple[bytes, bytes, bytes, bytes | float]:
    """Binary, int8, residual and scale of one row, in memOS's own order of operations."""
    with np.errstate(all="ignore"):
        largest = np.abs(vector).max()
        if not largest > 0:
            scale, stored = np.float16(1.0), 1.0
        elif numpy_1:
            stored = float(largest) / 127.0
            scale = np.float16(stored)
        else:
            scale = largest / 127.0
            assert scale.dtype == np.float16
            stored = scale.tobytes()
        codes = np.clip(np.round(vector / scale), -128, 127)
        int8 = np.where(np.isnan(codes), np.float16(0), codes).astype(np.int8)
        residual = (vector - int8.astype(np.float16) * scale).astype(np.float16)
    return np.packbits(vector > 0).tobytes(), int8.tobytes(), residual.tobytes(), stored


def row_of(batch: Quantised, row: int) -> tuple[bytes, bytes, bytes, bytes | float]:
    return (
        batch.binary[row].tobytes(),
        batch.int8[row].tobytes(),
        batch.residual[row].tobytes(),
        batch.scale[row],
    )


def mixed_rows(path: Path) -> Iterator[tuple[object, ...]]:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        yield from conn.execute(
            "select fp16_data, dimension, binary_data, int8_data, residual_data, scale "
            "from embeddings where length(fp16_data) = 2 * dimension"
        )


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("dim", [1024, 4096])
def test_a_batch_equals_the_row_wise_formula_bit_for_bit(seed: int, dim: int) -> None:
    space = VectorSpace(f"test/{seed}", dim, clusters=4, norm=124.0)
    vectors = space.rows(range(40), "batch").astype(np.float16)
    vectors[3] = 0
    vectors[4, 7] = np.nan
    vectors[5, 8] = np.inf
    vectors[6] /= 1000
    numpy_1 = np.arange(40) % 3 == 0
    batch = quantise(vectors, numpy_1)
    for row in range(40):
        expected = as_memos_computes(vectors[row], numpy_1=bool(numpy_1[row]))
        assert row_of(batch, row) == expected


def test_derived_columns_are_what_memos_computes(demo: Path) -> None:
    rows = list(mixed_rows(demo / "data" / MIXED))
    assert len(rows) > 100
    for fp16, dimension, *stored in rows:
        assert isinstance(fp16, bytes)
        vector = np.frombuffer(fp16, dtype="<f2")
        assert len(vector) == dimension
        numpy_1 = isinstance(stored[3], float)
        binary, int8, residual, scale = as_memos_computes(vector, numpy_1=numpy_1)
        # The caller may have asked for no residual.
        assert tuple(stored) == (binary, int8, stored[2] and residual, scale)


def test_the_formula_reproduces_the_rows_memos_wrote(samples: Path) -> None:
    for fp16, _, *stored in mixed_rows(samples / MIXED):
        assert isinstance(fp16, bytes)
        vector = np.frombuffer(fp16, dtype="<f2")
        assert tuple(stored) == as_memos_computes(vector, numpy_1=False)


@pytest.mark.parametrize("norm", [1.0, 14.0, 23.5, 124.0])
def test_vectors_have_the_length_of_their_model(norm: float) -> None:
    space = VectorSpace("norms", 768, clusters=5, norm=norm)
    lengths = np.linalg.norm(space.rows(range(200), 0), axis=1)
    assert lengths.mean() == pytest.approx(norm, rel=0.01)
    if norm == 1.0:
        assert np.allclose(lengths, 1.0, atol=1e-6)


def test_neighbours_of_a_vector_are_in_its_cluster() -> None:
    space = VectorSpace("neighbours", 1024, clusters=10, norm=25.0)
    clusters = np.arange(400) % 10
    vectors = space.rows(clusters.tolist(), 0)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -1)
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    assert (clusters[nearest] == clusters[:, np.newaxis]).mean() > 0.95
    # Neighbours must differ in distance, or recall would be a matter of luck.
    ordered = -np.sort(-cosines, axis=1)
    assert (ordered[:, 0] - ordered[:, 30]).mean() > 0.1
