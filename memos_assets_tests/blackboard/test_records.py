"""Findings, contradictions, questions, entities, notes and actions on one board."""

import asyncio
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.blackboard import Board, SyncBoard, records, views
from memos_assets.blackboard.detection import detect, sentence_of
from memos_assets.errors import AgentError
from memos_assets.postgres.acting import set_acting
from memos_assets.postgres.sessions import create_async_engine
from memos_assets.settings import Settings
from memos_assets_tests.blackboard.spaces import share


def test_a_finding_that_another_agent_adds_again_is_one(board: SyncBoard, other: SyncBoard) -> None:
    first = board.add_finding("What is  SRVO-062?", "A battery alarm.", "manual:1", 0.6)
    again = other.add_finding("what is srvo-062?", "a  BATTERY alarm.", "manual:1", 0.9)
    assert first.added
    assert (again.key, again.added, again.seq) == (first.key, False, first.seq)
    assert other.add_finding("what is srvo-062?", "A battery alarm.", "manual:2", 0.9).added
    (question,) = board.questions()
    assert (question.status, question.confidence, question.findings) == ("partial", 0.9, 2)
    assert board.state("findings").get("findings", first.key).value["text"] == "A battery alarm."  # type: ignore[union-attr]


@pytest.mark.parametrize("confidence", [-0.1, 1.01, float("nan"), "high", None, True])
def test_a_confidence_out_of_range_stores_nothing(board: SyncBoard, confidence: object) -> None:
    with pytest.raises(AgentError, match=r"^M924 "):
        board.add_finding("q", "text", "source", confidence)  # type: ignore[arg-type]
    assert board.head().seq == 0


def test_what_a_finding_names_has_to_be_there(board: SyncBoard) -> None:
    for attempt in (
        lambda: board.add_finding("0" * 32, "text", "source", 0.5),
        lambda: board.add_finding("q", "text", "source", 0.5, of_search="0" * 32),
        lambda: board.decide_contradiction("0" * 32, "resolved"),
        lambda: board.add_synthesis("text", cites=["0" * 32]),
    ):
        with pytest.raises(AgentError, match=r"^M925 "):
            attempt()
    for memory in (str(uuid4()), "no id"):
        with pytest.raises(AgentError, match=r"^M926 .*vanished"):
            board.add_finding("q", "text", f"memory:{memory}", 0.5)
    with pytest.raises(AgentError, match=r"^M923 .*kind is none of fact"):
        board.add_finding("q", "text", "source", 0.5, kind="rumour")
    assert board.head().seq == 0


def remembered(sessions: sessionmaker[Session], user: str, text: str) -> str:
    with sessions.begin() as session:
        set_acting(session, user, "")
        return str(
            session.execute(
                sa.text(
                    "insert into agent.memories (id, space_id, user_id, kind, content, "
                    "content_digest, words, source) select gen_random_uuid(), s.id, :user, "
                    "'finding', :text, md5(:text), 1, 'test' from agent.spaces s "
                    "where s.owner = :user and s.private returning id"
                ),
                {"user": user, "text": text},
            ).scalar_one()
        )


def test_a_memory_that_was_retracted_is_not_a_source_any_more(
    sessions: sessionmaker[Session], board: SyncBoard, user: str
) -> None:
    memory = remembered(sessions, user, "The battery is flat.")
    assert board.add_finding("q", "flat", f"memory:{memory}", 0.5).added
    with sessions.begin() as session:
        set_acting(session, user, "")
        session.execute(sa.text("update agent.memories set retracted_at = now()"))
    with pytest.raises(AgentError, match=r"^M926 "):
        board.add_finding("q", "still flat", f"memory:{memory}", 0.5)


def test_a_contradiction_is_one_in_either_order_and_is_decided_once(
    board: SyncBoard, other: SyncBoard
) -> None:
    one = board.add_contradiction("It is on.", "It is off.", "a", "b", score=0.8, kind="antonym")
    two = other.add_contradiction("it is OFF.", "it is on.", "b", "a", score=0.1)
    assert (two.key, two.added) == (one.key, False)
    with pytest.raises(AgentError, match=r"^M923 .*one statement"):
        board.add_contradiction("Same.", "same.", "a", "a")
    (found,) = board.contradictions()
    assert (found.status, found.decided_by, found.score) == ("open", None, 0.8)
    other.decide_contradiction(one.key, "dismissed", reason="another unit")
    (found,) = board.contradictions()
    assert (found.status, found.decided_by) == ("dismissed", (board.who.user, "two"))
    assert found.reason == "another unit"
    board.decide_contradiction(one.key, "open")
    assert board.completion()["unresolved_contradictions"] == 1


