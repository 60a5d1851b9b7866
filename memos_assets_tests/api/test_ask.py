"""A question over HTTP: cited, contradicted, remembered, cached, and computed anew when it must."""

import asyncio
import threading
from collections.abc import Iterator

import httpx
import pytest
import sqlalchemy as sa

from memos_assets.api.doors import Doors
from memos_assets.memory import sessions_for
from memos_assets.research import Research
from memos_assets.settings import Settings
from memos_assets_tests.api.conftest import (
    Client,
    Server,
    events_with_numbers,
    served,
    wait_until_idle,
)

ASK = "/api/v1/ask"
QUESTION = {"question": "What does the alarm SRVO-062 mean?"}
STREAM = {"Accept": "text/event-stream"}
AGAINST = "SRVO-062 BZAL alarm: the battery of the pulse coder is not empty."


class Slow:
    """A generator that waits until it may answer."""

    name = "slow"

    def __init__(self) -> None:
        self.began, self.may = threading.Event(), threading.Event()

    async def generate(self, _instruction: str, _prompt: str, _max_tokens: int) -> str:
        self.began.set()
        while not self.may.is_set():
            await asyncio.sleep(0.01)
        return "The battery is empty [1]."


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def writing(api_settings: Settings, slow: Slow) -> Iterator[Server]:
    """Serve with a generator that is slow."""

    def made(settings: Settings) -> Doors:
        sessions = sessions_for(settings, application_name="memos_assets:api")
        doors = Doors(settings, sessions)
        doors.research = Research(settings, sessions, generator=slow, cache=doors.cache)
        return doors

    with served(api_settings, make_doors=made) as running:
        yield running


def remember(client: httpx.Client, text: str) -> str:
    kept = client.post("/api/v1/network/remember", json={"text": text})
    assert kept.status_code == 201, kept.text
    return str(kept.json()["id"])


def test_an_answer_is_streamed_in_phases_and_comes_from_the_cache_the_second_time(
    client: Client,
) -> None:
    ann = client()
    memory = remember(ann, AGAINST)
    with ann.stream("POST", ASK, json=QUESTION, headers=STREAM) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        told = [(name, data) for name, _, data in events_with_numbers(response)]
    finished = [data["phase"] for name, data in told if name == "phase_finished"]
    assert finished == ["cache", "search", "findings", "contradictions", "synthesis", "memory"]
    names = [name for name, _ in told]
    assert {"finding", "contradiction", "sentence"} <= set(names)
    assert names[-1] == "answer"
    first = told[-1][1]
    assert (first["success"], first["meta"]["version"]) == (True, "2.0.0")
    data = first["data"]
    numbers = {one["number"] for one in data["sources"]}
    assert data["sentences"]
    assert all(one["cites"] and set(one["cites"]) <= numbers for one in data["sentences"])
    (opposed,) = data["contradictions"]
    assert opposed["a"] in data["text"]
    assert opposed["b"] in data["text"]
    assert {one["source"] for one in data["sources"]} >= {f"memory:{memory}"}
    assert data["remembered"] == []  # both sides are contradicted
    assert (data["origin"], data["complete"], data["written_by"]) == (
        *("computed", True, "extractive"),
    )
    board = ann.get(f"/api/v1/boards/{data['board']}").json()
    assert board["state"] == "complete"
    assert [one["status"] for one in board["contradictions"]] == ["open"]

    with ann.stream("POST", ASK, json=QUESTION, headers=STREAM) as response:
        told = [(name, data) for name, _, data in events_with_numbers(response)]
    assert [name for name, _ in told] == ["phase_started", "phase_finished", "answer"]
    assert told[1][1]["count"] == 1
    assert told[-1][1]["data"]["origin"] == "exact"
    assert told[-1][1]["data"]["text"] == data["text"]
    plain = ann.post(ASK, json=QUESTION).json()["data"]
    assert (plain["origin"], plain["text"]) == ("exact", data["text"])
    fresh = ann.post(ASK, json={**QUESTION, "fresh": True}).json()["data"]
    assert fresh["origin"] == "computed"


