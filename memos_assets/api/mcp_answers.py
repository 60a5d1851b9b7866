"""Tools of MCP that answer questions: search, and the research pipeline."""

from typing import Annotated, Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field

from memos_assets.api.mcp_calls import Hits, Visiting
from memos_assets.api.phases import Answering, Asking, nobody
from memos_assets.research import Budget
from memos_assets.research.budget import FEWEST_TOKENS, MOST_TOKENS
from memos_assets.research.facade import K
from memos_assets.research.questioned import LONGEST_QUESTION, MOST_HITS

#: Of an answer, where nothing else is asked for.
_TOKENS: Final = Budget().tokens


def add_answering(
    server: MCPServer[Any], visiting: Visiting, searching: Answering, asking: Answering
) -> None:
    """Add the tools to a server."""

    @server.tool()
    async def search(
        call: Context[Any, Any],
        query: Annotated[str, Field(min_length=1)],
        k: Hits = 5,
        tables: list[str] | None = None,
    ) -> dict[str, Any]:
        """Search the corpora and memory; the same question again comes from the cache."""
        async with visiting(call, ToolError) as visit:
            question = Asking(query, k, tuple(tables or ()))
            searching.check(visit.doors.settings, question)
            return await searching.answer(visit, question, nobody)

    @server.tool()
    async def ask(
        call: Context[Any, Any],
        question: Annotated[str, Field(min_length=1, max_length=LONGEST_QUESTION)],
        k: Annotated[int, Field(ge=1, le=MOST_HITS)] = K,
        tokens: Annotated[int, Field(ge=FEWEST_TOKENS, le=MOST_TOKENS)] = _TOKENS,
        fresh: Annotated[bool, Field(description="Not from the cache.")] = False,  # noqa: FBT002
    ) -> dict[str, Any]:
        """Answer a question from corpora and memory: sentences with sources, contradictions.

        What was found is on a board, and what is good enough is remembered. The same question
        again comes from the cache, until a source memory changes.
        """
        wanted = Asking(question, k, tokens=tokens, fresh=fresh)
        async with visiting(call, ToolError) as visit:
            asking.check(visit.doors.settings, wanted)
            return await asking.answer(visit, wanted, nobody)
