"""Search over HTTP: in phases, from the cache the second time, and anew once it would differ."""

import json
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from memos_assets_tests.api.conftest import Client, wait_until_idle

SEARCH = "/api/v1/search"
QUERY = {"query": "What does SRVO-062 mean for the battery?", "k": 3}


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """Return the events of a stream that has ended."""
    found = []
    for block in "".join(response.iter_text()).strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def test_a_search_is_streamed_in_phases_and_comes_from_the_cache_the_second_time(
    client: Client,
) -> None:
    ann = client()
    ann.post("/api/v1/network/remember", json={"text": "SRVO-062 came twice in May."})
    stream = {"Accept": "text/event-stream"}
    with ann.stream("POST", SEARCH, json=QUERY, headers=stream) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        first = events(response)
    names = [name for name, _ in first]
    assert names == ["cache", *["search"] * (len(names) - 3), "memory", "answer"]
    answer = first[-1][1]
    assert answer["success"]
    assert answer["meta"]["version"] == "2.0.0"
    assert answer["data"]["cache"]["origin"] == "computed"
    by_table = {one["table"]: one for one in answer["data"]["tables"]}
    assert by_table["hybrid_documents"]["hits"][0]["key"]["doc_id"] == "srvo_062"
    assert "semantic_memories" not in by_table
    assert [hit["content"] for hit in answer["data"]["memories"]] == ["SRVO-062 came twice in May."]
    with ann.stream("POST", SEARCH, json=QUERY, headers=stream) as response:
        second = events(response)
    assert [name for name, _ in second] == ["cache", "answer"]
    assert second[0][1]["origin"] == "exact"
    assert second[1][1]["data"]["tables"] == answer["data"]["tables"]


def test_an_answer_is_computed_anew_once_a_memory_was_added_or_retracted(client: Client) -> None:
    ann = client()

    def ask() -> tuple[str, list[str]]:
        data = ann.post(SEARCH, json=QUERY).json()["data"]
        return data["cache"]["origin"], [hit["content"] for hit in data["memories"]]

    assert ask() == ("computed", [])
    said = "SRVO-062: change the battery."
    kept = ann.post("/api/v1/network/remember", json={"text": said}).json()
    assert ask() == ("computed", [said])
    assert ask() == ("exact", [said])
    ann.post("/api/v1/network/retract", json={"memory": kept["id"]})
    assert ask() == ("computed", [])


def test_users_do_not_share_answers(client: Client, user: str) -> None:
    ann, bob = client(), client(of=f"other {user}")
    ann.post("/api/v1/network/remember", json={"text": "SRVO-062 is Ann's secret."})
    assert "secret" in ann.post(SEARCH, json=QUERY).text
    assert "secret" not in bob.post(SEARCH, json=QUERY).text
    stats = bob.get(f"{SEARCH}/cache/stats").json()["data"]
    assert stats["namespaces"]["results"]["entries"] == 1


def test_statistics_of_the_cache_delete_nothing(client: Client, owners: sa.Engine) -> None:
    ann = client()
    ann.post(SEARCH, json=QUERY)
    with owners.begin() as conn:
        expire = "update agent.cache_entries set expires_at = now(), stale_until = now()"
        conn.execute(sa.text(expire))
        before = conn.scalar(sa.text("select count(*) from agent.cache_entries"))
    found = ann.get(f"{SEARCH}/cache/stats").json()["data"]
    assert found["cleanup"] == {"content_removed": 0, "query_removed": 0}
    assert {"content_cache", "query_cache", "ttl_seconds", "db_path"} <= found.keys()
    with owners.connect() as conn:
        assert conn.scalar(sa.text("select count(*) from agent.cache_entries")) == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": ""}, 422, "M966"),
        ({"query": "\0"}, 422, "M730"),
        ({"query": "x", "k": 1_000}, 422, "M966"),
        ({"query": "x", "tables": ["semantic_memories"]}, 422, "M570"),
        ({"query": "x", "tables": ["memories"]}, 422, "M570"),
    ],
)
def test_a_question_that_cannot_be_asked_is_one_problem(
    client: Client, body: dict[str, object], status: int, code: str
) -> None:
    for accept in ("application/json", "text/event-stream"):
        refused = client().post(SEARCH, json=body, headers={"Accept": accept})
        if accept == "text/event-stream" and code == "M730":
            assert events(refused)[-1][1]["code"] == code
        else:
            assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_stop_words_find_nothing_and_fail_nothing(client: Client) -> None:
    data = client().post(SEARCH, json={"query": "the of and"}).json()["data"]
    assert not any(one["hits"] for one in data["tables"])


def test_clients_that_leave_midway_leave_no_connection_behind(
    client: Client, owners: sa.Engine
) -> None:
    ann = client()
    for number in range(12):
        with ann.stream(
            "POST",
            SEARCH,
            json={"query": f"battery {number}"},
            headers={"Accept": "text/event-stream"},
        ) as response:
            next(response.iter_lines())
    wait_until_idle(owners)
    assert ann.post(SEARCH, json=QUERY).status_code == 200
