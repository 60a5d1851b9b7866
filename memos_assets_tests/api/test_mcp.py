"""MCP by the SDK's own client: over standard input and output, and over streamable HTTP."""

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent, TextResourceContents

from memos_assets.settings import Settings
from memos_assets_tests.api.conftest import Server

Token = Callable[..., str]
TOOLS = {"remember", "recall", "context", "search", "ask", "retract", "add_finding", "read_board"}


def stdio(settings: Settings, token: str) -> StdioServerParameters:
    """Return how a client starts the command."""
    assert settings.database_url is not None
    environment = {
        **os.environ,
        "MEMOS_HOME": str(settings.home),
        "MEMOS_DATABASE_URL": settings.database_url.get_secret_value(),
        "MEMOS_API_TOKEN": token,
    }
    arguments = ["-m", "memos_assets", "mcp"]
    return StdioServerParameters(command=sys.executable, args=arguments, env=environment)


@asynccontextmanager
async def over_http(url: str, token: str) -> AsyncIterator[Client]:
    """Connect to a server by streamable HTTP."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


async def use_every_tool(client: Client) -> None:
    """Remember, ask, search and retract as an agent does."""
    assert {tool.name for tool in (await client.list_tools()).tools} == TOOLS

    async def call(name: str, **arguments: object) -> object:
        result = await client.call_tool(name, arguments)
        assert not result.is_error, result.content
        content = result.content[0]
        assert isinstance(content, TextContent)
        return json.loads(content.text) if content.text.startswith("{") else content.text

    said = {"text": "Ann lives in Riga.", "subject": "Ann", "attribute": "city"}
    kept = await call("remember", **said)
    assert isinstance(kept, dict)
    found = await call("recall", query="Where does Ann live?", k=3)
    assert isinstance(found, dict)
    assert [hit["id"] for hit in found["hits"]] == [kept["id"]]
    assert "Riga" in str(await call("context", query="Where does Ann live?"))
    for origin in ("computed", "exact"):
        answer = await call("search", query="What does SRVO-062 mean in Riga?")
        assert isinstance(answer, dict)
        assert answer["cache"]["origin"] == origin
        assert len(answer["memories"]) == 1
    said = {"question": "What does SRVO-062 mean in Riga?"}
    for origin in ("computed", "exact"):
        answer = await call("ask", **said)
        assert isinstance(answer, dict)
        assert answer["origin"] == origin
        assert answer["sentences"]
        assert all(one["cites"] for one in answer["sentences"])
    assert isinstance(answer, dict)
    board = await call("read_board", board=answer["board"], level=["findings"])
    assert isinstance(board, dict)
    assert board["state"] == "complete"
    assert len(board["entries"]) >= len(answer["sources"]) > 0
    await use_boards(client)
    gone = await call("retract", memory=kept["id"], reason="a joke")
    assert isinstance(gone, dict)
    assert gone["state"] == "wrong"
    content = (await client.read_resource("memos://snapshots/all")).contents[0]
    assert isinstance(content, TextResourceContents)
    assert json.loads(content.text) == {"snapshots": [], "damaged": []}

    refused = await client.call_tool("retract", {"memory": "0" * 32})
    assert refused.is_error
    assert isinstance(refused.content[0], TextContent)
    assert "M705" in refused.content[0].text
    assert "Fix: " in refused.content[0].text


async def use_boards(client: Client) -> None:
    """Post findings to a board of their own, and read it as a tool and as resources."""

    async def add(**changed: object) -> Any:
        finding = {
            "question": "Which part?",
            "finding": "The battery.",
            "source": "manual#3",
            "confidence": 0.8,
        }
        return await client.call_tool("add_finding", {**finding, **changed})

    first = (await add()).structured_content
    assert first is not None
    again = (await add(board=first["board"])).structured_content
    assert again == {**first, "added": False}
    other = await add(board=first["board"], finding="The cable.", source="log#7")
    assert not other.is_error
    read = await client.call_tool("read_board", {"board": first["board"], "limit": 2})
    assert read.structured_content is not None
    assert read.structured_content["goal"] == "Which part?"
    assert len(read.structured_content["entries"]) == 2
    assert read.structured_content["has_more"]

    async def resource(name: str) -> Any:
        content = (await client.read_resource(f"memos://boards/{name}")).contents[0]
        assert isinstance(content, TextResourceContents)
        return json.loads(content.text)

    listed = (await resource("all"))["boards"]
    assert [one["goal"] for one in listed][:1] == ["Which part?"]
    whole = await resource(first["board"])
    assert [one["value"]["text"] for one in whole["entries"] if one["level"] == "findings"] == [
        "The battery.",
        "The cable.",
    ]
    boards = len(listed)
    for changed, code in (
        ({"board": "0" * 32}, "M910"),
        ({"board": first["board"], "source": f"memory:{'0' * 32}"}, "M926"),
        ({"source": "memory:nothing"}, "M926"),
        ({"question": "0" * 32}, "M925"),
        ({"finding": "a\0b"}, "M923"),
        ({"space": "nobody's"}, "M702"),
    ):
        refused = await add(**changed)
        assert refused.is_error
        assert code in refused.content[0].text
        assert "Fix: " in refused.content[0].text
    assert (await add(confidence=1.5)).is_error
    assert len((await resource("all"))["boards"]) == boards
    unknown = await client.call_tool("read_board", {"board": "0" * 32})
    assert unknown.is_error


def test_an_agent_uses_every_tool_over_http(api: Server, token: Token) -> None:
    async def run() -> None:
        async with over_http(api.url, token()) as client:
            await use_every_tool(client)

    anyio.run(run)


def test_an_agent_uses_every_tool_over_standard_input_and_output(
    api: Server, api_settings: Settings, token: Token
) -> None:
    assert api

    async def run() -> None:
        async with Client(stdio(api_settings, token())) as client:
            await use_every_tool(client)

    anyio.run(run)


def test_a_token_of_another_user_shows_nothing_and_a_wrong_one_is_not_let_in(
    api: Server, token: Token, user: str
) -> None:
    async def run() -> None:
        async with over_http(api.url, token(of=f"bob of {user}")) as bob:
            said = {"text": "A canary of Bob."}
            kept = await bob.call_tool("remember", said)
            assert not kept.is_error
            finding = {"question": "q", "finding": "f", "source": "s", "confidence": 1}
            board = (await bob.call_tool("add_finding", finding)).structured_content
            assert board is not None
        async with over_http(api.url, token()) as ann:
            found = await ann.call_tool("recall", {"query": "A canary of Bob."})
            assert found.structured_content == {"hits": []}
            refused = await ann.call_tool("read_board", {"board": board["board"]})
            assert refused.is_error
            with pytest.raises(MCPError):
                await ann.read_resource(f"memos://boards/{board['board']}")

    anyio.run(run)
    initialize = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    accept = {"Accept": "application/json, text/event-stream"}
    for headers, code in (
        ({}, "M950"),
        ({"Authorization": "Bearer nobody"}, "M951"),
        ({"Authorization": f"Bearer {token(days=1e-9)}"}, "M952"),
    ):
        answer = httpx2.post(f"{api.url}/mcp", json=initialize, headers={**accept, **headers})
        assert (answer.status_code, answer.json()["code"]) == (401, code)


@pytest.mark.parametrize(("token_", "code"), [("", "M950"), ("memos_x", "M951")])
def test_the_command_refuses_a_token_that_is_missing_or_wrong(
    api: Server, api_settings: Settings, token_: str, code: str
) -> None:
    assert api
    started = stdio(api_settings, token_)

    async def run() -> tuple[int, str]:
        done = await anyio.run_process(
            [started.command, *started.args], env=started.env, check=False, input=b""
        )
        return done.returncode, done.stderr.decode()

    status, said = anyio.run(run)
    assert status == 2
    assert said.startswith(code)
