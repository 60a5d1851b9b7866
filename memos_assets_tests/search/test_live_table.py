"""A plain table of another schema gets indexes, search and health by giving its `Table`."""

from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import Column, Table, VectorIndex
from memos_assets.errors import UsageError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import rows_in, search_indexes, state_of
from memos_assets.maintenance.health import (
    index_is_used,
    no_index_is_left_invalid,
    statistics_are_there,
    table_is_vacuumed,
)
from memos_assets.maintenance.recall_drift import recall_has_not_drifted
from memos_assets.search.api import hybrid, match, search
from memos_assets.search.functions import functions_are_ours, install
from memos_assets.search.plans import (
    containment_uses_index,
    index_is_valid,
    nearest_uses_index,
    text_search_uses_index,
)

ROWS = 60
HNSW = VectorIndex("notes", "embedding", "vector", 8, "vector", dimension_name=None)
NOTES = Table(
    name="notes",
    schema="workshop",
    key=("id",),
    texts=("body",),
    details="about",
    searched=(Column("about", "json", "about", searched="containment"),),
    vector_indexes=(HNSW,),
    text_index="notes_search_text_gin",
)
#: The same rows, searched by those who wrote them.
OWNED = Table(
    name="notes",
    schema="workshop",
    key=("agent", "id"),
    owner="agent",
    texts=("body",),
    vector_indexes=(HNSW,),
    condition="not hidden",
)


@pytest.fixture
def live(engine: sa.Engine) -> Iterator[sa.Engine]:
    """A database with rows in such a table, its indexes and its functions."""
    with engine.begin() as conn:
        conn.execute(sa.schema.CreateSchema("workshop"))
        conn.execute(
            sa.text(
                "create table workshop.notes (id text primary key, agent text not null, "
                "hidden boolean not null, body text, about jsonb, embedding public.vector(8), "
                "search_text tsvector generated always as (memos.search_document(body, 100000)) "
                "stored)"
            )
        )
        conn.execute(
            sa.text(
                "insert into workshop.notes values (:id, :agent, :hidden, :body, cast(:about as "
                "jsonb), cast(:embedding as public.vector))"
            ),
            [
                {
                    "id": f"n{number}",
                    "agent": "ada" if number % 2 else "bob",
                    "hidden": number == 3,
                    "body": f"Valve {number} leaks.",
                    "about": f'{{"hall": {number % 3}}}',
                    "embedding": str(vector_of(number).tolist()),
                }
                for number in range(ROWS)
            ],
        )
    for index in search_indexes(NOTES):
        assert index.concurrently
        assert ensure_index(engine, index, maintenance_work_mem_mb=64).rows == ROWS
    with engine.begin() as conn:
        install(conn, NOTES.function_schema, [NOTES])
    yield engine
    with engine.begin() as conn:
        conn.execute(sa.schema.DropSchema("workshop", cascade=True))


def vector_of(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(8).astype(np.float32)


def test_its_functions_are_in_its_schema_and_find_its_rows(live: sa.Engine) -> None:
    with live.connect() as conn:
        assert functions_are_ours(conn, "workshop", [NOTES]).passed
        (hit,) = search(conn, NOTES, vector_of(7).tolist(), k=1)
        assert (hit.key, hit.text, hit.metadata) == ({"id": "n7"}, "Valve 7 leaks.", {"hall": 1})
        assert [hit.key["id"] for hit in match(conn, NOTES, "valve 12", k=1)] == ["n12"]
        assert [hit.key["id"] for hit in hybrid(conn, NOTES, "valve 12", vector_of(12), k=1)] == [
            "n12"
        ]
        halls = search(conn, NOTES, vector_of(7), k=ROWS, filters={"about": {"hall": 2}})
        assert {hit.metadata["hall"] for hit in halls} == {2}
        assert len(halls) == ROWS // 3
        called = sa.text("select id from workshop.search_notes(cast(:query as public.vector), 1)")
        assert conn.execute(called, {"query": str(vector_of(9).tolist())}).scalar_one() == "n9"


def test_rows_without_an_owner_are_not_searched_by_one(live: sa.Engine) -> None:
    with live.connect() as conn, pytest.raises(UsageError, match=r"M580 .*owner"):
        search(conn, NOTES, vector_of(7), owner="ada")


def test_an_owner_and_a_condition_are_data_of_the_description(live: sa.Engine) -> None:
    with live.begin() as conn:
        install(conn, "workshop", [OWNED])
        found = search(conn, OWNED, vector_of(3), k=ROWS, owner="ada")
        assert {hit.key["agent"] for hit in found} == {"ada"}
        assert len(found) == ROWS // 2 - 1
        assert "n3" not in {hit.key["id"] for hit in found}


def test_its_indexes_are_checked_like_those_of_the_catalog(live: sa.Engine) -> None:
    with live.connect() as conn:
        for index in search_indexes(NOTES):
            assert index_is_valid(conn, index).passed
            assert rows_in(conn, index) == ROWS
            assert index_is_used(conn, index, {}).passed
        assert nearest_uses_index(conn, NOTES, HNSW, ROWS).passed
        assert containment_uses_index(conn, NOTES, NOTES.searched[0]).passed
        assert text_search_uses_index(conn, NOTES).passed


def test_its_health_is_checked_and_found_wanting_where_it_is(live: sa.Engine) -> None:
    hnsw = next(index for index in search_indexes(NOTES) if index.name == HNSW.name)
    alone = live.execution_options(isolation_level="AUTOCOMMIT")
    with alone.connect() as conn:
        assert not statistics_are_there(conn, NOTES).passed
        conn.execute(sa.text("vacuum (analyze) workshop.notes"))
    with live.connect() as conn:
        assert statistics_are_there(conn, NOTES).passed
        assert table_is_vacuumed(conn, NOTES).passed
        assert recall_has_not_drifted(conn, NOTES, HNSW, hnsw).passed
        assert no_index_is_left_invalid(conn, [NOTES]).passed
    with live.begin() as conn:
        conn.execute(sa.text("update workshop.notes set hidden = not hidden"))
        conn.execute(
            sa.text(
                "update pg_index set indisvalid = false "
                "where indexrelid = cast('workshop.notes_embedding_hnsw' as regclass)"
            )
        )
        conn.execute(sa.text("select pg_stat_force_next_flush()"))
    with live.connect() as conn:
        assert not table_is_vacuumed(conn, NOTES).passed
        finding = no_index_is_left_invalid(conn, [NOTES])
        assert finding.evidence["invalid"] == ["workshop.notes_embedding_hnsw"]
        assert no_index_is_left_invalid(conn, []).passed
        assert not recall_has_not_drifted(conn, NOTES, HNSW, hnsw).passed
        state = state_of(conn, HNSW.name, NOTES.schema)
        assert state is not None
        assert not state.valid
