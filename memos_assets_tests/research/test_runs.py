"""A question becomes an answer: cited, contradicted, remembered once, cached, and resumed."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest

from memos_assets.errors import AgentError
from memos_assets.research import Answer, Budget, Event, Research, SyncResearch
from memos_assets.research.events import Answered, FindingRecorded
from memos_assets.search.embed import DeterministicEmbedder, ThreadedEmbedder, Vectors
from memos_assets.settings import Settings
from memos_assets_tests.research.conftest import QUESTION, TABLE, Corpus

_MEMORIES = "select kind, content, source from agent.memories where user_id = :user order by number"


def ask(corpus: Corpus, user: str, question: str = QUESTION, **about: Any) -> Answer:
    return corpus.run(lambda research: research.ask(question, user=user, **about))


async def events_of(research: Research, user: str, **about: Any) -> list[Event]:
    return [event async for event in research(QUESTION, user=user, **about)]


def remember(corpus: Corpus, user: str, text: str, **about: Any) -> str:
    async def work(research: Research) -> str:
        memory, sessions = research._tools.memory, research._tools.sessions
        prepared = await memory.prepare(text, **about)
        async with sessions.begin() as session:
            await memory.act_as(session, user=user)
            return (await memory.remember(session, prepared)).id

    return corpus.run(work)


def retract(corpus: Corpus, user: str, memory_id: str) -> None:
    async def work(research: Research) -> None:
        memory, sessions = research._tools.memory, research._tools.sessions
        async with sessions.begin() as session:
            await memory.act_as(session, user=user)
            await memory.retract(session, memory_id)

    corpus.run(work)


def test_every_sentence_cites_a_source_and_both_sides_of_a_contradiction_are_named(
    corpus: Corpus, user: str
) -> None:
    answer = ask(corpus, user)
    numbers = {source.number for source in answer.sources}
    assert answer.sentences
    assert all(one.cites and set(one.cites) <= numbers for one in answer.sentences)
    assert "MOTN-017" not in answer.text
    (opposed,) = answer.contradictions
    assert {opposed.a, opposed.b} == {
        "SRVO-062 is caused by the battery.",
        "SRVO-062 is not caused by the battery.",
    }
    assert {opposed.source_a, opposed.source_b} <= numbers
    assert opposed.a in answer.text
    assert opposed.b in answer.text
    assert answer.written_by == "extractive"


def test_findings_without_an_open_contradiction_are_promoted_once(
    corpus: Corpus, user: str
) -> None:
    first = ask(corpus, user)
    assert [one.text.split(":")[0] for one in first.remembered] == ["Remedy of SRVO-062"]
    again = ask(corpus, user, fresh=True)
    assert again.remembered == []
    kinds = [row.kind for row in corpus.rows(_MEMORIES, user=user)]
    assert kinds.count("finding") == 1
    promoted = corpus.rows(
        "select count(*) from agent.board_events where user_id = :user and level = 'promotions'",
        user=user,
    )
    assert promoted[0][0] == 1


def test_the_same_question_comes_from_the_cache_and_a_changed_memory_computes_it_again(
    corpus: Corpus, user: str
) -> None:
    memory = remember(corpus, user, "SRVO-062 went away after a restart of cell 7.")
    first = ask(corpus, user)
    assert first.origin == "computed"
    assert memory in first.memories
    second = ask(corpus, user)
    assert second.origin == "exact"
    assert second.text == first.text
    retract(corpus, user, memory)
    third = ask(corpus, user)
    assert third.origin == "computed"
    assert third.recomputed.startswith("1 memory that the answer of ")
    assert "restart" not in third.text


def test_only_what_is_remembered_is_embedded(corpus: Corpus, user: str) -> None:
    class Counted(DeterministicEmbedder):
        def embed(self, texts: Sequence[str]) -> Vectors:
            embedded.extend(texts)
            return super().embed(texts)

    embedded: list[str] = []
    remember(corpus, user, "SRVO-062 went away after a restart of cell 7.")
    embedder = ThreadedEmbedder(Counted(64))
    answer = corpus.run(lambda research: research.ask(QUESTION, user=user), embedder=embedder)
    assert {source.source.split(":")[0] for source in answer.sources} >= {"memory"}
    observed = "select content from agent.memories where user_id = :user and kind = 'observation'"
    texts = [text for text in embedded if text != QUESTION]
    assert sorted(texts) == sorted(row.content for row in corpus.rows(observed, user=user))


def test_two_readings_of_one_sentence_do_not_contradict_each_other(
    corpus: Corpus, user: str
) -> None:
    texts = ("SRVO-062 takes 54 s at cell 7.", "SRVO-062 takes 60 s at cell 7.")
    for text in texts:
        remember(corpus, user, text, source="log#7")
    question = "How long does SRVO-062 take at cell 7?"
    found = ask(corpus, user, question)
    assert {source.text for source in found.sources} >= set(texts)
    assert [one for one in found.contradictions if one.kind == "number"] == []
    other = f"{user}-other"
    for number, text in enumerate(texts):
        remember(corpus, other, text, source=f"log#{number}")
    found = ask(corpus, other, question)
    (opposed,) = (one for one in found.contradictions if one.kind == "number")
    assert {opposed.a, opposed.b} == set(texts)


def test_answers_of_a_user_are_not_those_of_another(corpus: Corpus, user: str) -> None:
    remember(corpus, user, "SRVO-062 is the secret of the first user.")
    assert "secret" in ask(corpus, user).text
    assert "secret" not in ask(corpus, f"{user}-other").text


def test_events_come_in_the_order_of_the_phases_and_are_json(corpus: Corpus, user: str) -> None:
    events = corpus.run(lambda research: events_of(research, user))
    read = [json.loads(json.dumps(event.as_json())) for event in events]
    finished = [one["phase"] for one in read if one["event"] == "phase_finished"]
    assert finished == ["cache", "search", "findings", "contradictions", "synthesis", "memory"]
    assert all(one["seconds"] >= 0 for one in read if one["event"] == "phase_finished")
    assert read[-1]["event"] == "answer"
    assert Answer.from_json(read[-1]["answer"]) == events[-1].answer  # type: ignore[union-attr]
    assert sum(one["event"] == "finding" for one in read) == 3


@pytest.mark.parametrize("question", ["", " \n", "a\0b", "\ud800", None])
def test_a_question_that_is_none_is_refused(corpus: Corpus, user: str, question: Any) -> None:
    with pytest.raises(AgentError, match="M990"):
        ask(corpus, user, question)


def test_a_question_of_a_megabyte_is_refused_and_nothing_is_stored(
    corpus: Corpus, user: str
) -> None:
    with pytest.raises(AgentError, match="M991"):
        ask(corpus, user, "SRVO-062 " * 120_000)
    assert corpus.rows("select from agent.boards where user_id = :user", user=user) == []


@pytest.mark.parametrize(
    "about",
    [{"k": 0}, {"k": 51}, {"budget": Budget(0)}, {"budget": Budget(float("nan"))},
     {"budget": Budget(1, 3)}],
)  # fmt: skip
def test_what_a_run_cannot_keep_is_refused(
    corpus: Corpus, user: str, about: dict[str, Any]
) -> None:
    with pytest.raises(AgentError, match="M992"):
        ask(corpus, user, **about)


def test_without_anything_found_the_answer_says_so(corpus: Corpus, user: str) -> None:
    answer = ask(corpus, user, "zzqx?")
    assert answer.text == "Nothing was found."
    assert not answer.found
    assert answer.remembered == []


def test_without_corpora_memory_alone_answers(settings: Settings, user: str) -> None:
    empty = Corpus(settings, None)  # type: ignore[arg-type]
    remember(empty, user, "SRVO-062 means that the battery is empty.")
    answer = ask(empty, user)
    assert [one.text for one in answer.sentences] == ["SRVO-062 means that the battery is empty."]
    assert any(note.startswith("Not searched: hybrid_documents (M326") for note in answer.notes)


def test_a_budget_that_ends_is_said_and_its_answer_is_not_kept(corpus: Corpus, user: str) -> None:
    answer = ask(corpus, user, budget=Budget(seconds=1e-6))
    assert not answer.complete
    assert any(note.startswith("The budget of 1e-06 seconds ended") for note in answer.notes)
    assert corpus.rows(_MEMORIES, user=user) == []
    again = ask(corpus, user, budget=Budget(seconds=1e-6))
    assert again.origin == "computed"


def test_a_client_that_leaves_midway_leaves_nothing_half_stored(corpus: Corpus, user: str) -> None:
    async def leave(research: Research) -> None:
        events = research(QUESTION, user=user)
        async for event in events:
            if isinstance(event, FindingRecorded):
                break
        await events.aclose()

    corpus.run(leave)
    assert corpus.rows(_MEMORIES, user=user) == []
    cached = corpus.rows("select from agent.cache_entries where user_id = :user", user=user)
    assert cached == []
    assert ask(corpus, user).complete
    boards = corpus.rows("select state from agent.boards where user_id = :user", user=user)
    assert [row.state for row in boards] == ["complete"]


_KILLED = """
import asyncio, sys
from pydantic import SecretStr
from memos_assets.research.sync_facade import open_research
from memos_assets.settings import Settings
from memos_assets_tests.research.conftest import QUESTION, TABLE

