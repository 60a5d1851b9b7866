"""MCP over standard input and output: one bearer, named by the environment."""

import anyio

from memos_assets.api.doors import no_token, open_doors
from memos_assets.api.mcp_server import mcp_server
from memos_assets.api.phases import SearchPhases
from memos_assets.api.pipeline import Pipeline
from memos_assets.errors import AgentError
from memos_assets.settings import Settings


def answer_stdio(settings: Settings) -> None:
    """Answer calls until standard input ends.

    Raises:
        AgentError: M950 `MEMOS_API_TOKEN` is not set; M951 to M953, M957 it does not hold.
        AgentError, TargetError, ServerError, UsageError: as `open_doors`.
    """
    if settings.api_token is None:
        refused = no_token()
        raise AgentError(
            refused.code, refused.what, where="MEMOS_API_TOKEN", fix="set it; " + refused.fix
        )
    token = settings.api_token.get_secret_value()

    async def run() -> None:
        doors = open_doors(settings)
        try:
            async with doors.visit(token) as visit:  # what is wrong is said before the first call
                await visit.rest()
            server = mcp_server(lambda: doors, SearchPhases(), Pipeline(), lambda _: token)
            await server.run_stdio_async()
        finally:
            with anyio.CancelScope(shield=True):
                await doors.close()

    anyio.run(run)