def test_what_was_found_is_remembered_once_and_recalled(client: Client) -> None:
    ann = client()
    data = ann.post(ASK, json=QUESTION).json()["data"]
    (kept,) = data["remembered"]
    assert "battery of the pulse coder" in kept["text"]
    recall = {"query": "SRVO-062 battery", "kinds": ["finding"]}
    hits = ann.post("/api/v1/network/recall", json=recall).json()["hits"]
    assert [hit["id"] for hit in hits] == [kept["memory"]]


def test_a_source_memory_that_changes_makes_it_compute_again_and_say_so(client: Client) -> None:
    ann = client()
    memory = remember(ann, "The alarm SRVO-062 went away after a restart of cell 7.")
    first = ann.post(ASK, json=QUESTION).json()["data"]
    assert memory in first["memories"]
    assert ann.post(ASK, json=QUESTION).json()["data"]["origin"] == "exact"
    ann.post("/api/v1/network/retract", json={"memory": memory})
    third = ann.post(ASK, json=QUESTION).json()["data"]
    assert third["origin"] == "computed"
    assert third["recomputed"].startswith("1 memory that the answer of ")
    assert "restart" not in third["text"]


def test_users_do_not_share_answers_and_boards(client: Client, user: str) -> None:
    ann, bob = client(), client(of=f"bob of {user}")
    remember(ann, "The alarm SRVO-062 is the secret of Ann.")
    data = ann.post(ASK, json=QUESTION).json()["data"]
    assert "secret" in data["text"]
    assert "secret" not in bob.post(ASK, json=QUESTION).text
    assert bob.get(f"/api/v1/boards/{data['board']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"question": ""}, "M966"),
        ({"question": "  "}, "M990"),
        ({"question": "a\0b"}, "M990"),
        ({"question": "x" * 10_001}, "M966"),
        ({"question": "x", "k": 51}, "M966"),
        ({"question": "x", "tokens": 1}, "M966"),
        ({"question": "x", "seconds": 0}, "M966"),
        ({"question": "x", "user": "bob"}, "M966"),
        ({}, "M966"),
    ],
)
def test_a_question_that_cannot_be_asked_is_one_problem(
    client: Client, body: dict[str, object], code: str
) -> None:
    ann = client()
    for headers in ({}, STREAM):
        refused = ann.post(ASK, json=body, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, code), refused.text
    assert ann.get("/api/v1/boards").json() == {"boards": []}


def test_a_client_that_leaves_midway_leaves_nothing_half_stored_and_no_connection(
    writing: Server, slow: Slow, client: Client, owners: sa.Engine, user: str
) -> None:
    ann = client(url=writing.url)
    with ann.stream("POST", ASK, json=QUESTION, headers=STREAM) as response:
        lines = response.iter_lines()  # kept: a generator that is dropped closes the response
        assert "event: finding" in lines
        assert slow.began.wait(20)
    stored = sa.text(
        "select (select count(*) from agent.memories where user_id = :user), "
        "(select count(*) from agent.cache_entries where user_id = :user)"
    )
    wait_until_idle(owners)
    with owners.connect() as conn:
        assert tuple(conn.execute(stored, {"user": user}).one()) == (0, 0)
    slow.may.set()
    data = ann.post(ASK, json=QUESTION).json()["data"]
    assert data["complete"]
    assert data["written_by"] == "slow"
    boards = ann.get("/api/v1/boards").json()["boards"]
    assert [(one["id"], one["state"]) for one in boards] == [(data["board"], "complete")]


def test_a_generator_that_is_slow_costs_the_time_of_a_request_at_most(
    api_settings: Settings, slow: Slow, client: Client
) -> None:
    def made(settings: Settings) -> Doors:
        sessions = sessions_for(settings, application_name="memos_assets:api")
        doors = Doors(settings, sessions)
        doors.research = Research(settings, sessions, generator=slow, cache=doors.cache)
        return doors

    settings = api_settings.model_copy(update={"api_seconds": 10.0})
    with served(settings, make_doors=made) as running:
        data = client(url=running.url).post(ASK, json=QUESTION).json()["data"]
    assert data["sentences"]
    assert (data["complete"], data["written_by"]) == (False, "extractive")
    assert any(note.startswith("slow was left out: the budget") for note in data["notes"])
