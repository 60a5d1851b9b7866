"""Ranking by BM25 and fusion by scores in the functions of the consolidated tables.

What is expected is computed in Python from the lexemes that each row has.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from memos_assets.catalog import MEMOS
from memos_assets.errors import UsageError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes, state_of
from memos_assets.search import api
from memos_assets.search.functions import install
from memos_assets.search.text_queries import COUNTED_ROWS, MOST_TERMS, TermParts, with_terms
from memos_assets_tests.indexes.rows import put_texts, search_index

TABLE = "hybrid_documents"
INDEX = search_index("hybrid_documents_search_text_gin")
#: Few words, so that many rows share them.
WORDS = ["pump", "valve", "motor", "servo", "coder", "axis", "brake", "fuse", "cable", "drum"]
LEXEMES = sa.text(
    "select source, doc_id, lexeme, coalesce(cardinality(positions), 1) "
    "from memos.hybrid_documents, unnest(search_text) as word(lexeme, positions, weights)"
)
STEMS = sa.text("select lexeme from unnest(to_tsvector('english', :text))")


def texts(seed: int) -> Mapping[str, str]:
    """Return 400 texts of unequal length, whose first words are many times as common."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, len(WORDS) + 1) ** 2
    found = {
        f"{seed}-{number:03d}": " ".join(
            random.choice(WORDS, int(random.integers(1, 40)), p=share / share.sum())
        )
        for number in range(400)
    }
    found[f"{seed}-many"] = " ".join(["fuse"] * 300)
    found[f"{seed}-code"] = "SRVO-062 and SRVO-063 stop the motor"
    return found


@pytest.fixture(scope="module")
def ranked(shared_engine: sa.Engine) -> sa.Engine:
    put_texts(shared_engine, TABLE, texts(1))
    put_texts(shared_engine, TABLE, texts(2))
    with shared_engine.begin() as conn:
        conn.execute(
            sa.text(
                "update memos.hybrid_documents set source = 'other', "
                "metadata = '{\"hall\": 2}' where doc_id like '2-%'"
            )
        )
        install(conn, MEMOS.schema, MEMOS.searchable)
    for index in search_indexes(MEMOS.table(TABLE).as_table):
        ensure_index(shared_engine, index, maintenance_work_mem_mb=64)
    return shared_engine


@pytest.fixture
def conn(ranked: sa.Engine) -> Iterator[sa.Connection]:
    with ranked.connect() as made:
        yield made


def documents(conn: sa.Connection, owner: str | None = None) -> dict[str, dict[str, int]]:
    """Return key -> lexeme -> occurrences."""
    found: dict[str, dict[str, int]] = {}
    for source, key, lexeme, count in conn.execute(LEXEMES):
        if owner in (None, source):
            found.setdefault(key, {})[lexeme] = count
    return found


def exact(conn: sa.Connection, text: str, owner: str | None = None) -> dict[str, float]:
    """Return key -> BM25 of the rows with any word, in the corpus of an owner."""
    rows = documents(conn, owner)
    stems = [lexeme for (lexeme,) in conn.execute(STEMS, {"text": text})]
    mean = float(np.mean([sum(row.values()) for row in documents(conn).values()]))
    frequencies = {stem: sum(stem in row for row in rows.values()) for stem in stems}
    idf = {
        stem: math.log(1 + (len(rows) - count + 0.5) / (count + 0.5))
        for stem, count in frequencies.items()
    }
    return {
        key: sum(
            idf[stem]
            * row[stem]
            * 2.2
            / (row[stem] + 1.2 * (0.25 + 0.75 * sum(row.values()) / mean))
            for stem in stems
            if stem in row
        )
        for key, row in rows.items()
        if row.keys() & set(stems)
    }


def first(scores: Mapping[str, float], k: int = 10) -> list[str]:
    return sorted(scores, key=lambda key: (-round(scores[key], 9), key))[:k]


@pytest.mark.parametrize("owner", [None, "other"])
@pytest.mark.parametrize(
    "text",
    ["fuse", "pump", "nothing cable pump", "nothing drum drum fuse", "nothing valves motors"],
)
def test_match_is_exact_bm25_of_the_table_or_of_an_owners_rows(
    conn: sa.Connection, text: str, owner: str | None
) -> None:
    hits = api.match(conn, TABLE, text, 10, owner=owner)
    wanted = exact(conn, text, owner)
    assert [hit.score for hit in hits] == [
        pytest.approx(wanted[hit.key["doc_id"]], rel=1e-9) for hit in hits
    ]
    assert [hit.score for hit in hits] == pytest.approx([wanted[key] for key in first(wanted)])


