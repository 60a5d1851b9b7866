"""memOS's memories over HTTP: by memOS's paths and others, with memOS's answers."""

import pytest

from memos_assets_tests.api.conftest import Client

OF_MEMOS = {
    *("id", "user_id", "memory_type", "privacy_level", "created_at", "updated_at", "tags"),
    *("recovery_stage", "therapeutic_relevance", "crisis_level", "embedding_generated"),
    *("content_length", "content"),
}


@pytest.mark.parametrize(
    ("store", "listed", "rest"),
    [
        ("/api/v1/memory/store", "/api/v1/memory/list/{user}", "/api/v1/memory"),
        ("/memories", "/memories", "/memories"),
        ("/api/v1/memories", "/api/v1/memories", "/api/v1/memories"),
    ],
)
def test_a_memory_is_stored_found_changed_counted_and_deleted(
    client: Client, user: str, store: str, listed: str, rest: str
) -> None:
    ann = client()
    said = "Ann goes to meetings on Tuesdays."
    made = ann.post(store, json={"content": said, "user_id": user, "tags": ["work"]})
    assert made.status_code == 201, made.text
    memory = made.json()
    assert memory.keys() == OF_MEMOS
    assert (memory["user_id"], memory["content"], memory["content_length"]) == (
        user,
        None,
        len(said),
    )
    assert memory["embedding_generated"]
    one = f"{rest}/{memory['id']}"
    assert ann.get(one).json()["content"] == said

    page = ann.get(listed.format(user=user), params={"limit": 1}).json()
    assert page["pagination"] == {"total": 1, "limit": 1, "offset": 0, "has_more": False}
    assert page["memories"][0]["content"] is None
    asked: dict[str, str | float] = {"query": said, "min_similarity": 0.9, "include_content": True}
    (found,) = ann.get(f"{rest}/search", params=asked).json()["results"]
    assert (found["id"], found["content"]) == (memory["id"], said)
    assert found["similarity_score"] > 0.99

    changed = ann.put(one, json={"content": "Ann goes on Fridays.", "memory_type": "episodic"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["content_length"] == len("Ann goes on Fridays.")
    assert changed.json()["embedding_generated"]
    stats = ann.get(f"{rest}/stats/{user}" if "list" in listed else f"{rest}/stats").json()
    assert (stats["total_memories"], stats["memory_types"]) == (1, {"episodic": 1})

    assert ann.delete(one).json() == {"success": True, "id": memory["id"]}
    assert ann.delete(one).status_code == 404
    assert ann.get(one).json()["code"] == "M960"
    assert ann.put(one, json={"tags": []}).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "M966"),
        ({"content": ""}, 422, "M966"),
        ({"content": "x", "memory_type": "no such type"}, 422, "M966"),
        ({"content": "\0"}, 422, "M743"),
        ({"content": "secret words", "consent_given": False}, 403, "M744"),
        ({"content": "secret words", "user_id": "somebody else"}, 403, "M958"),
        ({"content": "secret words", "tags": ["a" * 1_000]}, 422, "M746"),
    ],
)
def test_what_cannot_be_stored_is_one_problem_and_stores_nothing(
    client: Client, body: dict[str, object], status: int, code: str
) -> None:
    ann = client()
    refused = ann.post("/memories", json=body)
    assert refused.status_code == status, refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["fix"]
    assert "secret words" not in refused.text
    assert ann.get("/memories").json()["memories"] == []
