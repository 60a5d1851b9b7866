"""A guard before a web server on this machine: requests of other sites and mutations by GET.

A page of any site can have a browser send requests to 127.0.0.1. The browser says so in Origin and
Sec-Fetch-Site, and a name that was made to lead to 127.0.0.1 is in Host. Programs without a browser
send no Origin; against those of other local users, what a run may do needs a confirmation.
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import parse_qs

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

#: Content types that a page of another site cannot send without asking first.
_CONTENT = ("application/json", "application/graphql")


class OriginGuard:
    """An ASGI middleware that lets in the pages of one address, and programs without a page.

    Args:
        app: behind it.
        port: that the server listens at.
    """

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app = app
        names = ("127.0.0.1", "localhost", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request with 403, 405 or 415, a websocket before it is accepted; or pass it."""
        refused = next(self._reasons(scope), None) if scope["type"] != "lifespan" else None
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            status, reason = refused
            response = PlainTextResponse(f"memos-assets ui: {reason}\n", status_code=status)
            await response(scope, receive, send)

    def _reasons(self, scope: Scope) -> Iterator[tuple[int, str]]:
        headers = _headers(scope)
        hosts, origins = headers.get("host", ()), headers.get("origin", ())
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            yield 403, "the Host header names another address"
        if len(origins) > 1 or any(not self._is_own(origin) for origin in origins):
            yield 403, "the request comes from a page of another site"
        method, path = scope.get("method", "GET"), scope["path"].rstrip("/")
        graphql = path.endswith("/graphql")
        if headers.get("sec-fetch-site", ["none"])[0] in ("cross-site", "same-site"):
            mode = headers.get("sec-fetch-mode", [""])[0]
            if graphql or method != "GET" or mode != "navigate":
                yield 403, "the request comes from a page of another site"
        if scope["type"] == "http" and method in ("GET", "HEAD") and graphql:
            queries = parse_qs(scope["query_string"].decode("latin-1")).get("query", [])
            if any(map(_mutates, queries)):
                yield 405, "a mutation is sent by POST"
        if method == "POST":
            content = headers.get("content-type", [""])[0].partition(";")[0].strip().lower()
            if content not in _CONTENT:
                yield 415, f"send {' or '.join(_CONTENT)}"

    def _is_own(self, origin: str) -> bool:
        scheme, _, host = origin.lower().partition("://")
        return scheme == "http" and host in self._hosts


def _headers(scope: Scope) -> Mapping[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _mutates(query: str) -> bool:
    """Whether a GraphQL document holds anything but queries; text that cannot be read does not."""
    try:
        document = parse(query)
    except (GraphQLError, RecursionError):
        return False
    return any(
        isinstance(part, OperationDefinitionNode) and part.operation != OperationType.QUERY
        for part in document.definitions
    )
