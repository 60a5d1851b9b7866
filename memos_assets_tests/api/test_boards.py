"""Boards over HTTP: written and read by agents of one user, and by nobody else."""

import threading
import time
import uuid
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from memos_assets.postgres.service_role import ROLE
from memos_assets_tests.api.conftest import Client, events_with_numbers, wait_until_idle
from memos_assets_tests.blackboard.spaces import share

BOARDS = "/api/v1/boards"
STREAM = {"Accept": "text/event-stream"}
QUESTION = "What does SRVO-062 mean?"
FINDING = {
    "question": QUESTION,
    "finding": "The battery is empty.",
    "source": "manual#3",
    "confidence": 0.8,
}


def opened(client: httpx.Client, **about: Any) -> str:
    """Open a board and return its address."""
    made = client.post(BOARDS, json={"goal": "Find the cause.", **about})
    assert made.status_code == 201, made.text
    return f"{BOARDS}/{made.json()['id']}"


def refused(answer: httpx.Response) -> tuple[int, str]:
    """Return status and code of a problem, whose fix is said."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.json()["fix"]
    return answer.status_code, answer.json()["code"]


def test_agents_of_a_user_find_contradict_decide_and_complete(client: Client) -> None:
    one, two = client(agent="one"), client(agent="two")
    board = opened(one)
    first = one.post(f"{board}/findings", json=FINDING)
    again = two.post(f"{board}/findings", json={**FINDING, "finding": "the battery  is EMPTY."})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {**first.json(), "added": False}
    full = {**FINDING, "finding": "The battery is not empty.", "source": "log#7"}
    assert two.post(f"{board}/findings", json=full).status_code == 201
    found = one.post(f"{board}/contradictions/detect").json()["contradictions"]
    assert [record["added"] for record in found] == [True]
    assert two.post(f"{board}/contradictions/detect").json()["contradictions"] == [
        {**found[0], "added": False}
    ]
    shown = two.get(board).json()
    assert shown["opened_by"]["agent"] == "one"
    (contradiction,) = shown["contradictions"]
    assert {contradiction["a"]["source"], contradiction["b"]["source"]} == {"manual#3", "log#7"}
    assert shown["completion"]["unresolved_contradictions"] == 1
    (question,) = shown["completion"]["questions"].values()
    assert (question["text"], question["status"], question["findings_count"]) == (
        *(QUESTION, "partial", 2),
    )
    decision = {"status": "resolved", "reason": "The log is older."}
    decided = two.post(f"{board}/contradictions/{contradiction['key']}/decide", json=decision)
    assert decided.json()["posted"][0]["status"] == "added"
    answered = {"question": QUESTION, "status": "answered", "confidence": 0.9}
    assert one.put(f"{board}/questions/progress", json=answered).status_code == 200
    done = one.get(f"{board}/completion").json()
    assert (done["is_complete"], done["unresolved_contradictions"]) == (True, 0)
    assert one.post(f"{board}/complete", json={"reason": "known"}).status_code == 201
    assert refused(two.post(f"{board}/findings", json={**FINDING, "source": "x"})) == (409, "M911")
    stats = one.get(f"{board}/stats").json()
    assert stats["state"] == "complete"
    assert stats["entries"]["findings"] == 2
    assert [row["state"] for row in one.get(BOARDS, params={"state": "complete"}).json()["boards"]]
    assert one.get(BOARDS, params={"state": "open"}).json() == {"boards": []}


def test_a_state_is_read_by_level_and_page_and_replayed_at_an_event(client: Client) -> None:
    ann = client(agent="one")
    board = opened(ann)
    for number in range(5):
        ann.post(f"{board}/findings", json={**FINDING, "source": f"manual#{number}"})
    state = ann.get(f"{board}/state").json()
    assert state["seq"] == 6
    assert {one["level"] for one in state["entries"]} == {"questions", "findings"}
    page = ann.get(f"{board}/state", params={"level": "findings", "limit": 2}).json()
    assert (len(page["entries"]), page["total"], page["has_more"]) == (2, 5, True)
    rest = ann.get(
        f"{board}/state", params={"level": "findings", "after": page["entries"][-1]["seq"]}
    ).json()
    assert (len(rest["entries"]), rest["has_more"]) == (3, False)
    key = page["entries"][0]["key"]
    assert [one["key"] for one in ann.get(f"{board}/state", params={"key": key}).json()["entries"]]
    then = ann.get(f"{board}/replay", params={"at": 3}).json()
    assert then["entries"] == [one for one in state["entries"] if one["seq"] <= 3]
    assert ann.get(f"{board}/replay", params={"at": 0}).json()["entries"] == []
    assert refused(ann.get(f"{board}/replay", params={"at": 7})) == (404, "M919")
    listed = ann.get(f"{board}/events", params={"after": 4, "limit": 1}).json()
    assert ([one["seq"] for one in listed["events"]], listed["after"]) == ([5], 5)


def test_a_public_key_is_compared_set_united_and_reviewed(client: Client) -> None:
    one, two = client(agent="one"), client(agent="two")
    board = opened(one)

    def write(who: httpx.Client, **body: Any) -> httpx.Response:
        return who.put(f"{board}/public", json=body)

    part = {"key": "part", "value": "A06B", "strategy": "cas"}
    assert write(one, **part, expected=0).status_code == 200
    conflict = write(two, **{**part, "value": "other"}, expected=0)
    assert refused(conflict) == (409, "M912")
    assert (conflict.json()["version"], conflict.json()["current"]) == (1, "A06B")
    assert write(two, **{**part, "value": {"part": 2}}, expected=1).status_code == 200
    read = one.get(f"{board}/public", params={"key": "part"}).json()
    assert (read["value"], read["entries"][0]["version"]) == ({"part": 2}, 2)
    assert refused(write(one, key="part", value=1, strategy="union")) == (409, "M913")
    write(one, key="seen", value=["a", "b"], strategy="union")
    write(two, key="seen", value="c", strategy="union")
    seen = one.get(f"{board}/public", params={"key": "seen"}).json()["value"]
    assert sorted(seen) == ["a", "b", "c"]
    write(one, key="cause", value="battery", strategy="review")
    assert refused(one.get(f"{board}/public", params={"key": "cause"})) == (404, "M920")
    state = one.get(f"{board}/state", params={"key": "cause"}).json()["entries"]
    decision = {"key": "cause", "item": state[0]["item"], "accept": True}
    assert refused(one.post(f"{board}/public/review", json=decision)) == (403, "M917")
    assert two.post(f"{board}/public/review", json=decision).status_code == 200
    assert refused(two.post(f"{board}/public/review", json=decision)) == (409, "M916")
    assert one.get(f"{board}/public", params={"key": "cause"}).json()["value"] == "battery"
    write(one, key="soon", value=1, ttl=0.01)
    time.sleep(0.05)
    assert refused(one.get(f"{board}/public", params={"key": "soon"})) == (410, "M921")


def test_any_json_that_is_written_is_read_again_and_what_nobody_can_parse_is_refused(
    client: Client,
) -> None:
    ann = client()
    board = opened(ann)
    values = [10**30, 1.5, "\u2028\u00e4", {"a": [None, {}]}, [[]], "", 0, False]
    for value in values:
        assert ann.put(f"{board}/public", json={"key": "k", "value": value}).status_code == 200
        assert ann.get(f"{board}/public", params={"key": "k"}).json()["value"] == value
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    for value in (None, deep, "a\0b"):
        answer = ann.put(f"{board}/public", json={"key": "k", "value": value})
        assert refused(answer) == (422, "M923")
    for text in ("NaN", "1e999", '"\\ud800"'):
        body = f'{{"key": "k", "value": {text}}}'
        assert ann.put(f"{board}/public", content=body).status_code == 422, text
    assert ann.get(f"{board}/public", params={"key": "k"}).json()["value"] is False
    assert len(ann.get(f"{board}/events").json()["events"]) == len(values)


def test_a_private_key_is_that_of_one_agent(client: Client, user: str, owners: sa.Engine) -> None:
    one, two = client(agent="one"), client(agent="two")
    board = opened(one)
    written = one.put(f"{board}/private", json={"key": "draft", "value": "canary-3b7d"})
    assert written.json() == {"key": "draft", "written": True}
    asked = {"key": "draft"}
    assert one.get(f"{board}/private", params=asked).json()["value"] == "canary-3b7d"
    assert two.get(f"{board}/private", params=asked).json()["value"] is None
    anothers = two.get(f"{board}/private", params={**asked, "agent": "one"})
    assert refused(anothers) == (403, "M922")
    assert "canary-3b7d" not in anothers.text + two.get(f"{board}/events").text
    assert two.get(f"{board}/stats").json()["refused"] == {"private": 1}
    one.put(f"{board}/private", json={"key": "soon", "value": 1, "ttl": 0.01})
    time.sleep(0.05)
    assert refused(one.get(f"{board}/private", params={"key": "soon"})) == (410, "M921")
    with owners.connect() as conn:
        mine = "select agent_id from agent.board_private where user_id = :user"
        agents = conn.execute(sa.text(mine), {"user": user}).scalars()
        assert set(agents) == {"one"}


def test_a_board_is_followed_until_it_is_complete(client: Client) -> None:
    one, two = client(agent="one"), client(agent="two")
    board = opened(one)

    def work() -> None:
        for number in range(3):
            two.post(f"{board}/findings", json={**FINDING, "source": f"manual#{number}"})
        two.post(f"{board}/complete", json={})

    worker = threading.Thread(target=work)
    with one.stream("GET", f"{board}/events", headers=STREAM) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        worker.start()
        followed = events_with_numbers(response)
    worker.join()
    assert [number for _, number, _ in followed] == [1, 2, 3, 4, 5, None]
    assert [name for name, _, _ in followed] == [*["posted"] * 5, "end"]
    assert followed[0][2]["level"] == "questions"
    assert followed[-1][2] == {"after": 5, "state": "complete"}
    again = one.get(f"{board}/events", headers={**STREAM, "Last-Event-ID": "4"})
    assert [number for _, number, _ in events_with_numbers(again)] == [5, None]


def test_a_follower_is_asked_to_come_back_and_one_that_leaves_keeps_no_connection(
    client: Client, owners: sa.Engine
) -> None:
    ann = client()
    board = opened(ann)
    ann.post(f"{board}/findings", json=FINDING)
    wait = {"after": 1, "seconds": 0}
    short = ann.get(f"{board}/events", headers=STREAM, params=wait)
    assert [(name, number) for name, number, _ in events_with_numbers(short)] == [
        ("posted", 2),
        ("end", None),
    ]
    for _ in range(5):
        with ann.stream("GET", f"{board}/events", headers=STREAM) as response:
            next(response.iter_lines())
    wait_until_idle(owners)


def test_a_board_of_another_user_is_as_one_that_is_not_there(client: Client, user: str) -> None:
    bob, ann = client(of=f"bob of {user}"), client()
    board = opened(bob, goal="canary-77aa")
    bob.post(f"{board}/findings", json=FINDING)
    for other in (board, f"{BOARDS}/{uuid.uuid4()}", f"{BOARDS}/x"):
        for method, path, body in (
            ("GET", "", None),
            ("GET", "/state", None),
            ("GET", "/stats", None),
            ("GET", "/events", None),
            ("GET", "/replay?at=1", None),
            ("GET", "/public?key=k", None),
            ("GET", "/private?key=k", None),
            ("POST", "/findings", FINDING),
            ("POST", "/contradictions/detect", None),
            ("POST", "/complete", {}),
            ("PUT", "/public", {"key": "k", "value": 1}),
            ("PUT", "/private", {"key": "k", "value": 1}),
        ):
            answer = ann.request(method, other + path, json=body)
            assert refused(answer) == (404, "M910"), (method, path)
            assert "canary-77aa" not in answer.text
        followed = ann.get(f"{other}/events", headers=STREAM)
        assert refused(followed) == (404, "M910")
    assert ann.get(BOARDS).json() == {"boards": []}
    assert bob.get(board).json()["seq"] == 2


def test_a_token_shows_boards_of_the_spaces_that_it_names_alone(
    client: Client, owners: sa.Engine, user: str
) -> None:
    def become(connection: Any, _record: object) -> None:
        connection.execute(f"set role {ROLE}")
        connection.commit()

    services = sa.create_engine(owners.url)
    sa.event.listen(services, "connect", become)
    space = share(sessionmaker(services), user, reader="read")
    services.dispose()
    within, without = client(spaces=[space]), client()
    board = opened(within, space=space)
    assert refused(without.post(BOARDS, json={"goal": "g", "space": space})) == (403, "M702")
    assert refused(without.get(board)) == (404, "M910")
    assert refused(without.post(f"{board}/findings", json=FINDING)) == (404, "M910")
    assert without.get(BOARDS).json() == {"boards": []}
    reader = client(of="reader", spaces=[space])
    assert reader.get(board).status_code == 200
    assert refused(reader.post(f"{board}/findings", json=FINDING)) == (403, "M918")
    assert refused(reader.post(BOARDS, json={"goal": "g", "space": space})) == (403, "M918")


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"confidence": 1.5}, 422, "M966"),
        ({"confidence": "high"}, 422, "M966"),
        ({"confidence": None}, 422, "M966"),
        ({"finding": ""}, 422, "M966"),
        ({"finding": " "}, 422, "M923"),
        ({"finding": "a\0b"}, 422, "M923"),
        ({"finding": "x" * 70_000}, 422, "M923"),
        ({"source": "x" * 301}, 422, "M966"),
        ({"kind": "rumour"}, 422, "M966"),
        ({"unknown": 1}, 422, "M966"),
        ({"question": "0" * 32}, 404, "M925"),
        ({"of_search": "0" * 32}, 404, "M925"),
        ({"source": f"memory:{uuid.uuid4()}"}, 409, "M926"),
        ({"source": "memory:nothing"}, 409, "M926"),
    ],
)
def test_a_finding_that_cannot_be_is_one_problem_and_stores_nothing(
    client: Client, changed: dict[str, object], status: int, code: str
) -> None:
    ann = client()
    board = opened(ann)
    answer = ann.post(f"{board}/findings", json={**FINDING, **changed})
    assert refused(answer) == (status, code)
    assert ann.get(f"{board}/stats").json()["seq"] == 0


def test_a_board_whose_budget_is_spent_says_so(client: Client) -> None:
    ann = client()
    board = opened(ann, max_events=2)
    assert ann.post(f"{board}/findings", json=FINDING).status_code == 201
    more = ann.post(f"{board}/findings", json={**FINDING, "source": "another"})
    assert refused(more) == (409, "M914")
    assert refused(ann.post(BOARDS, json={"goal": "g", "max_events": 0})) == (422, "M966")


def test_statistics_of_scratchpads_count_what_the_token_shows_and_delete_nothing(
    client: Client, user: str, owners: sa.Engine
) -> None:
    ann, bob = client(), client(of=f"bob of {user}")
    board = opened(ann)
    ann.post(f"{board}/findings", json=FINDING)
    sides = {"claim_a": "On.", "claim_b": "Off.", "source_a": "a", "source_b": "b"}
    key = ann.post(f"{board}/contradictions", json=sides).json()["key"]
    counts = sa.text("select count(*) from agent.cache_entries")
    with owners.connect() as conn:
        before = conn.scalar(counts)
    for path in ("/api/v1/search/scratchpad/stats", "/api/v1/search/graph/scratchpad-cache"):
        found = ann.get(path).json()
        assert found["success"]
        data = found["data"]
        assert set(data["finding_cache"]) == {"size", "hit_rate", "semantic_hits", "dedup_saved"}
        assert set(data["subquery_cache"]) == set(data["mission_cache"]) == {"size", "hit_rate"}
        assert {"finding_hits", "subquery_misses", "mission_hits"} <= data["raw_stats"].keys()
        assert (data["boards"]["boards"], data["boards"]["findings"]) == (1, 1)
        assert (data["boards"]["contradictions"], data["boards"]["open_contradictions"]) == (1, 1)
        assert bob.get(path).json()["data"]["boards"]["boards"] == 0
    ann.post(f"{board}/contradictions/{key}/decide", json={"status": "dismissed"})
    boards = ann.get("/api/v1/search/scratchpad/stats").json()["data"]["boards"]
    assert (boards["contradictions"], boards["open_contradictions"]) == (1, 0)
    with owners.connect() as conn:
        assert conn.scalar(counts) == before