@pytest.fixture
def analyzed(conn: sa.Connection) -> Iterator[sa.Connection]:
    """Statistics tell which words are common; they last as long as the transaction."""
    conn.execute(sa.text("analyze memos.hybrid_documents"))
    yield conn
    conn.rollback()


def rows_read(conn: sa.Connection) -> int:
    """Return rows of the table that this transaction fetched through an index."""
    found = conn.execute(
        sa.text("select pg_stat_get_xact_tuples_fetched('memos.hybrid_documents'::regclass)")
    ).scalar_one()
    return int(found)


def test_statistics_of_the_table_do_not_stand_for_those_of_an_owners_rows(
    analyzed: sa.Connection,
) -> None:
    hits = api.match(analyzed, TABLE, "nothing pump drum", 10, owner="other")
    wanted = exact(analyzed, "nothing pump drum", "other")
    assert [hit.score for hit in hits] == pytest.approx([wanted[key] for key in first(wanted)])


@pytest.mark.parametrize("hall", [None, 2])
@pytest.mark.parametrize(
    ("text", "k", "reads_all"),
    [
        ("nothing pump drum", 10, False),
        ("nothing pump valve motor drum cable", 10, False),
        # Fewer rows than are asked for have the rare word, so those of the common one follow.
        ("nothing pump drum", 300, True),
        # Rows without the rarest word are among the best: the others together count more.
        ("nothing pump servo coder axis brake", 40, True),
        ("nothing pump valve", 10, True),
    ],
)
def test_rows_with_only_common_words_are_read_where_they_can_be_among_the_best(
    analyzed: sa.Connection, text: str, k: int, hall: int | None, *, reads_all: bool
) -> None:
    rows = documents(analyzed)
    common = sum("pump" in row for row in rows.values())
    assert common > COUNTED_ROWS
    before = rows_read(analyzed)
    filters = None if hall is None else {"metadata": {"hall": hall}}
    hits = api.match(analyzed, TABLE, text, k, filters=filters)
    assert (rows_read(analyzed) - before > common) == reads_all
    wanted = exact(analyzed, text)
    if hall is not None:
        wanted = {key: score for key, score in wanted.items() if key.startswith("2-")}
    assert [hit.score for hit in hits] == pytest.approx([wanted[key] for key in first(wanted, k)])
    assert [hit.score for hit in hits] == pytest.approx([wanted[hit.key["doc_id"]] for hit in hits])


def test_rows_with_all_words_are_ranked_by_the_corpus_of_all_rows(conn: sa.Connection) -> None:
    hits = api.match(conn, TABLE, "fuse cable pump", 1_000)
    rows, scores = documents(conn), exact(conn, "fuse cable pump")
    whole = {
        key: scores[key] for key, row in rows.items() if row.keys() >= {"fuse", "cabl", "pump"}
    }
    assert 10 < len(whole) < len(scores)
    assert {hit.key["doc_id"]: hit.score for hit in hits} == pytest.approx(whole)


def test_a_filter_of_json_does_not_change_a_score(conn: sa.Connection) -> None:
    scores = {hit.key["doc_id"]: hit.score for hit in api.match(conn, TABLE, "drum", 1_000)}
    hits = api.match(conn, TABLE, "drum", 1_000, filters={"metadata": {"hall": 2}})
    assert {hit.key["source"] for hit in hits} == {"other"}
    assert all(hit.score == pytest.approx(scores[hit.key["doc_id"]]) for hit in hits)


def test_a_rare_word_counts_more_than_a_common_one(conn: sa.Connection) -> None:
    best = api.match(conn, TABLE, "unheard pump drum", 20)
    assert all("drum" in (hit.text or "") for hit in best)


def test_occurrences_are_counted_up_to_those_that_postgresql_keeps(conn: sa.Connection) -> None:
    row = documents(conn)["1-many"]
    assert row == {"fuse": 255}
    scores = {hit.key["doc_id"]: hit.score for hit in api.match(conn, TABLE, "fuse", 1_000)}
    assert scores["1-many"] == pytest.approx(exact(conn, "fuse")["1-many"], rel=1e-9)


def test_a_code_counts_once_and_a_row_without_any_word_last(conn: sa.Connection) -> None:
    whole, begun = (api.match(conn, TABLE, code, 5) for code in ("SRVO-062", "SRVO-06"))
    assert [hit.key["doc_id"] for hit in begun] == ["2-code", "1-code"]
    assert [hit.score for hit in whole] == pytest.approx([hit.score for hit in begun])
    (hit, *_) = without = api.match(conn, TABLE, "-pump", 1_000)
    assert hit.score == 0
    assert all("pump" not in (hit.text or "") for hit in without)


