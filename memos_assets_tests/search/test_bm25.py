"""BM25 of statements beside BM25 computed in Python, on random corpora."""

import random

import pytest
import sqlalchemy as sa
from psycopg import sql

from memos_assets.search import bm25

WORDS = [f"word{number}" for number in range(60)]
ALL = sql.SQL(
    "with document as (select number, content from unnest(%(texts)s::text[]) with ordinality "
    "as t(content, number)), "
    "posting as (select number, lexeme, count, sum(count) over (partition by number) as words "
    "from document cross join lateral ({lexemes}) as found), "
    "corpus as (select count(distinct document.number)::float8 as documents, "
    "(select sum(count) from posting)::float8 / count(*) as mean_words from document), "
    "requested as (select lexeme, count(*) as frequency from posting "
    "where lexeme = any({query}) group by lexeme) "
    "select number, sum({idf} * {saturation}) as score from posting join requested using (lexeme) "
    "cross join corpus group by number order by score desc, number limit 10"
).format(
    lexemes=bm25.lexemes_of(sql.SQL("content")),
    query=bm25.query_lexemes(sql.SQL("%(query)s::text")),
    idf=bm25.idf(sql.SQL("documents"), sql.SQL("frequency")),
    saturation=bm25.saturation(sql.SQL("count"), sql.SQL("words"), sql.SQL("mean_words")),
)


def test_statements_rank_as_python_does(shared_engine: sa.Engine) -> None:
    rng = random.Random(13)
    with shared_engine.connect() as conn:
        cursor = conn.connection.cursor()
        for _ in range(60):
            texts = [
                " ".join(rng.choices(WORDS[: rng.randint(3, 60)], k=rng.randint(1, 40)))
                for _ in range(rng.randint(1, 80))
            ]
            query = " ".join(rng.choices([*WORDS, "absent"], k=rng.randint(1, 6)))
            cursor.execute(ALL, {"texts": texts, "query": query})
            found = {int(number): float(score) for number, score in cursor.fetchall()}
            corpus = bm25.Corpus([{w: t.split().count(w) for w in t.split()} for t in texts])
            exact = dict(enumerate(corpus.scores(query.split()), 1))
            best = sorted((n for n in exact if exact[n]), key=lambda n: (-exact[n], n))[:10]
            assert [round(score, 9) for score in found.values()] == [
                round(exact[number], 9) for number in best
            ]
            assert {n: round(s, 9) for n, s in found.items()} == {
                n: round(exact[n], 9) for n in found
            }


@pytest.mark.parametrize(
    ("text", "lexemes"),
    [
        ("The cats, the CAT and a dog", {"cat": 2, "dog": 1}),
        ("the of and", {}),
        ("", {}),
        ("Köln Köln straße", {"köln": 2, "straße": 1}),
        ("cat " * 40_000, {"cat": 512}),
    ],
)
def test_lexemes_are_stemmed_counted_and_of_long_texts_too(
    shared_engine: sa.Engine, text: str, lexemes: dict[str, int]
) -> None:
    query = bm25.lexemes_of(sql.SQL("%(text)s::text"))
    with shared_engine.connect() as conn:
        cursor = conn.connection.cursor()
        cursor.execute(query, {"text": text})
        found = dict(cursor.fetchall())
    if text.startswith("cat "):
        # A tsvector notes at most 255 positions of a word, in each piece.
        assert set(found) == {"cat"}
        assert found["cat"] > 255
    else:
        assert found == lexemes


def test_a_corpus_without_documents_has_no_scores() -> None:
    assert bm25.Corpus([]).scores(["word"]) == []
    assert bm25.Corpus([{}]).scores(["word"]) == [0.0]
