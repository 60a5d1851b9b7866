"""Where PostgreSQL keeps the values of a row: within it, or in TOAST."""

import pytest
import sqlalchemy as sa

from memos_assets.catalog import (
    MEMOS,
    TableSpec,
)
from memos_assets.catalog.columns import PAGE_ROW_BYTES
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters

IN_LINE = [spec for spec in MEMOS.tables if spec.row_target and spec.texts]


def outside(engine: sa.Engine, spec: TableSpec) -> set[str]:
    """Return the columns of which any row holds a pointer into TOAST instead of the value."""
    with engine.connect() as conn:
        names = [column["name"] for column in sa.inspect(conn).get_columns(spec.name, "memos")]
        row = conn.execute(
            sa.text(
                "select "
                + ", ".join(
                    f"bool_or(pg_column_toast_chunk_id({name}) is not null)" for name in names
                )
                + f" from memos.{spec.name}"
            )
        ).one()
    return {name for name, is_outside in zip(names, row, strict=True) if is_outside}


@pytest.mark.parametrize("spec", IN_LINE, ids=lambda spec: spec.name)
def test_an_embedding_and_the_key_stay_in_their_row_beside_a_text_of_any_length(
    engine: sa.Engine, spec: TableSpec
) -> None:
    widest = max(spec.vector_indexes, key=lambda index: index.dimension)
    put_clusters(engine, EVERY_INDEX[widest.name], clusters=1, each=6)
    assert outside(engine, spec) == set()
    text = next(name for name in reversed(spec.texts) if spec.column(name).kind == "text")
    with engine.begin() as conn:
        # Digests in hexadecimal: a text that can be compressed to a half at best.
        conn.execute(
            sa.text(
                f"update memos.{spec.name} set {text} = (select string_agg(encode(sha256("
                f"(source_rowid::text || n)::bytea), 'hex'), ' ') from generate_series(1, 500) n)"
            )
        )
    moved = outside(engine, spec)
    assert text in moved
    assert not moved & {"source", *spec.key, *(vector.name for vector in spec.vectors)}


@pytest.mark.parametrize("spec", IN_LINE, ids=lambda spec: spec.name)
def test_as_many_rows_share_a_page_as_their_embeddings_allow(
    engine: sa.Engine, spec: TableSpec
) -> None:
    assert spec.row_target is not None
    embeddings = sum(vector.most_bytes for vector in spec.vectors)
    of_a_page = PAGE_ROW_BYTES // spec.row_target
    assert of_a_page * embeddings < PAGE_ROW_BYTES < (of_a_page + 1) * (embeddings + 100)
    if len(spec.vectors) == 1:
        widest = max(spec.vector_indexes, key=lambda index: index.dimension)
        put_clusters(engine, EVERY_INDEX[widest.name], clusters=1, each=6)
        with engine.connect() as conn:
            pages = conn.execute(
                sa.text(
                    "select count(distinct (ctid::text::point)[0]) "
                    f"from memos.{spec.name} where {spec.vectors[0].name} is not null"
                )
            ).scalar_one()
        assert pages == 6 / of_a_page
