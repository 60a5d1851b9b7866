"""MCP: the tools and resources that agents see. Each call is a visit of the bearer, as over HTTP.

Source: https://modelcontextprotocol.io/specification, and the official Python SDK.
"""

import asyncio
from dataclasses import asdict
from typing import Annotated, Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from pydantic import Field

from memos_assets import __version__
from memos_assets.api.mcp_answers import add_answering
from memos_assets.api.mcp_boards import add_boards
from memos_assets.api.mcp_calls import ALL, DoorsOf, Hits, TokenOf, Visiting, as_text, visiting_by
from memos_assets.api.network import (
    context_of,
    recalled,
    remembered,
    retracted,
    shown_hit,
    shown_kept,
)
from memos_assets.api.phases import Answering
from memos_assets.api.snapshots import snapshot_content, snapshot_list
from memos_assets.memory.context import FEWEST_TOKENS

NAME: Final = "memos-assets"
_INSTRUCTIONS: Final = (
    "Memory of agents. `remember` what will matter later, with subject and attribute where it is a "
    "value that may change; look with `recall` or `context` before you answer; `search` finds "
    "documents, too, and `ask` answers a question from both, with sources; `retract` what never "
    "was true. Agents that work together post to a board with `add_finding` and see with "
    "`read_board` what others found."
)
When = Annotated[str | None, Field(description="ISO 8601 with a zone.")]
Spaces = Annotated[list[str] | None, Field(description="Of the token's shared spaces.")]


def mcp_server(
    doors_of: DoorsOf, searching: Answering, asking: Answering, token_of: TokenOf
) -> MCPServer[Any]:
    """Return the server with its tools and resources; nothing is connected before a call."""
    server: MCPServer[Any] = MCPServer(
        NAME, instructions=_INSTRUCTIONS, version=__version__, log_level="WARNING"
    )
    visiting = visiting_by(doors_of, token_of)
    _add_memory(server, visiting)
    add_answering(server, visiting, searching, asking)
    add_boards(server, visiting)
    _add_snapshots(server, visiting)
    return server


def _add_memory(server: MCPServer[Any], visiting: Visiting) -> None:
    """Add the tools of the semantic network."""

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
    async def retract(
        call: Context[Any, Any], memory: str, reason: str | None = None
    ) -> dict[str, Any]:
        """State that a memory never was true, by its id; its history keeps it."""
        async with visiting(call, ToolError) as visit:
            return asdict(await retracted(visit, memory, reason))


def _add_snapshots(server: MCPServer[Any], visiting: Visiting) -> None:
    """Add the snapshots as resources."""

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
