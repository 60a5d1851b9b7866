"""The semantic network over HTTP: remember, recall, context, retract."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.memory import spaces
from memos_assets.memory.acting import act_as
from memos_assets_tests.api.conftest import Client

Token = Callable[..., str]


def test_a_text_is_remembered_recalled_given_as_context_and_retracted(client: Client) -> None:
    ann = client(agent="planner")
    said = {"text": "Ann lives in Riga.", "subject": "Ann", "attribute": "city"}
    kept = ann.post("/api/v1/network/remember", json=said)
    assert kept.status_code == 201, kept.text
    again = ann.post("/api/v1/network/remember", json=said).json()
    assert again["duplicate_of"] == kept.json()["id"]
    moved = ann.post("/api/v1/network/remember", json={**said, "text": "Ann lives in Oslo."}).json()
    assert moved["superseded"] == [kept.json()["id"]]

    asked = {"query": "Where does Ann live?", "k": 3}
    hits = ann.post("/api/v1/network/recall", json=asked).json()["hits"]
    assert [(hit["content"], hit["state"]) for hit in hits] == [("Ann lives in Oslo.", "current")]
    text = ann.post("/api/v1/network/context", json={"query": asked["query"]}).json()["context"]
    assert "Oslo" in text
    gone = ann.post(
        "/api/v1/network/retract", json={"memory": moved["id"], "reason": "a joke"}
    ).json()
    assert gone["state"] == "wrong"
    hits = ann.post("/api/v1/network/recall", json=asked).json()["hits"]
    assert [hit["content"] for hit in hits] == ["Ann lives in Riga."]
    for path, body, status, code in (
        ("retract", {"memory": "0" * 32}, 404, "M705"),
        ("remember", {"text": "x", "kind": "no such kind"}, 422, "M732"),
        ("remember", {"text": "x", "valid_from": "2026-01-01 10:00"}, 422, "M731"),
        ("remember", {"text": "x", "space": "team"}, 403, "M702"),
        ("recall", {"query": "x", "spaces": ["team"]}, 403, "M702"),
        ("recall", {"query": "x", "k": 0}, 422, "M966"),
    ):
        refused = ann.post(f"/api/v1/network/{path}", json=body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text


def test_a_token_sees_the_shared_spaces_that_it_names_and_no_others(
    client: Client, owners: sa.Engine, user: str
) -> None:
    team, other = f"team of {user}", f"other of {user}"
    with Session(owners) as session, session.begin():
        act_as(session, user=f"friend of {user}")
        for name in (team, other):
            spaces.create_space(session, name)
            spaces.grant(session, name, user)
    friend = client(of=f"friend of {user}", spaces=[team, other])
    for name in (team, other):
        body = {"text": f"For the {name}.", "space": name}
        assert friend.post("/api/v1/network/remember", json=body).status_code == 201
    asked = {"query": f"{team} {other}"}
    ann = client(spaces=[team])
    hits = ann.post("/api/v1/network/recall", json=asked).json()["hits"]
    assert [hit["space"] for hit in hits] == [team]
    assert client().post("/api/v1/network/recall", json=asked).json()["hits"] == []
    refused = ann.post("/api/v1/network/remember", json={"text": "x", "space": team})
    assert (refused.status_code, refused.json()["code"]) == (403, "M703")
