"""What tools and resources of MCP share: the visit of a call's bearer, and its refusal."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Annotated, Any, Final

from mcp.server.mcpserver import Context
from pydantic import Field

from memos_assets.api.doors import Doors, Visit
from memos_assets.api.json_bytes import json_bytes
from memos_assets.api.problems import known

#: In place of an id in the address of a resource: all of them.
ALL: Final = "all"
Hits = Annotated[int, Field(ge=1, le=100)]
#: Given a call, returns the token that came with it.
TokenOf = Callable[[Context[Any, Any]], str | None]
#: Returns what calls share; the application opens it when it starts.
DoorsOf = Callable[[], Doors]
#: Given a call and the error by which it is refused, returns the visit of its bearer.
Visiting = Callable[[Context[Any, Any], type[Exception]], AbstractAsyncContextManager[Visit]]


def visiting_by(doors_of: DoorsOf, token_of: TokenOf) -> Visiting:
    """Return what opens a visit for each call."""

    @asynccontextmanager
    async def visiting(call: Context[Any, Any], failed: type[Exception]) -> AsyncIterator[Visit]:
        try:
            async with doors_of().visit(token_of(call)) as visit:
                yield visit
        except Exception as error:  # noqa: BLE001  the agent gets one line, whatever was raised
            raise failed(str(known(error))) from None

    return visiting


def as_text(content: object) -> str:
    """Return JSON as text, for resources."""
    return json_bytes(content).decode()