def test_of_very_many_words_the_longest_count(conn: sa.Connection) -> None:
    words = [f"unheard{number:03d}of" for number in range(MOST_TERMS - 1)]
    hits = api.match(conn, TABLE, " ".join(["pump", "brake", "fuse", *words]), 1_000)
    assert hits
    assert all("brake" in (hit.text or "") for hit in hits)


def test_statistics_of_the_corpus_are_written_by_a_build_and_renewed_after_growth(
    engine: sa.Engine,
) -> None:
    def corpus() -> int:
        with engine.connect() as conn:
            state = state_of(conn, INDEX.name, INDEX.schema)
            rows = documents(conn)
        assert state is not None
        assert INDEX.is_built(state)
        assert state.corpus is not None
        mean = sum(sum(row.values()) for row in rows.values()) / max(len(rows), 1)
        is_new = state.corpus.documents == len(rows)
        assert (state.corpus.mean_words == pytest.approx(mean, abs=1e-6)) == is_new
        return state.corpus.documents

    put_texts(engine, TABLE, {f"a{number}": "pump valve pump" for number in range(20)})
    assert ensure_index(engine, INDEX, maintenance_work_mem_mb=16).built
    assert corpus() == 20
    put_texts(engine, TABLE, {"b": "motor", "c": "motor"})
    assert not ensure_index(engine, INDEX, maintenance_work_mem_mb=16).built
    assert corpus() == 20
    put_texts(engine, TABLE, {"d": "motor"})
    assert not ensure_index(engine, INDEX, maintenance_work_mem_mb=16).built
    assert corpus() == 23


def test_without_its_index_a_table_is_ranked_by_the_rows_that_match(engine: sa.Engine) -> None:
    put_texts(engine, TABLE, {"a": "pump valve", "b": "pump", "c": "motor"})
    with engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
        hits = api.match(conn, TABLE, "pump")
    assert [hit.key["doc_id"] for hit in hits] == ["b", "a"]
    idf = math.log(1 + 1.5 / 2.5)
    assert [hit.score for hit in hits] == pytest.approx(
        [idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * words / 1.5)) for words in (1, 2)]
    )


def z_scores(values: Sequence[float | None]) -> list[float]:
    known = [value for value in values if value is not None]
    mean, deviation = (np.mean(known), np.std(known)) if known else (0.0, 0.0)
    if deviation <= 1e-9:
        return [0.0] * len(values)
    return [0.0 if value is None else float((value - mean) / deviation) for value in values]


def put_embedding(conn: sa.Connection, key: str, vector: Sequence[float]) -> None:
    conn.execute(
        sa.text(
            "update memos.hybrid_documents set dimension = 1024, embedding_reason = null, "
            "embedding = cast(:embedding as public.vector) where doc_id = :key"
        ),
        {"embedding": str(list(vector)), "key": key},
    )


@given(
    rows=st.lists(
        st.tuples(st.lists(st.sampled_from(WORDS[:4]), min_size=1, max_size=6), st.booleans()),
        min_size=1,
        max_size=12,
    ),
    asked=st.lists(st.sampled_from(WORDS[:4]), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 1_000),
)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_fused_score_is_the_sum_of_the_z_scores_of_the_candidates(
    ranked: sa.Engine, rows: list[tuple[list[str], bool]], asked: list[str], seed: int
) -> None:
    random = np.random.default_rng(seed)
    query = random.standard_normal(1_024)
    vectors = {
        f"p{number}": random.standard_normal(1_024) + 2 * random.random() * query
        for number, (_, is_embedded) in enumerate(rows)
        if is_embedded
    }
    with ranked.connect() as conn:
        conn.execute(sa.text("delete from memos.hybrid_documents"))
        for number, (words, _) in enumerate(rows):
            conn.execute(
                sa.text(
                    "insert into memos.hybrid_documents (source, doc_id, content, chunk, "
                    "source_rowid, embedding_reason) values ('s', :key, :text, 0, :n, 'missing')"
                ),
                {"key": f"p{number}", "text": " ".join(words), "n": number},
            )
        for key, vector in vectors.items():
            put_embedding(conn, key, vector.tolist())
        matched = {
            hit.key["doc_id"]: hit.score or 0
            for hit in api.match(conn, TABLE, f"unheard {' '.join(asked)}", 1_000)
        }
        hits = api.hybrid(conn, TABLE, " ".join(asked), query, 1_000)
        by_rank = api.hybrid(conn, TABLE, " ".join(asked), query, 1_000, fusion="rrf")
        conn.rollback()
    found = sorted({*matched, *vectors})
    cosines = [
        float(vectors[key] @ query / np.linalg.norm(vectors[key]) / np.linalg.norm(query))
        if key in vectors
        else None
        for key in found
    ]
    wanted = np.add(z_scores(cosines), z_scores([matched.get(key, 0.0) for key in found]))
    got = {hit.key["doc_id"]: hit for hit in hits}
    assert sorted(got) == sorted(hit.key["doc_id"] for hit in by_rank) == found
    assert [got[key].score for key in found] == pytest.approx(wanted.tolist(), abs=1e-3)
    assert [hit.score for hit in hits] == sorted((hit.score or 0 for hit in hits), reverse=True)
    assert all((got[key].distance is None) == (key not in vectors) for key in found)


