"""The SQL functions for search: what they find, what they refuse, what they leave behind."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.errors import MemosAssetsError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres.engine import libpq_url
from memos_assets.search import api, api_async
from memos_assets.search.functions import functions_are_ours, install
from memos_assets.search.plans import text_search_uses_index
from memos_assets.search.searchable import searchable
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters, put_texts, stored

TEXTS = {
    "a": "SRVO-062 BZAL alarm: replace the battery A06B-6114-K504 of the pulse coder",
    "b": "SRVO-063 RCAL alarm: the pulse coder counts wrongly",
    "c": "MOTN-017 limit error, no servo alarm at all",
    "d": "A battery is empty",
}


@pytest.fixture(scope="module")
def searched(shared_engine: sa.Engine) -> sa.Engine:
    """Every table with clustered embeddings of each dimension; texts and filters in one."""
    for index in EVERY_INDEX.values():
        put_clusters(shared_engine, index, clusters=4, each=8)
    put_texts(shared_engine, "hybrid_documents", TEXTS)
    for spec in MEMOS.tables:
        for search_index in search_indexes(spec.as_table):
            ensure_index(shared_engine, search_index, maintenance_work_mem_mb=64)
    with shared_engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
    return shared_engine


@pytest.fixture
def conn(searched: sa.Engine) -> Iterator[sa.Connection]:
    with searched.connect() as made:
        yield made


@pytest.mark.parametrize("name", sorted(EVERY_INDEX))
def test_a_search_finds_the_nearest_rows_of_its_dimension_with_exact_distances(
    conn: sa.Connection, searched: sa.Engine, name: str
) -> None:
    index = EVERY_INDEX[name]
    rows = stored(searched, index)
    query = rows.vectors[5] + 0.01 * np.random.default_rng(3).standard_normal(index.dimension)
    hits = api.search(conn, index.table, query, 5)
    last = searchable(index.table, MEMOS.searchable).key[-1]
    assert [hit.key[last] for hit in hits] == rows.nearest(query, 5)
    found = rows.vectors[[rows.names.index(hit.key[last]) for hit in hits]]
    cosines = found @ query / np.linalg.norm(found, axis=1) / np.linalg.norm(query)
    # pgvector sums products of float32.
    assert np.allclose([hit.distance or 0 for hit in hits], 1 - cosines, atol=1e-5)


def test_a_search_asks_for_more_rows_than_the_index_proposes_at_once(conn: sa.Connection) -> None:
    every = api.search(conn, "embeddings", np.ones(768), 1_000)
    assert len(every) == 32
    assert [hit.distance for hit in every] == sorted(hit.distance or 0 for hit in every)


def test_k_may_be_any_integer_and_an_embedding_any_sequence_of_numbers(
    conn: sa.Connection,
) -> None:
    wanted = api.search(conn, "embeddings", np.ones(768), 5)
    assert len(wanted) == 5
    five: Any = np.int64(5)
    assert api.search(conn, "embeddings", (1,) * 768, five) == wanted


def test_a_search_is_filtered_by_source_and_by_json(conn: sa.Connection) -> None:
    conn.execute(
        sa.text(
            "update memos.embeddings set source = 'other', metadata = '{\"category\": \"SRVO\"}' "
            "where dimension = 1024 and source_rowid % 8 = 0"
        )
    )
    query = np.ones(1_024)
    of_source = api.search(conn, "embeddings", query, 10, owner="other")
    assert {hit.key["source"] for hit in of_source} == {"other"}
    by_json = api.search(conn, "embeddings", query, 10, filters={"metadata": {"category": "SRVO"}})
    assert by_json == of_source
    assert by_json[0].metadata == {"category": "SRVO"}
    assert len(by_json) == 4
    both = {"owner": "test", "filters": {"metadata": {"category": "SRVO"}}}
    assert api.search(conn, "embeddings", query, 10, **both) == []  # type: ignore[arg-type]
    conn.rollback()


def test_a_search_leaves_no_setting_behind(conn: sa.Connection) -> None:
    api.search(conn, "embeddings", np.ones(4_096), 700)
    for name, value in (("hnsw.ef_search", "40"), ("enable_seqscan", "on"), ("jit", "on")):
        assert conn.exec_driver_sql(f"show {name}").scalar_one() == value


def test_any_client_calls_the_functions_without_knowing_the_index(searched: sa.Engine) -> None:
    url = libpq_url(searched.url)
    with psycopg.connect(url) as driver:
        found = driver.execute(
            "select source, doc_id, distance, text, metadata "
            "from memos.search_embeddings(%s, k => 3)",
            (json.dumps([1.0] * 2_560),),
        ).fetchall()
    assert len(found) == 3


def test_a_session_searches_within_its_own_transaction(searched: sa.Engine) -> None:
    with Session(searched) as session:
        session.execute(sa.text("delete from memos.thought_templates"))
        assert api.search(session, "thought_templates", np.ones(768), 5) == []
        session.rollback()
        assert len(api.search(session, "thought_templates", np.ones(768), 5)) == 5


async def _search_async(url: sa.URL) -> tuple[list[api.Hit], list[api.Hit], list[api.Hit]]:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as conn:
            return (
                await api_async.search(conn, "embeddings", np.ones(768), 3),
                await api_async.match(conn, "hybrid_documents", "battery"),
                await api_async.hybrid(conn, "hybrid_documents", "battery"),
            )
    finally:
        await engine.dispose()


def test_the_same_searches_from_asyncio(searched: sa.Engine, conn: sa.Connection) -> None:
    import asyncio

    nearest, matched, both = asyncio.run(_search_async(searched.url))
    assert nearest == api.search(conn, "embeddings", np.ones(768), 3)
    assert matched == api.match(conn, "hybrid_documents", "battery")
    assert both == api.hybrid(conn, "hybrid_documents", "battery")


def matched(conn: sa.Connection, text: str) -> list[str]:
    return [hit.key["doc_id"] for hit in api.match(conn, "hybrid_documents", text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("SRVO-062", ["a"], id="a code is one word"),
        pytest.param("srvo-062", ["a"], id="in any case"),
        pytest.param("A06B-6114-K504", ["a"], id="a part number is one word"),
        pytest.param("batteries", ["d", "a"], id="words are stemmed, the shorter text first"),
        pytest.param("pulse coder", ["a", "b"], id="every word"),
        pytest.param("pulse coder -SRVO-062", ["b"], id="without a code"),
        pytest.param('"pulse coder" -battery', ["b"], id="as a web search"),
        pytest.param("SRVO-999", [], id="a code that nobody has is not split"),
        pytest.param("SRVO-06", ["a", "b"], id="the beginning of codes, where none is whole"),
        pytest.param("battery in Paris", ["d", "a"], id="any word, where no row has all"),
        pytest.param("it's a \\ 'quote' & | ! <-> (", [], id="what means something to tsquery"),
    ],
)
def test_a_text_finds(conn: sa.Connection, text: str, found: list[str]) -> None:
    assert sorted(matched(conn, text)) == sorted(found)
    assert matched(conn, text)[:1] == found[:1] or len(found) > 1


def test_a_code_beside_words_counts_as_they_do(conn: sa.Connection) -> None:
    (hit,) = api.match(conn, "hybrid_documents", "SRVO-062 battery")
    assert hit.key["doc_id"] == "a"
    assert (hit.score or 0) > 0.001


def test_a_text_and_an_embedding_are_fused_by_reciprocal_rank(conn: sa.Connection) -> None:
    query = np.ones(1_024)
    nearest = api.search(conn, "hybrid_documents", query, 100)
    hits = api.hybrid(conn, "hybrid_documents", "SRVO-062", query, 3, fusion="rrf")
    by_key = {hit.key["doc_id"]: hit for hit in hits}
    assert by_key["a"].score == pytest.approx(1 / 61)
    assert by_key["a"].distance is None
    first = by_key[nearest[0].key["doc_id"]]
    assert first.score == pytest.approx(1 / 61)
    assert first.distance == pytest.approx(nearest[0].distance)


def test_sparse_weights_count_where_their_vocabulary_fits(conn: sa.Connection) -> None:
    for key, vocabulary in (("c", "words"), ("d", "xlmr_token_ids")):
        conn.execute(
            sa.text(
                "update memos.hybrid_documents set sparse_vocabulary = :vocabulary, "
                'sparse_weights = \'{"servo": 0.5, "106340": 2.0}\' where doc_id = :key'
            ),
            {"key": key, "vocabulary": vocabulary},
        )

    def scores(**more: object) -> dict[str, float | None]:
        more |= {"fusion": "rrf"}
        hits = api.hybrid(conn, "hybrid_documents", "servo", **more)  # type: ignore[arg-type]
        return {hit.key["doc_id"]: hit.score for hit in hits}

    # In the list of words and in that of sparse weights; `d` has weights of another vocabulary.
    assert scores() == {"c": pytest.approx(2 / 61)}
    token_ids = {"sparse": {"106340": 0.3}, "vocabulary": "xlmr_token_ids"}
    assert scores(**token_ids) == {"c": pytest.approx(1 / 61), "d": pytest.approx(1 / 61)}
    # By scores, `c` is one deviation above the mean in the list of words, and `d` in the other one.
    hits = api.hybrid(conn, "hybrid_documents", "servo", **token_ids)  # type: ignore[arg-type]
    assert {hit.key["doc_id"]: hit.score for hit in hits} == {
        "c": pytest.approx(1 - 0.5),
        "d": pytest.approx(0.5 - 1),
    }
    conn.rollback()


@pytest.mark.parametrize(
    ("code", "ask"),
    [
        ("M570", lambda conn: api.search(conn, "nothing", np.ones(768))),
        ("M571", lambda conn: api.search(conn, "embeddings", np.ones(5))),
        ("M571", lambda conn: api.hybrid(conn, "embeddings", "x", np.ones(5))),
        ("M572", lambda conn: api.search(conn, "embeddings", np.zeros(768))),
        ("M572", lambda conn: api.search(conn, "embeddings", np.full(768, np.nan))),
        ("M572", lambda conn: api.search(conn, "embeddings", np.full(768, 1e39))),
        ("M572", lambda conn: api.search(conn, "embeddings", np.full(768, 1e-50))),
        ("M572", lambda conn: api.search(conn, "embeddings", [])),
        ("M573", lambda conn: api.search(conn, "embeddings", np.ones(768), 0)),
        ("M573", lambda conn: api.match(conn, "embeddings", "x", 1_000_000)),
        ("M574", lambda conn: api.match(conn, "embeddings", " ")),
        ("M574", lambda conn: api.match(conn, "embeddings", "the and of")),
        ("M574", lambda conn: api.match(conn, "embeddings", "\0")),
        ("M574", lambda conn: api.hybrid(conn, "embeddings", "the and of")),
        ("M574", lambda conn: api.hybrid(conn, "embeddings", "?! - ...")),
        ("M574", lambda conn: api.hybrid(conn, "embeddings", "")),
        (
            "M575",
            lambda conn: api.search(
                conn, "embeddings", np.ones(768), filters={"metadata": {"colour": "red"}}
            ),
        ),
        (
            "M580",
            lambda conn: api.search(
                conn, "embeddings", np.ones(768), filters={"metadata": {"x": float("nan")}}
            ),
        ),
        (
            "M580",
            lambda conn: api.search(
                conn, "embeddings", np.ones(768), filters={"metadata": {"x": "\0"}}
            ),
        ),
        ("M576", lambda conn: api.hybrid(conn, "embeddings", "x", sparse={"x": 1.0})),
        ("M580", lambda conn: api.search(conn, "embeddings", np.ones(768), filters={"x": {}})),
    ],
)
def test_bad_input_is_one_clear_error(conn: sa.Connection, code: str, ask: object) -> None:
    assert callable(ask)
    with pytest.raises(MemosAssetsError, match=rf"^{code} .*\. Fix: ") as raised:
        ask(conn)
    assert raised.value.__cause__ is None
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("code", "embedding", "options"),
    [
        ("M572", None, {}),
        ("M572", "[1, 2]", {}),
        ("M572", [1j] * 768, {}),
        ("M572", [[1.0] * 768], {}),
        ("M572", [[1.0], 2.0], {}),
        ("M573", [1.0] * 768, {"k": True}),
        ("M573", [1.0] * 768, {"k": 2.5}),
        ("M580", [1.0] * 768, {"filters": "x"}),
    ],
)
def test_what_is_of_another_type_is_one_clear_error_too(
    conn: sa.Connection, code: str, embedding: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(MemosAssetsError, match=rf"^{code} .*\. Fix: "):
        api.search(conn, "embeddings", embedding, **options)


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("M571", "search_embeddings('[1,2,3]')"),
        ("M572", "search_embeddings(null)"),
        ("M572", "search_corpus_entities(array_fill(0, array[768])::public.vector)"),
        ("M572", "hybrid_embeddings('x', array_fill(0, array[768])::public.halfvec)"),
        ("M573", "search_embeddings('[1,2,3]', k => 1000000)"),
        ("M573", "match_embeddings('x', k => null)"),
        ("M574", "match_embeddings('')"),
        ("M574", "hybrid_embeddings(null)"),
    ],
)
def test_the_functions_refuse_the_same_to_any_client(
    conn: sa.Connection, code: str, call: str
) -> None:
    with pytest.raises(sa.exc.DBAPIError, match=rf"{code} .*\. Fix: "):
        conn.exec_driver_sql(f"select * from memos.{call}")


def test_without_the_functions_a_search_says_how_to_make_them(engine: sa.Engine) -> None:
    with engine.connect() as conn, pytest.raises(MemosAssetsError, match=r"^M326 "):
        api.match(conn, "embeddings", "x")


def test_functions_are_made_once_and_dropped_when_the_catalog_forgets_them(
    engine: sa.Engine,
) -> None:
    with engine.begin() as conn:
        made = install(conn, MEMOS.schema, MEMOS.searchable)
        assert "search_embeddings" in made
        assert install(conn, MEMOS.schema, MEMOS.searchable) == []
        conn.exec_driver_sql(
            "create function memos.search_old() returns int language sql as 'select 1'"
        )
        conn.exec_driver_sql("comment on function memos.search_old is 'memos-assets 0 0'")
        assert install(conn, MEMOS.schema, MEMOS.searchable) == []
        assert conn.exec_driver_sql("select to_regproc('memos.search_old')").scalar() is None
        assert functions_are_ours(conn, MEMOS.schema, MEMOS.searchable).passed


def test_v15_search_functions_are_ours_fails_without_them_and_when_one_was_changed(
    engine: sa.Engine,
) -> None:
    with engine.begin() as conn:
        assert (
            "search_embeddings is missing"
            in functions_are_ours(conn, MEMOS.schema, MEMOS.searchable).observed
        )
        install(conn, MEMOS.schema, MEMOS.searchable)
        conn.exec_driver_sql(
            "create or replace function memos.search_terms(query text) returns jsonb "
            "language sql immutable parallel safe as 'select null::jsonb'"
        )
        finding = functions_are_ours(conn, MEMOS.schema, MEMOS.searchable)
        assert (finding.passed, finding.observed) == (False, "search_terms differs")
        assert install(conn, MEMOS.schema, MEMOS.searchable) == ["search_terms"]
        assert functions_are_ours(conn, MEMOS.schema, MEMOS.searchable).passed


def test_v15_search_functions_are_ours_fails_when_a_setting_was_changed(
    engine: sa.Engine,
) -> None:
    with engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
        conn.exec_driver_sql("alter function memos.match_embeddings reset hnsw.ef_search")
        assert (
            functions_are_ours(conn, MEMOS.schema, MEMOS.searchable).observed
            == "match_embeddings differs"
        )
        assert install(conn, MEMOS.schema, MEMOS.searchable) == ["match_embeddings"]


#: Statement -> what it makes V15 observe.
OTHER_FUNCTIONS = {
    "create function memos.search_embeddings(embedding text, k integer default 10) returns text "
    "language sql as 'select null::text'": (
        "search_embeddings(embedding text, k integer) is another function of that name"
    ),
    "create function memos.search_document(value varchar, most integer) returns tsvector "
    "language sql as 'select null::tsvector'": (
        "search_document(value character varying, most integer) is another function of that name"
    ),
    "create or replace function memos.search_codes(value text) returns text[] language sql "
    "immutable parallel safe as 'select null::text[]'": "search_codes differs",
    "alter function memos.search_codes(text) volatile": "search_codes differs",
    "alter function memos.search_terms(text) security definer": "search_terms differs",
    "alter function memos.search_terms(text) rename to terms": "search_terms is missing",
}


@pytest.mark.parametrize(("statement", "fault"), OTHER_FUNCTIONS.items())
def test_v15_search_functions_are_ours_fails_when_a_call_may_find_another(
    engine: sa.Engine, statement: str, fault: str
) -> None:
    with engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
        conn.exec_driver_sql(
            "create function memos.theirs() returns int language sql as 'select 1'"
        )
        assert functions_are_ours(conn, MEMOS.schema, MEMOS.searchable).passed
        conn.exec_driver_sql(statement)
        finding = functions_are_ours(conn, MEMOS.schema, MEMOS.searchable)
        assert (finding.passed, finding.observed) == (False, fault)
        install(conn, MEMOS.schema, MEMOS.searchable)


def test_v19_text_search_uses_index_fails_without_the_index(engine: sa.Engine) -> None:
    table = searchable("hybrid_documents", MEMOS.searchable)
    with engine.begin() as conn:
        assert not text_search_uses_index(conn, table).passed
    (index,) = (
        i
        for spec in MEMOS.tables
        for i in search_indexes(spec.as_table)
        if i.name == "hybrid_documents_search_text_gin"
    )
    ensure_index(engine, index, maintenance_work_mem_mb=16)
    with engine.begin() as conn:
        assert text_search_uses_index(conn, table).passed