async def main(url, home, user, phase):
    settings = Settings(home=home, database_url=SecretStr(url))
    async with open_research(settings, tables=(TABLE,)) as research:
        async for event in research(QUESTION, user=user):
            said = event.as_json()
            if said["event"] == "phase_finished" and said["phase"] == phase:
                print("there", flush=True)
                import time
                time.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("phase", ["search", "findings", "contradictions", "synthesis", "memory"])
def test_a_run_that_was_killed_goes_on_where_it_was(corpus: Corpus, user: str, phase: str) -> None:
    url = corpus.settings.database_url
    assert url is not None
    home = str(corpus.settings.home)
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, url.get_secret_value(), home, user, phase],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    events = corpus.run(lambda research: events_of(research, user))
    said = [event.as_json() for event in events]
    resumed = [one["phase"] for one in said if one.get("resumed")]
    phases = ["search", "findings", "contradictions", "synthesis", "memory"]
    assert resumed[: phases.index(phase) + 1] == phases[: phases.index(phase) + 1]
    assert isinstance(events[-1], Answered)
    answer = events[-1].answer
    assert len(answer.contradictions) == 1
    assert len(answer.remembered) == 1
    levels = dict(
        map(
            tuple,
            corpus.rows(
                "select level, count(*) from agent.board_events where user_id = :user group by 1",
                user=user,
            ),
        )
    )
    assert (levels["findings"], levels["contradictions"], levels["syntheses"]) == (3, 1, 1)
    assert levels["promotions"] == 1
    kinds = [row.kind for row in corpus.rows(_MEMORIES, user=user)]
    assert kinds.count("finding") == 1


