"""Which names are of one model, and which models fit which tables."""

import pytest

from memos_assets.catalog import MEMOS
from memos_assets.errors import UsageError
from memos_assets.search.embed import check_fit, same_model

ROWS = {1_024: ("mxbai-embed-large",), 4_096: ("qwen3-embedding", "qwen3-embedding:8b")}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("mxbai-embed-large", "mxbai-embed-large:latest"),
        ("mxbai-embed-large", "mixedbread-ai/mxbai-embed-large-v1"),
        ("mxbai-embed-large", "mxbai-embed-large:335m-v1-fp16"),
        ("qwen3-embedding:8b", "qwen3-embedding:8b-q4_K_M"),
        ("qwen3-embedding:8b", "Qwen/Qwen3-Embedding-8B-GGUF"),
        ("qwen3-embedding:8b", "qwen3-embedding"),
        ("qwen3-embedding:0.6b", "Qwen/Qwen3-Embedding-0.6B"),
        ("bge-m3", "BAAI/bge-m3"),
        ("bge-m3", "bge-m3:567m"),
        ("nomic-embed-text", "nomic-ai/nomic-embed-text-v1.5"),
        ("all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"),
    ],
)
def test_names_of_one_model(name: str, other: str) -> None:
    assert same_model(name, other)
    assert same_model(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("mxbai-embed-large", "bge-m3"),
        ("mxbai-embed-large", "mxbai-embed-2d-large"),
        ("qwen3-embedding:8b", "qwen3-embedding:4b"),
        ("qwen3-embedding", "qwen3-reranker"),
        ("nomic-embed-text:v1", "nomic-embed-text:v1.5"),
        ("bge-m3", "bge-large"),
        ("bge-m3", "m3"),
        ("deterministic", "bge-m3"),
    ],
)
def test_names_of_different_models(name: str, other: str) -> None:
    assert not same_model(name, other)


def test_a_model_that_wrote_the_table_fits_and_so_does_any_where_nobody_knows_who_wrote() -> None:
    check_fit("t", ROWS, model="mxbai-embed-large:latest", dimension=1_024)
    check_fit("t", ROWS, model="qwen3-embedding:8b-q8_0", dimension=4_096)
    check_fit("t", {768: ()}, model="whatever", dimension=768)


def test_another_dimension_is_m559_and_says_what_the_table_holds() -> None:
    with pytest.raises(UsageError) as caught:
        check_fit("domain_embeddings", ROWS, model="nomic-embed-text", dimension=768)
    assert str(caught.value).startswith(
        "M579 domain_embeddings: nomic-embed-text gives 768 elements, and the table is searched by "
        "1,024 (mxbai-embed-large) or 4,096 (qwen3-embedding, qwen3-embedding:8b). "
        "Fix: set MEMOS_EMBEDDER_MODEL=mxbai-embed-large, or NAME=mxbai-embed-large where "
    )


def test_as_many_elements_of_another_model_are_m579() -> None:
    with pytest.raises(UsageError) as caught:
        check_fit("domain_embeddings", ROWS, model="bge-m3", dimension=1_024)
    assert str(caught.value).startswith(
        "M579 domain_embeddings: the table's 1,024 elements are of mxbai-embed-large; those of "
        "bge-m3 are as many and mean something else. Fix: set "
        "MEMOS_EMBEDDER_MODEL=mxbai-embed-large, or "
    )


def test_every_model_of_the_catalog_fits_where_it_wrote_and_nowhere_else() -> None:
    seen = 0
    for spec in MEMOS.tables:
        models = {index.dimension: index.models for index in spec.vector_indexes}
        for dimension, names in models.items():
            for name in names:
                check_fit(spec.name, models, model=name, dimension=dimension)
                seen += 1
            if names:
                with pytest.raises(UsageError, match=r"^M579 "):
                    check_fit(spec.name, models, model="another-model", dimension=dimension)
    assert seen > 5