def test_contradictions_are_found_among_findings_but_not_within_a_sentence(
    sessions: sessionmaker[Session], user: str
) -> None:
    async def run() -> None:
        engine = create_async_engine(sessions.kw["bind"].url, Settings(), application_name="tests")
        made = async_sessionmaker(engine, expire_on_commit=False)
        board = await Board.open(made, "find out", user=user)
        assert await detect(board) == []
        full, empty = "The battery is full.", "The battery is not full."
        await board.add_finding("q", full, "manual#3", 0.8)
        await board.add_finding("q", empty, "manual#3", 0.8)
        assert await detect(board) == []
        await board.add_finding("q", empty, "manual#4", 0.8)
        (found,) = await detect(board)
        assert found.added
        assert [one.added for one in await detect(board)] == [False]
        await board.decide_contradiction(found.key, "dismissed")
        assert [one.added for one in await detect(board)] == [False]
        (contradiction,) = await board.contradictions()
        assert contradiction.status == "dismissed"
        assert {contradiction.value[side]["source"] for side in "ab"} == {"manual#3", "manual#4"}
        await engine.dispose()

    asyncio.run(run())


def test_the_sentence_of_a_finding_is_that_of_its_source_or_its_evidence() -> None:
    assert sentence_of({"source": "manual#12"}) == "manual#12"
    assert sentence_of({"source": "manual"}) is None
    quoted = [
        sentence_of({"source": "manual", "evidence": words})
        for words in ("It is 5 or 6.", "it  is 5 OR 6.", "It is 7.")
    ]
    assert quoted[0] == quoted[1] != quoted[2]


@pytest.mark.parametrize("depth", [101, 5_000])
def test_a_value_that_few_readers_could_parse_is_refused(board: SyncBoard, depth: int) -> None:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    with pytest.raises(AgentError, match=r"^M923 .*has more than 100 levels"):
        board.write_public("deep", value)
    board.write_public("deep", value["a"] if depth == 101 else 1)  # type: ignore[index]
    assert board.head().seq == 1


def test_a_board_that_names_spaces_reads_no_other(
    sessions: sessionmaker[Session], user: str
) -> None:
    shared = SyncBoard.open(sessions, "shared", user=user, space=share(sessions, user))
    private = SyncBoard.open(sessions, "private", user=user)
    spaces = [private.head().space]
    assert SyncBoard(sessions, private.id, user=user, spaces=spaces).head().goal == "private"
    with pytest.raises(AgentError, match=r"^M910 "):
        SyncBoard(sessions, shared.id, user=user, spaces=spaces).head()


def test_a_synthesis_names_every_open_contradiction_of_its_threshold(
    board: SyncBoard, other: SyncBoard
) -> None:
    finding = board.add_finding("q", "It is on.", "a", 0.9).key
    strong = board.add_contradiction("It is on.", "It is off.", "a", "b", score=0.9).key
    board.add_contradiction("It is on.", "It may be off.", "a", "c", score=0.3)
    with pytest.raises(AgentError, match=r"^M931 .*leaves out 1 "):
        board.add_synthesis("It is on.", cites=[finding])
    named = board.add_synthesis(
        "On, says a; off, says b.", cites=[finding], contradictions=[strong]
    )
    assert board.state().get("syntheses", named.key).value["contradictions"] == [strong]  # type: ignore[union-attr]
    other.decide_contradiction(strong, "resolved")
    assert board.add_synthesis("It is on.", cites=[finding]).added