def test_a_source_that_vanished_before_a_run_goes_on_is_left_out_and_said(
    corpus: Corpus, user: str
) -> None:
    memory = remember(corpus, user, "SRVO-062 went away after a restart of cell 7.")

    async def leave(research: Research) -> None:
        events = research(QUESTION, user=user)
        async for event in events:
            if event.as_json().get("phase") == "findings":
                break
        await events.aclose()

    corpus.run(leave)
    retract(corpus, user, memory)
    answer = ask(corpus, user)
    assert "restart" not in answer.text
    assert f"A source has vanished: memory:{memory}." in answer.notes


def test_a_board_that_is_complete_gives_its_answer_again(corpus: Corpus, user: str) -> None:
    answer = ask(corpus, user)
    again = ask(corpus, user, board=answer.board)
    assert again.origin == "computed"
    assert (again.text, again.board) == (answer.text, answer.board)
    assert again.remembered == answer.remembered


def test_a_board_of_another_question_is_refused(corpus: Corpus, user: str) -> None:
    answer = ask(corpus, user)
    with pytest.raises(AgentError, match="M995"):
        ask(corpus, user, "What does MOTN-017 mean?", board=answer.board)


def test_code_that_waits_gets_the_same(corpus: Corpus, user: str) -> None:
    with SyncResearch(corpus.settings, tables=(TABLE,)) as research:
        events = list(research(QUESTION, user=user))
        assert isinstance(events[-1], Answered)
        again = research.ask(QUESTION, user=user)
    assert again.origin == "exact"
    assert again.text == events[-1].answer.text


def test_lookups_of_a_pipeline_are_counted_once_it_is_closed(corpus: Corpus, user: str) -> None:
    def hits() -> int:
        counted = (
            "select coalesce(sum(count), 0)::int from agent.cache_counts where outcome = 'hit'"
        )
        return int(corpus.rows(counted)[0][0])

    before = hits()
    with SyncResearch(corpus.settings, tables=(TABLE,)) as research:
        research.ask(QUESTION, user=user)
        research.ask(QUESTION, user=user)
    assert hits() == before + 1


def test_two_at_once_compute_once(corpus: Corpus, user: str) -> None:
    async def both(research: Research) -> list[Answer]:
        asked = (research.ask(QUESTION, user=user) for _ in range(4))
        return list(await asyncio.gather(*asked))

    answers = corpus.run(both)
    assert len({answer.board for answer in answers}) == 1
    assert len(corpus.rows("select from agent.boards where user_id = :user", user=user)) == 1


def test_the_cache_answers_in_milliseconds(corpus: Corpus, user: str) -> None:
    async def timed(research: Research) -> float:
        await research.ask(QUESTION, user=user)
        began = time.perf_counter()
        await research.ask(QUESTION, user=user)
        return time.perf_counter() - began

    assert corpus.run(timed) < 1.0
