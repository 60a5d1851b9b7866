"""What endpoints are given: the visit of the bearer, and answers as JSON."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from memos_assets.api.doors import Doors, Visit
from memos_assets.api.json_bytes import json_bytes
from memos_assets.api.problems import MEDIA_TYPE, Problem


def doors_of(request: Request) -> Doors:
    """Return the doors of the application."""
    doors: Doors = request.app.state.doors
    return doors


async def _visit(request: Request) -> AsyncIterator[Visit]:
    async with doors_of(request).visit(token_of(request)) as visit:
        request.state.identified = True
        yield visit


def token_of(request: Request) -> str | None:
    """Return the token that `limits` found in a request."""
    token: str | None = getattr(request.state, "token", None)
    return token


#: The visit of the request, whose session closes before the answer is sent.
Visiting = Annotated[Visit, Depends(_visit, scope="function")]


def answer(content: Any, status: int = 200) -> Response:
    """Return an answer as JSON; times are ISO 8601 with their zone."""
    return Response(json_bytes(content), status, media_type="application/json")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that an endpoint answers with, for OpenAPI."""
    about = {
        400: "The request cannot be read.",
        401: "There is no access token, or it does not hold.",
        403: "The token does not allow it.",
        404: "There is nothing of this id that the token shows.",
        405: "The path has no such method.",
        406: "The path answers with other media types.",
        409: "It cannot be done as things are.",
        410: "It has expired.",
        413: "The body is too large.",
        422: "A value cannot be used.",
        500: "A bug.",
        503: "The server is at its limit, or lacks what it needs.",
        504: "It took too long.",
    }
    schema = {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}
    return {
        status: {"description": about[status], "content": {MEDIA_TYPE: schema}}
        for status in sorted({400, 401, 403, 413, 422, 500, 503, 504, *statuses})
    }