def test_a_finding_is_promoted_once_and_not_while_it_is_contradicted(
    sessions: sessionmaker[Session], board: SyncBoard, user: str
) -> None:
    finding = board.add_finding("q", "It is on.", "a", 0.9).key
    contradiction = board.add_contradiction("It is off.", "it is on.", "b", "a").key
    memory = remembered(sessions, user, "It is on.")

    def promote() -> bool:
        with sessions.begin() as session:
            set_acting(session, user, "one")
            return board.promote(session, finding, memory)

    with pytest.raises(AgentError, match=r"^M930 "):
        promote()
    board.decide_contradiction(contradiction, "resolved")
    assert promote()
    assert board.stats()["waiting"] == 1
    assert board.settle() == (1, 0)
    assert not promote()
    assert board.state().values("promotions")[finding]["memory"] == memory


def test_completion_counts_questions_and_open_contradictions(board: SyncBoard) -> None:
    assert board.completion()["is_complete"] is False
    key = board.add_question("Which part?", priority=2).key
    board.set_progress("which part?", "searching", gaps=["no manual"])
    done = board.completion()
    assert done["questions"][key] == {
        "text": "Which part?",
        "status": "searching",
        "confidence": 0.0,
        "findings_count": 0,
        "gaps": ["no manual"],
    }
    board.add_finding(key, "The battery.", "manual", 0.6)
    board.set_progress(key, "answered", confidence=0.8)
    assert board.completion()["overall"] == 0.8
    assert board.completion()["is_complete"] is True


def test_entities_are_merged_and_relations_notes_and_actions_are_kept(
    board: SyncBoard, other: SyncBoard
) -> None:
    board.add_entity({"id": "R-2000", "aliases": ["R2"], "attributes": {"axes": 6}})
    merged = other.add_entity({"id": "R-2000", "aliases": ["R2", "robot"], "type": "robot"})
    assert merged == {
        "id": "R-2000",
        "aliases": ["R2", "robot"],
        "attributes": {"axes": 6},
        "type": "robot",
        "mentions": 2,
    }
    assert board.add_relation("R-2000", "has", "battery", since=2020).added
    assert not other.add_relation("R-2000", "has", "battery").added
    assert board.add_note("look at the log").added
    assert other.add_note("look at the log").added
    urgent = board.add_action("replace it", priority=1)
    board.add_action("write it down")
    assert [one["text"] for one in other.next_actions()] == ["replace it", "write it down"]
    other.finish_action(urgent.key, result="replaced")
    assert [one["text"] for one in board.next_actions()] == ["write it down"]


def test_ten_thousand_findings_fit_where_the_budget_allows_it(
    sessions: sessionmaker[Session], user: str
) -> None:

    board = SyncBoard.open(sessions, "large", user=user)
    key = board.add_question("q").key
    for start in range(0, 10_000, 1_000):
        board.post(
            [records.finding(key, f"finding {n}", "s", 0.5) for n in range(start, start + 1_000)]
        )
    state = board.state()
    assert len(state.level("findings")) == 10_000
    assert views.questions(state)[0].findings == 10_000
    assert board.replay(5_001).seq == 5_001


def test_the_face_for_asyncio_takes_the_same_steps(
    sessions: sessionmaker[Session], user: str
) -> None:
    async def run() -> None:
        engine = create_async_engine(sessions.kw["bind"].url, Settings(), application_name="tests")
        made = async_sessionmaker(engine, expire_on_commit=False)
        board = await Board.open(made, "async", user=user, agent="one")
        found = [event async for event in board.follow(seconds=0)]
        assert found == []
        added = await asyncio.gather(
            *(board.add_finding("q", f"finding {n % 4}", "s", 0.5) for n in range(8))
        )
        assert sum(one.added for one in added) == 4
        await asyncio.gather(*(board.add_entity({"id": "e"}) for _ in range(6)))
        assert (await board.state()).values("entities")["e"]["mentions"] == 6
        with pytest.raises(AgentError, match=r"^M920 "):
            await board.read_public("nothing")
        await board.write_private("mine", 1)
        assert await board.read_private("mine") == 1
        async with made.begin() as session:
            await session.run_sync(set_acting, user, "one")
            waits = await board.enqueue(session, [records.note("n", "one", "note")])
        assert waits > 0
        assert (await board.settle()) == (1, 0)
        await board.complete()
        seqs = [event.seq async for event in board.follow()]
        assert seqs == list(range(1, (await board.head()).seq + 1))
        await engine.dispose()

    asyncio.run(run())
