"""The command search: hits with their matches, the indexes that served them, and errors."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from rich.text import Text

from memos_assets.catalog import MEMOS
from memos_assets.cli.hits import pattern_of, snippet
from memos_assets.cli.search import _NO_WORD
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres import target
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.search.functions import install
from memos_assets.search.searchable import searchable
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.conftest import copied_database
from memos_assets_tests.indexes.rows import EVERY_INDEX, put
from memos_assets_tests.search.endpoint import Answer, Asked, as_openai, serving

TEXTS = {
    "srvo_062": "SRVO-062 BZAL alarm: the battery of the pulse coder is empty. Replace it.",
    "srvo_063": "SRVO-063 RCAL alarm: the pulse coder lost its counter. Master the axis.",
    "intp_105": "INTP-105 run failed: the program was\n\tnot selected \x1b[31m[bold]red[/].",
    "page": "A06B-6290-H104 servo amplifier, page 12 of the manual for the R-30iB cabinet.",
}
WEIGHTS = json.dumps({"servo": 1.0})


@pytest.fixture(scope="module")
def searched(server: EmbeddedServer, template: str) -> Iterator[sa.URL]:
    """Fill one database: documents of one source, entities of two domains, a chunk; two indexes."""
    with copied_database(server, template) as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        with engine.begin() as conn:
            install(conn, MEMOS.schema, MEMOS.searchable)
            _insert(conn)
        for index in search_indexes(MEMOS.table("hybrid_documents").as_table):
            ensure_index(engine, index, maintenance_work_mem_mb=64)
        put(engine, EVERY_INDEX["semantic_memories_embedding_768_hnsw"], [None])
        yield url


def _insert(conn: sa.Connection) -> None:
    vectors = DeterministicEmbedder(1_024).embed(list(TEXTS.values()))
    written = [json.dumps(vector.tolist()) for vector in vectors]
    conn.execute(
        sa.text(
            "insert into memos_ops.sources (source, kind, path) values (:name, 'hybrid', '/x')"
        ),
        [{"name": "hsea"}, {"name": "manuals"}],
    )
    for place, (key, text) in enumerate(TEXTS.items()):
        conn.execute(
            sa.text(
                "insert into memos.hybrid_documents (source, doc_id, content, sparse_weights, "
                "sparse_vocabulary, metadata, embedding, dimension, chunk, source_rowid) values "
                "(:source, :key, :text, cast(:weights as jsonb), 'words', cast(:metadata as jsonb),"
                " cast(:embedding as vector), 1024, 0, :place)"
            ),
            {
                "source": "manuals" if key == "page" else "hsea",
                "key": key,
                "text": text,
                "weights": WEIGHTS,
                "metadata": json.dumps({"category": key[:4].upper(), "page": None}),
                "embedding": written[place],
                "place": place,
            },
        )
    for place, domain in enumerate(("fanuc", "general")):
        conn.execute(
            sa.text(
                "insert into memos.domain_embeddings (source, domain, entity_id, entity_name, "
                "embedding, dimension, chunk, source_rowid) values ('entities', :domain, 'e1', "
                "'battery', cast(:embedding as vector), 1024, 0, :place)"
            ),
            {"domain": domain, "embedding": written[place], "place": place},
        )
    conn.execute(
        sa.text(
            "insert into memos.corpus_chunks (source, chunk_hash, document_hash, content, chunk, "
            "embedding_reason, source_rowid) values ('c', 'h1', 'd1', :text, 0, 'missing', 1)"
        ),
        {"text": TEXTS["srvo_062"]},
    )


@pytest.fixture
def search(
    memos_assets: Command, home: Path, searched: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run `memos-assets search` on the database of this module."""
    assert home
    monkeypatch.setenv("MEMOS_DATABASE_URL", searched.render_as_string(hide_password=False))
    monkeypatch.setattr(target, "_ready", set())
    return lambda *arguments: memos_assets("search", *arguments)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the deterministic embedder pass itself off as the model of hybrid documents."""
    monkeypatch.setenv("MEMOS_EMBEDDER", "deterministic")
    monkeypatch.setenv("MEMOS_EMBEDDER_MODEL", "bge-m3")


def answers(search: Command, *arguments: str) -> dict[str, Any]:
    """Return what ``--json -`` writes, by table; nothing else is printed then."""
    code, out, err = search(*arguments, "--json", "-")
    assert (code, err) == (0, "")
    return {answer["table"]: answer for answer in json.loads(out)["answers"]}


def keys(answer: dict[str, Any]) -> list[str]:
    return [list(hit["key"].values())[-1] for hit in answer["hits"]]


def test_a_code_is_found_as_one_word_and_without_an_embedder_by_words(search: Command) -> None:
    code, out, err = search("SRVO-062", "--table", "hybrid_documents")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Note: by words alone, not by meaning: no embedder is set (MEMOS_EMBEDDER)."
    assert lines[1].split() == ["source", "key", "score", "text", "metadata"]
    assert lines[2].startswith("1  hsea    srvo_062  1.")
    assert "SRVO-062 BZAL alarm: the battery of the pulse coder" in lines[2]
    assert "category=SRVO" in lines[2]
    assert (
        "hybrid_documents: 1 hit by words, k 10, index hybrid_documents_search_text_gin, "
        in (lines[3])
    )
    assert lines[3].endswith(" ms")
    assert len(lines) == 4


def test_every_table_with_texts_is_asked_and_shows_its_best(search: Command) -> None:
    code, out, _ = search("battery", "--mode", "text")
    assert code == 0
    assert "Note:" not in out
    titles = ["hybrid_documents", "corpus_chunks", "domain_embeddings"]
    assert [line for line in out.splitlines() if line.strip() in titles]
    assert "corpus_chunks: 1 hit by words, k 3, a scan, because corpus_chunks_" in out
    last = out.splitlines()[-1]
    assert last.startswith("Nothing found in embeddings, ")
    found = answers(search, "battery", "--mode", "text")
    assert set(titles) < set(found)
    assert keys(found["domain_embeddings"]) == ["e1", "e1"]
    assert keys(found["hybrid_documents"]) == ["srvo_062"]


def test_text_is_embedded_where_an_embedder_fits(search: Command, embedder: None) -> None:
    del embedder
    found = answers(search, TEXTS["page"], "--mode", "vector", "--table", "hybrid_documents")
    answer = found["hybrid_documents"]
    assert keys(answer)[0] == "page"
    assert answer["hits"][0]["distance"] == pytest.approx(0, abs=1e-6)
    assert answer["served_by"] == "index hybrid_documents_embedding_1024_hnsw"
    assert (answer["mode"], answer["k"], len(answer["hits"])) == ("vector", 10, 4)
    code, out, _ = search("pulse coder battery", "--table", "memos.hybrid_documents", "--k", "2")
    assert code == 0
    assert out.splitlines()[0].split() == ["source", "key", "score", "distance", "text", "metadata"]
    assert (
        "hybrid_documents: 2 hits by words and vector, k 2, index hybrid_documents_search_text_gin "
        "and index hybrid_documents_embedding_1024_hnsw, " in out
    )
    code, out, _ = search("the of and", "--table", "hybrid_documents")
    assert (code, out.splitlines()[0]) == (0, f"Note: {_NO_WORD}.")


def test_tables_that_the_embedder_does_not_fit_are_searched_by_words(
    search: Command, embedder: None
) -> None:
    del embedder
    code, out, _ = search("battery")
    assert code == 0
    note = out.splitlines()[0]
    assert note.startswith("Note: by words alone, because bge-m3 does not fit: embeddings, ")
    assert "hybrid_documents" not in note
    found = answers(search, "battery")
    assert found["hybrid_documents"]["mode"] == "hybrid"
    assert (found["domain_embeddings"]["mode"], found["corpus_chunks"]["mode"]) == ("text", "text")
    assert list(answers(search, "battery", "--mode", "vector")) == ["hybrid_documents"]


def test_a_table_that_the_embedder_does_not_fit_is_refused(
    search: Command, embedder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del embedder
    code, out, err = search("battery", "--table", "domain_embeddings")
    assert (code, out) == (2, "")
    assert err.startswith(
        "M579 table domain_embeddings: the table's 1,024 elements are of mxbai-em"
    )
    monkeypatch.setenv("MEMOS_EMBEDDER_DIMENSION", "5")
    code, _, err = search("battery", "--mode", "vector")
    assert code == 2
    assert err.startswith("M579 table embeddings: bge-m3 gives 5 elements, and the table is search")


def test_an_endpoint_is_asked_once_for_all_tables(
    search: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(as_openai) as endpoint:
        monkeypatch.setenv("MEMOS_EMBEDDER", "openai")
        monkeypatch.setenv("MEMOS_EMBEDDER_MODEL", "served=qwen3-embedding:8b")
        monkeypatch.setenv("MEMOS_EMBEDDER_URL", endpoint.url)
        code, out, _ = search("battery")
    assert code == 0
    assert "qwen3-embedding:8b gives 4 elements" in out
    (asked,) = endpoint.asked
    assert asked.body["input"][0].endswith("\nQuery:battery")
    code, out, err = search("battery")
    assert (code, out) == (2, "")
    assert err.startswith(f"M578 {endpoint.url}/v1/embeddings: the endpoint does not answer (")


def test_no_connection_waits_for_the_model(
    search: Command, searched: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[int] = []
    watcher = sa.create_engine(searched, poolclass=sa.NullPool)
    in_use = sa.text(
        "select count(*) from pg_stat_activity "
        "where application_name = 'memos_assets:search' and state <> 'idle'"
    )

    def look(asked: Asked) -> Answer:
        with watcher.connect() as conn:
            waiting.append(conn.execute(in_use).scalar_one())
        return as_openai(asked)

    with serving(look) as endpoint:
        monkeypatch.setenv("MEMOS_EMBEDDER", "openai")
        monkeypatch.setenv("MEMOS_EMBEDDER_MODEL", "served=qwen3-embedding:8b")
        monkeypatch.setenv("MEMOS_EMBEDDER_URL", endpoint.url)
        assert search("battery", "--source", "hsea")[0] == 0
    assert waiting == [0]


def test_a_row_finds_its_neighbours_without_an_embedder(search: Command) -> None:
    code, out, err = search("--like", "srvo_062")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["source", "key", "distance", "text", "metadata"]
    assert [line.split()[2] for line in lines[1:4]] == ["srvo_063", "page", "intp_105"]
    assert "3 hits by vector, k 3, index hybrid_documents_embedding_1024_hnsw" in lines[4]
    found = answers(search, "--like", "hsea/srvo_062", "--table", "hybrid_documents", "--k", "1")
    assert keys(found["hybrid_documents"]) == ["srvo_063"]
    found = answers(search, "--like", "fanuc/e1", "--table", "domain_embeddings")
    assert found["domain_embeddings"]["hits"][0]["key"] == {
        "source": "entities",
        "domain": "general",
        "entity_id": "e1",
    }
    found = answers(search, "--like", "page", "--source", "hsea", "--k", "1000")
    assert "page" not in keys(found["hybrid_documents"])
    assert len(found["hybrid_documents"]["hits"]) == 3


def test_a_search_is_filtered_by_source_and_metadata(search: Command) -> None:
    filtered = ("--table", "hybrid_documents", "--filter")
    found = answers(search, "pulse coder alarm page", *filtered, '{"category": "SRVO"}')
    assert sorted(keys(found["hybrid_documents"])) == ["srvo_062", "srvo_063"]
    found = answers(search, "alarm", *filtered, '{"metadata": {"category": "SRVO"}}')
    assert len(found["hybrid_documents"]["hits"]) == 2
    found = answers(search, "amplifier", "--source", "manuals", "--mode", "text")
    assert keys(found["hybrid_documents"]) == ["page"]
    code, out, _ = search("alarm", "--source", "manuals", "--table", "hybrid_documents")
    assert code == 0
    assert out.endswith(
        "Nothing found in hybrid_documents. Try it without --filter and --source.\n"
    )
    code, out, _ = search("alarm", "--filter", '{"category": "SRVO"}', "--mode", "text")
    assert code == 0
    assert out.startswith("Note: left out, because no row has the key 'category' in metadata: ")
    assert "hybrid_documents: 2 hits by words" in out


def test_a_search_that_finds_nothing_succeeds_and_says_what_to_do(search: Command) -> None:
    code, out, err = search("zzzyzx", "--table", "hybrid_documents", "--mode", "text")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("hybrid_documents: 0 hits by words, k 10, index hybrid_documents_")
    assert lines[1] == (
        "Nothing found in hybrid_documents. "
        "Try fewer or other words, or rows near to one you know: --like KEY"
    )
    code, out, _ = search("battery", "--table", "thought_templates")
    assert code == 0
    assert out.endswith("Nothing is loaded there: memos-assets consolidate --data DIR\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "--table", "nope"], "M570 nope: no table that can be searched. Fix: name one of: "),
        (["a", "--mode", "vector"], "M577 MEMOS_EMBEDDER: no embedder is set"),
        (["a", "--k", "0"], "M573 "),
        (["a", "--k", "1000000"], "M573 "),
        (["a", "--k", "-1"], "M573 "),
        (["a", "--k", "ten"], "M500 "),
        (["a", "--mode", "magic"], "M500 "),
        (["  "], "M574 search: an empty text. Fix: "),
        (["\0"], "M574 "),
        (["the of and", "--mode", "text"], "M574 "),
        (["the of and"], "M574 "),
        (["?!", "--table", "hybrid_documents"], "M574 "),
        ([], "M582 search: nothing to search for"),
        (["a", "--like", "b"], "M582 search: --like and TEXT are mutually exclusive"),
        (["--like", "b", "--mode", "text"], "M582 search: --like and --mode text are mutually"),
        (["a", "--filter", "{"], "M583 --filter: the value is not JSON"),
        (["a", "--filter", "[1]"], "M583 --filter: the value is JSON, but not an"),
        (["a", "--filter", '{"a": NaN}'], "M583 --filter: the value is not JSON"),
        (["a", "--filter", '{"a": 1e999}'], "M583 --filter: the value is not JSON"),
        (["a", "--filter", r'{"a": "\u0000"}'], "M583 --filter: the value is not JSON"),
        (["a", "--filter", r'{"\ud800": 1}'], "M583 --filter: the value is not JSON"),
        (["a", "--filter", "[" * 100_000], "M583 --filter: the value is not JSON"),
        (["--like", "\udcff"], "M581 every table, ?: no row has this key"),
        (["--like", "a\n\0b" + 200 * "c"], r"M581 every table, a\n bccc"),
        (["a", "--filter", "{}"], "M583 --filter: the value is JSON, but not an"),
        (
            ["battery", "--table", "hybrid_documents", "--filter", '{"nokey": 1}'],
            "M575 table hybrid_documents: no row has the key 'nokey'",
        ),
        (["battery", "--filter", '{"nokey": 1}', "--mode", "text"], "M575 "),
        (["a", "--source", "nope"], "M526 nope: no such source; there are: hsea, manuals"),
        (["--like", "nope"], "M581 every table, nope: no row has this key"),
        (["--like", ""], "M581 every table, : no row has this key"),
        (
            ["--like", "e1"],
            "M581 table domain_embeddings, e1: several rows have this key (entities/fanuc/e1, ent",
        ),
        (
            ["--like", "r0", "--table", "semantic_memories"],
            "M581 table semantic_memories, r0: the row has no embedding",
        ),
        (["alarm", "--json", "/no/such/folder/x"], "M504 "),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    search: Command, arguments: list[str], said: str
) -> None:
    code, _, err = search(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(said)
    assert " Fix: " in err


def test_a_table_without_embeddings_is_searched_by_words_alone(
    search: Command, embedder: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del embedder
    without = replace(searchable("corpus_chunks", MEMOS.searchable), vector_indexes=())
    others = (table for table in MEMOS.searchable if table.name != without.name)
    monkeypatch.setitem(MEMOS.__dict__, "searchable", (*others, without))
    code, out, _ = search("battery", "--table", "corpus_chunks")
    assert code == 0
    assert "Note:" not in out
    assert "corpus_chunks: 1 hit by words" in out
    assert answers(search, "battery")["corpus_chunks"]["mode"] == "text"
    for arguments in (("battery", "--mode", "vector"), ("--like", "h1")):
        code, out, err = search(*arguments, "--table", "corpus_chunks")
        assert (code, out) == (2, "")
        assert err.startswith(
            "M571 table corpus_chunks: the table has no embeddings. Fix: search it by w"
        )


def test_nul_and_bytes_that_are_not_utf8_are_left_out_of_a_text(search: Command) -> None:
    found = answers(search, "battery\0\udcff", "--table", "hybrid_documents")
    assert keys(found["hybrid_documents"]) == ["srvo_062"]


def test_a_text_cannot_steer_the_terminal(search: Command) -> None:
    _, out, _ = search("INTP-105", "--table", "hybrid_documents")
    assert "the program was not selected \\x1b[31m[bold]red[/]." in out
    assert "\x1b" not in out


def bold(shown: Text) -> list[str]:
    return [shown.plain[span.start : span.end] for span in shown.spans if span.style == "bold"]


def test_matches_are_bold_and_stand_near_the_beginning() -> None:
    pattern = pattern_of("SRVO-062 batteries the", ["-062", "batteri", "srvo"])
    shown = snippet(f"{'word ' * 40}\n battery of srvo-062, {'x' * 300}", pattern, before=10)
    assert shown.plain.startswith("…word battery of srvo-062, xxx")
    assert shown.plain.endswith("x…")
    assert bold(shown) == ["battery", "srvo-062"]
    assert bold(snippet("nothing", pattern, before=10)) == []
    assert bold(snippet("combat batter", pattern, before=10)) == ["batter"]
    assert pattern_of("the of", []) is None
    assert snippet("a\tb\nc", None, before=10).plain == "a b c"


def test_a_search_imports_neither_dagster_nor_pandas() -> None:
    program = (
        "import sys\n"
        "from memos_assets.cli import main\n"
        "try: main(['search', 'a', '--table', 'nope'])\n"
        "except SystemExit: print({'dagster', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)
    assert (done.stdout, done.stderr[:5]) == (b"set()\n", b"M570 ")
