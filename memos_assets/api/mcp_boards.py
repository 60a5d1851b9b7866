"""Boards over MCP: a tool that adds findings, one that reads, and the boards as resources."""

from functools import partial
from typing import Annotated, Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from pydantic import Field

from memos_assets.api.board_access import MOST_ENTRIES, listed, read, whole
from memos_assets.api.board_findings import Found, add_to_board
from memos_assets.api.mcp_calls import ALL, Visiting, as_text
from memos_assets.blackboard.requests import LONGEST_NAME


def add_boards(server: MCPServer[Any], visiting: Visiting) -> None:
    """Add the tools and the resource to a server."""

    @server.tool()
    async def add_finding(
        call: Context[Any, Any],
        question: Annotated[str, Field(min_length=1, description="Its text, or its key.")],
        finding: Annotated[str, Field(min_length=1)],
        source: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)],
        confidence: Annotated[float, Field(ge=0, le=1)],
        board: Annotated[
            str | None, Field(description="Its id; none: a new one, of this question.")
        ] = None,
        space: Annotated[str | None, Field(description="Of a new board; none: private.")] = None,
    ) -> dict[str, Any]:
        """Add a finding to a board that agents share; the same one again adds nothing."""
        async with visiting(call, ToolError) as visit:
            found = Found(question, finding, source, confidence)
            return await add_to_board(visit, board, found, space)

    @server.tool()
    async def read_board(
        call: Context[Any, Any],
        board: str,
        level: Annotated[
            list[str] | None, Field(description="Such as findings; none: all levels.")
        ] = None,
        after: Annotated[int, Field(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Field(ge=1, le=MOST_ENTRIES)] = 100,
    ) -> dict[str, Any]:
        """Return what is on a board: questions, findings, contradictions, entries by level."""
        async with visiting(call, ToolError) as visit:
            look = partial(whole, levels=level, after=after, limit=limit)
            return await read(visit, board, look)

    @server.resource("memos://boards/{board}", mime_type="application/json")
    async def boards(call: Context[Any, Any], board: str) -> str:
        """Return the boards (`all`), or what is on one."""
        async with visiting(call, ResourceError) as visit:
            if board == ALL:
                return as_text({"boards": await listed(visit)})
            return as_text(await read(visit, board, whole))
