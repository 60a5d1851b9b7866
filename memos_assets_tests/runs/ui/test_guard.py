"""The guard before the UI's web server, asked over real connections."""

import asyncio
import http.client
import socket
import threading
import time
from collections.abc import Iterator, Mapping

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from memos_assets.runs.ui.guard import OriginGuard
from memos_assets.runs.ui.webserver import guarded

JSON = {"Content-Type": "application/json"}
QUERY = "/graphql?query=%7B__typename%7D"
MUTATION = "/graphql?query=mutation%7BlaunchRun%7B__typename%7D%7D"


async def _page(_: Request) -> PlainTextResponse:
    return PlainTextResponse("through")


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("through")
    await websocket.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve an app behind the guard at a free port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        number: int = listener.getsockname()[1]
        app = Starlette(
            routes=[
                Route("/graphql", _page, methods=["GET", "POST"]),
                Route("/runs", _page, methods=["GET", "POST"]),
                WebSocketRoute("/graphql", _socket),
            ],
            middleware=[Middleware(OriginGuard, port=number)],
        )
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield number
        server.should_exit = True
        thread.join()


def asked(port: int, method: str, path: str, headers: Mapping[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    given = {"Host": "127.0.0.1:{port}"} | dict(headers)
    connection.putrequest(method, path, skip_host=True)
    for name, value in given.items():
        for one in value.split("\n"):
            connection.putheader(name, one.replace("{port}", str(port)))
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert (answer.status == 200) == (body == b"through")
    return answer.status


OWN = "http://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        pytest.param("POST", "/graphql", JSON, 200, id="a program"),
        pytest.param("POST", "/graphql", {**JSON, "Origin": OWN}, 200, id="the UI"),
        pytest.param(
            "POST",
            "/graphql",
            {**JSON, "Host": "localhost:{port}", "Origin": "http://localhost:{port}"},
            200,
            id="localhost",
        ),
        pytest.param("GET", "/runs", {"Host": "[::1]:{port}"}, 200, id="::1"),
        pytest.param("GET", "/runs", {"Host": "LOCALHOST:{port}"}, 200, id="capitals"),
        pytest.param(
            "GET",
            "/runs",
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
            200,
            id="a link",
        ),
        pytest.param("GET", QUERY, {}, 200, id="query by GET"),
        pytest.param("POST", "/graphql", {**JSON, "Origin": "http://a.b"}, 403, id="other site"),
        pytest.param(
            "POST", "/graphql", {**JSON, "Origin": "http://127.0.0.1:1"}, 403, id="other port"
        ),
        pytest.param(
            "POST", "/graphql", {**JSON, "Origin": "https://127.0.0.1:{port}"}, 403, id="https"
        ),
        pytest.param("POST", "/graphql", {**JSON, "Origin": "null"}, 403, id="null"),
        pytest.param("POST", "/graphql", {**JSON, "Origin": f"{OWN}.a.b"}, 403, id="longer"),
        pytest.param("POST", "/graphql", {**JSON, "Origin": f"{OWN}\nhttp://a.b"}, 403, id="two"),
        pytest.param("GET", "/runs", {"Origin": "http://a.b"}, 403, id="GET of other site"),
        pytest.param("GET", "/runs", {"Host": "a.b:{port}"}, 403, id="rebound name"),
        pytest.param("GET", "/runs", {"Host": "127.0.0.1"}, 403, id="host without port"),
        pytest.param("GET", "/runs", {"Host": ""}, 403, id="empty host"),
        pytest.param("GET", QUERY, {"Sec-Fetch-Site": "cross-site"}, 403, id="image"),
        pytest.param(
            "GET",
            QUERY,
            {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
            403,
            id="navigated query",
        ),
        pytest.param("GET", MUTATION, {}, 405, id="mutation by GET"),
        pytest.param("HEAD", MUTATION, {}, 405, id="mutation by HEAD"),
        pytest.param("GET", f"{QUERY}&{MUTATION[9:]}", {}, 405, id="the second query"),
        pytest.param("POST", MUTATION, {}, 415, id="mutation in the address"),
        pytest.param(
            "POST", "/graphql", {"Content-Type": "text/plain; application/json"}, 415, id="form"
        ),
    ],
)
def test_only_pages_of_the_ui_and_programs_get_through(
    port: int, method: str, path: str, headers: Mapping[str, str], status: int
) -> None:
    assert asked(port, method, path, headers) == status


def test_a_websocket_of_another_site_is_refused(port: int) -> None:
    async def received(origin: str | None) -> str | bytes:
        headers = {"Origin": origin} if origin else {}
        async with connect(f"ws://127.0.0.1:{port}/graphql", additional_headers=headers) as ws:
            return await ws.recv()

    assert asyncio.run(received(f"http://127.0.0.1:{port}")) == "through"
    assert asyncio.run(received(None)) == "through"
    with pytest.raises(InvalidStatus, match="403"):
        asyncio.run(received("http://a.b"))


def test_the_guard_comes_before_everything_that_dagster_serves() -> None:
    server = object.__new__(guarded(3000))
    assert str(server.build_middleware()[0]).startswith("Middleware(OriginGuard, ")
