"""Who is let in: nobody without a token that holds, and nobody sees what is of another user."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.orm import Session

from memos_assets.api.app import create_app
from memos_assets.api.bearers import JsonWebTokens
from memos_assets.errors import AgentError
from memos_assets.memory import access_tokens
from memos_assets.settings import Settings
from memos_assets_tests.api.conftest import Client, Server, served

Token = Callable[..., str]
#: Only Bob may read it.
CANARY = "canary-91c4 of Bob"
SECRET = "a secret of thirty-two bytes or so"
OPEN = {"/health", "/ready"}


def operations(settings: Settings) -> list[tuple[str, str]]:
    """Return the methods and paths that the description has, and the description's own."""
    described = create_app(settings).openapi()["paths"]
    found = [(method.upper(), path) for path, methods in described.items() for method in methods]
    return [*found, ("GET", "/openapi.json"), ("GET", "/no/such/path"), ("PATCH", "/memories")]


def test_without_a_token_that_holds_nothing_but_health_answers(
    api: Server, api_settings: Settings, token: Token, owners: sa.Engine, user: str
) -> None:
    revoked = token()
    with Session(owners) as session, session.begin():
        (line,) = access_tokens.list_tokens(session, user)
        access_tokens.revoke(session, line.number)
    wrong = {
        "M950": [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"}],
        "M951": [bearer(access_tokens.PREFIX + "A" * 43), bearer("A"), bearer(token()[:-1])],
        "M952": [bearer(token(days=1e-9))],
        "M953": [bearer(revoked)],
    }
    with httpx.Client(base_url=api.url, timeout=30) as client:
        for method, path in operations(api_settings):
            for code, headers in wrong.items():
                for given in headers if path == "/memories" else headers[:1]:
                    answer = client.request(method, path, headers=given, json={})
                    if path in OPEN:
                        assert answer.status_code == 200
                        continue
                    assert answer.status_code == 401, (method, path, answer.text)
                    assert answer.json()["code"] == code
                    assert answer.headers["www-authenticate"].startswith("Bearer")


def bearer(token: str) -> dict[str, str]:
    """Return the header of a token."""
    return {"Authorization": f"Bearer {token}"}


def test_nobody_reads_or_changes_what_is_of_another_user_by_any_path(
    client: Client, api_settings: Settings, user: str
) -> None:
    bob, ann = client(of=f"bob of {user}"), client()
    stored = bob.post("/memories", json={"content": CANARY, "tags": ["canary-91c4"]})
    said = bob.post("/api/v1/network/remember", json={"text": CANARY, "source": CANARY})
    memory, kept = stored.json()["id"], said.json()["id"]
    bob.post("/api/v1/search", json={"query": CANARY})
    bob.post("/api/v1/ask", json={"question": CANARY})
    board = bob.post("/api/v1/boards", json={"goal": CANARY}).json()["id"]
    finding = {"question": CANARY, "finding": CANARY, "source": CANARY, "confidence": 1}
    bob.post(f"/api/v1/boards/{board}/findings", json=finding)
    bob.put(f"/api/v1/boards/{board}/public", json={"key": "k", "value": CANARY})
    bob.put(f"/api/v1/boards/{board}/private", json={"key": "k", "value": CANARY})
    seq = bob.get(f"/api/v1/boards/{board}").json()["seq"]
    bodies: dict[str, Any] = {
        "/remember": {"text": "Ann derives it.", "derived_from": [kept]},
        "/recall": {"query": CANARY, "k": 50},
        "/context": {"query": CANARY},
        "/retract": {"memory": kept},
        "/search": {"query": CANARY},
        "/ask": {"question": "What is of Bob?"},
        "/boards": {"goal": "of Ann"},
        "/findings": {"question": "q", "finding": "f", "source": f"memory:{kept}", "confidence": 1},
        "/public": {"key": "k", "value": 1},
        "/private": {"key": "k", "value": 1},
        "/store": {"content": "of Ann", "user_id": f"bob of {user}"},
    }
    for method, path in operations(api_settings):
        for known in (memory, kept):
            url = path.format(
                memory_id=known,
                user_id=f"bob of {user}",
                quest_id=known,
                task_id=known,
                snapshot=known,
                board=board,
                key=known,
            )
            body: Any = next((one for end, one in bodies.items() if path.endswith(end)), {})
            query: dict[str, str | int] = {
                "query": CANARY,
                "min_similarity": -1,
                "user_id": f"bob of {user}",
            }
            if "/boards/" in path:
                query |= {"key": "k", "at": 1}
            asks = method == "GET" and ("search" in path or "/boards/" in path)
            for params in ({}, query) if asks else ({},):
                answer = ann.request(
                    method, url, params=params, json=None if method == "GET" else body
                )
                assert answer.status_code < 500, (method, url, answer.text)
                shown = answer.text.replace('"query":"canary-91c4 of Bob"', "")
                shown = shown.replace('"matched":"canary-91c4 of Bob"', "")
                assert "canary-91c4" not in shown, (method, url)
    assert bob.get(f"/api/v1/boards/{board}").json()["seq"] == seq
    assert bob.get(f"/memories/{memory}").json()["content"] == CANARY
    hits = bob.post("/api/v1/network/recall", json={"query": CANARY}).json()["hits"]
    assert [(hit["id"], hit["state"]) for hit in hits] == [(kept, "current")]
    for path in ("/api/v1/memory/list/", "/api/v1/memory/stats/"):
        refused = ann.get(f"{path}bob of {user}")
        assert (refused.status_code, refused.json()["code"]) == (403, "M958")


def test_uses_of_a_token_are_noted(
    api_settings: Settings, owners: sa.Engine, token: Token, user: str
) -> None:
    ours = token()
    with served(api_settings) as running:
        for _ in range(3):
            assert httpx.get(f"{running.url}/memories", headers=bearer(ours)).status_code == 200
    with Session(owners) as session:
        (line,) = access_tokens.list_tokens(session, user)
    assert line.uses == 3
    assert line.used_at is not None


def test_signed_tokens_of_others_are_accepted_where_a_key_is_set(
    api_settings: Settings, user: str
) -> None:
    settings = api_settings.model_copy(
        update={"api_jwt_key": SecretStr(SECRET), "api_jwt_audience": "memos"}
    )
    soon = int(time.time()) + 60
    good = {"sub": user, "exp": soon, "aud": "memos", "agent": "planner"}
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({**good, "exp": soon - 120}, SECRET, "M952"),
        ({**good, "aud": "others"}, SECRET, "M957"),
        ({**good, "sub": " "}, SECRET, "M957"),
        ({**good, "spaces": "team"}, SECRET, "M957"),
        ({"sub": user, "aud": "memos"}, SECRET, "M957"),
        (good, SECRET + "x", "M957"),
    ]
    with served(settings) as running, httpx.Client(base_url=running.url, timeout=30) as client:
        ours = jwt.encode(good, SECRET)
        page = client.get("/memories", headers=bearer(ours))
        assert page.status_code == 200, page.text
        for payload, key, code in wrong:
            refused = client.get("/memories", headers=bearer(jwt.encode(payload, key)))
            assert (refused.status_code, refused.json()["code"]) == (401, code)
        none = jwt.encode(good, "", algorithm="none")
        assert client.get("/memories", headers=bearer(none)).json()["code"] == "M957"


@pytest.mark.parametrize(
    ("key", "algorithm"), [("short", "HS256"), (SECRET, "RS256"), (SECRET, "none"), ("", "X")]
)
def test_a_key_that_protects_nothing_is_refused(key: str, algorithm: str) -> None:
    with pytest.raises(AgentError, match=r"^M957"):
        JsonWebTokens(key, algorithm)
