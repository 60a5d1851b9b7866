"""MCP: the tools and resources that agents see. Each call is a visit of the bearer, as over HTTP.

Source: https://modelcontextprotocol.io/specification, and the official Python SDK.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from pydantic import Field

from memos_assets import __version__
from memos_assets.api.doors import Doors, Visit
from memos_assets.api.network import (
    context_of,
    recalled,
    remembered,
    retracted,
    shown_hit,
    shown_kept,
)
from memos_assets.api.phases import Answering, Asking
from memos_assets.api.problems import known
from memos_assets.api.search import answered
from memos_assets.api.snapshots import as_text, snapshot_content, snapshot_list
from memos_assets.memory.context import FEWEST_TOKENS

NAME: Final = "memos-assets"
#: In place of a snapshot's id: all of them.
ALL: Final = "all"
_INSTRUCTIONS: Final = (
    "Memory of agents. `remember` what will matter later, with subject and attribute where it is a "
    "value that may change; ask with `recall` or `context` before you answer; `search` finds "
    "documents, too; `retract` what never was true."
)
When = Annotated[str | None, Field(description="ISO 8601 with a zone.")]
Spaces = Annotated[list[str] | None, Field(description="Of the token's shared spaces.")]
Hits = Annotated[int, Field(ge=1, le=100)]
#: Given a call, returns the token that came with it.
TokenOf = Callable[[Context[Any, Any]], str | None]
#: Returns what calls share; the application opens it when it starts.
DoorsOf = Callable[[], Doors]


def mcp_server(doors_of: DoorsOf, answering: Answering, token_of: TokenOf) -> MCPServer[Any]:
    """Return the server with its tools and resources; nothing is connected before a call."""
    server: MCPServer[Any] = MCPServer(
        NAME, instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING"
    )

    @asynccontextmanager
    async def visiting(call: Context[Any, Any], failed: type[Exception]) -> AsyncIterator[Visit]:
        try:
            async with doors_of().visit(token_of(call)) as visit:
                yield visit
        except Exception as error:  # noqa: BLE001  the agent gets one line, whatever was raised
            raise failed(str(known(error))) from None

    @server.tool()
    async def remember(
        call: Context[Any, Any],
        text: Annotated[str, Field(min_length=1)],
        subject: str | None = None,
        attribute: str | None = None,
        kind: str = "finding",
        source: str | None = None,
        valid_from: When = None,
        valid_until: When = None,
        confidence: Annotated[float | None, Field(ge=0, le=1)] = None,
        space: str | None = None,
    ) -> dict[str, Any]:
        """Remember a text; an equal one is not stored twice, a new value ends the former one."""
        given = {
            "subject": subject,
            "attribute": attribute,
            "kind": kind,
            "source": source,
            "valid_from": valid_from,
            "valid_until": valid_until,
            "confidence": confidence,
        }
        about = {name: value for name, value in given.items() if value is not None}
        async with visiting(call, ToolError) as visit:
            return shown_kept(await remembered(visit, text, space, about))

    @server.tool()
    async def recall(
        call: Context[Any, Any],
        query: Annotated[str, Field(min_length=1)],
        k: Hits = 10,
        subject: str | None = None,
        as_of: When = None,
        known_at: When = None,
        spaces: Spaces = None,
    ) -> dict[str, Any]:
        """Return the memories that answer a question best, now or as of a moment."""
        given = {"subject": subject, "as_of": as_of, "known_at": known_at, "spaces": spaces}
        wanted = {name: value for name, value in given.items() if value is not None}
        async with visiting(call, ToolError) as visit:
            return {"hits": [shown_hit(hit) for hit in await recalled(visit, query, k, wanted)]}

    @server.tool()
    async def context(
        call: Context[Any, Any],
        query: Annotated[str, Field(min_length=1)],
        max_tokens: Annotated[int, Field(ge=FEWEST_TOKENS, le=100_000)] = 1_500,
    ) -> str:
        """Return what is remembered about a question as one text, within a budget of tokens."""
        async with visiting(call, ToolError) as visit:
            return await context_of(visit, query, max_tokens, {})

    @server.tool()
    async def search(
        call: Context[Any, Any],
        query: Annotated[str, Field(min_length=1)],
        k: Hits = 5,
        tables: list[str] | None = None,
    ) -> dict[str, Any]:
        """Search the corpora and memory; the same question again comes from the cache."""
        async with visiting(call, ToolError) as visit:
            return await answered(answering, visit, Asking(query, k, tuple(tables or ())))

    @server.tool()
    async def retract(
        call: Context[Any, Any], memory: str, reason: str | None = None
    ) -> dict[str, Any]:
        """State that a memory never was true, by its id; its history keeps it."""
        async with visiting(call, ToolError) as visit:
            return asdict(await retracted(visit, memory, reason))

    # The SDK gives no call, and so no token, to a resource without a parameter: `all` lists them.
    @server.resource("memos://snapshots/{snapshot}", mime_type="application/json")
    async def snapshots(call: Context[Any, Any], snapshot: str) -> str:
        """Return the snapshots (`all`), or what one holds: counts and digests of its tables."""
        async with visiting(call, ResourceError) as visit:
            await visit.rest()
            settings = visit.doors.settings
            if snapshot == ALL:
                return as_text(await asyncio.to_thread(snapshot_list, settings))
            return as_text(await asyncio.to_thread(snapshot_content, settings, snapshot))

    return server
