"""Recall ranks by meaning and exact BM25, sees what is true then, and only its own spaces."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.errors import AgentError
from memos_assets.memory import SyncMemory, recall_plan
from memos_assets.memory.models import current_model, ensure_registered
from memos_assets.memory.prepared import Asked
from memos_assets.memory.ranking import judged_query, ranking_of, store_ranking
from memos_assets.memory.recall import recall
from memos_assets.memory.recall_statement import B
from memos_assets.memory.reranking import rerank_now
from memos_assets.memory.sessions import sync_sessions_for
from memos_assets.memory.vector_indexes import build
from memos_assets.search.bm25 import Corpus
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.search.fusion import Weights, choose_weights
from memos_assets.settings import Settings

WORDS = [f"word{number}" for number in range(80)]
BY_WORDS = Weights(meaning=0, neighbours=0, links=0)
BY_MEANING = Weights(words=0, neighbours=0, links=0)


@pytest.fixture
def memory(engine: sa.Engine) -> SyncMemory:
    embedder = DeterministicEmbedder(64)
    ensure_registered(engine, embedder)
    return SyncMemory(Settings(), embedder=embedder)


@pytest.fixture
def sessions(settings: Settings) -> Iterator[sessionmaker[Session]]:
    """Make sessions of the role that row-level security binds."""
    made = sync_sessions_for(settings)
    yield made
    made.kw["bind"].dispose()


def remember(
    memory: SyncMemory, session: Session, texts: Sequence[str], **about: object
) -> list[str]:
    prepared = memory.prepare_many([{"text": text, **about} for text in texts])
    return [kept.id for kept in memory.remember(session, prepared)]


@pytest.mark.parametrize("most_postings", [20_000, 3])
def test_words_alone_rank_as_exact_bm25_does(
    sessions: sessionmaker[Session],
    memory: SyncMemory,
    monkeypatch: pytest.MonkeyPatch,
    most_postings: int,
) -> None:
    """With few postings allowed, common words are looked up for the best by rare ones."""
    monkeypatch.setattr("memos_assets.memory.recall.MOST_POSTINGS", most_postings)
    rng = random.Random(most_postings)
    chosen = [min(int(rng.expovariate(0.12)), 79) for _ in range(4_000)]
    texts = list(
        dict.fromkeys(
            " ".join(WORDS[rng.choice(chosen)] for _ in range(rng.randint(2, 25)))
            for _ in range(150)
        )
    )
    corpus = Corpus([{w: t.split().count(w) for w in t.split()} for t in texts], b=B)
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, texts)
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        for _ in range(100):
            words = {WORDS[rng.choice(chosen)] for _ in range(rng.randint(1, 6))}
            exact = corpus.scores(words)
            # Equally good ones are in no order of their own.
            hits = recall(session, Asked(" ".join(words), None, ""), 10, weights=BY_WORDS)
            best = sorted((score for score in exact if score), reverse=True)[:10]
            total = {hit.score / exact[texts.index(hit.content)] for hit in hits[: len(best)]}
            assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)
            assert len(hits) >= len(best)
            assert max(total) - min(total) < 1e-9, "each score is BM25 by one and the same factor"
            found = [exact[texts.index(hit.content)] for hit in hits[: len(best)]]
            assert np.allclose(found, best, rtol=1e-9)


def test_meaning_alone_ranks_by_cosine_and_every_list_gives_its_score(
    sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    texts = [f"{WORDS[n]} {WORDS[n + 1]} {WORDS[n + 2]}" for n in range(70)]
    query = memory.query("word7 word8")
    assert query.embedding is not None
    cosines = DeterministicEmbedder(64).embed(texts) @ query.embedding
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, texts)
        hits = memory.recall(session, query, 5, weights=BY_MEANING)
        fused = memory.recall(session, query, 5, explain=True)
    best = np.argsort(-cosines)[:5]
    assert [hit.content for hit in hits] == [texts[n] for n in best]
    assert np.allclose([hit.scores["meaning"] for hit in hits], cosines[best], atol=2e-3)
    assert {hit.content for hit in fused[:2]} == {texts[6], texts[7]}
    assert set(fused[0].scores) == {"meaning", "words", "neighbours", "links"}
    assert fused.evidence is not None
    assert fused.evidence.lists == ("meaning", "words")
    assert [route for route, _ in fused.evidence.routes.values()] == ["exact"]
    assert [count for _, count in fused.evidence.routes.values()] == [70]
    assert "postings_pkey" in fused.evidence.indexes


def test_rows_that_ended_or_are_filtered_are_left_out_before_the_cut(
    sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    """150 better rows that ended do not crowd out the one that is current."""
    ended = [f"anna lives in town{n}" for n in range(150)]
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, ended, valid_from="2020-01-01", valid_until="2021-01-01")
        remember(memory, session, [f"anna lives at {n}" for n in range(120)], kind="question")
        (current,) = remember(memory, session, ["anna now lives somewhere else, it is said"])
        query = memory.query("where anna lives")
        answers = memory.recall(session, query, 5, kinds=["finding"])
        then = memory.recall(session, query, 5, as_of="2020-06-01", kinds=["finding"])
        by_words = memory.recall(session, Asked(query.text, None, ""), 5, kinds=["finding"])
    assert [hit.id for hit in answers] == [current]
    assert [hit.id for hit in by_words] == [current]
    assert len(then) == 5
    assert {hit.state for hit in then} == {"superseded"}


def test_what_was_known_then_is_found_and_not_what_came_later(
    sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    said = {"subject": "anna", "attribute": "city"}
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, ["Anna lives in Riga."], recorded_at="2026-01-01", **said)
        remember(
            memory,
            session,
            ["Anna lives in Oslo."],
            recorded_at="2026-05-10",
            valid_from="2026-05-01",
            **said,
        )
        query = memory.query("Where does Anna live?")

        def found(**how: str) -> list[tuple[str, str]]:
            hits = memory.recall(session, query, 5, **how)  # type: ignore[arg-type]
            return [(hit.content[14:18], hit.state) for hit in hits]

        assert found() == [("Oslo", "current")]
        assert found(as_of="2026-03-01") == [("Riga", "superseded")]
        assert found(known_at="2026-04-01") == [("Riga", "current")]
        assert found(known_at="2026-05-05", as_of="2026-05-05") == [("Riga", "current")]
        assert found(known_at="2025-01-01") == []
        assert found(subject="Anna") == [("Oslo", "current")]
        assert found(subject="bob") == []


def test_neighbours_of_a_source_and_links_add_to_a_score(
    sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    talk = ["dentist appointment tuesday", "three o'clock then", "fine, see you", "unrelated talk"]
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, talk, source="chat:1")
        apart = remember(memory, session, ["parking is behind the house", "nobody asked this"])
        linked = memory.recall(session, memory.query("dentist appointment"), 1)[0].number
        session.execute(
            sa.text(
                "insert into agent.links (a, b, type, direction, weight, automatic, a_space_id, "
                "b_space_id) select :a, m.number, 'related', 0, 1, false, m.space_id, m.space_id "
                "from agent.memories m where m.id = :b"
            ),
            {"a": linked, "b": apart[0]},
        )
        hits = {
            hit.content: hit
            for hit in memory.recall(session, memory.query("dentist appointment"), 10)
        }
    assert hits[talk[1]].scores["neighbours"] > hits[talk[2]].scores["neighbours"] > 0
    first = hits[talk[0]]
    assert hits["parking is behind the house"].via == first.id
    assert hits["parking is behind the house"].scores["links"] > 0
    assert hits["nobody asked this"].scores["neighbours"] == 0


def test_others_memories_are_neither_found_nor_counted(
    sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    with sessions.begin() as session:
        memory.act_as(session, user="bob")
        remember(memory, session, [f"secret plan {n}" for n in range(30)], source="chat:1")
    with sessions.begin() as session:
        memory.act_as(session, user="anna")
        remember(memory, session, ["secret garden"], source="chat:1")
        hits = memory.recall(session, memory.query("secret plan"), 20, explain=True)
        assert [hit.content for hit in hits] == ["secret garden"]
        assert hits.evidence is not None
        assert [count for _, count in hits.evidence.routes.values()] == [1]
        alone = hits[0].scores["words"]
    with sessions.begin() as session:
        memory.act_as(session, user="carl")
        remember(memory, session, ["secret garden"])
        assert memory.recall(session, memory.query("secret plan"))[0].scores["words"] == alone
        with pytest.raises(AgentError, match="M702"):
            memory.recall(session, memory.query("secret"), spaces=["private:bob"])


def test_a_large_space_is_searched_by_its_index_and_what_came_later_exactly(
    engine: sa.Engine,
    sessions: sessionmaker[Session],
    memory: SyncMemory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recall_plan, "MOST_EXACT", 50)
    monkeypatch.setattr("memos_assets.memory.vector_indexes.FEWEST_INDEXED", 50)
    with engine.connect() as conn:
        model = current_model(conn)
    assert model is not None
    texts = [f"{WORDS[n % 80]} {WORDS[(n * 7) % 80]} {WORDS[(n * 3) % 80]}" for n in range(80)]
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, texts)
    (built,) = build(engine, model)
    assert list(build(engine, model)) == []
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, ["word5 word6 later"])
    # A new connection does not know pgvector's settings before it compares a vector.
    sessions.kw["bind"].dispose()
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        query = memory.query("word5 word6")
        before = session.execute(sa.text("select current_setting('enable_seqscan')")).scalar()
        hits = memory.recall(session, query, 5, weights=BY_MEANING, explain=True)
        after = session.execute(sa.text("select current_setting('enable_seqscan')")).scalar()
        chosen = memory.recall(session, query, 5, source="user:u1", explain=True)
    assert hits.evidence is not None
    assert query.embedding is not None
    assert hits.evidence.routes == {built.index.space: (built.index.name, 81)}
    assert built.index.name in hits.evidence.indexes
    assert hits[0].content == "word5 word6 later"
    assert before == after == "on"
    assert chosen.evidence is not None
    assert chosen.evidence.routes == {built.index.space: ("exact", 81)}
    exact = DeterministicEmbedder(64).embed([*texts, "word5 word6 later"]) @ query.embedding
    assert np.allclose([hit.scores["meaning"] for hit in hits], np.sort(exact)[::-1][:5], atol=2e-3)


def test_what_cannot_be_asked_is_refused_with_its_code(
    sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    query = memory.query("anything")
    with sessions.begin() as session:
        with pytest.raises(AgentError, match="M700"):
            memory.recall(session, query)
        memory.act_as(session, user="u1")
        assert memory.recall(session, query) == []
        for k in (0, 1_001, True, "5"):
            with pytest.raises(AgentError, match="M790"):
                memory.recall(session, query, k)  # type: ignore[arg-type]
        with pytest.raises(AgentError, match="M790"):
            memory.recall(session, query, kinds=["gossip"])
        with pytest.raises(AgentError, match="M791"):
            memory.recall(session, Asked("a", np.ones(3, dtype=np.float32), query.model))
        with pytest.raises(AgentError, match="M792"):
            memory.recall(session, Asked("a", query.embedding, "another"))
        with pytest.raises(AgentError, match="M731"):
            memory.recall(session, query, as_of="yesterday")
        for name in ("subject", "source"):
            with pytest.raises(AgentError, match="M730"):
                memory.recall(session, query, **{name: "mail\0"})  # type: ignore[arg-type]


def test_a_reranker_puts_hits_into_its_order_and_must_answer_for_each(
    sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    class ByLength:
        def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
            assert question == "cat"
            return [len(text) for text in texts]

    class Broken:
        def score(self, question: str, texts: Sequence[str]) -> Sequence[float]:
            return [float("nan") if question else 0.0] * len(texts)

    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, ["cat", "cat and dog and horse", "cat and dog"])
        hits = memory.recall(session, memory.query("cat"))
    ranked = rerank_now(ByLength(), "cat", hits, 2)
    assert [hit.content for hit in ranked] == ["cat and dog and horse", "cat and dog"]
    assert ranked[0].scores["rerank"] == ranked[0].score == 21
    assert rerank_now(Broken(), "cat", []) == []
    with pytest.raises(AgentError, match="M793"):
        rerank_now(Broken(), "cat", hits)


def test_labelled_questions_choose_weights_that_recalls_then_use(
    engine: sa.Engine, sessions: sessionmaker[Session], memory: SyncMemory
) -> None:
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        remember(memory, session, ["a first talk", "of other things"], source="chat:1")
        (answer,) = remember(memory, session, ["the boat is red"], source="chat:2")
        query = memory.query("which boat is red")
        judged = judged_query(session, query, [answer], "u1")
        assert judged_query(session, query, ["another"]) is None
    assert judged is not None
    assert judged.relevant == [int(np.argmax(judged.words))]
    assert judged.sources.tolist() == [0, 0, 1]
    choice = choose_weights([judged, replace(judged, group="u2")])
    with engine.begin() as conn:
        store_ranking(conn, query.model, replace(choice.weights, words=0.25))
        assert ranking_of(conn, query.model).words == 0.25
        with pytest.raises(AgentError, match="M792"):
            store_ranking(conn, "another", choice.weights)
    with sessions.begin() as session:
        memory.act_as(session, user="u1")
        hits = memory.recall(session, query, 1, explain=True)
    assert hits.evidence is not None
    assert hits.evidence.weights["words"] == 0.25
