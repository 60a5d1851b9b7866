"""MCP over streamable HTTP, at `/mcp` of the application.

Without sessions of its own: each request brings its token, so any worker answers any request.
"""

from collections.abc import Callable
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from memos_assets.api.doors import Doors
from memos_assets.api.limits import token_in

PATH: Final = "/mcp"


def token_of_call(call: Context[Any, Any]) -> str | None:
    """Return the token of the request that a call came with."""
    request = call.request_context.request
    return token_in(request.headers) if isinstance(request, Request) else None


def mcp_route(server: MCPServer[Any], doors_of: Callable[[], Doors]) -> Route:
    """Return the route of a server; ``server.session_manager.run()`` has to be running."""
    made = server.streamable_http_app(
        streamable_http_path=PATH,
        json_response=True,
        stateless_http=True,
        # A page of another site has no token, and hosts differ behind a proxy.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    (route,) = made.routes
    assert isinstance(route, Route)
    return Route(PATH, endpoint=_Verified(route.app, doors_of), include_in_schema=False)


class _Verified:
    """Lets nobody in whose token does not hold; each call verifies it again, in its session."""

    def __init__(self, app: ASGIApp, doors_of: Callable[[], Doors]) -> None:
        self._app, self._doors_of = app, doors_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; raises AgentError M950 to M953 and M957."""
        async with self._doors_of().sessions() as session:
            await self._doors_of().identify(session, scope["state"]["token"])
        await self._app(scope, receive, send)