def test_beside_an_embedding_rows_with_only_common_words_are_scored_but_not_proposed(
    analyzed: sa.Connection,
) -> None:
    random = np.random.default_rng(6)
    query = random.standard_normal(1_024)
    rows = documents(analyzed)
    embedded = [key for key in sorted(rows) if "drum" not in rows[key]][:20]
    for key in embedded:
        put_embedding(analyzed, key, random.standard_normal(1_024).tolist())
    scores = exact(analyzed, "pump drum")
    listed = first({key: scores[key] for key in scores if "drum" in rows[key]}, 100)
    before = rows_read(analyzed)
    hits = api.hybrid(analyzed, TABLE, "pump drum", query, 1_000)
    assert rows_read(analyzed) - before < sum("pump" in row for row in rows.values())
    found = {hit.key["doc_id"]: hit for hit in hits}
    assert sorted(found) == sorted({*listed, *embedded})
    keys = sorted(found)
    distances = [found[key].distance for key in keys]
    cosines = [None if distance is None else 1 - distance for distance in distances]
    wanted = np.add(z_scores(cosines), z_scores([scores.get(key, 0.0) for key in keys]))
    assert [found[key].score for key in keys] == pytest.approx(wanted.tolist(), abs=1e-3)
    assert sum(scores.get(key, 0) > 0 for key in embedded) > 10


def test_scores_find_what_reciprocal_ranks_lose(conn: sa.Connection) -> None:
    conn.execute(sa.text("delete from memos.hybrid_documents where doc_id > '1-200'"))
    query = np.random.default_rng(4).standard_normal(1_024)
    # The only row with the rare word has no place near the query; those near it are all alike.
    conn.execute(
        sa.text("update memos.hybrid_documents set content = 'zinc plate' where doc_id = '1-000'")
    )
    random = np.random.default_rng(5)
    for number in range(1, 40):
        put_embedding(conn, f"1-{number:03d}", (query + random.standard_normal(1_024)).tolist())
    put_embedding(conn, "1-000", random.standard_normal(1_024).tolist())
    (by_scores,) = api.hybrid(conn, TABLE, "zinc pump", query, 1)
    (by_rank,) = api.hybrid(conn, TABLE, "zinc pump", query, 1, fusion="rrf")
    assert by_scores.key["doc_id"] == "1-000"
    assert by_rank.key["doc_id"] != "1-000"
    conn.rollback()


@pytest.mark.parametrize("fusion", ["", "rank", None])
def test_another_fusion_is_refused(conn: sa.Connection, fusion: str | None) -> None:
    with pytest.raises(UsageError, match=r"^M590 .*Fix: pass scores or rrf"):
        api.hybrid(conn, TABLE, "pump", fusion=fusion)  # type: ignore[arg-type]
    call = sa.text("select * from memos.hybrid_hybrid_documents('x', fusion => :fusion)")
    with pytest.raises(sa.exc.DBAPIError, match=r"M590 .*Fix: pass scores or rrf"):
        conn.execute(call, {"fusion": fusion})


def test_the_function_writes_a_statement_as_the_check_that_explains_it(
    conn: sa.Connection,
) -> None:
    parts = TermParts.of(lambda _: sql.SQL("$3"))
    assert "$3" in parts.rank
    statement = "[/*ranks*/] /*addends*/ [/*frequencies*/] /*scores*/"
    written = conn.execute(
        sa.text("select memos.search_ranked(:statement, array['''a''', '''b-1'':*']::tsquery[])"),
        {"statement": statement},
    ).scalar_one()
    composed = sql.Composed([sql.SQL(statement)])
    assert written == with_terms(composed, [False, True], lambda _: sql.SQL("$3")).as_string()
